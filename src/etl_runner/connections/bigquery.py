"""Test of a BigQuery connection: its identity, the right to run jobs, the dataset, a table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from etl_runner.config.connections import BigQueryConnection
from etl_runner.config.secrets import SecretResolver
from etl_runner.errors import EtlError, PermanentError, RetryableError
from etl_runner.sources.files.stores.gcs import key_credentials
from etl_runner.sources.network import socket_error, unreachable

if TYPE_CHECKING:
    from etl_runner.connections.check import Surroundings

SCOPE = "https://www.googleapis.com/auth/bigquery"
TIMEOUT_SECONDS = 30.0
_PERMISSION = re.compile(r"bigquery\.[a-z]+\.[a-zA-Z]+")


def check_bigquery(
    connection: BigQueryConnection, secrets: SecretResolver, around: Surroundings, table: str | None
) -> str:
    """See :func:`etl_runner.connections.check.check_connection`."""
    billed = connection.billing_project or around.project
    place = f"BigQuery project {connection.project}"
    client = _client(connection, secrets, around, billed, place)
    found = ""
    step = f"running a query in project {billed} (roles/bigquery.jobUser there)"
    try:
        from google.cloud.bigquery import QueryJobConfig

        dry = QueryJobConfig(dry_run=True, use_query_cache=False)
        client.query("SELECT 1", job_config=dry, timeout=TIMEOUT_SECONDS, retry=None, job_retry=None)
        if table is not None:
            step = f"looking at table {table} (roles/bigquery.dataViewer on its dataset)"
            reference = _table(connection, table)
            client.get_table(reference, timeout=TIMEOUT_SECONDS, retry=None)
            found = f"; table {reference} can be seen"
        elif connection.dataset is not None:
            step = f"looking at dataset {connection.dataset} (roles/bigquery.dataViewer on it)"
            dataset = client.get_dataset(
                f"{connection.project}.{connection.dataset}", timeout=TIMEOUT_SECONDS, retry=None
            )
            found = f"; dataset {connection.dataset} is in {dataset.location}"
    except EtlError:
        raise
    except Exception as error:
        meaning = _meaning(error, place, step)
        if meaning is None:
            raise
        wrong = meaning
    else:
        return f"{place} answers, billed to {billed}{found}."
    finally:
        client.close()
    raise wrong


def _client(
    connection: BigQueryConnection, secrets: SecretResolver, around: Surroundings, billed: str, place: str
) -> Any:
    from google.cloud.bigquery import Client

    endpoint = around.bigquery_endpoint
    options: dict[str, Any] = {"client_options": {"api_endpoint": endpoint}} if endpoint else {}
    if endpoint is not None and endpoint.startswith("http://"):
        # Without TLS a token would travel in the open.
        from google.auth.credentials import AnonymousCredentials

        options["credentials"] = AnonymousCredentials()  # type: ignore[no-untyped-call]
    elif connection.credentials is not None:
        options["credentials"] = key_credentials(secrets.reveal(connection.credentials), place, SCOPE)
    return Client(project=billed, location=connection.location, **options)


def _table(connection: BigQueryConnection, table: str) -> str:
    parts = table.split(".")
    if len(parts) == 1 and connection.dataset is not None:
        parts = [connection.dataset, *parts]
    if len(parts) == 1:
        raise PermanentError(f"table {table!r} names no dataset, and neither does the connection")
    return ".".join([connection.project, *parts] if len(parts) == 2 else parts)


def _meaning(error: Exception, place: str, step: str) -> EtlError | None:
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth

    if isinstance(error, auth.RefreshError):
        return PermanentError(
            f"{place}: the service account's key was not accepted; it may be deleted, disabled or expired"
        )
    if isinstance(error, auth.DefaultCredentialsError):
        return PermanentError(
            f"{place}: this process has no account of its own; give the connection credentials"
        )
    if isinstance(error, api.GoogleAPICallError):
        if error.code == 404:
            return PermanentError(f"{place}: not found, while {step}; check project, dataset and location")
        if error.code == 403:
            named = _PERMISSION.search(str(error.message))
            return PermanentError(
                f"{place}: a permission is missing{f' ({named.group()})' if named else ''}, while {step}"
            )
        if error.code == 401:
            return PermanentError(f"{place}: the identity was not accepted; check credentials")
        kind = RetryableError if error.code == 429 or (error.code or 0) >= 500 else PermanentError
        return kind(f"{place}: refused, while {step} ({error.code})")
    origin = socket_error(error)
    if origin is None:
        return None
    return unreachable(
        origin, place, host="bigquery.googleapis.com", timeout=TIMEOUT_SECONDS, reach="the BigQuery endpoint"
    )
