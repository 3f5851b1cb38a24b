"""HTTP around the functions that take events; errors become statuses as in :mod:`etl_runner.http`.

The bus reads the status alone: anything but a 2xx is delivered again, so only what may pass is answered so.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Protocol

from etl_runner import http
from etl_runner.events import handle
from etl_runner.events.receive import Incoming
from etl_runner.events.settings import EventSettings
from etl_runner.events.wiring import EventParts

Answer = tuple[dict[str, Any], int, dict[str, str]]


class Request(Protocol):
    """What is needed of Flask's request."""

    @property
    def method(self) -> str: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def args(self) -> Mapping[str, str]: ...

    def get_data(self) -> bytes: ...


@cache
def parts() -> EventParts:
    """The parts of the deployment that this function belongs to.

    Raises:
        ConfigError: its environment is incomplete.
    """
    return EventParts(http.deployment(), EventSettings.from_env())


def file_arrival(request: Any) -> Answer:
    """Serve one delivery of an event; ``request`` is a :class:`Request`."""
    headers: dict[str, str] = {}

    def operation(_: dict[str, Any]) -> dict[str, Any]:
        body, further = handle.file_arrival(parts(), incoming(request))
        headers.update(further)
        return body

    return (*http.answer(operation, {}), headers)


def sweep(request: Any) -> Answer:
    """Serve one sweep."""
    del request
    return (*http.answer(lambda _: handle.sweep(parts()), {}), {})


def incoming(request: Request) -> Incoming:
    """The request, as the receiver wants it."""
    return Incoming(
        method=request.method,
        headers={name.lower(): value for name, value in request.headers.items()},
        query=dict(request.args.items()),
        body=request.get_data(),
    )
