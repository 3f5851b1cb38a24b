"""The gRPC surface, over google-cloud-pubsub's own message types."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
from google.protobuf import empty_pb2
from google.pubsub_v1.types import pubsub as types

from local.pubsub.broker import Broker, BrokerError
from local.pubsub.push import Pusher, Sign

_PULL_SECONDS = 90.0
_STREAM_BATCH = 100
_STREAM_OUTSTANDING = 1000
_THREADS = 64

Empty = empty_pb2.Empty


class PubSubServer:
    """A server on loopback; ``endpoint`` is the value of ``PUBSUB_EMULATOR_HOST``."""

    def __init__(self, *, port: int = 0, sign: Sign | None = None) -> None:
        """``sign`` makes the bearer tokens of push requests; unsigned ones when absent."""
        self.broker = Broker()
        self._sign = sign
        self._server = grpc.server(futures.ThreadPoolExecutor(_THREADS))
        publisher, subscriber = _handlers(self.broker, sign)
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler("google.pubsub.v1.Publisher", publisher),
                grpc.method_handlers_generic_handler("google.pubsub.v1.Subscriber", subscriber),
            )
        )
        bound = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self.endpoint = f"127.0.0.1:{bound}"
        self._server.start()

    def create_topic(self, project: str, topic: str) -> str:
        """Create a topic; its full name."""
        return str(self.broker.create_topic(types.Topic(name=f"projects/{project}/topics/{topic}")).name)

    def create_push(self, topic: str, name: str, endpoint: str, account: str, seconds: int = 600) -> None:
        """Push a topic's messages, both full names, to an endpoint, whose URL is the tokens' audience; the
        endpoint has so many seconds to answer."""
        made = self.broker.create_subscription(
            types.Subscription(
                name=name,
                topic=topic,
                ack_deadline_seconds=seconds,
                push_config=types.PushConfig(
                    push_endpoint=endpoint,
                    oidc_token=types.PushConfig.OidcToken(service_account_email=account, audience=endpoint),
                ),
            )
        )
        Pusher(self.broker, made.name, self._sign)

    def stop(self) -> None:
        """Stop serving."""
        self.broker.close()
        self._server.stop(grace=0.1).wait()


def _handlers(broker: Broker, sign: Sign | None) -> tuple[dict[str, Any], dict[str, Any]]:
    def create_subscription(request: Any, _: Any) -> Any:
        made = broker.create_subscription(request)
        Pusher(broker, made.name, sign)
        return made

    def pull(request: Any, context: Any) -> Any:
        wait = 0.0 if request.return_immediately else _PULL_SECONDS
        if (left := context.time_remaining()) is not None:
            wait = min(wait, max(0.0, left - 0.1))
        received = broker.take(
            request.subscription,
            lambda _: request.max_messages or 1,
            timeout=wait,
            active=context.is_active,
        )
        return types.PullResponse(received_messages=received)

    def nothing(call: Callable[[Any], None]) -> Callable[[Any, Any], Any]:
        def answer(request: Any, _: Any) -> Any:
            call(request)
            return Empty()

        return answer

    publisher = {
        "CreateTopic": _unary(lambda r, _: broker.create_topic(r), types.Topic, types.Topic),
        "GetTopic": _unary(lambda r, _: broker.topic(r.topic), types.GetTopicRequest, types.Topic),
        "ListTopics": _unary(
            lambda r, _: types.ListTopicsResponse(topics=broker.topics(r.project)),
            types.ListTopicsRequest,
            types.ListTopicsResponse,
        ),
        "ListTopicSubscriptions": _unary(
            lambda r, _: types.ListTopicSubscriptionsResponse(
                subscriptions=[config.name for config in broker.subscriptions(topic=r.topic)]
            ),
            types.ListTopicSubscriptionsRequest,
            types.ListTopicSubscriptionsResponse,
        ),
        "DeleteTopic": _unary(
            nothing(lambda r: broker.delete_topic(r.topic)), types.DeleteTopicRequest, Empty
        ),
        "Publish": _unary(
            lambda r, _: types.PublishResponse(message_ids=broker.publish(r.topic, r.messages)),
            types.PublishRequest,
            types.PublishResponse,
        ),
    }
    subscriber = {
        "CreateSubscription": _unary(create_subscription, types.Subscription, types.Subscription),
        "GetSubscription": _unary(
            lambda r, _: broker.subscription(r.subscription),
            types.GetSubscriptionRequest,
            types.Subscription,
        ),
        "ListSubscriptions": _unary(
            lambda r, _: types.ListSubscriptionsResponse(
                subscriptions=broker.subscriptions(project=r.project)
            ),
            types.ListSubscriptionsRequest,
            types.ListSubscriptionsResponse,
        ),
        "DeleteSubscription": _unary(
            nothing(lambda r: broker.delete_subscription(r.subscription)),
            types.DeleteSubscriptionRequest,
            Empty,
        ),
        "ModifyPushConfig": _unary(
            nothing(lambda r: broker.set_push_config(r.subscription, r.push_config)),
            types.ModifyPushConfigRequest,
            Empty,
        ),
        "Pull": _unary(pull, types.PullRequest, types.PullResponse),
        "Acknowledge": _unary(
            nothing(lambda r: broker.acknowledge(r.subscription, r.ack_ids)), types.AcknowledgeRequest, Empty
        ),
        "ModifyAckDeadline": _unary(
            nothing(lambda r: broker.modify_deadline(r.subscription, r.ack_ids, r.ack_deadline_seconds)),
            types.ModifyAckDeadlineRequest,
            Empty,
        ),
        "StreamingPull": grpc.stream_stream_rpc_method_handler(
            lambda requests, context: _Stream(broker, requests, context).responses(),
            request_deserializer=types.StreamingPullRequest.deserialize,
            response_serializer=types.StreamingPullResponse.serialize,
        ),
    }
    return publisher, subscriber


def _unary(call: Callable[[Any, Any], Any], request: Any, response: Any) -> Any:
    def answer(message: Any, context: Any) -> Any:
        try:
            return call(message, context)
        except BrokerError as error:
            context.abort(error.status, str(error))

    serializer = Empty.SerializeToString if response is Empty else response.serialize
    return grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=request.deserialize, response_serializer=serializer
    )


class _Stream:
    """One streaming pull: requests are read in a thread, messages go out while the stream lives."""

    def __init__(self, broker: Broker, requests: Iterator[Any], context: Any) -> None:
        self._broker = broker
        self._requests = requests
        self._context = context
        first = next(requests)
        self._subscription = first.subscription
        self._limit = first.max_outstanding_messages or _STREAM_OUTSTANDING
        self._mine: set[str] = set()

    def responses(self) -> Iterator[Any]:
        threading.Thread(target=self._read, daemon=True).start()
        try:
            while self._context.is_active() and not self._broker.closed:
                taken = self._broker.take(
                    self._subscription, self._room, timeout=0.5, active=self._context.is_active
                )
                if taken:
                    self._mine |= {received.ack_id for received in taken}
                    yield types.StreamingPullResponse(received_messages=taken)
        except BrokerError as error:
            self._context.abort(error.status, str(error))

    def _room(self, leased: set[str]) -> int:
        self._mine &= leased
        return min(_STREAM_BATCH, self._limit - len(self._mine))

    def _read(self) -> None:
        # The iterator raises when the client hangs up; a BrokerError shows in responses() as well.
        with contextlib.suppress(grpc.RpcError, BrokerError):
            for request in self._requests:
                self._broker.acknowledge(self._subscription, request.ack_ids)
                pairs = zip(request.modify_deadline_ack_ids, request.modify_deadline_seconds, strict=True)
                for ack_id, seconds in pairs:
                    self._broker.modify_deadline(self._subscription, [ack_id], seconds)
