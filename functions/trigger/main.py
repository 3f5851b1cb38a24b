"""Open a run: config, slot, window. First step of workflows/etl.yaml.

It also serves a control plane's ``POST .../api/etl/sources/<id>/scheduler-webhook/``, which starts the chain.
"""

from __future__ import annotations

import flask
import functions_framework

from etl_runner import http, webhook


@functions_framework.http
def main(request: flask.Request) -> http.Answer:
    """One call of ``operations.trigger``, or of the webhook; see there for request and answer."""
    return webhook.serve(request)
