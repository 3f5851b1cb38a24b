"""Topics and subscriptions, in memory, behind one lock."""

from __future__ import annotations

import datetime as dt
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Sequence

import grpc
from google.pubsub_v1.types import PubsubMessage, PushConfig, ReceivedMessage, Subscription, Topic

from local.pubsub.filters import FilterSyntaxError
from local.pubsub.subscription import Delivery, SubscriptionQueue

DELETED_TOPIC = "_deleted-topic_"
_MAX_WAIT_SECONDS = 0.25  # leases and delays end without anybody's notice


class BrokerError(Exception):
    """A refused call: gRPC status and message."""

    def __init__(self, status: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.status = status


class Broker:
    """All calls are thread-safe; names are full ones, ``projects/<p>/topics/<t>``."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._topics: dict[str, Topic] = {}
        self._queues: dict[str, SubscriptionQueue] = {}
        self._ids = itertools.count(1)
        self._closed = False

    # Topics

    def create_topic(self, topic: Topic) -> Topic:
        with self._changed:
            if topic.name in self._topics:
                raise _exists("Topic", topic.name)
            self._topics[topic.name] = topic
            return topic

    def topic(self, name: str) -> Topic:
        with self._changed:
            if name not in self._topics:
                raise _missing(name)
            return self._topics[name]

    def topics(self, project: str) -> list[Topic]:
        with self._changed:
            return [topic for name, topic in self._topics.items() if name.startswith(f"{project}/")]

    def delete_topic(self, name: str) -> None:
        """Its subscriptions stay, attached to nothing."""
        with self._changed:
            self.topic(name)
            del self._topics[name]
            for queue in self._queues.values():
                if queue.config.topic == name:
                    queue.config.topic = DELETED_TOPIC

    def publish(self, name: str, messages: Iterable[PubsubMessage]) -> list[str]:
        """The ids of the messages, in order."""
        with self._changed:
            self.topic(name)
            published: list[str] = []
            for given in messages:
                if not given.data and not given.attributes:
                    raise BrokerError(
                        grpc.StatusCode.INVALID_ARGUMENT,
                        "Each message must have data or at least one attribute.",
                    )
                message = PubsubMessage(given)
                message.message_id = str(next(self._ids))
                message.publish_time = dt.datetime.now(dt.UTC)
                published.append(message.message_id)
                for queue in self._queues.values():
                    if queue.config.topic == name:
                        queue.add(message)
            self._changed.notify_all()
            return published

    # Subscriptions

    def create_subscription(self, config: Subscription) -> Subscription:
        with self._changed:
            self.topic(config.topic)
            if config.name in self._queues:
                raise _exists("Subscription", config.name)
            try:
                self._queues[config.name] = SubscriptionQueue(config)
            except FilterSyntaxError as error:
                raise BrokerError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from error
            return config

    def subscription(self, name: str) -> Subscription:
        with self._changed:
            return self._queue(name).config

    def subscriptions(self, *, project: str | None = None, topic: str | None = None) -> list[Subscription]:
        """Those of a project, or those of a topic."""
        with self._changed:
            configs = [queue.config for queue in self._queues.values()]
        if topic is not None:
            return [config for config in configs if config.topic == topic]
        return [config for config in configs if config.name.startswith(f"{project}/")]

    def delete_subscription(self, name: str) -> None:
        with self._changed:
            self._queue(name)
            del self._queues[name]
            self._changed.notify_all()

    def set_push_config(self, name: str, push: PushConfig) -> None:
        with self._changed:
            self._queue(name).config.push_config = push
            self._changed.notify_all()

    # Deliveries

    def take(
        self,
        name: str,
        limit: Callable[[set[str]], int],
        *,
        timeout: float,
        active: Callable[[], bool] = lambda: True,
    ) -> list[ReceivedMessage]:
        """Lease messages, waiting up to ``timeout`` seconds for the first.

        ``limit`` says how many, given the ack ids that are out; ``active`` ends the wait.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                now = time.monotonic()
                queue = self._queue(name)
                self._bury(queue, queue.expire(now))
                taken = queue.take(max(0, limit(queue.leased)), now)
                left = deadline - now
                if taken or left <= 0 or self._closed or not active():
                    return taken
                self._changed.wait(min(left, _MAX_WAIT_SECONDS))

    def acknowledge(self, name: str, ack_ids: Iterable[str]) -> None:
        with self._changed:
            self._queue(name).acknowledge(ack_ids)
            self._changed.notify_all()

    def modify_deadline(self, name: str, ack_ids: Iterable[str], seconds: float) -> None:
        with self._changed:
            queue = self._queue(name)
            self._bury(queue, queue.modify(ack_ids, seconds, time.monotonic()))
            self._changed.notify_all()

    def close(self) -> None:
        """Let everybody who waits go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed

    def _queue(self, name: str) -> SubscriptionQueue:
        if name not in self._queues:
            raise _missing(name)
        return self._queues[name]

    def _bury(self, queue: SubscriptionQueue, dead: Sequence[Delivery]) -> None:
        """Publish dead letters to their topic, with the attributes that say where they come from.

        https://cloud.google.com/pubsub/docs/dead-letter-topics
        """
        for delivery in dead:
            letter = PubsubMessage(delivery.message)
            prefix = "CloudPubSubDeadLetterSource"
            letter.attributes[f"{prefix}DeliveryCount"] = str(delivery.attempt)
            letter.attributes[f"{prefix}Subscription"] = queue.config.name.rsplit("/", 1)[1]
            letter.attributes[f"{prefix}SubscriptionProject"] = queue.config.name.split("/")[1]
            letter.attributes[f"{prefix}TopicPublishTime"] = delivery.message.publish_time.isoformat()
            self.publish(queue.config.dead_letter_policy.dead_letter_topic, [letter])


def _missing(name: str) -> BrokerError:
    return BrokerError(grpc.StatusCode.NOT_FOUND, f"Resource not found (resource={name.rsplit('/', 1)[-1]}).")


def _exists(kind: str, name: str) -> BrokerError:
    return BrokerError(
        grpc.StatusCode.ALREADY_EXISTS, f"{kind} already exists (resource={name.rsplit('/', 1)[-1]})."
    )
