"""Take up sources with arrivals, or with a slot whose holder has died; called every few minutes."""

from __future__ import annotations

import flask
import functions_framework

from etl_runner.events import serve


@functions_framework.http
def main(request: flask.Request) -> serve.Answer:
    """One call of ``handle.sweep``; the request says nothing."""
    return serve.sweep(request)
