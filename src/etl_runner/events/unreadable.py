"""Events that cannot be read: kept with the reason, since the bus would only deliver them again for days.

Objects of the state bucket, create-only, the first of equal ones stands::

    events/unreadable/<hash of the body>.json

Only what a sender that may call has sent is kept (:meth:`etl_runner.events.receive.Receiver.vouched`), and
only so much of it: a sender that has gone wrong fills no bucket.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from dataclasses import asdict, dataclass

from etl_runner import jsontypes
from etl_runner.errors import ObjectExists
from etl_runner.events.receive import Incoming
from etl_runner.state.objects import ObjectStore

log = logging.getLogger(__name__)

MOST = 1_000
"""Events that are kept."""
MOST_BYTES = 64 << 10
"""Of a body; the rest is cut."""
_FOLDER = "events/unreadable/"
_HEADERS = ("content-type", "user-agent", "x-amz-sns-message-type")


@dataclass(frozen=True)
class UnreadableEvent:
    """One event: when it came first (RFC 3339), why it cannot be read, its telling headers (no credentials
    among them) and its body as text, cut after :data:`MOST_BYTES`."""

    at: str
    reason: str
    headers: dict[str, str]
    body: str


class UnreadableEvents:
    """Those of one deployment."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def keep(self, request: Incoming, reason: str, at: str) -> None:
        """Keep a request's event.

        Raises:
            RetryableError, PermanentError: it could not be written.
        """
        if sum(1 for _ in self._objects.list(_FOLDER)) >= MOST:
            log.error("%d unreadable events are kept: this one is not", MOST)
            return
        headers = {
            name: value
            for name, value in request.headers.items()
            if name in _HEADERS or name.startswith("ce-")
        }
        body = request.body[:MOST_BYTES].decode(errors="replace")
        event = UnreadableEvent(at, reason, headers, body)
        digest = hashlib.sha256(jsontypes.dumps(headers) + request.body).hexdigest()[:32]
        with contextlib.suppress(ObjectExists):
            self._objects.create(f"{_FOLDER}{digest}.json", jsontypes.dumps(asdict(event)))

    def all(self) -> list[UnreadableEvent]:
        """Everything that is kept, oldest first."""
        stored = [self._objects.read(info.name) for info in self._objects.list(_FOLDER)]
        events = [UnreadableEvent(**jsontypes.loads(one.data)) for one in stored if one is not None]
        return sorted(events, key=lambda event: event.at)

    def forget(self) -> int:
        """Delete all of them; how many."""
        names = [info.name for info in self._objects.list(_FOLDER)]
        for name in names:
            self._objects.delete(name)
        return len(names)
