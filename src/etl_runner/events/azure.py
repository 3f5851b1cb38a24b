"""Events of Azure Blob Storage, in Event Grid's CloudEvents schema.

https://learn.microsoft.com/azure/event-grid/event-schema-blob-storage,
https://learn.microsoft.com/azure/event-grid/end-point-validation-cloud-events-schema
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from etl_runner.errors import ForbiddenCall
from etl_runner.events.object_event import ObjectEvent, unreadable, utc_text

CREATED = "Microsoft.Storage.BlobCreated"
_WHAT = "Event Grid event"
_SUBJECT = re.compile(r"/blobServices/default/containers/([^/]+)/blobs/(.+)", re.DOTALL)
_ACCOUNT = re.compile(r"/providers/Microsoft\.Storage/storageAccounts/([^/]+)", re.IGNORECASE)
# Operations after which a blob is complete. Data Lake's CreateFile and SFTP's SftpCreate announce an empty
# one that is about to be written.
_COMPLETE = frozenset({"PutBlob", "PutBlockList", "CopyBlob", "FlushWithClose", "SftpCommit"})


def from_cloud_event(event: Mapping[str, Any]) -> ObjectEvent | None:
    """The blob that was written; None for other events and for blobs that are not complete yet.

    Raises:
        ConfigError: a field is missing or not what it is documented to be.
    """
    data = event.get("data")
    if event.get("type") != CREATED:
        return None
    if not isinstance(data, Mapping):
        raise unreadable(_WHAT, "data", "is missing")
    if data.get("api") not in _COMPLETE:
        return None
    subject = _SUBJECT.fullmatch(str(event.get("subject", "")))
    if subject is None:
        raise unreadable(_WHAT, "subject", "names no blob", event.get("subject"))
    etag = str(data.get("eTag") or data.get("etag") or "").strip('"')
    if not etag:
        raise unreadable(_WHAT, "data.eTag", "is missing")
    size = data.get("contentLength")
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise unreadable(_WHAT, "data.contentLength", "is not a number of bytes", size)
    account = _ACCOUNT.search(str(event.get("source", "")))
    return ObjectEvent(
        "azure",
        subject[1],
        subject[2],
        etag,
        size,
        utc_text(str(event.get("time", "")), _WHAT),
        str(event.get("id", "")),
        account[1] if account else None,
    )


def handshake(headers: Mapping[str, str], allowed: tuple[str, ...]) -> dict[str, str]:
    """The headers that answer Event Grid's ``OPTIONS`` request, which asks whether we want its events.

    https://github.com/cloudevents/spec/blob/v1.0/http-webhook.md#4-abuse-protection

    Raises:
        ForbiddenCall: the origin is none of the allowed ones.
    """
    origin = headers.get("webhook-request-origin", "")
    if origin not in allowed:
        raise ForbiddenCall(f"webhook origin {origin[:100]!r} is not one of {', '.join(allowed)}")
    return {
        "WebHook-Allowed-Origin": origin,
        "WebHook-Allowed-Rate": headers.get("webhook-request-rate", "*"),
    }
