"""What the project relies on in Cloud Storage holds for its stand-in."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from google.api_core.exceptions import PreconditionFailed
from google.cloud import storage
from google.pubsub_v1 import types

from local.cloud_storage import CloudStorageServer
from local.pubsub import PubSubServer

pytestmark = pytest.mark.stack


def _wins(bucket: storage.Bucket, name: str, data: bytes, generation: int) -> int | None:
    blob = bucket.blob(name)
    try:
        blob.upload_from_string(data, if_generation_match=generation)
    except PreconditionFailed:
        return None
    return int(blob.generation)


def test_exactly_one_of_many_creates_wins(gcs_bucket: storage.Bucket) -> None:
    for round_number in range(10):
        name = f"race/{round_number}"
        with ThreadPoolExecutor(8) as pool:
            results = list(
                pool.map(lambda i, name=name: _wins(gcs_bucket, name, str(i).encode(), 0), range(8))
            )
        (winner,) = [i for i, generation in enumerate(results) if generation is not None]
        blob = gcs_bucket.get_blob(name)
        assert blob is not None
        assert blob.generation == results[winner]
        assert blob.download_as_bytes() == str(winner).encode()


def test_compare_and_swap_loses_no_update(gcs_bucket: storage.Bucket) -> None:
    blob = gcs_bucket.blob("counter")
    blob.upload_from_string(b"0", if_generation_match=0)

    def add(_: int) -> None:
        while True:
            seen = gcs_bucket.get_blob("counter")
            assert seen is not None
            try:
                value = int(seen.download_as_bytes(if_generation_match=seen.generation))
            except PreconditionFailed:
                continue
            if _wins(gcs_bucket, "counter", str(value + 1).encode(), seen.generation):
                return

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    assert gcs_bucket.blob("counter").download_as_bytes() == b"40"


def test_generations_grow_and_old_ones_do_not_match(gcs_bucket: storage.Bucket) -> None:
    first = _wins(gcs_bucket, "x", b"1", 0)
    assert first is not None
    second = _wins(gcs_bucket, "x", b"2", first)
    assert second is not None
    assert second > first
    assert _wins(gcs_bucket, "x", b"3", first) is None
    assert _wins(gcs_bucket, "x", b"3", 0) is None
    assert gcs_bucket.blob("x").download_as_bytes() == b"2"
    gcs_bucket.blob("x").delete()
    third = _wins(gcs_bucket, "x", b"3", 0)
    assert third is not None
    assert third > second


def test_a_swap_of_a_missing_object_fails(gcs_bucket: storage.Bucket) -> None:
    assert _wins(gcs_bucket, "missing", b"1", 1234) is None
    assert gcs_bucket.get_blob("missing") is None


def test_a_listing_has_the_prefix_in_name_order_page_by_page(gcs_bucket: storage.Bucket) -> None:
    names = ["a/1", "a/10", "a/2", "a/sub/3", "ab", "b/1", "a/é", "a/x y+%2F"]
    for name in names:
        gcs_bucket.blob(name).upload_from_string(b"data")
    listed = list(gcs_bucket.client.list_blobs(gcs_bucket, prefix="a/", page_size=2))
    assert [blob.name for blob in listed] == sorted(name for name in names if name.startswith("a/"))
    assert all(blob.size == 4 and blob.generation for blob in listed)
    for blob in listed:
        assert blob.download_as_bytes() == b"data"


def test_the_tail_of_an_object_can_be_read(gcs_bucket: storage.Bucket) -> None:
    gcs_bucket.blob("tail").upload_from_string(bytes(range(256)) * 100)
    blob = gcs_bucket.blob("tail")
    assert blob.download_as_bytes(start=-8) == bytes(range(248, 256))
    assert blob.download_as_bytes(start=25_590) == bytes(range(246, 256))
    assert blob.download_as_bytes(start=256, end=259) == bytes(range(4))
    assert len(gcs_bucket.blob("tail").download_as_bytes(start=-100_000)) == 25_600


def test_a_large_file_arrives_whole_in_chunks(gcs_bucket: storage.Bucket, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(os.urandom(9 * 1024 * 1024 + 1))
    blob = gcs_bucket.blob("large", chunk_size=1024 * 1024)
    blob.upload_from_filename(str(path), if_generation_match=0)
    assert gcs_bucket.blob("large").download_as_bytes() == path.read_bytes()


def test_object_events_reach_a_topic(server_dir: Path) -> None:
    pubsub = PubSubServer()
    topic = pubsub.create_topic("p", "objects")
    name = "projects/p/subscriptions/s"
    pubsub.broker.create_subscription(types.Subscription(name=name, topic=topic))
    server = CloudStorageServer.start(
        server_dir / "gcs-events", project="p", events_topic="objects", pubsub_endpoint=pubsub.endpoint
    )
    try:
        server.create_buckets(["inbox"])
        server.create_buckets(["inbox"])
        server.client().bucket("inbox").blob("a/b.csv").upload_from_string(b"x")
        (received,) = pubsub.broker.take(name, lambda _: 10, timeout=20)
        attributes = dict(received.message.attributes)
        assert attributes["eventType"] == "OBJECT_FINALIZE"
        assert (attributes["bucketId"], attributes["objectId"]) == ("inbox", "a/b.csv")
        assert json.loads(received.message.data)["name"] == "a/b.csv"
    finally:
        server.stop()
        pubsub.stop()
