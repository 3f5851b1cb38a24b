"""Pub/Sub as the official clients see it."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import pytest
from google.api_core.exceptions import AlreadyExists, InvalidArgument, NotFound
from google.cloud import pubsub_v1
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from local.pubsub import PubSubServer
from tests.conftest import fresh_name

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def server() -> Iterator[PubSubServer]:
    server = PubSubServer()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def publisher(server: PubSubServer) -> Any:
    transport = PublisherGrpcTransport(channel=grpc.insecure_channel(server.endpoint))
    options = pubsub_v1.types.PublisherOptions(enable_message_ordering=True)
    return pubsub_v1.PublisherClient(publisher_options=options, transport=transport)


@pytest.fixture(scope="module")
def subscriber(server: PubSubServer) -> Any:
    return pubsub_v1.SubscriberClient(
        transport=SubscriberGrpcTransport(channel=grpc.insecure_channel(server.endpoint))
    )


@pytest.fixture
def topic(publisher: Any) -> str:
    return str(publisher.create_topic(name=f"projects/p/topics/{fresh_name('t')}").name)


@pytest.fixture
def subscribe(subscriber: Any, topic: str) -> Iterator[Callable[..., str]]:
    made: list[str] = []

    def create(**options: Any) -> str:
        name = f"projects/p/subscriptions/{fresh_name('s')}"
        request = {"name": name, "topic": topic, **options}
        made.append(subscriber.create_subscription(request=request).name)
        return name

    yield create
    for name in made:
        subscriber.delete_subscription(subscription=name)


def _pull(subscriber: Any, name: str, count: int = 10, timeout: float = 5) -> list[Any]:
    request = {"subscription": name, "max_messages": count}
    return list(subscriber.pull(request=request, timeout=timeout).received_messages)


def _wait_for(condition: Callable[[], Any]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came true")


def test_every_subscription_gets_every_message(
    publisher: Any, subscriber: Any, topic: str, subscribe: Callable[..., str]
) -> None:
    first, second = subscribe(), subscribe()
    ids = [publisher.publish(topic, b"x", kind="a").result(), publisher.publish(topic, b"y").result()]
    for name in (first, second):
        got = _pull(subscriber, name)
        assert [(m.message.message_id, m.message.data) for m in got] == [(ids[0], b"x"), (ids[1], b"y")]
        assert dict(got[0].message.attributes) == {"kind": "a"}
        assert got[0].message.publish_time.timestamp() == pytest.approx(time.time(), abs=60)
        assert got[0].delivery_attempt == 0
        subscriber.acknowledge(subscription=name, ack_ids=[m.ack_id for m in got])


def test_a_message_comes_again_until_it_is_acknowledged(
    publisher: Any, subscriber: Any, topic: str, subscribe: Callable[..., str]
) -> None:
    name = subscribe(ack_deadline_seconds=10)
    publisher.publish(topic, b"x").result()
    (nacked,) = _pull(subscriber, name)
    subscriber.modify_ack_deadline(subscription=name, ack_ids=[nacked.ack_id], ack_deadline_seconds=0)
    (late,) = _pull(subscriber, name)
    subscriber.modify_ack_deadline(subscription=name, ack_ids=[late.ack_id], ack_deadline_seconds=1)
    (again,) = _pull(subscriber, name)
    assert again.message.message_id == nacked.message.message_id
    subscriber.acknowledge(subscription=name, ack_ids=[late.ack_id, again.ack_id])
    assert _pull(subscriber, name, timeout=0.5) == []


def test_a_retry_policy_delays_redelivery(
    publisher: Any, subscriber: Any, topic: str, subscribe: Callable[..., str]
) -> None:
    name = subscribe(retry_policy={"minimum_backoff": {"seconds": 600}, "maximum_backoff": {"seconds": 600}})
    publisher.publish(topic, b"x").result()
    (got,) = _pull(subscriber, name)
    subscriber.modify_ack_deadline(subscription=name, ack_ids=[got.ack_id], ack_deadline_seconds=0)
    assert _pull(subscriber, name, timeout=0.5) == []


def test_a_filter_drops_what_does_not_match(
    publisher: Any, subscriber: Any, topic: str, subscribe: Callable[..., str]
) -> None:
    name = subscribe(filter='attributes.kind = "a"')
    for kind in ("b", "a"):
        publisher.publish(topic, b"x", kind=kind).result()
    assert [m.message.attributes["kind"] for m in _pull(subscriber, name)] == ["a"]
    with pytest.raises(InvalidArgument, match="Filter"):
        subscribe(filter="kind = a")


def test_dead_letters_go_to_their_topic(
    publisher: Any, subscriber: Any, topic: str, subscribe: Callable[..., str]
) -> None:
    grave = publisher.create_topic(name=f"projects/p/topics/{fresh_name('dead')}").name
    buried = f"projects/p/subscriptions/{fresh_name('s')}"
    subscriber.create_subscription(request={"name": buried, "topic": grave})
    name = subscribe(dead_letter_policy={"dead_letter_topic": grave, "max_delivery_attempts": 5})
    publisher.publish(topic, b"x", kind="a").result()
    for attempt in range(1, 6):
        (got,) = _pull(subscriber, name)
        assert got.delivery_attempt == attempt
        subscriber.modify_ack_deadline(subscription=name, ack_ids=[got.ack_id], ack_deadline_seconds=0)
    (letter,) = _pull(subscriber, buried)
    assert (letter.message.data, letter.message.attributes["kind"]) == (b"x", "a")
    assert letter.message.attributes["CloudPubSubDeadLetterSourceSubscription"] == name.rsplit("/", 1)[1]
    assert letter.message.attributes["CloudPubSubDeadLetterSourceDeliveryCount"] == "5"
    assert _pull(subscriber, name, timeout=0.5) == []


def test_one_message_of_an_ordering_key_is_out_at_a_time(
    publisher: Any, subscriber: Any, topic: str, subscribe: Callable[..., str]
) -> None:
    name = subscribe(enable_message_ordering=True)
    for i in range(3):
        publisher.publish(topic, b"a%d" % i, ordering_key="a").result()
    publisher.publish(topic, b"b0", ordering_key="b").result()
    publisher.publish(topic, b"free").result()
    seen = []
    while got := _pull(subscriber, name, timeout=1):
        keys = [m.message.ordering_key for m in got if m.message.ordering_key]
        assert len(keys) == len(set(keys))
        seen += [m.message.data for m in got if m.message.ordering_key == "a"]
        subscriber.acknowledge(subscription=name, ack_ids=[m.ack_id for m in got])
    assert seen == [b"a0", b"a1", b"a2"]


def test_a_streaming_pull_takes_many_and_honours_flow_control(
    publisher: Any, subscriber: Any, topic: str, subscribe: Callable[..., str]
) -> None:
    name = subscribe()
    lock = threading.Lock()
    seen: list[bytes] = []
    running, most = 0, 0

    def receive(message: Any) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            first = message.data not in seen
            seen.append(message.data)
        time.sleep(0.001)
        with lock:
            running -= 1
        if first and message.data.endswith(b"7"):
            message.nack()
        else:
            message.ack()

    wanted = [str(i).encode() for i in range(300)]
    for future in [publisher.publish(topic, data) for data in wanted]:
        future.result()
    flow = pubsub_v1.types.FlowControl(max_messages=5)
    streaming = subscriber.subscribe(name, receive, flow_control=flow)
    _wait_for(lambda: len(seen) >= 330)
    streaming.cancel()
    streaming.result(timeout=10)
    assert set(seen) == set(wanted)
    assert len(seen) == 330
    assert most <= 5


class _Endpoint:
    """An HTTP server that answers with the next of ``statuses``, the last one for ever."""

    def __init__(self, *statuses: int) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        answers = list(statuses)
        requests = self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                requests.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(answers.pop(0) if len(answers) > 1 else answers[0])
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/push"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_push_repeats_until_success_with_a_token(
    publisher: Any, topic: str, subscribe: Callable[..., str]
) -> None:
    endpoint = _Endpoint(503, 500, 204)
    try:
        name = subscribe(
            push_config={
                "push_endpoint": endpoint.url,
                "oidc_token": {"service_account_email": "push@p.iam", "audience": "https://me"},
            }
        )
        sent = publisher.publish(topic, b"data", kind="a").result()
        _wait_for(lambda: len(endpoint.requests) == 3)
        headers, body = endpoint.requests[-1]
        wrapped = json.loads(body)
        assert wrapped["subscription"] == name
        assert wrapped["message"]["messageId"] == sent
        assert base64.b64decode(wrapped["message"]["data"]) == b"data"
        assert wrapped["message"]["attributes"] == {"kind": "a"}
        claims = headers["authorization"].removeprefix("Bearer ").split(".")[1]
        decoded = json.loads(base64.urlsafe_b64decode(claims + "=="))
        assert (decoded["aud"], decoded["email"]) == ("https://me", "push@p.iam")
        assert decoded["exp"] > time.time()
        time.sleep(0.5)
        assert len(endpoint.requests) == 3
    finally:
        endpoint.close()


def test_push_without_wrapper_is_a_binary_cloudevent(
    publisher: Any, topic: str, subscribe: Callable[..., str]
) -> None:
    endpoint = _Endpoint(200)
    try:
        subscribe(push_config={"push_endpoint": endpoint.url, "no_wrapper": {"write_metadata": True}})
        attributes = {
            "ce-type": "google.cloud.storage.object.v1.finalized",
            "Content-Type": "application/json",
        }
        publisher.publish(topic, b'{"name":"x"}', **attributes).result()
        _wait_for(lambda: endpoint.requests)
        headers, body = endpoint.requests[0]
        assert body == b'{"name":"x"}'
        assert headers["ce-type"] == "google.cloud.storage.object.v1.finalized"
        assert headers["content-type"] == "application/json"
    finally:
        endpoint.close()


def test_what_is_missing_or_taken_is_refused(
    publisher: Any, subscriber: Any, topic: str, subscribe: Callable[..., str]
) -> None:
    name = subscribe()
    with pytest.raises(AlreadyExists):
        publisher.create_topic(name=topic)
    with pytest.raises(AlreadyExists):
        subscriber.create_subscription(request={"name": name, "topic": topic})
    with pytest.raises(NotFound):
        publisher.publish("projects/p/topics/none", b"x").result()
    with pytest.raises(NotFound):
        _pull(subscriber, "projects/p/subscriptions/none")
    with pytest.raises(InvalidArgument):
        publisher.publish(topic, b"").result()


def test_listing_and_deleting(
    publisher: Any, subscriber: Any, topic: str, subscribe: Callable[..., str]
) -> None:
    name = subscribe()
    assert topic in [t.name for t in publisher.list_topics(project="projects/p")]
    assert list(publisher.list_topic_subscriptions(topic=topic)) == [name]
    assert name in [s.name for s in subscriber.list_subscriptions(project="projects/p")]
    publisher.delete_topic(topic=topic)
    assert subscriber.get_subscription(subscription=name).topic == "_deleted-topic_"
