"""Dataflow in the local topology: the real pipeline, and the template where the planner looks for it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from etl_runner.jsontypes import dumps
from local import rest
from local.dataflow.job import Launcher
from local.dataflow.server import DataflowServer
from local.layout import REPOSITORY, Layout

IMAGE = "local/etl-runner:dev"


def start_dataflow(layout: Layout, env: Mapping[str, str], logs: Path) -> DataflowServer:
    """Serve Dataflow. Its processes start without the deployment's settings, as a worker machine does: what
    they need to know has to be in the launch."""
    settings = layout.settings()
    bare = {name: value for name, value in env.items() if name not in settings}
    pipeline = REPOSITORY / "runner_image" / "pipeline.py"
    launcher = Launcher([sys.executable, str(pipeline)], env=bare, workdir=REPOSITORY)
    endpoint = layout.storage_endpoint
    return DataflowServer(launcher, lambda uri: read_object(endpoint, uri), logs, port=layout.dataflow_port)


def read_object(endpoint: str, uri: str) -> bytes | None:
    """An object of the Cloud Storage at ``endpoint``, or None."""
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    url = f"{endpoint}/storage/v1/b/{bucket}/o/{quote(name, safe='')}?alt=media"
    status, answer = rest.call("GET", url)
    return dumps(answer) if status == 200 else None
