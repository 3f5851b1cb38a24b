"""Events of Cloud Storage: Eventarc's CloudEvents, and notifications through Pub/Sub.

https://cloud.google.com/eventarc/docs/cloudevents,
https://cloud.google.com/storage/docs/pubsub-notifications#format
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from etl_runner import jsontypes
from etl_runner.events.object_event import ObjectEvent, unreadable, utc_text

FINALIZED = "google.cloud.storage.object.v1.finalized"
PUBLISHED = "google.cloud.pubsub.topic.v1.messagePublished"
WAKE = "etl-runner.source.wake"
"""The type of our own message that has a source's arrivals looked at."""
_WHAT = "Cloud Storage event"


def from_cloud_event(event_id: str, data: Mapping[str, Any]) -> ObjectEvent:
    """The event behind ``data``, an object resource of the JSON API with its numbers as text.

    Raises:
        ConfigError: a field is missing or not what it is documented to be.
    """
    for field in ("bucket", "name", "generation"):
        if not data.get(field):
            raise unreadable(_WHAT, f"data.{field}", "is missing")
    generation, size = str(data["generation"]), str(data.get("size", "0"))
    for field, value in (("generation", generation), ("size", size)):
        if not value.isdecimal():
            raise unreadable(_WHAT, f"data.{field}", "is not a number", value)
    moment = data.get("updated") or data.get("timeCreated")
    if not isinstance(moment, str):
        raise unreadable(_WHAT, "data.updated", "is missing")
    time = utc_text(moment, _WHAT)
    return ObjectEvent("gcs", str(data["bucket"]), str(data["name"]), generation, int(size), time, event_id)


def from_pubsub(envelope: Mapping[str, Any]) -> ObjectEvent | str | None:
    """The event in a push request's ``{"message": ..., "subscription": ...}``; the id of a source that is
    to be woken, for a message of our own; None for a notification that no object was written.

    Raises:
        ConfigError: not such a message.
    """
    message = envelope.get("message")
    if not isinstance(message, Mapping):
        raise unreadable("Pub/Sub message", "message", "is missing")
    attributes = message.get("attributes") or {}
    if attributes.get("ce-type") == WAKE:
        return str(attributes.get("ce-subject", ""))
    kind = attributes.get("eventType")
    if kind is None:
        raise unreadable("Pub/Sub message", "message.attributes.eventType", "is missing")
    if kind != "OBJECT_FINALIZE":
        return None
    try:
        data = jsontypes.loads(base64.b64decode(message.get("data") or "", validate=True))
    except (ValueError, binascii.Error) as error:
        raise unreadable("Pub/Sub message", "message.data", "is not JSON in base64") from error
    if not isinstance(data, dict):
        raise unreadable("Pub/Sub message", "message.data", "is not a JSON object")
    # The attributes are what a notification without payload has, and what it is delivered by.
    named = {"bucket": attributes.get("bucketId"), "name": attributes.get("objectId")}
    generation = attributes.get("objectGeneration")
    known = {key: value for key, value in {**named, "generation": generation}.items() if value}
    fallback = {"updated": attributes.get("eventTime") or message.get("publishTime")}
    event_id = str(message.get("messageId") or message.get("message_id") or "")
    return from_cloud_event(event_id, {**fallback, **data, **known})
