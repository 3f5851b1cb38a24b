"""Metrics read fields that runs log; the dashboard is what the API takes."""

from __future__ import annotations

import json
import logging
import re
from importlib.resources import files
from typing import Any

import jsonschema
import pytest

from etl_runner.commit.close import Closer, run_ended
from etl_runner.logs import JsonFormatter
from etl_runner.state.document import Last, State
from etl_runner.state.memory import MemoryObjectStore
from etl_runner.state.receipts import Receipts
from etl_runner.state.store import StateStore
from tools.infra.modules import ROOT
from tools.infra.workflow import closed_schema

MONITORING = (ROOT / "infra" / "terraform" / "monitoring.tf").read_text()
RECEIPT: dict[str, Any] = {
    "source_id": "orders",
    "run_id": "r1",
    "epoch": 3,
    "outcome": "ok",
    "rows_read": 200,
    "rows_loaded": 190,
    "rejects": 10,
}


class Told:
    """Events that nobody listens to."""

    def publish(self, receipt: dict[str, Any]) -> None:
        """Take it."""


def line_of_a_run(receipt: dict[str, Any], caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """The JSON line that the end of a run logs."""
    objects = MemoryObjectStore()
    closer = Closer(StateStore(objects, "orders"), Receipts(objects, "orders"), Told())
    with caplog.at_level(logging.INFO):
        closer.write_missing_receipt(State(last=Last("r1", 3, receipt["outcome"], receipt)))
    record = next(record for record in caplog.records if "ended" in record.getMessage())
    line: dict[str, Any] = json.loads(JsonFormatter().format(record))
    return line


def test_the_end_of_a_run_logs_every_field_that_a_metric_reads(caplog: pytest.LogCaptureFixture) -> None:
    line = line_of_a_run(RECEIPT, caplog)
    read = set(re.findall(r"jsonPayload\.(\w+)", MONITORING))
    assert {"event", "source_id", "outcome", "reject_share", "row_mismatch", "rows_loaded"} <= read
    assert read <= set(line)
    assert line["event"] == "run_ended"
    assert line["severity"] == "INFO"
    assert line["message"] == "run r1 of source orders ended: ok"
    assert 'jsonPayload.event="run_ended"' in MONITORING


def test_every_event_that_is_logged_by_name_is_counted() -> None:
    sources = (path.read_text() for path in (ROOT / "src" / "etl_runner").rglob("*.py"))
    logged = {name for text in sources for name in re.findall(r'"event": "(\w+)"', text)}
    assert {"run_ended", "table_budget", "event_unreadable"} <= logged
    # Rejects that were kept are a field of the run's end, too.
    counted = set(re.findall(r'jsonPayload\.event=\\?"(\w+)', MONITORING)) | {"rejects_kept"}
    assert logged == counted


def test_a_run_that_failed_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert line_of_a_run({**RECEIPT, "outcome": "failed"}, caplog)["severity"] == "WARNING"


def test_the_share_of_rejects_and_a_mismatch() -> None:
    assert run_ended(RECEIPT)["reject_share"] == 0.05
    assert run_ended(RECEIPT)["row_mismatch"] is False
    assert run_ended({**RECEIPT, "row_mismatch": {"expected": 1, "loaded": 2}})["row_mismatch"] is True
    nothing_known = {name: RECEIPT[name] for name in ("source_id", "run_id", "epoch", "outcome")}
    assert run_ended(nothing_known)["reject_share"] == 0.0


def dashboard() -> dict[str, Any]:
    text = (ROOT / "infra" / "terraform" / "dashboard.json").read_text()
    filled: dict[str, Any] = json.loads(re.sub(r"\$\{\w+\}", "name", text))
    return filled


def dashboard_schema() -> dict[str, Any]:
    documents = files("googleapiclient") / "discovery_cache" / "documents"
    return closed_schema(json.loads((documents / "monitoring.v1.json").read_text()), "Dashboard")


def test_the_dashboard_has_the_fields_of_the_discovery_document() -> None:
    jsonschema.Draft202012Validator(dashboard_schema()).validate(dashboard())


def test_a_misspelt_field_of_the_dashboard_is_found() -> None:
    wrong = json.loads(json.dumps(dashboard()).replace("alignmentPeriod", "alignPeriod"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(dashboard_schema()).validate(wrong)
