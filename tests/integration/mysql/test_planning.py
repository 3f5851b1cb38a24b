"""What planning costs a MySQL server: as many statements whatever the table's size, and no scan of it."""

from __future__ import annotations

from typing import Any

import pytest

from etl_runner.sources.mysql.connect import Control
from tests.integration.mysql.support import Database, plan_of, source_of

pytestmark = pytest.mark.stack

_READS = "SHOW SESSION STATUS LIKE 'Handler_read_%'"
_FEW = 200
"""Rows of the dictionary that the statements read, and of the table some."""


class Counted:
    """The statements of all control connections, and the rows that the server read for them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.read = 0
        run, close = Control._run, Control.close

        def counted(control: Control, sql: str, kind: Any = None) -> list[Any]:
            self.asked.append(sql)
            return run(control, sql, kind)

        def closed(control: Control) -> None:
            self.read += sum(int(value) for _, value in run(control, _READS))
            close(control)

        monkeypatch.setattr(Control, "_run", counted)
        monkeypatch.setattr(Control, "close", closed)


@pytest.mark.parametrize("column", ["at", "k"])
@pytest.mark.parametrize("low", [None, {"at": "2020-01-03 00:00:00", "k": "2880"}], ids=["whole", "later"])
def test_planning_a_transactional_load_asks_the_same_and_scans_nothing_whatever_the_size(
    mariadb: Database, monkeypatch: pytest.MonkeyPatch, low: dict[str, str] | None, column: str
) -> None:
    names = {"at": "timestamp_column", "k": "incrementing_column"}
    document: dict[str, Any] = {"load_type": "transactional", names[column]: column}
    asked, read, units = [], [], []
    for table, rows in (("small", 12_000), ("large", 120_000)):
        mariadb.execute(
            f"CREATE TABLE {table} (k int PRIMARY KEY, at datetime(6) NOT NULL, KEY (at))",
            f"INSERT INTO {table} SELECT seq, '2020-01-01' + INTERVAL seq MINUTE FROM seq_1_to_{rows}",
            f"ANALYZE TABLE {table}",
        )
        source = source_of(mariadb, source_table_name=table, **document)
        with monkeypatch.context() as patches:
            counted = Counted(patches)
            plan, _ = plan_of(source, unit_rows=1_000, watermark=low and {"value": low[column]})
        # Where fewer than 10,000 rows are expected, one more question: whether there are any.
        asked.append([sql for sql in counted.asked if "SELECT EXISTS" not in sql])
        assert len(counted.asked) - len(asked[-1]) <= 1
        read.append(counted.read)
        units.append(len(plan.units))
    assert len(asked[0]) == len(asked[1]), asked
    assert units[1] > 4 * units[0] > 16
    assert max(read) < _FEW, read
