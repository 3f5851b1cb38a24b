"""Load a file as soon as it arrives: object events of Cloud Storage, S3 and Azure."""

from __future__ import annotations

import flask
import functions_framework

from etl_runner.events import serve


@functions_framework.http
def main(request: flask.Request) -> serve.Answer:
    """One call of ``handle.file_arrival``; see there for what comes and what is answered."""
    return serve.file_arrival(request)
