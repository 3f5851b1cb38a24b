"""The statement that merges staged rows into the destination by key.

https://cloud.google.com/bigquery/docs/reference/standard-sql/dml-syntax#merge_statement

Several rows of one key can be staged; which of them counts must not depend on the order in which BigQuery
reads them: the greatest value of the cursor, then the greatest text of the whole row. No predicate on the
destination's partitions is added: the row to be replaced may lie in another partition than its new version.
"""

from __future__ import annotations

from collections.abc import Sequence

from etl_runner.commit.staging import quote
from etl_runner.convert.fields import BqField
from etl_runner.planning.plan import PlanHeader


def merge_statement(header: PlanHeader, source: str, columns: Sequence[BqField]) -> str:
    """MERGE of ``source`` (a SELECT of ``columns``) into the plan's destination."""
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
    pairs = ", ".join(f"{name} = S.{name}" for name in names if name not in keys)
    update = f"WHEN MATCHED THEN UPDATE SET {pairs} " if pairs else ""
    values = ", ".join(f"S.{name}" for name in names)
    return (
        f"MERGE INTO {quote(header.destination.path)} AS T USING ({newest}) AS S ON {match} {update}"
        f"WHEN NOT MATCHED THEN INSERT ({', '.join(names)}) VALUES ({values})"
    )
