"""Which sources a deployment has."""

from __future__ import annotations

import re

from etl_runner.cli.deployment import Deployment
from etl_runner.errors import ConfigError, PermanentError, Problem
from etl_runner.state.find import FoundRun, find_run

_DOCUMENT = re.compile(r"sources/([A-Za-z0-9_-]+)\.(?:yaml|yml|json)")
_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")


def source_ids(deployment: Deployment) -> list[str]:
    """The ids of all source documents in the config bucket, in order."""
    names = (info.name for info in deployment.config.list("sources/"))
    return sorted({match.group(1) for name in names if (match := _DOCUMENT.fullmatch(name))})


def the_run(deployment: Deployment, run_id: str, source: str | None = None) -> FoundRun:
    """The run of that id, of that source or of any.

    Raises:
        PermanentError: no source knows it.
    """
    check_id(run_id)
    found = find_run(deployment.state, [check_id(source)] if source else source_ids(deployment), run_id)
    if found is None:
        where = f"source {source} knows" if source else "no source knows"
        denied = "no " if source else ""
        raise PermanentError(
            f"{where} {denied}run {run_id}: it was skipped or is not open yet; `etl-runner runs` lists those "
            "that are over"
        )
    return found


def check_id(source_id: str) -> str:
    """The id itself.

    Raises:
        ConfigError: it cannot be one.
    """
    if not _ID.fullmatch(source_id):
        problem = Problem(
            "source", "is not a source's id", found=repr(source_id), allowed="letters, digits, _ and -"
        )
        raise ConfigError("command line", (problem,))
    return source_id
