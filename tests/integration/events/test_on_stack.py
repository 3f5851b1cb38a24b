"""Object events on the local topology: real events, real servers, from the upload to the row."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from etl_runner.errors import EtlError
from etl_runner.events import handle
from etl_runner.events.object_event import ObjectEvent
from etl_runner.events.receive import Incoming, Received, Receiver
from etl_runner.events.report import files_report, replay
from etl_runner.events.settings import EventSettings
from etl_runner.events.wiring import EventParts, fetch
from etl_runner.gcp.deployment import Deployment
from etl_runner.state.ledger import Ledger
from etl_runner.state.receipts import Receipts
from local import rest
from local.azure import AzureServer
from local.identity import PUSH_ACCOUNT
from local.object_events import S3Events, deliverer, put_blob
from local.s3 import S3Server
from local.stack import Stack
from tests.conftest import fresh_name

pytestmark = pytest.mark.stack


class Desk:
    """One source of files of one test, in a folder of the landing bucket."""

    def __init__(self, stack: Stack, **settings: Any) -> None:
        self.stack = stack
        self.id = fresh_name("files")
        self.deployment = Deployment(stack.settings)
        self.parts = EventParts(
            self.deployment, EventSettings(**{"linger_seconds": 0, "retry_seconds": 0, **settings})
        )

    def source(self, connection: dict[str, Any] | None = None, **fields: Any) -> None:
        bucket = f"gs://{self.stack.layout.names.landing_bucket}/{self.id}"
        gcs = {"source_type": "gcs", "bucket": bucket, "use_runner_account": True}
        self.stack.put_connection(self.id, connection or gcs)
        document = {
            "source_type": (connection or gcs)["source_type"],
            "connection": self.id,
            "file_pattern": "*.csv",
            "load_type": "transactional",
            "dest_table_name": self.id,
        }
        self.stack.put_source(self.id, {**document, **fields})

    def rows(self) -> list[tuple[Any, ...]]:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.bigquery import Client

        names = self.stack.layout.names
        client = Client(
            project=names.project,
            location=names.bigquery_location,
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
            client_options={"api_endpoint": self.stack.layout.bigquery_endpoint},
        )
        sql = f"SELECT id, name FROM `{names.dataset}.{self.id}` ORDER BY id"
        return [tuple(row.values()) for row in client.query_and_wait(sql)]

    def receipts(self) -> list[dict[str, Any]]:
        return list(Receipts(self.deployment.state, self.id).all())

    def wait(self, runs: int) -> None:
        """Until so many runs have ended."""
        eventually(lambda: len(self.receipts()) >= runs, f"{runs} runs of {self.id}")

    def event(self, name: str, data: bytes, bucket: str = "quiet") -> ObjectEvent:
        """Write an object without an event being delivered; the event."""
        bucket = f"{bucket}-{self.id.replace('_', '-')}"
        self.stack.storage.create_buckets([bucket])
        self.stack.put_file(f"{self.id}/{name}", data, bucket)
        blob = self.stack.storage.client().bucket(bucket).get_blob(f"{self.id}/{name}")
        moment = blob.updated.isoformat()
        return ObjectEvent("gcs", bucket, blob.name, str(blob.generation), blob.size, moment, "e")

    def quiet_source(self, **fields: Any) -> None:
        """A source whose bucket delivers no events: the test does."""
        bucket = f"gs://quiet-{self.id.replace('_', '-')}/{self.id}"
        self.source({"source_type": "gcs", "bucket": bucket, "use_runner_account": True}, **fields)

    def deliver(self, *events: ObjectEvent) -> dict[str, Any]:
        """One delivery, through the whole handler, with a token."""
        data = [
            {
                "specversion": "1.0",
                "type": "google.cloud.storage.object.v1.finalized",
                "id": event.event_id,
                "data": {
                    "bucket": event.bucket,
                    "name": event.name,
                    "generation": event.version,
                    "size": str(event.size),
                    "updated": event.time,
                },
            }
            for event in events
        ]
        answer, _ = handle.file_arrival(self.parts, Incoming("POST", {}, {}, json.dumps(data).encode()))
        return answer


def eventually(ready: Callable[[], bool], what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def csv(*ids: int) -> bytes:
    return b"id,name\n" + b"".join(b"%d,n%d\n" % (number, number) for number in ids)


def test_an_upload_becomes_a_row_by_its_own_event(stack: Stack) -> None:
    desk = Desk(stack)
    desk.source()
    stack.put_file(f"{desk.id}/a.csv", csv(1, 2))
    desk.wait(1)
    assert desk.rows() == [(1, "n1"), (2, "n2")]
    stack.put_file(f"{desk.id}/b.csv", csv(3))
    desk.wait(2)
    assert [receipt["outcome"] for receipt in desk.receipts()] == ["ok", "ok"]
    assert desk.rows() == [(1, "n1"), (2, "n2"), (3, "n3")]
    eventually(lambda: not desk.parts.arrivals(desk.id).any(), "no arrival left")


def test_s3_and_azure_tell_of_their_objects(
    stack: Stack, s3_server: S3Server, azure_server: AzureServer
) -> None:
    deliver = deliverer(stack.layout.function_urls["file_arrival"], stack.layout.event_key)
    amazon, azure = Desk(stack), Desk(stack)
    bucket, container = fresh_name("arrivals", "-"), fresh_name("arrivals", "-")
    s3_server.create_bucket(bucket)
    key, secret = s3_server.create_key("s3:*")
    amazon.source(
        {
            "source_type": "s3",
            "bucket": bucket,
            "endpoint": s3_server.endpoint,
            "region": "us-east-1",
            "access_key_id": key,
            "secret_access_key": secret,
        }
    )
    azure_server.create_container(container)
    azure.source(azure_server.document(container))
    events = S3Events(s3_server, bucket, deliver)
    try:
        s3_server.put(bucket, "a b+é.csv", csv(1))
        put_blob(azure_server, container, "c.csv", csv(2), deliver)
        amazon.wait(1)
        azure.wait(1)
    finally:
        events.stop()
    assert amazon.rows() == [(1, "n1")]
    assert azure.rows() == [(2, "n2")]


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, {"message": {"attributes": {}}}, 401),
        ({"Authorization": "Bearer a.b.c"}, {"message": {"attributes": {}}}, 401),
        ({}, {"detail-type": "Object Created"}, 401),
        ({"X-ETL-Key": "guessed"}, {"detail-type": "Object Created"}, 403),
    ],
)
def test_the_function_refuses_who_shows_nothing(
    stack: Stack, headers: dict[str, str], body: Any, status: int
) -> None:
    url = stack.layout.function_urls["file_arrival"]
    answered, _ = rest.call("POST", url, body, headers=headers)
    assert answered == status


def test_event_grid_is_answered_its_handshake(stack: Stack) -> None:
    import urllib.request

    url = f"{stack.layout.function_urls['file_arrival']}?key={stack.layout.event_key}"
    request = urllib.request.Request(url, method="OPTIONS")
    request.add_header("WebHook-Request-Origin", "eventgrid.azure.net")
    with rest.opener.open(request) as answer:
        assert answer.status == 200
        assert answer.headers["WebHook-Allowed-Origin"] == "eventgrid.azure.net"


def test_the_local_tokens_are_verified_with_the_local_keys(stack: Stack) -> None:
    settings = EventSettings(
        audiences=("https://me",), callers=(PUSH_ACCOUNT,), google_keys_url=stack.identity.keys_url
    )
    envelope = {"message": {"attributes": {"ce-type": "etl-runner.source.wake", "ce-subject": "x"}}}

    def receive(token: str) -> Any:
        header = {"authorization": f"Bearer {token}"}
        return Receiver(settings, fetch).receive(Incoming("POST", header, {}, json.dumps(envelope).encode()))

    assert receive(stack.identity.token(PUSH_ACCOUNT, "https://me")).wake == ("x",)
    for token in (
        stack.identity.token(PUSH_ACCOUNT, "https://other"),
        stack.identity.token("someone@else", "https://me"),
    ):
        with pytest.raises(EtlError):
            receive(token)


def test_a_large_file_is_loaded_by_the_workflow_in_the_same_run(stack: Stack) -> None:
    desk = Desk(stack, in_place_bytes=10)
    desk.quiet_source()
    answer = desk.deliver(desk.event("big.csv", csv(*range(50))))
    assert answer["sources"][0]["status"] == "handed_over"
    desk.wait(1)
    (receipt,) = desk.receipts()
    assert receipt["outcome"] == "ok"
    assert receipt["run_id"].startswith("ev-")
    assert len(desk.rows()) == 50
    eventually(lambda: not desk.parts.arrivals(desk.id).any(), "finalize looks at the arrivals last")


def test_a_scheduled_run_takes_arrivals_with_it(stack: Stack) -> None:
    desk = Desk(stack)
    desk.quiet_source()
    event = desk.event("a.csv", csv(1))
    handle._note(desk.parts, Received((event,)))  # the handler dies after this
    assert desk.parts.arrivals(desk.id).any()
    assert stack.run(desk.id).state == "SUCCEEDED"
    assert not desk.parts.arrivals(desk.id).any()
    assert desk.deliver(event)["sources"][0]["status"] == "empty"
    assert desk.rows() == [(1, "n1")]
    assert len(desk.receipts()) == 1


def test_a_dead_holders_arrivals_are_taken_up_by_the_sweep(stack: Stack) -> None:
    desk = Desk(stack)
    desk.quiet_source()
    handle._note(desk.parts, Received((desk.event("a.csv", csv(1)),)))
    answer = stack.sweep()
    assert desk.id in [source["source_id"] for source in answer["sources"]]
    assert desk.rows() == [(1, "n1")]


def test_a_poisonous_file_does_not_hold_up_the_others(stack: Stack) -> None:
    desk = Desk(stack)
    desk.quiet_source(file_pattern="*.parquet")
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.table({"id": [1], "name": ["n1"]}), buffer)
    events = [
        desk.event("bad.parquet", b"PAR1 this is none PAR1"),
        desk.event("good.parquet", buffer.getvalue()),
    ]
    desk.deliver(*events)
    for _ in range(4):
        desk.deliver(events[1])
    assert desk.rows() == [(1, "n1")]
    (aside,) = desk.parts.arrivals(desk.id).all_set_aside()
    assert aside.arrival.name.endswith("bad.parquet")
    assert aside.attempts == 3
    assert not desk.parts.arrivals(desk.id).any()


def test_a_file_set_aside_and_loaded_since_is_not_shown_as_set_aside(stack: Stack) -> None:
    desk = Desk(stack, attempts=1)
    desk.quiet_source()
    desk.deliver(desk.event("a.csv", csv(1)))  # makes the table, whose id is an integer
    bad = desk.event("b.csv", b"id,name\n2,n2\nthree,n3\n")
    desk.deliver(bad)
    (aside,) = files_report(desk.parts, desk.id, 10)["set_aside"]
    assert aside["kind"] == "poisonous"
    assert aside["reason"].count("b.csv") == 1, "the file is named once"
    desk.quiet_source(on_bad_row="reject")
    assert stack.run(desk.id).state == "SUCCEEDED"
    report = files_report(desk.parts, desk.id, 10)
    assert (report["set_aside"], report["loaded"]["files"]) == ([], 2)
    assert replay(desk.parts, desk.id, [], everything=True) == []
    assert desk.rows() == [(1, "n1"), (2, "n2")]


@pytest.mark.parametrize(
    ("on_overwrite", "rows", "outcomes"),
    [
        ("append", [(1, "n1"), (2, "n2"), (3, "n3")], ["loaded", "loaded", "loaded"]),
        ("ignore", [(1, "n1"), (3, "n3")], ["loaded", "ignored", "loaded"]),
        ("fail", [(1, "n1"), (3, "n3")], ["loaded", "loaded"]),
    ],
)
def test_an_overwritten_object_follows_on_overwrite(
    stack: Stack, on_overwrite: str, rows: list[tuple[int, str]], outcomes: list[str]
) -> None:
    desk = Desk(stack)
    desk.quiet_source(on_overwrite=on_overwrite)
    first = desk.event("a.csv", csv(1))
    desk.deliver(first)
    second = desk.event("a.csv", csv(2))
    for _ in range(4):
        desk.deliver(second)
    desk.deliver(first)  # late, and older than what is there
    desk.deliver(desk.event("b.csv", csv(3)))
    assert desk.rows() == rows
    arrivals = desk.parts.arrivals(desk.id)
    assert not arrivals.any()
    state = desk.deployment.store(desk.id).read()
    assert [entry.outcome for entry in Ledger(desk.deployment.state, desk.id).read(state)] == outcomes
    aside = {(one.kind, one.arrival.version) for one in arrivals.all_set_aside()}
    refused = {("poisonous", second.version)} if on_overwrite == "fail" else set()
    assert aside - {("replaced", first.version)} == refused
    assert all("on_overwrite" in one.reason for one in arrivals.all_set_aside() if one.kind == "poisonous")


def test_an_object_deleted_before_its_turn_is_reported_and_holds_nothing_up(stack: Stack) -> None:
    desk = Desk(stack)
    desk.quiet_source()
    gone, there = desk.event("gone.csv", csv(1)), desk.event("there.csv", csv(2))
    stack.storage.client().bucket(gone.bucket).blob(gone.name).delete()
    assert desk.deliver(gone, there)["sources"][0]["files"] == 1
    assert desk.rows() == [(2, "n2")]
    (aside,) = desk.parts.arrivals(desk.id).all_set_aside()
    assert (aside.kind, aside.arrival.uri) == ("deleted", gone.uri)
    report = files_report(desk.parts, desk.id, 10)
    assert [(one["uri"], one["kind"]) for one in report["set_aside"]] == [(gone.uri, "deleted")]
    assert not desk.parts.arrivals(desk.id).any()
