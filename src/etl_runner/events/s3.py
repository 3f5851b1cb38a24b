"""Events of S3: its own notification records (through SNS), and EventBridge's.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html,
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus

from etl_runner.events.object_event import ObjectEvent, unreadable, utc_text

_WHAT = "S3 event"


def from_notification(document: Mapping[str, Any], message_id: str) -> list[ObjectEvent]:
    """The objects that a notification says were written; none for S3's own test message and for other
    events. Keys are URL-encoded in it, a space as ``+``.

    Raises:
        ConfigError: not a notification.
    """
    if document.get("Event") == "s3:TestEvent":
        return []
    records = document.get("Records")
    if not isinstance(records, list):
        raise unreadable(_WHAT, "Records", "is missing")
    events = []
    for number, record in enumerate(records):
        # With the prefix s3: in the configuration, without it in the record.
        if not str(record.get("eventName", "")).removeprefix("s3:").startswith("ObjectCreated:"):
            continue
        where = f"Records[{number}].s3"
        detail = record.get("s3") or {}
        item = detail.get("object") or {}
        bucket = (detail.get("bucket") or {}).get("name")
        key, etag = item.get("key"), item.get("eTag")
        if not bucket or not key or not etag:
            raise unreadable(_WHAT, where, "lacks bucket.name, object.key or object.eTag")
        events.append(
            ObjectEvent(
                "s3",
                str(bucket),
                unquote_plus(str(key)),
                str(etag).strip('"'),
                _size(item.get("size", 0), where),
                utc_text(str(record.get("eventTime", "")), _WHAT),
                f"{message_id}-{number}",
            )
        )
    return events


def from_event_bridge(document: Mapping[str, Any]) -> list[ObjectEvent]:
    """The object that an EventBridge event says was written; none for other events. Keys are as they are.

    Raises:
        ConfigError: not such an event.
    """
    if document.get("detail-type") != "Object Created":
        return []
    detail = document.get("detail") or {}
    item = detail.get("object") or {}
    bucket = (detail.get("bucket") or {}).get("name")
    key, etag = item.get("key"), item.get("etag")
    if not bucket or not key or not etag:
        raise unreadable(_WHAT, "detail", "lacks bucket.name, object.key or object.etag")
    return [
        ObjectEvent(
            "s3",
            str(bucket),
            str(key),
            str(etag).strip('"'),
            _size(item.get("size", 0), "detail.object"),
            utc_text(str(document.get("time", "")), _WHAT),
            str(document.get("id", "")),
        )
    ]


def _size(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise unreadable(_WHAT, f"{where}.size", "is not a number of bytes", value)
    return value
