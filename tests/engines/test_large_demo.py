"""The large demo, made small: it lands, it says what it took, and a single changed value is noticed."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from etl_runner.cli.watch import watch_on
from local.demo_large.load import Load
from local.stack import Stack
from tests.conftest import fresh_name

pytestmark = [pytest.mark.stack, pytest.mark.slow]


@pytest.fixture
def load(stack: Stack, tmp_path: Path) -> Iterator[Load]:
    made = Load(stack, fresh_name("lineitem"), tmp_path / "password", engine="dataflow")
    yield made
    made.drop()


def test_the_large_demo_notices_a_single_changed_value(load: Load) -> None:
    rows = load.fill(0.001)
    seen = StringIO()
    loaded = load.run(watch_on(Console(file=seen, width=200)))
    assert (loaded.engine, loaded.rows) == ("dataflow", rows)
    if Path("/proc/self/status").exists():  # else the system does not tell
        assert min(loaded.worker_peaks_mb) > 20
    assert loaded.rows_per_second > 0
    assert f"{loaded.units}/{loaded.units} units, {rows:,} rows" in seen.getvalue()
    source, destination = load.sums()
    assert source == destination
    assert source.rows == rows
    load.tamper()
    changed = load.sums()[1]
    assert changed.rows == rows
    assert changed != destination
