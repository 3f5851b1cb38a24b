"""From a receipt to the rows that the history has of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from etl_runner import jsontypes
from etl_runner.errors import CorruptStateError
from etl_runner.state.ledger import Ledger
from etl_runner.state.objects import ObjectStore

log = logging.getLogger(__name__)

_SAME = (
    "source_id",
    "run_id",
    "epoch",
    "outcome",
    "reason",
    "started",
    "finished",
    "engine",
    "engine_reason",
    "disposition",
    "destination",
    "units",
    "tasks",
    "rows_read",
    "rows_loaded",
    "rejects",
    "bytes",
)


def run_rows(_: ObjectStore, receipt: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The one row of ``etl_runs``."""
    window = receipt.get("window") or {}
    row = {name: receipt.get(name) for name in _SAME}
    row |= {
        "seconds": _seconds(receipt.get("started"), receipt.get("finished")),
        "window_column": window.get("column"),
        "window_low": window.get("low"),
        "window_high": window.get("high"),
        "jobs": receipt.get("jobs") or [],
        "watermark_before": _text(receipt.get("watermark_before")),
        "watermark_after": _text(receipt.get("watermark_after")),
        "row_mismatch": "row_mismatch" in receipt,
        "notes": receipt.get("notes") or [],
        "receipt": _text(receipt),
    }
    yield {name: value for name, value in row.items() if value is not None}


def file_rows(objects: ObjectStore, receipt: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of ``etl_files``: the files that the run committed, as its ledger segment has them."""
    name = receipt.get("ledger_segment")
    if not name:
        return
    try:
        entries = list(Ledger(objects, receipt["source_id"]).segment(name))
    except CorruptStateError as error:
        # The source itself stops at it; the history of all others must not.
        log.error("files of run %s are not in the history: %s", receipt["run_id"], error)  # noqa: TRY400
        return
    for entry in entries:
        row = {
            "source_id": receipt["source_id"],
            "run_id": receipt["run_id"],
            "epoch": receipt["epoch"],
            "uri": entry.uri,
            "version": entry.version,
            "size": entry.size,
            "modified": entry.modified or None,
            "rows_loaded": entry.rows,
            "outcome": entry.outcome,
            "finished": receipt["finished"],
        }
        yield {name: value for name, value in row.items() if value is not None}


def _seconds(started: str | None, finished: str | None) -> float | None:
    if not started or not finished:
        return None
    return (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds()


def _text(value: Any) -> str | None:
    return None if value is None else jsontypes.dumps(value).decode()
