"""Errors as Google's APIs answer them."""

from __future__ import annotations

from etl_runner.jsontypes import JsonObject

_STATUS = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
}


class ApiError(Exception):
    """A refused call: HTTP status and message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code

    def to_json(self) -> JsonObject:
        """The answer's body."""
        return {
            "error": {"code": self.code, "message": str(self), "status": _STATUS.get(self.code, "UNKNOWN")}
        }
