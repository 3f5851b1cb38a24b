"""Plan a run: estimate, choose the engine, cut units, write the plan. Second step of workflows/etl.yaml.

It also answers what people ask before they run anything: ``{"operation": "test_connection" | "preview"}``.
"""

from __future__ import annotations

import flask
import functions_framework

from etl_runner import http, questions


@functions_framework.http
def main(request: flask.Request) -> http.Answer:
    """One call of ``operations.plan`` or of a question; see there for request and answer."""
    return http.serve(questions.plan_or_answer, request)
