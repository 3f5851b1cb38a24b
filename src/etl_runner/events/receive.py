"""From an HTTP request to object events: who sent it, in which dialect, and what it says.

=============================================  ==========================  =================================
what comes                                     told by                     believed because of
=============================================  ==========================  =================================
Cloud Storage through Eventarc                 CloudEvent, binary or not   Google's token (or the platform)
Cloud Storage through Pub/Sub push             ``{"message", ...}``        Google's token (or the platform)
S3 through SNS                                 ``x-amz-sns-message-type``  the message's signature
S3 through EventBridge (API destination)       ``detail-type``             a shared key
Azure through Event Grid                       CloudEvent(s)               a shared key, or Entra's token
=============================================  ==========================  =================================

A shared key comes in the header ``X-ETL-Key``, or as ``key`` in the URL's query.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from etl_runner import jsontypes
from etl_runner.errors import ConfigError, ForbiddenCall, RefusedCall
from etl_runner.events import azure, cloud_storage, s3
from etl_runner.events.object_event import ObjectEvent, instant, unreadable
from etl_runner.events.settings import EventSettings
from etl_runner.events.sns import CONFIRMATIONS, NOTIFICATION, SnsVerifier
from etl_runner.events.tokens import Fetch, Issuer, TokenVerifier

_AHEAD_SECONDS = 300
_GOOGLE = ("https://accounts.google.com", "accounts.google.com")
_ENTRA = "https://login.microsoftonline.com"


@dataclass(frozen=True)
class Incoming:
    """A request: header and query names in lower case."""

    method: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body.

        Raises:
            ConfigError: it is not JSON.
        """
        try:
            return jsontypes.loads(self.body)
        except ValueError as error:
            raise unreadable("request", "", "the body is not JSON") from error


@dataclass(frozen=True)
class Received:
    """What a request brought. ``wake`` are ids of sources whose arrivals are to be looked at; ``patient``
    says that the caller waits for minutes, as Pub/Sub does: SNS, EventBridge and Event Grid wait 5 to 30
    seconds. ``headers`` belong into the answer."""

    events: tuple[ObjectEvent, ...] = ()
    wake: tuple[str, ...] = ()
    patient: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


