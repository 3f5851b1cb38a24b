"""How many rows and bytes a read will give, as the server's planner sees it.

``EXPLAIN`` does what an estimate from ``pg_class`` would: it scales ``reltuples`` by the table's actual size,
sums partitions, and guesses from the size alone where a table was never analysed. Nothing is run.
https://www.postgresql.org/docs/current/row-estimation-examples.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from etl_runner.sources.postgres.connect import Control

HOW = "the server's own estimate (EXPLAIN)"


@dataclass(frozen=True)
class Estimate:
    """Rows, and bytes a row as the server holds them in memory."""

    rows: int
    width: int

    @property
    def bytes(self) -> int:
        return self.rows * self.width


def estimate(control: Control, select: str, doing: str = "estimating the rows") -> Estimate:
    """Estimate ``select``. A query plan is made, not run."""
    document = control.value(f"EXPLAIN (FORMAT JSON) {select}", doing)
    if isinstance(document, str):
        document = json.loads(document)
    plan = document[0]["Plan"]
    return Estimate(rows=int(plan["Plan Rows"]), width=int(plan["Plan Width"]))
