"""Commit a run, or close it. Last step and failure path of workflows/etl.yaml."""

from __future__ import annotations

import flask
import functions_framework

from etl_runner import http, operations


@functions_framework.http
def main(request: flask.Request) -> http.Answer:
    """One call of ``operations.finalize``; see there for request and answer."""
    return http.serve(operations.finalize, request)
