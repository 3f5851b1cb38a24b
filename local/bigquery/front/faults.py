"""Faults to inject, the log of requests, and the client that tests use for both.

Endpoints of the front: ``POST /_faults`` (one fault as JSON), ``GET`` and ``DELETE /_faults``,
``GET`` and ``DELETE /_requests``.
"""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
import urllib.parse
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Action = Literal["error", "lost_response", "slow_job", "fail_job"]
_ACTIONS = ("error", "lost_response", "slow_job", "fail_job")
_REASONS = {400: "invalid", 403: "accessDenied", 404: "notFound", 409: "duplicate", 429: "rateLimitExceeded"}


@dataclass(frozen=True)
class Fault:
    """One fault.

    It strikes requests whose method equals ``method`` (empty: any), whose path with query matches the
    regular expression ``path`` (searched) and whose job id, if they have one, matches ``job_id``: the
    ``nth`` of them, counted from 1, and the ``times - 1`` after it.

    - ``error``: the answer is ``status`` with ``reason``; nothing reaches local-bigquery.
    - ``lost_response``: the request takes effect, then the connection is closed without an answer.
    - ``slow_job`` (job insertions): the job answers RUNNING to the next ``polls`` polls and for ``seconds``
      seconds, whichever ends later. Its effect is there from the beginning.
    - ``fail_job`` (job insertions): the job is created and has failed with ``reason`` and ``message``.
    """

    action: Action
    method: str = ""
    path: str = ""
    job_id: str = ""
    nth: int = 1
    times: int = 1
    status: int = 503
    reason: str = ""
    message: str = "injected fault"
    polls: int = 0
    seconds: float = 0.0

    @property
    def error_reason(self) -> str:
        """The reason to answer with; by default the usual one of the status."""
        if self.reason:
            return self.reason
        return "backendError" if self.action == "fail_job" else _REASONS.get(self.status, "backendError")

    @classmethod
    def from_json(cls, data: Any) -> Fault:
        """Read a fault.

        Raises:
            ValueError: an unknown field or action, or a regular expression that is none.
        """
        if not isinstance(data, dict) or data.get("action") not in _ACTIONS:
            raise ValueError(f"a fault is an object with an action of {', '.join(_ACTIONS)}")
        unknown = set(data) - set(cls.__dataclass_fields__)
        if unknown:
            raise ValueError(f"unknown fields: {', '.join(sorted(unknown))}")
        fault = cls(**data)
        try:
            re.compile(fault.path)
            re.compile(fault.job_id)
        except re.error as error:
            raise ValueError(f"bad regular expression: {error}") from error
        return fault


@dataclass
class _Armed:
    fault: Fault
    seen: int = 0


@dataclass
class _Slow:
    polls: int
    until: float


@dataclass
class Faults:
    """The faults in force and the jobs that they slow down. Safe for threads."""

    _armed: list[_Armed] = field(default_factory=list)
    _slow: dict[tuple[str, str], _Slow] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._armed.append(_Armed(fault))

    def clear(self) -> None:
        """No more faults; slow jobs show their real state."""
        with self._lock:
            self._armed.clear()
            self._slow.clear()

    def listed(self) -> list[dict[str, Any]]:
        with self._lock:
            return [asdict(armed.fault) | {"seen": armed.seen} for armed in self._armed]

    def strike(self, method: str, path: str, job_id: str | None) -> Fault | None:
        """Count a request; the fault that strikes it, if any (the one added first)."""
        struck: Fault | None = None
        with self._lock:
            for armed in self._armed:
                fault = armed.fault
                if fault.method and fault.method.upper() != method:
                    continue
                if not re.search(fault.path, path):
                    continue
                if fault.job_id and (job_id is None or not re.search(fault.job_id, job_id)):
                    continue
                armed.seen += 1
                if struck is None and fault.nth <= armed.seen < fault.nth + fault.times:
                    struck = fault
        return struck

    def slow_down(self, project: str, job_id: str, fault: Fault) -> None:
        with self._lock:
            self._slow[project, job_id] = _Slow(fault.polls, time.monotonic() + fault.seconds)

    def is_slow(self, project: str, job_id: str, *, poll: bool) -> bool:
        """Whether a job still pretends to run; ``poll`` counts this question as one of its polls."""
        with self._lock:
            slow = self._slow.get((project, job_id))
            if slow is None:
                return False
            if slow.polls > 0:
                slow.polls -= 1 if poll else 0
                return True
            if time.monotonic() < slow.until:
                return True
            del self._slow[project, job_id]
            return False


@dataclass(frozen=True)
class LoggedRequest:
    """One request as the front saw it. ``status`` is 0 when no answer was sent."""

    method: str
    path: str
    job_id: str | None
    status: int
    fault: str | None = None


@dataclass
class RequestLog:
    """The requests so far, the latest 100,000."""

    _entries: list[LoggedRequest] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, entry: LoggedRequest) -> None:
        with self._lock:
            self._entries.append(entry)
            del self._entries[:-100_000]

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    def listed(self) -> list[dict[str, Any]]:
        with self._lock:
            return [asdict(entry) for entry in self._entries]


class FaultsClient:
    """Arms faults and reads the request log of a front (``url``: ``http://127.0.0.1:port``)."""

    def __init__(self, url: str) -> None:
        self._netloc = urllib.parse.urlsplit(url).netloc

    def inject(self, action: Action, **settings: Any) -> None:
        """Arm one fault; ``settings`` are the fields of :class:`Fault`."""
        fault = Fault.from_json({"action": action, **settings})
        self._call("POST", "/_faults", asdict(fault))

    def clear(self) -> None:
        """Disarm all faults."""
        self._call("DELETE", "/_faults")

    def requests(self, method: str = "", path: str = "") -> list[LoggedRequest]:
        """The logged requests of a method whose path matches a regular expression."""
        entries = [LoggedRequest(**entry) for entry in self._call("GET", "/_requests")["requests"]]
        return [e for e in entries if (not method or e.method == method) and re.search(path, e.path)]

    def forget_requests(self) -> None:
        """Empty the log."""
        self._call("DELETE", "/_requests")

    def set_bucket_location(self, bucket: str, location: str) -> None:
        """Tell the front where a bucket is, whatever the storage emulator says."""
        self._call("PUT", f"/_buckets/{urllib.parse.quote(bucket, safe='')}", {"location": location})

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection(self._netloc, timeout=30)
        try:
            payload = None if body is None else json.dumps(body).encode()
            connection.request(method, path, body=payload, headers={"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read()
            if response.status >= http.HTTPStatus.BAD_REQUEST:
                raise ValueError(f"{method} {path}: {response.status} {text.decode(errors='replace')}")
            return json.loads(text) if text else None
        finally:
            connection.close()
