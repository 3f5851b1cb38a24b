"""How many rows and bytes a read will give, as the server sees it. Nothing is run.

A table's rows are the catalog's (``information_schema.TABLES``, for InnoDB an estimate from sampled pages);
with a condition, and for queries, ``EXPLAIN`` says how many rows the optimizer expects to look at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from etl_runner.sources.mysql.connect import Control
from etl_runner.sources.mysql.schema import Relation

HOW = "the server's own estimate (information_schema, EXPLAIN)"
_GUESSED_WIDTH = 200
_MOST = 10**15


@dataclass(frozen=True)
class Estimate:
    """Rows, and bytes a row as the server stores them."""

    rows: int
    width: int

    @property
    def bytes(self) -> int:
        return self.rows * self.width


def estimate(control: Control, relation: Relation, where: str | None) -> Estimate:
    """Estimate the rows of ``relation`` (as ``t``) that a condition leaves."""
    width = relation.row_bytes or _GUESSED_WIDTH
    if where is None and relation.kind == "table" and relation.rows is not None:
        return Estimate(relation.rows, width)
    sql = f"SELECT * FROM {relation.sql} AS t" + (f" WHERE {where}" if where else "")
    rows = explained(control, sql)
    # Tables of one SELECT are joined: each line says how many rows it gives for one of the lines before.
    product = math.prod(number for select, number in rows if select == 1)
    return Estimate(min(product, _MOST) if rows else 0, width)


def explained(control: Control, sql: str) -> list[tuple[int | None, int]]:
    """``(number of the SELECT, rows expected)`` for each line of the query's plan."""
    from pymysql.cursors import DictCursor

    lines = control.rows(f"EXPLAIN FORMAT=TRADITIONAL {sql}", "estimating the rows", cursor=DictCursor)
    return [
        (None if line["id"] is None else int(line["id"]), int(line["rows"] or 0))
        for line in lines
        if line["select_type"] != "UNION RESULT"
    ]
