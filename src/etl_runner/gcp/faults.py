"""From the Google clients' exceptions to the project's two: worth another attempt, or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from google.api_core import exceptions as api
from google.auth import exceptions as auth

from etl_runner.errors import PermanentError, RetryableError

_RETRYABLE = (
    api.TooManyRequests,
    api.ServerError,
    api.RetryError,
    auth.TransportError,
    requests.ConnectionError,
    requests.Timeout,
    ConnectionError,
    TimeoutError,
)
# BigQuery tells rate limits as 403 with a reason of its own.
# https://cloud.google.com/bigquery/docs/error-messages#errortable
_RATE_REASONS = frozenset({"rateLimitExceeded", "jobRateLimitExceeded", "backendError", "internalError"})


def reason_of(error: api.GoogleAPICallError) -> str | None:
    """The API's own ``reason`` of an error, e.g. ``rateLimitExceeded``."""
    for detail in error.errors or ():
        if isinstance(detail, dict) and detail.get("reason"):
            return str(detail["reason"])
    return None


def retryable(error: Exception) -> bool:
    """Whether a later attempt at the same call can succeed."""
    if isinstance(error, api.GoogleAPICallError) and reason_of(error) in _RATE_REASONS:
        return True
    return isinstance(error, _RETRYABLE)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise what a Google client raises as RetryableError or PermanentError, saying ``what`` was done.

    NotFound, Conflict and PreconditionFailed mean something to some callers, which catch them inside.
    """
    try:
        yield
    except api.GoogleAPICallError as error:
        kind = RetryableError if retryable(error) else PermanentError
        raise kind(f"{what}: {error.message or type(error).__name__}") from error
    except auth.GoogleAuthError as error:
        kind = RetryableError if retryable(error) else PermanentError
        raise kind(f"{what}: no usable Google credentials ({error})") from error
    except (requests.RequestException, OSError, api.RetryError) as error:
        kind = RetryableError if retryable(error) else PermanentError
        raise kind(f"{what}: {type(error).__name__}") from error
