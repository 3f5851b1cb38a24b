"""A backfill's request is written once and found by its run only."""

from __future__ import annotations

import pytest

from etl_runner.errors import ObjectExists, PermanentError
from etl_runner.state.memory import MemoryObjectStore
from etl_runner.state.requests import Backfill, Requests


def test_a_request_is_what_was_asked_and_is_never_overwritten() -> None:
    requests = Requests(MemoryObjectStore(), "orders")
    asked = Backfill("2026-01-01", "2026-02-01", "append", allow_empty=True)
    requests.write("backfill-1", asked)
    assert requests.read("backfill-1") == asked
    with pytest.raises(ObjectExists):
        requests.write("backfill-1", Backfill("2020-01-01", "2030-01-01"))
    assert requests.read("backfill-1") == asked


def test_a_backfill_without_its_request_is_refused_and_other_runs_have_none() -> None:
    requests = Requests(MemoryObjectStore(), "orders")
    with pytest.raises(PermanentError, match="etl-runner backfill"):
        requests.read("backfill-2")
    assert requests.read("0d5f6a6c") is None
