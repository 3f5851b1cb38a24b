"""GET of resources and their policies, as the REST APIs of Google's services answer it.

One server stands for Cloud Functions, Cloud Run, Workflows, Scheduler, Eventarc, Secret Manager, Artifact
Registry, Pub/Sub, IAM, Resource Manager, Cloud Storage and BigQuery: their paths do not meet. It knows a
resource by its full name and answers with the JSON of the API's own message.
"""

from __future__ import annotations

import re
from typing import Any

from local.admin.resources import Resources
from local.http_server import JsonServer

_VERSION = re.compile(r"/(?:storage/v1|bigquery/v2|v\d(?:beta\d)?)/(.+)")


class AdminServer:
    """A running server."""

    def __init__(self, resources: Resources, *, port: int = 0) -> None:
        """Serve ``resources``, which may change while it runs, on a port of 127.0.0.1 (0: a free one)."""
        self.resources = resources
        self._http = JsonServer(self._handle, port)

    @property
    def endpoint(self) -> str:
        """``http://127.0.0.1:port``."""
        return self._http.endpoint

    def stop(self) -> None:
        """Stop serving."""
        self._http.stop()

    def _handle(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, Any]:
        del query, body
        match = _VERSION.fullmatch(path)
        if match is None:
            return _error(404, f"{method} {path} is not part of this server.")
        name, _, verb = match[1].partition(":")
        if name.startswith("b/") and name.endswith("/iam"):
            name, verb = name.removesuffix("/iam"), "getIamPolicy"
        if name.endswith("/versions") and method == "GET":
            return self._versions(name.removesuffix("/versions"))
        if verb not in ("", "getIamPolicy") or (method, verb) not in _READS:
            return _error(404, f"{method} {path} is not part of this server.")
        if name not in self.resources.things:
            return _error(404, f"{name} was not found.")
        if name in self.resources.hidden:
            return _error(403, f"Permission denied on {name}.")
        if verb:
            return 200, {"version": 3, "etag": "BwWKmjvelug=", "bindings": self.resources.bindings(name)}
        return 200, self.resources.things[name]

    def _versions(self, secret: str) -> tuple[int, Any]:
        if secret not in self.resources.things:
            return _error(404, f"{secret} was not found.")
        found = self.resources.versions.get(secret, [])
        return 200, {"versions": found, "totalSize": len(found)}


# Resource Manager and IAM ask for a policy by POST, the others by GET.
_READS = {("GET", ""), ("GET", "getIamPolicy"), ("POST", "getIamPolicy")}
_STATUS = {403: "PERMISSION_DENIED", 404: "NOT_FOUND"}


def _error(code: int, message: str) -> tuple[int, Any]:
    return code, {"error": {"code": code, "message": message, "status": _STATUS[code]}}
