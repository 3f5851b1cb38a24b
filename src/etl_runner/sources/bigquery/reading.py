"""Reading units: a unit is a row restriction at the plan's instant, and its reader opens the read session.

Read sessions last six hours and their streams cannot be read twice from the beginning by two attempts at
once (https://cloud.google.com/bigquery/docs/reference/storage#create_a_session), so a plan holds none: each
attempt opens its own, and all of them see the same rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from etl_runner.planning.plan import WorkUnit
from etl_runner.sources.base import Rows
from etl_runner.sources.bigquery.access import Warehouse
from etl_runner.sources.bigquery.quoting import identifier


class BigQueryReader:
    """Reads units through the Storage Read API; a unit of which only the first rows are wanted without it."""

    def __init__(self, warehouse: Warehouse, read: Mapping[str, Any]) -> None:
        """
        Args:
            read: the plan's; see :func:`read_of_table` and :func:`read_of_query`.
        """
        self._warehouse = warehouse
        self._read = read

    def read(self, unit: WorkUnit) -> Iterator[Rows]:
        """The unit's rows.

        Raises:
            RetryableError: a read session ended early, or the service is unavailable.
            PermanentError: the table is gone, or a permission is missing.
        """
        from etl_runner.sources.bigquery.arrow import planned_batch

        read = self._read
        fields = list(dict.fromkeys(source for source, _, _ in read["items"]))
        table = self._warehouse.run(read["query"], read["location"]) if "query" in read else read["table"]
        if "limit" in unit.spec:
            batches = self._warehouse.first(table, fields, unit.spec["limit"])
        elif "query" in read:
            batches = self._warehouse.read(table, fields, None, None)
        else:
            conditions = [text for text in (read["where"], unit.spec.get("where")) if text]
            restriction = " AND ".join(f"({text})" for text in conditions) or None
            at = datetime.fromisoformat(read["as_of"])
            batches = self._warehouse.read(table, fields, restriction, at)
        for batch in batches:
            if batch.num_rows:
                yield Rows(planned_batch(batch, read["items"]))


class BigQuerySession:
    """Readers of one plan."""

    def __init__(self, warehouse: Warehouse, read: Mapping[str, Any]) -> None:
        self._warehouse = warehouse
        self._read = read

    @contextmanager
    def reader(self) -> Iterator[BigQueryReader]:
        """A further reader; all share one client, which threads may use at once."""
        yield BigQueryReader(self._warehouse, self._read)


def read_of_table(path: str, as_of: datetime, items: list[list[str]], where: str | None) -> dict[str, Any]:
    """What a plan holds for units of a table."""
    return {"table": path, "as_of": as_of.isoformat(), "items": items, "where": where}


def read_of_query(sql: str, location: str, items: list[list[str]], where: str | None) -> dict[str, Any]:
    """What a plan holds for the unit of a view or query; ``sql`` is what stands after FROM."""
    names = ", ".join(identifier(name) for name in dict.fromkeys(source for source, _, _ in items))
    query = f"SELECT {names} FROM {sql}" + (f" WHERE {where}" if where else "")
    return {"query": query, "location": location, "items": items, "where": where}
