"""One subscription's messages: waiting, delayed, leased. No locks here: the broker holds one."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from google.pubsub_v1.types import PubsubMessage, ReceivedMessage, Subscription

from local.pubsub.filters import parse_filter

_DEFAULT_ACK_DEADLINE = 10
_DEFAULT_DELIVERY_ATTEMPTS = 5
_DEFAULT_MINIMUM_BACKOFF = 10.0
_DEFAULT_MAXIMUM_BACKOFF = 600.0


@dataclass
class Delivery:
    """A message on its way; ``attempt`` counts from 1."""

    message: PubsubMessage
    attempt: int = 1


@dataclass
class Lease:
    """A message that a subscriber has, until ``deadline`` on the monotonic clock."""

    delivery: Delivery
    deadline: float


class SubscriptionQueue:
    """Deliveries of one subscription."""

    def __init__(self, config: Subscription) -> None:
        """Raises FilterSyntaxError for a filter that cannot be read."""
        self.config = config
        self._passes = parse_filter(config.filter)
        self._ready: deque[Delivery] = deque()
        self._delayed: list[tuple[float, int, Delivery]] = []
        self._leases: dict[str, Lease] = {}
        # Of each ordering key with a message on its way: those that wait behind it.
        self._behind: dict[str, deque[Delivery]] = {}
        self._numbers = itertools.count(1)

    @property
    def ack_deadline(self) -> float:
        """Seconds that a subscriber has by default."""
        return float(self.config.ack_deadline_seconds or _DEFAULT_ACK_DEADLINE)

    @property
    def leased(self) -> set[str]:
        """The ack ids that are out."""
        return set(self._leases)

    def add(self, message: PubsubMessage) -> None:
        """Take a published message if the filter lets it pass."""
        if not self._passes(message.attributes):
            return
        delivery = Delivery(message)
        key = self._key(delivery)
        if key and key in self._behind:
            self._behind[key].append(delivery)
            return
        if key:
            self._behind[key] = deque()
        self._ready.append(delivery)

    def take(self, limit: int, now: float) -> list[ReceivedMessage]:
        """Lease up to ``limit`` messages that are due."""
        while self._delayed and self._delayed[0][0] <= now:
            self._ready.append(heapq.heappop(self._delayed)[2])
        taken: list[ReceivedMessage] = []
        while self._ready and len(taken) < limit:
            delivery = self._ready.popleft()
            ack_id = f"{delivery.message.message_id}:{next(self._numbers)}"
            self._leases[ack_id] = Lease(delivery, now + self.ack_deadline)
            # The attempt is shown only where a dead letter policy counts it.
            shown = delivery.attempt if self.config.dead_letter_policy.dead_letter_topic else 0
            taken.append(ReceivedMessage(ack_id=ack_id, message=delivery.message, delivery_attempt=shown))
        return taken

    def expire(self, now: float) -> list[Delivery]:
        """End the leases that are past their deadline; the deliveries that are dead letters now."""
        late = [ack_id for ack_id, lease in self._leases.items() if lease.deadline <= now]
        return self.modify(late, 0, now)

    def acknowledge(self, ack_ids: Iterable[str]) -> None:
        """Messages that are done; ids whose lease has ended are ignored, as the service does."""
        for ack_id in ack_ids:
            lease = self._leases.pop(ack_id, None)
            if lease is not None:
                self._finish(lease.delivery)

    def modify(self, ack_ids: Iterable[str], seconds: float, now: float) -> list[Delivery]:
        """New deadline for leases, 0 gives them back; the deliveries that are dead letters now."""
        dead: list[Delivery] = []
        for ack_id in ack_ids:
            lease = self._leases.get(ack_id)
            if lease is None:
                continue
            if seconds > 0:
                lease.deadline = now + seconds
                continue
            del self._leases[ack_id]
            if self._is_dead(lease.delivery):
                self._finish(lease.delivery)
                dead.append(lease.delivery)
            else:
                self._again(lease.delivery, now)
        return dead

    def _is_dead(self, delivery: Delivery) -> bool:
        policy = self.config.dead_letter_policy
        limit = policy.max_delivery_attempts or _DEFAULT_DELIVERY_ATTEMPTS
        return bool(policy.dead_letter_topic) and delivery.attempt >= limit

    def _again(self, delivery: Delivery, now: float) -> None:
        due = now + self._backoff(delivery.attempt)
        delivery.attempt += 1
        heapq.heappush(self._delayed, (due, next(self._numbers), delivery))

    def _backoff(self, attempt: int) -> float:
        """Seconds until the next attempt: none without a retry policy, else exponential."""
        if "retry_policy" not in self.config:
            return 0.0
        policy = self.config.retry_policy
        minimum, maximum = _DEFAULT_MINIMUM_BACKOFF, _DEFAULT_MAXIMUM_BACKOFF
        if "minimum_backoff" in policy:
            minimum = policy.minimum_backoff.total_seconds()
        if "maximum_backoff" in policy:
            maximum = policy.maximum_backoff.total_seconds()
        return float(min(minimum * 2 ** min(attempt - 1, 30), max(minimum, maximum)))

    def _finish(self, delivery: Delivery) -> None:
        key = self._key(delivery)
        if not key:
            return
        behind = self._behind[key]
        if behind:
            self._ready.append(behind.popleft())
        else:
            del self._behind[key]

    def _key(self, delivery: Delivery) -> str:
        return str(delivery.message.ordering_key) if self.config.enable_message_ordering else ""
