"""Runs definitions written in a test."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from typing import Any

from local.workflows.definition import load
from local.workflows.engine import Engine
from local.workflows.http_calls import HttpClient
from tests.workflow.servers import FakeClock

ENVIRONMENT = {"GOOGLE_CLOUD_PROJECT_ID": "p", "GOOGLE_CLOUD_WORKFLOW_EXECUTION_ID": "e-1"}


def engine_for(
    source: str,
    *,
    env: Mapping[str, str] | None = None,
    clock: FakeClock | None = None,
    endpoints: Mapping[str, str] | None = None,
) -> Engine:
    """An engine for a definition."""
    return Engine(
        load(textwrap.dedent(source)),
        {**ENVIRONMENT, **(env or {})},
        clock or FakeClock(),
        HttpClient("workflows@p.iam.gserviceaccount.com"),
        endpoints or {},
    )


def run(source: str, argument: Any = None, **options: Any) -> Any:
    """The result of one execution of a definition."""
    return json.loads(engine_for(source, **options).run(argument))
