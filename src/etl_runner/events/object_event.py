"""An object event, whichever cloud it is from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from etl_runner.errors import ConfigError, Problem

Dialect = Literal["gcs", "s3", "azure"]
SCHEMES: dict[Dialect, str] = {"gcs": "gs", "s3": "s3", "azure": "az"}


@dataclass(frozen=True)
class ObjectEvent:
    """One version of one object was written.

    ``name`` is the key within the bucket, decoded; ``version`` the generation (Cloud Storage) or the etag
    without quotes; ``size`` in bytes; ``time`` when it was written, RFC 3339 in UTC with microseconds;
    ``account`` Azure's storage account.
    """

    dialect: Dialect
    bucket: str
    name: str
    version: str
    size: int
    time: str
    event_id: str
    account: str | None = None

    @property
    def uri(self) -> str:
        """``gs://``, ``s3://`` or ``az://`` + bucket + ``/`` + name."""
        return f"{SCHEMES[self.dialect]}://{self.bucket}/{self.name}"


def unreadable(what: str, path: str, message: str, found: object = None) -> ConfigError:
    """The error for a message that is not what its sender documents."""
    text = None if found is None else repr(found)[:80]
    return ConfigError(what, (Problem(path, message, text),))


def utc_text(moment: str, what: str) -> str:
    """RFC 3339 in UTC with microseconds, so that text order is time order.

    Raises:
        ConfigError: not a moment.
    """
    return instant(moment, what).isoformat(timespec="microseconds")


def instant(moment: str, what: str) -> datetime:
    """The moment that an event names; without an offset it is UTC. More than six decimals are cut: Azure
    writes seven.

    Raises:
        ConfigError: not a moment.
    """
    head, dot, tail = moment.partition(".")
    if dot:
        digits = len(tail) - len(tail.lstrip("0123456789"))
        moment = f"{head}.{tail[:digits][:6]:0<6}{tail[digits:]}"
    try:
        parsed = datetime.fromisoformat(moment)
    except ValueError as error:
        raise unreadable(what, "time", "is not a moment of RFC 3339", moment) from error
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
