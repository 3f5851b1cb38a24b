"""BigQuery as a source, through the official clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from google.api_core import exceptions as api

from etl_runner.convert.fields import BqField
from etl_runner.errors import RetryableError
from etl_runner.gcp.faults import translated
from etl_runner.sources.bigquery.access import DryRun

if TYPE_CHECKING:
    import pyarrow as pa
    from google.cloud import bigquery
    from google.cloud.bigquery_storage_v1 import BigQueryReadClient

_SESSION_ENDED = (api.NotFound, api.FailedPrecondition, api.OutOfRange, api.Unknown)


class GcpWarehouse:
    """Implements :class:`etl_runner.sources.bigquery.access.Warehouse`."""

    def __init__(
        self,
        make_client: Callable[[], bigquery.Client],
        make_reader: Callable[[], BigQueryReadClient],
        *,
        billing_project: str,
        runner_project: str,
        labels: dict[str, str],
    ) -> None:
        """
        Args:
            make_client: makes the client of the identity that reads; it has no location of its own.
            make_reader: makes its client of the Storage Read API, when rows are wanted.
            labels: of every query, so that its cost can be found.
        """
        self._make_client = make_client
        self._make_reader = make_reader
        self.billing_project = billing_project
        self.runner_project = runner_project
        self._labels = labels

    def get_table(self, path: str) -> dict[str, Any] | None:
        with translated(f"reading table {path}"):
            try:
                return dict(self._client.get_table(_reference(path)).to_api_repr())
            except api.NotFound:
                return None

    def dry_run(self, sql: str, location: str | None) -> DryRun:
        from google.cloud import bigquery

        config = bigquery.QueryJobConfig(dry_run=True, use_query_cache=False)
        with translated("checking a query of the source"):
            job: Any = self._client.query(sql, job_config=config, location=location, job_retry=None)
        fields = job.schema or ()
        return DryRun(
            columns=tuple(BqField.from_api(_plain(field.to_api_repr())) for field in fields),
            bytes=int(job.total_bytes_processed or 0),
            location=job.location or location,
            statement=str(job.statement_type or ""),
        )

    def rows(self, sql: str, location: str | None) -> list[tuple[Any, ...]]:
        from google.cloud import bigquery

        config = bigquery.QueryJobConfig(labels=self._labels)
        with translated("asking the source"):
            found = self._client.query_and_wait(sql, job_config=config, location=location)
            return [tuple(row.values()) for row in found]

    def run(self, sql: str, location: str | None) -> str:
        from google.cloud import bigquery

        config = bigquery.QueryJobConfig(labels=self._labels)
        with translated("running the source's query"):
            job: Any = self._client.query(sql, job_config=config, location=location)
            job.result(max_results=0)
            table = job.destination
        return f"{table.project}.{table.dataset_id}.{table.table_id}"

    def first(self, table: str, fields: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        with translated(f"reading the first rows of {table}"):
            known = self._client.get_table(_reference(table))
            wanted = [field for field in known.schema if field.name in fields]
            found = self._client.list_rows(known, selected_fields=wanted, max_results=rows)
            # Never by the Storage API, which functions are deployed without.
            yield from found.to_arrow(create_bqstorage_client=False).to_batches()

    def read(
        self, table: str, fields: Sequence[str], restriction: str | None, at: datetime | None
    ) -> Iterator[pa.RecordBatch]:
        from google.cloud.bigquery_storage_v1 import types

        reference = _reference(table)
        request = types.ReadSession(
            table=f"projects/{reference.project}/datasets/{reference.dataset_id}/tables/{reference.table_id}",
            data_format=types.DataFormat.ARROW,
            read_options=types.ReadSession.TableReadOptions(
                selected_fields=list(fields), row_restriction=restriction or ""
            ),
        )
        if at is not None:
            request.table_modifiers = types.ReadSession.TableModifiers(snapshot_time=at)
        with translated(f"opening a read session on {table}"):
            # One stream: a unit is read in order by one reader.
            session = self._reader.create_read_session(
                parent=f"projects/{self.billing_project}", read_session=request, max_stream_count=1
            )
        for stream in session.streams:
            yield from self._stream(table, stream.name, session.arrow_schema.serialized_schema)

    def _stream(self, table: str, name: str, schema: bytes) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        known = pa.ipc.read_schema(pa.py_buffer(schema))
        with translated(f"reading {table}"):
            try:
                # The client itself goes on at the row where a connection was lost.
                responses: Any = self._reader.read_rows(name)  # type: ignore[no-untyped-call]
                for response in responses:
                    data = response.arrow_record_batch.serialized_record_batch
                    yield pa.ipc.read_record_batch(pa.py_buffer(data), known)
            except _SESSION_ENDED as error:
                raise RetryableError(f"reading {table}: the read session ended early") from error

    @cached_property
    def _client(self) -> bigquery.Client:
        return self._make_client()

    @cached_property
    def _reader(self) -> BigQueryReadClient:
        return self._make_reader()


def _reference(path: str) -> bigquery.TableReference:
    # Projects of a domain have a dot in their name (example.com:project), so the client's parser is not used.
    from google.cloud import bigquery

    project, dataset, table = path.rsplit(".", 2)
    return bigquery.TableReference(bigquery.DatasetReference(project, dataset), table)


def _plain(field: dict[str, Any]) -> dict[str, Any]:
    """A field of a query's schema; the client gives ranges as ``RANGE<DATE>`` where the server does."""
    kind = str(field["type"])
    nested = [_plain(inner) for inner in field.get("fields") or ()]
    if kind.startswith("RANGE<"):
        return {**field, "type": "RANGE", "rangeElementType": {"type": kind[6:-1]}}
    return {**field, "fields": nested}
