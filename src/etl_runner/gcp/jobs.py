"""BigQuery jobs and tables through the official client."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from google.api_core.exceptions import (
    BadRequest,
    Conflict,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    PreconditionFailed,
)

from etl_runner.commit.jobs import JobExists, JobStatus
from etl_runner.commit.staging import quote
from etl_runner.convert.growth import with_added
from etl_runner.errors import JobRefused, RetryableError
from etl_runner.gcp.faults import retryable, translated

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.cloud import bigquery

_REFUSALS = (BadRequest, Forbidden, NotFound, MethodNotAllowed)


class GcpBigQueryJobs:
    """Implements :class:`etl_runner.commit.jobs.BigQueryJobs`."""

    def __init__(self, make_client: Callable[[], bigquery.Client]) -> None:
        self._make_client = make_client

    @cached_property
    def _client(self) -> bigquery.Client:
        # On first use: most calls of a function need no BigQuery, and none of its imports.
        return self._make_client()

    def get(self, job_id: str, location: str) -> JobStatus | None:
        with translated(f"reading BigQuery job {job_id}"):
            try:
                job = self._client.get_job(job_id, location=location)
            except NotFound:
                return None
            return self._status(job)

    def insert(self, job_id: str, location: str, configuration: dict[str, Any]) -> JobStatus:
        with translated(f"submitting BigQuery job {job_id}"):
            try:
                # The client's own retry is off: it would meet its first attempt as a conflict.
                job = self._submit(job_id, location, configuration)
            except Conflict as error:
                raise JobExists(job_id) from error
            except _REFUSALS as error:
                if retryable(error):
                    raise
                raise JobRefused(f"BigQuery refused job {job_id}: {error.message}") from error
            return self._status(job)

    def create_table(self, table: dict[str, Any]) -> None:
        from google.cloud import bigquery

        resource = bigquery.Table.from_api_repr(table)
        with translated(f"creating table {resource.reference}"):
            self._client.create_table(resource, exists_ok=True)

    def add_columns(self, table: dict[str, Any]) -> None:
        from google.cloud import bigquery

        wanted = bigquery.Table.from_api_repr(table)
        with translated(f"adding columns to table {wanted.reference}"):
            current = self._client.get_table(wanted.reference)
            there = current.to_api_repr()["schema"]["fields"]
            fields = with_added(there, [field.to_api_repr() for field in wanted.schema])
            if fields == there:
                return
            current.schema = [bigquery.SchemaField.from_api_repr(field) for field in fields]
            try:
                self._client.update_table(current, ["schema"])  # guarded by the table's etag
            except PreconditionFailed as error:
                raise RetryableError(f"table {wanted.reference} was altered meanwhile") from error

    def delete_table(self, path: str) -> None:
        with translated(f"deleting table {path}"):
            self._client.delete_table(path, not_found_ok=True)

    def rows(self, sql: str) -> list[list[Any]]:
        """The rows of a query; for few of them."""
        with translated("querying BigQuery"):
            return [list(row.values()) for row in self._client.query_and_wait(sql)]

    def put_view(self, path: str, query: str) -> None:
        """Create the view ``project.dataset.name``, or give it this query."""
        from google.cloud import bigquery

        with translated(f"creating view {path}"):
            statement = f"CREATE OR REPLACE VIEW {quote(path)} AS\n{query}"
            self._client.query_and_wait(statement, job_config=bigquery.QueryJobConfig(use_legacy_sql=False))

    def get_table(self, path: str) -> dict[str, Any] | None:
        """The API's Table resource of ``project.dataset.table``, or None when there is none."""
        with translated(f"reading table {path}"):
            try:
                return dict(self._client.get_table(path).to_api_repr())
            except NotFound:
                return None

    def dataset_location(self, path: str) -> str | None:
        """The location of ``project.dataset``, or None when there is no such dataset."""
        with translated(f"reading dataset {path}"):
            try:
                location = self._client.get_dataset(path).location
                return str(location) if location else None
            except NotFound:
                return None

    # The client's annotations know no switched-off retry; its documentation does.
    def _submit(self, job_id: str, location: str, configuration: dict[str, Any]) -> Any:
        from google.cloud import bigquery

        if "load" in configuration:
            load = configuration["load"]
            config: Any = bigquery.LoadJobConfig.from_api_repr(configuration)
            target = bigquery.TableReference.from_api_repr(load["destinationTable"])
            return self._client.load_table_from_uri(
                load["sourceUris"],
                target,
                job_id=job_id,
                location=location,
                job_config=config,
                retry=None,  # type: ignore[arg-type]
            )
        query_config: Any = bigquery.QueryJobConfig.from_api_repr(configuration)
        return self._client.query(
            configuration["query"]["query"],
            job_config=query_config,
            job_id=job_id,
            location=location,
            retry=None,  # type: ignore[arg-type]
            job_retry=None,
        )

    def _status(self, job: Any) -> JobStatus:
        error = job.error_result or {}
        target = getattr(job, "destination", None)
        return JobStatus(
            job_id=job.job_id,
            kind=job.job_type,
            state=job.state,
            labels=dict(job.labels or {}),
            destination=None if target is None else f"{target.project}.{target.dataset_id}.{target.table_id}",
            reason=error.get("reason") or ("unknown" if error else None),
            message=error.get("message"),
            rows=self._rows(job) if job.state == "DONE" and not error else None,
            query=getattr(job, "query", None),
        )

    def _rows(self, job: Any) -> int | None:
        if job.job_type == "load":
            return None if job.output_rows is None else int(job.output_rows)
        if job.statement_type != "SELECT":
            return None if job.num_dml_affected_rows is None else int(job.num_dml_affected_rows)
        return int(job.result(max_results=0).total_rows)
