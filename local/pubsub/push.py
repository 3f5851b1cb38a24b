"""Push deliveries: an HTTP POST for each message. https://cloud.google.com/pubsub/docs/push"""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from google.pubsub_v1.types import PubsubMessage, PushConfig, ReceivedMessage, Subscription

from etl_runner.jsontypes import JsonObject
from local.pubsub.broker import Broker, BrokerError
from local.rest import opener

_ACKNOWLEDGED = frozenset({102, 200, 201, 202, 204})
_CONCURRENT = 8
_log = logging.getLogger(__name__)


Sign = Callable[[str, str], str]
"""(service account, audience) to a bearer token."""


class Pusher:
    """Delivers one subscription's messages while it has a push endpoint; ends with the subscription."""

    def __init__(self, broker: Broker, subscription: str, sign: Sign | None = None) -> None:
        self._broker = broker
        self._sign = sign or identity_token
        self._name = subscription
        self._free = threading.Semaphore(_CONCURRENT)
        threading.Thread(target=self._run, name=f"push {subscription}", daemon=True).start()

    def _run(self) -> None:
        with ThreadPoolExecutor(_CONCURRENT) as pool:
            while not self._broker.closed:
                try:
                    config = self._broker.subscription(self._name)
                    if not config.push_config.push_endpoint:
                        time.sleep(0.1)
                        continue
                    self._free.acquire()
                    taken = self._broker.take(self._name, lambda _: 1, timeout=1.0)
                except BrokerError:
                    return  # the subscription was deleted
                if not taken:
                    self._free.release()
                for received in taken:
                    pool.submit(self._deliver, config, received)

    def _deliver(self, config: Subscription, received: ReceivedMessage) -> None:
        try:
            if post(config, received, self._sign):
                self._broker.acknowledge(self._name, [received.ack_id])
            else:
                time.sleep(0.1)  # without a retry policy redelivery is immediate: not quite, here
                self._broker.modify_deadline(self._name, [received.ack_id], 0)
        except BrokerError as error:
            _log.info("push to %s: %s", self._name, error)
        finally:
            self._free.release()


def post(config: Subscription, received: ReceivedMessage, sign: Sign | None = None) -> bool:
    """Send one message; whether the endpoint took it."""
    push = config.push_config
    headers, body = _request(config, push, received)
    token = push.oidc_token
    if token.service_account_email:
        headers["Authorization"] = "Bearer " + (sign or identity_token)(
            token.service_account_email, token.audience or push.push_endpoint
        )
    request = urllib.request.Request(push.push_endpoint, body, headers, method="POST")  # noqa: S310
    try:
        with opener.open(request, timeout=config.ack_deadline_seconds or 10) as answer:
            return answer.status in _ACKNOWLEDGED
    except urllib.error.HTTPError as error:
        _log.info("push to %s answered %s", push.push_endpoint, error.code)
        return False
    except OSError as error:
        _log.info("push to %s failed: %s", push.push_endpoint, error)
        return False


def _request(
    config: Subscription, push: PushConfig, received: ReceivedMessage
) -> tuple[dict[str, str], bytes]:
    headers = {"User-Agent": "CloudPubSub-Google", "From": "noreply@google.com"}
    if "no_wrapper" in push:
        if push.no_wrapper.write_metadata:
            headers |= {f"x-goog-pubsub-{k}": v for k, v in _metadata(config, received.message).items()}
            # Attributes become headers, which is what makes a binary-mode CloudEvent of ce-* attributes.
            headers |= dict(received.message.attributes)
        return headers, bytes(received.message.data)
    headers["Content-Type"] = "application/json"
    wrapped: JsonObject = {"message": _message(received.message), "subscription": config.name}
    if received.delivery_attempt:
        wrapped["deliveryAttempt"] = received.delivery_attempt
    return headers, json.dumps(wrapped).encode()


def _metadata(config: Subscription, message: PubsubMessage) -> dict[str, str]:
    metadata = {
        "subscription-name": config.name,
        "message-id": message.message_id,
        "publish-time": _time(message),
    }
    if message.ordering_key:
        metadata["ordering-key"] = message.ordering_key
    return metadata


def _message(message: PubsubMessage) -> JsonObject:
    # The service sends the id and the time under both spellings.
    value: JsonObject = {
        "attributes": dict(message.attributes),
        "data": base64.b64encode(message.data).decode(),
        "messageId": message.message_id,
        "message_id": message.message_id,
        "publishTime": _time(message),
        "publish_time": _time(message),
    }
    if message.ordering_key:
        value["orderingKey"] = message.ordering_key
    return value


def _time(message: PubsubMessage) -> str:
    return str(message.publish_time.isoformat()).replace("+00:00", "Z")


def identity_token(email: str, audience: str) -> str:
    """A token with the claims of Google's, unsigned: enough for code that reads who calls whom."""
    issued = int(time.time())
    claims = {
        "iss": "https://accounts.google.com",
        "aud": audience,
        "azp": email,
        "sub": email,
        "email": email,
        "email_verified": True,
        "iat": issued,
        "exp": issued + 3600,
    }
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, ""])
