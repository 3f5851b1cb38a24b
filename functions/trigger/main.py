"""Open a run: config, slot, window. First step of workflows/etl.yaml."""

from __future__ import annotations

from functools import cache

import flask
import functions_framework

from etl_runner import http, logs, operations
from etl_runner.gcp.deployment import Deployment
from etl_runner.settings import Settings


@cache
def _deployment() -> Deployment:
    logs.configure()
    return Deployment(Settings.from_env())


@functions_framework.http
def main(request: flask.Request) -> http.Answer:
    """One call of ``operations.trigger``; see there for request and answer."""
    return http.answer(lambda body: operations.trigger(_deployment(), body), request.get_json(silent=True))
