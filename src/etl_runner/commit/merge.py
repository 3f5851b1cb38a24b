"""The statement that merges staged rows into the destination by key.

https://cloud.google.com/bigquery/docs/reference/standard-sql/dml-syntax#merge_statement

Several rows of one key can be staged; which of them counts must not depend on the order in which BigQuery
reads them: the greatest value of the cursor, then the greatest text of the whole row. A row of the
destination with a greater cursor stays: versions may arrive late, by a repair or a replay of rejects.

The row to be replaced may lie in another partition than its new version, so partitions are pruned only
where a row's partition cannot differ: its column is part of the key, or the document declares it immutable.
Then the condition bounds the destination's column by constants, which is what BigQuery prunes by
(https://cloud.google.com/bigquery/docs/using-dml-with-partitioned-tables#pruning_partitions_when_using_a_merge_statement).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from etl_runner.commit.staging import quote
from etl_runner.convert.fields import BqField
from etl_runner.planning.plan import PlanHeader


@dataclass(frozen=True)
class Bounds:
    """The least and the greatest staged value of the partitioning column (None: all are NULL), and whether
    some are NULL."""

    low: dt.date | dt.datetime | None
    high: dt.date | dt.datetime | None
    nulls: bool


def merge_statement(
    header: PlanHeader, source: str, columns: Sequence[BqField], bounds: Bounds | None = None
) -> str:
    """MERGE of ``source`` (a SELECT of ``columns``) into the plan's destination; ``bounds`` of the column
    ``header.merge_prune`` where the statement may rely on them."""
    keys = [quote(key) for key in header.merge_keys]
    names = [quote(column.name) for column in columns]
    order = [f"{quote(header.merge_order)} DESC"] if header.merge_order else []
    order.append("TO_JSON_STRING(staged) DESC")
    newest = (
        f"SELECT * EXCEPT (etl_rank) FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY {', '.join(keys)} "
        f"ORDER BY {', '.join(order)}) AS etl_rank FROM ({source}) AS staged) WHERE etl_rank = 1"
    )
    # Written so that rows whose key is NULL are one row as well.
    match = " AND ".join(f"(T.{key} = S.{key} OR (T.{key} IS NULL AND S.{key} IS NULL))" for key in keys)
    if bounds is not None and header.merge_prune is not None:
        kind = next(column.type for column in columns if column.name == header.merge_prune)
        match = f"{_within(header.merge_prune, kind, bounds)} AND {match}"
    pairs = ", ".join(f"{name} = S.{name}" for name in names if name not in keys)
    newer = ""
    if header.merge_order:
        cursor = quote(header.merge_order)
        # Equal cursors: what was read last is the newest.
        newer = f"AND (T.{cursor} IS NULL OR S.{cursor} >= T.{cursor}) "
    update = f"WHEN MATCHED {newer}THEN UPDATE SET {pairs} " if pairs else ""
    values = ", ".join(f"S.{name}" for name in names)
    return (
        f"MERGE INTO {quote(header.destination.path)} AS T USING ({newest}) AS S ON {match} {update}"
        f"WHEN NOT MATCHED THEN INSERT ({', '.join(names)}) VALUES ({values})"
    )


def _within(column: str, kind: str, bounds: Bounds) -> str:
    """The destination's rows that can match a staged one, by constants only."""
    name = f"T.{quote(column)}"
    if bounds.low is None or bounds.high is None:
        return f"{name} IS NULL"
    between = f"{name} BETWEEN {_constant(bounds.low, kind)} AND {_constant(bounds.high, kind)}"
    return f"({between} OR {name} IS NULL)" if bounds.nulls else between


def _constant(value: dt.date | dt.datetime, kind: str) -> str:
    """A DATE, DATETIME or TIMESTAMP literal; staged wall clocks are instants in UTC (commit/staging.py)."""
    if not isinstance(value, dt.datetime):
        return f"DATE '{value.isoformat()}'"
    text = value.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
    return f"{kind} '{text}{'+00:00' if kind == 'TIMESTAMP' else ''}'"
