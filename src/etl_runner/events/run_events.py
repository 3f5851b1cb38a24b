"""Run events: one CloudEvent a finished run, on Pub/Sub.

Binary content mode of the Pub/Sub binding: the context attributes are message attributes with the prefix
``ce-``, the data is the receipt as JSON.
https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/google-cloud-pubsub-protocol-binding.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from etl_runner import jsontypes
from etl_runner.gcp.faults import translated

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.cloud.pubsub_v1 import PublisherClient

_TIMEOUT_SECONDS = 20


def run_event(receipt: dict[str, Any], project: str) -> tuple[bytes, dict[str, str]]:
    """The data and the attributes of a run's event. Its id is the run's, so that copies are recognised."""
    attributes = {
        "ce-specversion": "1.0",
        "ce-id": f"{receipt['run_id']}-{receipt['epoch']}",
        "ce-source": f"//etl-runner/projects/{project}/sources/{receipt['source_id']}",
        "ce-type": f"etl-runner.run.{receipt['outcome']}",
        "ce-subject": receipt["run_id"],
        "ce-time": receipt["finished"],
        "content-type": "application/json",
    }
    return jsontypes.dumps(receipt), attributes


class PubSubRunEvents:
    """Publishes run events to one topic."""

    def __init__(self, publisher: Callable[[], PublisherClient], project: str, topic: str) -> None:
        self._publisher = publisher
        self._project = project
        self._topic = topic if topic.startswith("projects/") else f"projects/{project}/topics/{topic}"

    def publish(self, receipt: dict[str, Any]) -> None:
        """Publish and wait for the acknowledgement.

        Raises:
            RetryableError, PermanentError: Pub/Sub did not take it.
        """
        data, attributes = run_event(receipt, self._project)
        with translated(f"publishing to {self._topic}"):
            future = self._publisher().publish(self._topic, data, **attributes)
            future.result(timeout=_TIMEOUT_SECONDS)


class NoRunEvents:
    """For a deployment without an events topic."""

    def publish(self, receipt: dict[str, Any]) -> None:
        """Tell nobody."""
        del receipt
