"""Rejects tables through BigQuery's client."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from google.api_core.exceptions import NotFound

from etl_runner.gcp.faults import translated
from etl_runner.rejects.table import RejectedRow, RejectedRun

if TYPE_CHECKING:
    from google.cloud import bigquery

_COLUMNS = (
    "run_id, unit, file, line, `row`, IFNULL(from_byte, 0) AS from_byte, `column`, reason, value, record, "
    "types"
)
_PAGE = 5_000


class GcpRejectsTable:
    """Implements :class:`etl_runner.rejects.table.RejectsTable`."""

    def __init__(self, make_client: Callable[[], bigquery.Client]) -> None:
        self._make_client = make_client

    @cached_property
    def _client(self) -> bigquery.Client:
        return self._make_client()

    def runs(self, path: str, source_id: str) -> list[RejectedRun]:
        sql = (
            f"SELECT run_id, COUNT(*) AS found, MIN(rejected_at) AS at FROM `{path}` "
            "WHERE source_id = @source GROUP BY run_id ORDER BY at, run_id"
        )
        return [
            RejectedRun(row["run_id"], row["found"], row["at"].isoformat())
            for row in self._query(path, sql, [("source", source_id)])
        ]

    def rows(
        self, path: str, source_id: str, run_ids: Sequence[str], limit: int | None = None
    ) -> Iterator[RejectedRow]:
        # Few runs have rejects: one parameter each is more widely understood than an array.
        names = [(f"run{number}", run) for number, run in enumerate(run_ids)]
        if not names:
            return
        listed = ", ".join(f"@{name}" for name, _ in names)
        sql = (
            f"SELECT {_COLUMNS} FROM `{path}` WHERE source_id = @source AND run_id IN ({listed}) "
            "ORDER BY run_id, unit, file, from_byte, `row`"
        )
        if limit is not None:
            sql += f" LIMIT {int(limit)}"
        for row in self._query(path, sql, [("source", source_id), *names]):
            values: dict[str, Any] = dict(row.items())
            values["record"] = json.loads(values["record"])
            values["types"] = None if values["types"] is None else json.loads(values["types"])
            yield RejectedRow(**values)

    def _query(self, path: str, sql: str, parameters: Sequence[tuple[str, str]]) -> Iterator[Any]:
        from google.cloud import bigquery

        config = bigquery.QueryJobConfig(
            query_parameters=[
                bigquery.ScalarQueryParameter(name, "STRING", text) for name, text in parameters
            ]
        )
        with translated(f"reading table {path}"):
            try:
                self._client.get_table(path)
            except NotFound:
                return
            result = self._client.query(sql, job_config=config).result(page_size=_PAGE)
        pages = iter(result.pages)
        while True:
            with translated(f"reading table {path}"):
                page = next(pages, None)
            if page is None:
                return
            yield from page
