"""What AWS and Azure do when an object was written: tell file_arrival, again and again until it takes it.

S3: moto sends its notifications to a queue, and here each is posted as EventBridge's API destination would
post it. Azurite has no events at all: whoever writes a blob here posts Event Grid's message too.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus
from uuid import uuid4

from etl_runner.errors import PermanentError
from local import rest
from local.azure import ACCOUNT, AzureServer
from local.s3 import S3Server

_log = logging.getLogger(__name__)
Deliver = Callable[[Any], object]


def deliverer(url: str, key: str, attempts: int = 20) -> Deliver:
    """Posts messages to file_arrival with the shared key, with growing pauses until it takes them."""

    def deliver(message: Any) -> bool:
        for attempt in range(attempts):
            try:
                status, answer = rest.call("POST", url, message, timeout=600, headers={"X-ETL-Key": key})
            except PermanentError as error:
                status, answer = 0, error
            if 200 <= status < 300:
                return True
            _log.info("%s answered %s: %s", url, status, answer)
            time.sleep(min(5.0, 0.2 * 2**attempt))
        return False

    return deliver


def event_bridge(record: dict[str, Any]) -> dict[str, Any]:
    """EventBridge's event for a record of an S3 notification."""
    bucket, item = record["s3"]["bucket"]["name"], record["s3"]["object"]
    return {
        "version": "0",
        "id": str(uuid4()),
        "detail-type": "Object Created",
        "source": "aws.s3",
        "account": "123456789012",
        "time": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "region": "us-east-1",
        "resources": [f"arn:aws:s3:::{bucket}"],
        "detail": {
            "version": "0",
            "bucket": {"name": bucket},
            "object": {
                "key": unquote_plus(item["key"]),
                "size": item["size"],
                "etag": item["eTag"].strip('"'),
                "sequencer": "00",
            },
            "reason": "PutObject",
        },
    }


def event_grid(container: str, name: str, etag: str, size: int) -> dict[str, Any]:
    """Event Grid's CloudEvent for a blob that was written."""
    account = (
        f"/subscriptions/local/resourceGroups/local/providers/Microsoft.Storage/storageAccounts/{ACCOUNT}"
    )
    return {
        "specversion": "1.0",
        "type": "Microsoft.Storage.BlobCreated",
        "source": account,
        "subject": f"/blobServices/default/containers/{container}/blobs/{name}",
        "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "id": str(uuid4()),
        "data": {"api": "PutBlob", "eTag": etag, "contentLength": size, "blobType": "BlockBlob"},
    }


def put_blob(server: AzureServer, container: str, name: str, data: bytes, deliver: Deliver) -> None:
    """Write a blob and deliver its event."""
    written = server.client().get_blob_client(container, name).upload_blob(data, overwrite=True)
    deliver([event_grid(container, name, str(written["etag"]), len(data))])


class S3Events:
    """Delivers the object-created events of one bucket, from a thread of its own."""

    def __init__(self, server: S3Server, bucket: str, deliver: Deliver) -> None:
        self._sqs = server.client("sqs")
        self._deliver = deliver
        self._queue = self._sqs.create_queue(QueueName=f"events-of-{bucket}")["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])
        server.client().put_bucket_notification_configuration(
            Bucket=bucket,
            NotificationConfiguration={
                "QueueConfigurations": [
                    {"QueueArn": attributes["Attributes"]["QueueArn"], "Events": ["s3:ObjectCreated:*"]}
                ]
            },
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"events of {bucket}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop; a delivery that is being made ends first."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            answer = self._sqs.receive_message(
                QueueUrl=self._queue, MaxNumberOfMessages=10, WaitTimeSeconds=1
            )
            for message in answer.get("Messages", ()):
                for record in json.loads(message["Body"]).get("Records", ()):
                    self._deliver(event_bridge(record))
                self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