class Receiver:
    """Verifies requests and reads them."""

    def __init__(self, settings: EventSettings, fetch: Fetch, now: Callable[[], float] = time.time) -> None:
        """``fetch`` gets the keys and certificates of those who sign; ``now`` gives seconds since 1970."""
        self._settings = settings
        self._now = now
        self._google = TokenVerifier(
            Issuer(_GOOGLE, settings.google_keys_url), settings.audiences, settings.callers, fetch, now
        )
        self._sns = SnsVerifier(settings.sns_topics, fetch, lambda: datetime.fromtimestamp(now(), UTC))
        self._entra: TokenVerifier | None = None
        if settings.entra_tenant and settings.entra_audience:
            tenant = settings.entra_tenant
            names = (f"{_ENTRA}/{tenant}/v2.0", f"https://sts.windows.net/{tenant}/")
            issuer = Issuer(names, f"{_ENTRA}/{tenant}/discovery/v2.0/keys")
            self._entra = TokenVerifier(issuer, (settings.entra_audience,), (), fetch, now)

    def receive(self, request: Incoming) -> Received:
        """Verify and read a request.

        Raises:
            RefusedCall, ForbiddenCall: it is not from whom it should be.
            ConfigError: its sender is known and its message is not what that sender documents.
            RetryableError: keys cannot be fetched now.
        """
        if request.method == "OPTIONS":
            self._check_key(request)
            return Received(headers=azure.handshake(request.headers, self._settings.webhook_origins))
        if "x-amz-sns-message-type" in request.headers:
            return self._from_sns(_mapping(request.json(), "SNS message"))
        if "ce-type" in request.headers:
            return self._from_binary(request)
        body = request.json()
        if isinstance(body, Mapping) and "detail-type" in body:
            self._check_key(request)
            self._check_age(str(body.get("time", "")), "EventBridge event")
            return Received(tuple(s3.from_event_bridge(body)))
        if isinstance(body, Mapping) and "message" in body:
            self._check_google(request)
            return _from_pubsub(body)
        return self._from_cloud_events(request, body if isinstance(body, list) else [body])

    def vouched(self, request: Incoming) -> bool:
        """Whether a request comes from somebody who may call, whatever it says: anybody can reach a public
        function.

        Raises:
            RetryableError: keys cannot be fetched now.
        """
        if "x-amz-sns-message-type" in request.headers:
            proofs: tuple[Callable[[], None], ...] = (lambda: self._sns.verify(request.json()),)
        else:
            proofs = (
                lambda: self._check_google(request),
                lambda: self._check_event_grid(request),
                lambda: self._check_key(request),
            )
        for proof in proofs:
            try:
                proof()
            except (RefusedCall, ForbiddenCall, ConfigError):
                continue
            return True
        return False

    def _from_sns(self, message: Mapping[str, Any]) -> Received:
        self._sns.verify(message)
        self._check_age(str(message["Timestamp"]), "SNS message")
        if message["Type"] in CONFIRMATIONS:
            # An unsubscription needs no confirming: its URL would subscribe again.
            if message["Type"] != "UnsubscribeConfirmation":
                self._sns.confirm(message)
            return Received()
        if message["Type"] != NOTIFICATION:
            raise unreadable("SNS message", "Type", "is unknown", message["Type"])
        try:
            document = jsontypes.loads(message["Message"].encode())
        except ValueError as error:
            raise unreadable("SNS message", "Message", "is not JSON") from error
        document = _mapping(document, "S3 event")
        if "detail-type" in document:
            return Received(tuple(s3.from_event_bridge(document)))
        return Received(tuple(s3.from_notification(document, str(message["MessageId"]))))

    def _from_binary(self, request: Incoming) -> Received:
        attributes = {
            name.removeprefix("ce-"): value
            for name, value in request.headers.items()
            if name.startswith("ce-")
        }
        return self._from_cloud_events(request, [{**attributes, "data": request.json()}])

    def _from_cloud_events(self, request: Incoming, documents: Sequence[Any]) -> Received:
        events = [_mapping(document, "CloudEvent") for document in documents]
        kinds = {str(event.get("type", "")) for event in events}
        if kinds and all(kind.startswith("Microsoft.") for kind in kinds):
            self._check_event_grid(request)
            for event in events:
                self._check_age(str(event.get("time", "")), "Event Grid event")
            found = [azure.from_cloud_event(event) for event in events]
            return Received(tuple(event for event in found if event is not None))
        self._check_google(request)
        if kinds == {cloud_storage.PUBLISHED} and len(events) == 1:
            return _from_pubsub(_mapping(events[0].get("data"), "Pub/Sub message"))
        if not all(kind.startswith("google.cloud.storage.object.v1.") for kind in kinds):
            raise unreadable("CloudEvent", "type", "is none that is known here", sorted(kinds))
        return Received(
            tuple(
                cloud_storage.from_cloud_event(
                    str(event.get("id", "")), _mapping(event.get("data"), "Cloud Storage event")
                )
                for event in events
                if event["type"] == cloud_storage.FINALIZED
            ),
            patient=True,
        )

    def _check_google(self, request: Incoming) -> None:
        settings = self._settings
        if settings.audiences:
            self._google.verify(request.headers.get("authorization", ""))
        elif settings.public:
            raise RefusedCall(
                "this function takes events from outside of Google, so Google's tokens have to be verified: "
                "set ETL_EVENT_AUDIENCES"
            )

    def _check_event_grid(self, request: Incoming) -> None:
        authorization = request.headers.get("authorization", "")
        if self._entra is not None and authorization:
            self._entra.verify(authorization)
        else:
            self._check_key(request)

    def _check_key(self, request: Incoming) -> None:
        given = request.headers.get("x-etl-key") or request.query.get("key") or ""
        if not given:
            raise RefusedCall("the call carries no key (header X-ETL-Key, or key in the URL's query)")
        # Compared in constant time, and with every key, so that an answer's time tells nothing.
        known = [hmac.compare_digest(given.encode(), key.reveal().encode()) for key in self._settings.keys]
        if not any(known):
            raise ForbiddenCall("the call's key is wrong")

    def _check_age(self, moment: str, what: str) -> None:
        age = self._now() - instant(moment, what).timestamp()
        if age > self._settings.max_age_seconds:
            raise ForbiddenCall(f"the {what} is too old: {age:.0f} seconds")
        if age < -_AHEAD_SECONDS:
            raise ForbiddenCall(f"the {what} is from the future")


def _from_pubsub(envelope: Mapping[str, Any]) -> Received:
    found = cloud_storage.from_pubsub(envelope)
    if isinstance(found, str):
        return Received(wake=(found,), patient=True)
    return Received((found,) if found is not None else (), patient=True)


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise unreadable(what, "", "is not a JSON object")
    return value
