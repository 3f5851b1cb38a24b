"""Buckets of the three clouds, each behind a server that checks credentials, and sources of their files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from etl_runner.commit.close import Done, Failure, RunKey
from etl_runner.commit.open_run import Opened
from etl_runner.gcp import clients
from etl_runner.state.ledger import Ledger, LedgerEntry
from local.azure import AzureServer
from local.s3 import S3Server
from local.stack import Stack
from tests.conftest import Database, fresh_name
from tests.integration.exactness.lab import Lab


@dataclass
class Shelf:
    """A bucket and a laboratory whose source reads it."""

    lab: Lab
    source_type: str
    connection: dict[str, Any]
    put: Callable[[str, bytes], Any]
    scheme: str

    def document(self, **fields: Any) -> None:
        """Write the source document and the connection."""
        self.lab.put(server=self.connection, source_type=self.source_type, **fields)

    def uri(self, name: str) -> str:
        """The whole address of an object."""
        return f"{self.scheme}://{self.connection['bucket']}/{name}"

    def ledger(self) -> list[LedgerEntry]:
        """What the ledger says now."""
        return list(Ledger(self.lab.deployment.state, self.lab.source_id).read(self.lab.state()))

    def fail(self, key: RunKey, message: str) -> Done:
        """Close a run as the workflow does whose extraction failed."""
        done = self.lab.deployment.finalizer(self.lab.source_id).finalize(key, Failure("extract", message))
        assert isinstance(done, Done)
        return done

    def open(self, name: str) -> RunKey:
        """Open and plan a run."""
        opened = self.lab.deployment.opener(self.lab.source_id).open_run(self.lab.run_id(name))
        assert isinstance(opened, Opened)
        self.lab.deployment.plan_writer(self.lab.source_id).write_plan(opened.key)
        return opened.key


@pytest.fixture(params=["gcs", "s3", "azure"])
def shelf(
    request: pytest.FixtureRequest,
    stack: Stack,
    postgres: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Shelf]:
    """An empty bucket of each cloud in turn."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", stack.environ["PUBSUB_EMULATOR_HOST"])
    lab = Lab(stack, postgres, tmp_path / "no-password")
    stack.bigquery.faults.forget_requests()
    yield _shelf(request, lab)
    lab.close()


def _shelf(request: pytest.FixtureRequest, lab: Lab) -> Shelf:
    if request.param == "gcs":
        bucket = clients.storage_client(lab.stack.settings).create_bucket(fresh_name("shelf", "-"))
        connection = {"source_type": "gcs", "bucket": bucket.name, "use_runner_account": True}
        return Shelf(
            lab, "gcs", connection, lambda name, data: bucket.blob(name).upload_from_string(data), "gs"
        )
    if request.param == "s3":
        s3: S3Server = request.getfixturevalue("s3_server")
        name: str = request.getfixturevalue("s3_bucket")
        return Shelf(lab, "s3", s3.document(name), lambda key, data: s3.put(name, key, data), "s3")
    azure: AzureServer = request.getfixturevalue("azure_server")
    container: str = request.getfixturevalue("azure_container")
    return Shelf(
        lab, "azure", azure.document(container), lambda key, data: azure.put(container, key, data), "az"
    )
