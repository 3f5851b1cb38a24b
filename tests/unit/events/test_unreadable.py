"""Events that cannot be read are kept with the reason and acknowledged; strangers' junk is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from etl_runner.errors import RefusedCall
from etl_runner.events import handle, unreadable
from etl_runner.events.receive import Incoming, Receiver
from etl_runner.events.settings import GOOGLE_KEYS_URL
from etl_runner.events.unreadable import UnreadableEvents
from etl_runner.state.memory import MemoryObjectStore

from . import messages, signing
from .test_receive import KEY, SETTINGS, bearer


class Parts:
    """As much of EventParts as an event needs that is not read."""

    def __init__(self) -> None:
        web = signing.Web(
            {GOOGLE_KEYS_URL: signing.key_set("google"), messages.CERTIFICATE_URL: signing.certificate()}
        )
        self.receiver = Receiver(SETTINGS, web.fetch, lambda: signing.NOW.timestamp())
        self.unreadable = UnreadableEvents(MemoryObjectStore())

    def post(self, body: Any, headers: dict[str, str], **query: str) -> dict[str, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        parts: Any = self
        return handle.file_arrival(parts, Incoming("POST", headers, query, data))[0]


NO_NAME = {**messages.GCS_OBJECT, "name": ""}
NO_S3 = signing.sign_sns({**messages.sns_notification({}), "Message": "no JSON"})


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        (messages.structured(messages.GCS_ATTRIBUTES, NO_NAME), bearer(), "data.name"),
        (b"\xff no json", bearer(), "not JSON"),
        (b"no json either", {"x-etl-key": KEY}, "not JSON"),
        (NO_S3, {"x-amz-sns-message-type": "Notification"}, "Message"),
    ],
)
def test_it_is_kept_with_the_reason_once_and_acknowledged(
    body: Any, headers: dict[str, str], reason: str
) -> None:
    parts = Parts()
    for _ in range(3):
        assert parts.post(body, headers)["status"] == "unreadable"
    (kept,) = parts.unreadable.all()
    assert reason in kept.reason
    text = json.dumps(body) if isinstance(body, dict) else body.decode(errors="replace")
    assert kept.body == text
    whole = json.dumps([kept.headers, kept.body])
    assert KEY not in whole
    assert "Bearer" not in whole
    assert parts.unreadable.forget() == 1
    assert parts.unreadable.all() == []


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"junk", {}),
        (b"junk", {"x-etl-key": "guessed"}),
        (b"junk", {"authorization": "Bearer a.b.c"}),
        (b"junk", {"ce-type": "x"}),
        ({"Type": "Notification"}, {"x-amz-sns-message-type": "Notification"}),
        ({**NO_S3, "Message": "changed"}, {"x-amz-sns-message-type": "Unknown"}),
    ],
)
def test_junk_of_strangers_is_refused_and_not_kept(body: Any, headers: dict[str, str]) -> None:
    parts = Parts()
    with pytest.raises(RefusedCall):
        parts.post(body, headers)
    assert parts.unreadable.all() == []


def test_a_sender_gone_wrong_fills_no_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unreadable, "MOST", 3)
    monkeypatch.setattr(unreadable, "MOST_BYTES", 10)
    parts = Parts()
    for number in range(5):
        parts.post(b"junk number %d" % number, bearer())
    assert [event.body for event in parts.unreadable.all()] == ["junk numbe"] * 3
