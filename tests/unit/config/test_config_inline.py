"""Documents that come with a request: checked, kept for their run, and without credentials."""

from __future__ import annotations

from typing import Any

import pytest

from etl_runner import jsontypes
from etl_runner.config.inline import InlineDocuments
from etl_runner.errors import ConfigError
from etl_runner.state.memory import MemoryObjectStore

CONNECTION = {
    "source_type": "postgresql",
    "host": "db.example.com",
    "database": "sales",
    "username": "etl",
    "password": "hunter2",
}
DOCUMENT: dict[str, Any] = {
    "source_type": "postgresql",
    "connection": "warehouse",
    "load_type": "catalog",
    "source_table_name": "orders",
    "dest_table_name": "orders",
}


@pytest.fixture
def documents() -> InlineDocuments:
    config = MemoryObjectStore("config")
    config.create("connections/warehouse.json", jsontypes.dumps(CONNECTION))
    config.create("sources/stored.json", jsontypes.dumps(DOCUMENT))
    return InlineDocuments(config, MemoryObjectStore("state"))


def test_it_is_found_again_by_its_run_alone_and_its_plan_holds_no_secret(documents: InlineDocuments) -> None:
    checked = documents.check("adhoc", DOCUMENT)
    documents.keep("adhoc", "r1", DOCUMENT)
    documents.keep("adhoc", "r1", DOCUMENT)
    found = documents.load("adhoc", "r1")
    assert found is not None
    assert found.hash() == checked.hash()
    assert "hunter2" not in str(found.to_json())
    assert documents.load("adhoc", "r2") is None
    assert documents.load("other", "r1") is None


def test_a_run_keeps_the_document_that_it_was_opened_with(documents: InlineDocuments) -> None:
    documents.keep("adhoc", "r1", DOCUMENT)
    with pytest.raises(ConfigError, match="is not the document that run r1 was opened with"):
        documents.keep("adhoc", "r1", {**DOCUMENT, "dest_table_name": "others"})


def test_a_stored_source_is_not_run_with_another_document(documents: InlineDocuments) -> None:
    with pytest.raises(ConfigError, match="an id of its own"):
        documents.check("stored", DOCUMENT)


@pytest.mark.parametrize(
    "password", ["hunter2", {"env": "HOME"}, {"secret_manager": "payroll"}, {"file": "/etc/passwd"}]
)
def test_a_request_carries_no_credential_and_names_none(documents: InlineDocuments, password: Any) -> None:
    document = {key: value for key, value in DOCUMENT.items() if key != "connection"}
    document["connection_params"] = {**CONNECTION, "password": password}
    with pytest.raises(ConfigError, match="a request carries none") as caught:
        documents.check("adhoc", document)
    assert "hunter2" not in str(caught.value)


def test_a_connection_that_needs_no_credential_may_come_along(documents: InlineDocuments) -> None:
    document = {
        "source_type": "s3",
        "connection_params": {"bucket": "open-data", "anonymous": True},
        "load_type": "catalog",
        "file_pattern": "*.csv",
        "dest_table_name": "open",
    }
    assert documents.check("adhoc", document).document.source_type == "s3"


def test_what_is_wrong_in_it_is_told_at_once(documents: InlineDocuments) -> None:
    with pytest.raises(ConfigError) as caught:
        documents.check("adhoc", {**DOCUMENT, "load_type": "x", "dest_tabel_name": "y"})
    assert len(caught.value.problems) >= 2
    with pytest.raises(ConfigError, match="is not a JSON object"):
        documents.check("adhoc", "sources/orders.yaml")
