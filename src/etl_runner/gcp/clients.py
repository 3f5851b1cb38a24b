"""Google Cloud clients for a deployment.

An endpoint of the deployment that begins with ``http://`` is spoken to without TLS and credentials;
without an endpoint the client's own and application default credentials are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from etl_runner.errors import PermanentError
from etl_runner.lean_client import lean
from etl_runner.settings import Settings

if TYPE_CHECKING:
    from google.cloud.bigquery import Client as BigQueryClient
    from google.cloud.bigquery_storage_v1 import BigQueryReadClient
    from google.cloud.dataflow_v1beta3 import JobsV1Beta3Client
    from google.cloud.pubsub_v1 import PublisherClient
    from google.cloud.run_v2 import ExecutionsClient as JobExecutionsClient
    from google.cloud.run_v2 import JobsClient
    from google.cloud.secretmanager import SecretManagerServiceClient
    from google.cloud.storage import Client as StorageClient
    from google.cloud.workflows.executions_v1 import ExecutionsClient

T = TypeVar("T")
_SECONDS = 20
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


def client_options(endpoint: str | None) -> dict[str, Any]:
    """What a client of Google's is made with for an endpoint; nothing for Google's own."""
    if endpoint is None:
        return {}
    from google.auth.credentials import AnonymousCredentials

    options: dict[str, Any] = {"client_options": {"api_endpoint": endpoint}}
    if endpoint.startswith("http://"):
        options["credentials"] = AnonymousCredentials()  # type: ignore[no-untyped-call]
    return options


def storage_client(settings: Settings) -> StorageClient:
    """Cloud Storage."""
    from google.cloud.storage import Client

    return lean(Client(project=settings.project, **client_options(settings.storage_endpoint)))


def bigquery_client(settings: Settings) -> BigQueryClient:
    """BigQuery; every job is given the deployment's location."""
    from google.cloud.bigquery import Client

    return Client(
        project=settings.project,
        location=settings.bigquery_location,
        **client_options(settings.bigquery_endpoint),
    )


def source_bigquery_client(settings: Settings, project: str, key: str | None) -> BigQueryClient:
    """BigQuery as a source's identity. It has no location: jobs are where their tables are.

    Args:
        project: in which queries run.
        key: a service account's key as JSON; None is the process's own account.
    """
    from google.cloud.bigquery import Client

    options = client_options(settings.bigquery_endpoint)
    if key is not None:
        options["credentials"] = _service_account(key)
    return Client(project=project, **options)


def bigquery_read_client(settings: Settings, key: str | None) -> BigQueryReadClient:
    """The BigQuery Storage Read API as a source's identity; ``key`` as for :func:`source_bigquery_client`."""
    from google.cloud.bigquery_storage_v1 import BigQueryReadClient

    endpoint = settings.bigquery_storage_endpoint
    if key is None or (endpoint or "").startswith("http://"):
        return _grpc_client(BigQueryReadClient, endpoint)
    options = {**client_options(endpoint), "credentials": _service_account(key)}
    return BigQueryReadClient(**options)  # type: ignore[no-untyped-call]


def _service_account(key: str) -> Any:
    import json

    from google.oauth2.service_account import Credentials

    try:
        info = json.loads(key)
        return Credentials.from_service_account_info(info, scopes=[_SCOPE])  # type: ignore[no-untyped-call]
    except ValueError:
        # The reason may quote the key.
        raise PermanentError("the connection's credentials are not a service account's key") from None


def publisher(settings: Settings) -> PublisherClient:
    """Pub/Sub; the client itself follows ``PUBSUB_EMULATOR_HOST``."""
    from google.cloud.pubsub_v1 import PublisherClient

    del settings
    return PublisherClient()


def jobs_client(settings: Settings) -> JobsClient:
    """Cloud Run jobs, over REST."""
    from google.cloud.run_v2 import JobsClient

    return JobsClient(transport="rest", **client_options(settings.run_endpoint))


def job_executions_client(settings: Settings) -> JobExecutionsClient:
    """Executions of Cloud Run jobs, over REST."""
    from google.cloud.run_v2 import ExecutionsClient as JobExecutionsClient

    return JobExecutionsClient(transport="rest", **client_options(settings.run_endpoint))


def dataflow_jobs_client(settings: Settings) -> JobsV1Beta3Client:
    """Dataflow's jobs, over REST."""
    from google.cloud.dataflow_v1beta3 import JobsV1Beta3Client

    return JobsV1Beta3Client(transport="rest", **client_options(settings.dataflow_endpoint))


def get_json(endpoint: str, path: str) -> tuple[int, Any]:
    """Status and JSON body of a GET of one of Google's REST APIs, as this process's account; for single
    reads, which no client library is worth. None for a body that is no JSON.

    Raises:
        RetryableError, PermanentError: no answer, or no credentials.
    """
    import requests
    from google.auth import default
    from google.auth.transport.requests import AuthorizedSession

    from etl_runner.gcp.faults import translated

    with translated(f"asking {endpoint}"):
        if endpoint.startswith("http://"):
            session = requests.Session()
        else:
            credentials, _ = default(scopes=[_SCOPE])
            session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
        with session:
            answer = session.get(f"{endpoint}{path}", timeout=_SECONDS)
    try:
        return answer.status_code, answer.json()
    except ValueError:
        return answer.status_code, None


def executions_client(settings: Settings) -> ExecutionsClient:
    """Workflow executions; the API has gRPC only."""
    from google.cloud.workflows.executions_v1 import ExecutionsClient

    return _grpc_client(ExecutionsClient, settings.workflows_endpoint)


def secret_client(settings: Settings) -> SecretManagerServiceClient:
    """Secret Manager."""
    from google.cloud.secretmanager import SecretManagerServiceClient

    return _grpc_client(SecretManagerServiceClient, settings.secretmanager_endpoint)


def _grpc_client(client: type[T], endpoint: str | None) -> T:
    if endpoint is None or not endpoint.startswith("http://"):
        return client(**client_options(endpoint))
    import grpc

    # The clients' own channels take messages of any size as well.
    options = [("grpc.max_receive_message_length", -1)]
    channel = grpc.insecure_channel(endpoint.removeprefix("http://"), options=options)
    transport = client.get_transport_class("grpc")(channel=channel)  # type: ignore[attr-defined]
    return client(transport=transport)  # type: ignore[call-arg]
