"""Google Cloud clients for a deployment.

An endpoint of the deployment that begins with ``http://`` is spoken to without TLS and credentials;
without an endpoint the client's own and application default credentials are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from etl_runner.settings import Settings

if TYPE_CHECKING:
    from google.cloud import bigquery, pubsub_v1, run_v2, secretmanager, storage
    from google.cloud.workflows import executions_v1


def _options(endpoint: str | None) -> dict[str, Any]:
    if endpoint is None:
        return {}
    from google.auth.credentials import AnonymousCredentials

    options: dict[str, Any] = {"client_options": {"api_endpoint": endpoint}}
    if endpoint.startswith("http://"):
        options["credentials"] = AnonymousCredentials()  # type: ignore[no-untyped-call]
    return options


def storage_client(settings: Settings) -> storage.Client:
    """Cloud Storage."""
    from google.cloud import storage

    return storage.Client(project=settings.project, **_options(settings.storage_endpoint))


def bigquery_client(settings: Settings) -> bigquery.Client:
    """BigQuery; every job is given the deployment's location."""
    from google.cloud import bigquery

    return bigquery.Client(
        project=settings.project,
        location=settings.bigquery_location,
        **_options(settings.bigquery_endpoint),
    )


def publisher(settings: Settings) -> pubsub_v1.PublisherClient:
    """Pub/Sub; the client itself follows ``PUBSUB_EMULATOR_HOST``."""
    from google.cloud import pubsub_v1

    del settings
    return pubsub_v1.PublisherClient()


def jobs_client(settings: Settings) -> run_v2.JobsClient:
    """Cloud Run jobs, over REST."""
    from google.cloud import run_v2

    return run_v2.JobsClient(transport="rest", **_options(settings.run_endpoint))


def executions_client(settings: Settings) -> executions_v1.ExecutionsClient:
    """Workflow executions; the API has gRPC only."""
    from google.cloud.workflows import executions_v1

    return _grpc_client(executions_v1.ExecutionsClient, settings.workflows_endpoint)


def secret_client(settings: Settings) -> secretmanager.SecretManagerServiceClient:
    """Secret Manager."""
    from google.cloud import secretmanager

    return _grpc_client(secretmanager.SecretManagerServiceClient, settings.secretmanager_endpoint)


def _grpc_client(client: Any, endpoint: str | None) -> Any:
    if endpoint is None or not endpoint.startswith("http://"):
        return client(**_options(endpoint))
    import grpc

    channel = grpc.insecure_channel(endpoint.removeprefix("http://"))
    return client(transport=client.get_transport_class("grpc")(channel=channel))
