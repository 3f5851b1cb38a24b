"""The verification of an installation holds on the local topology, says so, and can fail."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from etl_runner.gcp import clients
from tools import verify_cloud
from tools.conversion import TYPES
from tools.verify_cloud import COLUMNS, VerificationError

if TYPE_CHECKING:
    from local.stack import Stack

pytestmark = pytest.mark.stack


@pytest.fixture(autouse=True)
def of_the_stack(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in stack.environ.items():
        monkeypatch.setenv(name, value)


def test_it_holds_and_leaves_nothing_behind(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    before = {bucket.name for bucket in _storage(stack).list_buckets()}
    assert verify_cloud.verify(stack.settings) == 0, capsys.readouterr()
    told = capsys.readouterr().out
    assert "stand-ins on this machine" in told
    assert "proves nothing of the real services" in told
    assert told.count("ok      ") == 8
    skipped = [line for line in told.splitlines() if line.startswith("SKIPPED")]
    assert [line.split()[1] for line in skipped] == ["an_interval", "a_range"]
    assert "every type, but 2 that it lacks" in told
    assert {bucket.name for bucket in _storage(stack).list_buckets()} == before


def test_a_value_that_is_not_what_was_written_is_found(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(COLUMNS, "a_bool", ("BOOL", True, "false"))
    assert verify_cloud.verify(stack.settings) == 1
    assert "a_bool (BOOL) is 'true', and has to be 'false'" in capsys.readouterr().err


def test_the_real_services_are_asked_for_every_type(stack: Stack) -> None:
    real = verify_cloud.columns_for(replace(stack.settings, bigquery_endpoint=None))
    kinds = {kind.partition("<")[0] for kind, _, _ in real.values()}
    # docs/conversion.md's destinations, and columns that hold more than one value.
    assert kinds == {*TYPES, "ARRAY", "STRUCT"}


def test_a_process_that_is_not_killed_is_found(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    verification = verify_cloud.Verification(stack.settings, lambda _: None)
    with pytest.raises(VerificationError, match="ended with 0 instead of -9"):
        verification._process(["-c", "pass"], {}, expected=-9)


def _storage(stack: Stack) -> Any:
    return clients.storage_client(stack.settings)
