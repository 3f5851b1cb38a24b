"""The whole stand-in: local-bigquery and the front before it."""

from __future__ import annotations

import http
import json
from dataclasses import dataclass
from pathlib import Path

from local.bigquery import environment
from local.bigquery.front.facts import Strictness
from local.bigquery.front.faults import FaultsClient
from local.bigquery.front.server import Front
from local.bigquery.front.upstream import Upstream
from local.bigquery.process import BigQueryProcess


@dataclass
class BigQueryStandIn:
    """A running stand-in for BigQuery.

    ``url`` is the endpoint for clients (``BIGQUERY_EMULATOR_HOST``), ``grpc_address`` the Storage API's
    (plain gRPC, ``127.0.0.1:port``), ``faults`` injects faults, ``process.url`` goes round the front.
    """

    process: BigQueryProcess
    front: Front
    faults: FaultsClient
    project: str
    location: str

    @classmethod
    def start(
        cls,
        data_dir: Path,
        project: str,
        location: str,
        storage_endpoint: str,
        env_dir: Path | None = None,
        *,
        port: int = 0,
        grpc_port: int = 0,
        strictness: Strictness | None = None,
        corrected: bool = True,
    ) -> BigQueryStandIn:
        """Start both and wait until they answer; makes the environment first if it is missing.

        ``location`` (``EU``) is where buckets are, and jobs that neither say so nor have a destination;
        ``storage_endpoint`` reads ``http://127.0.0.1:port``; ``port`` 0 takes a free one for the front,
        ``grpc_port`` 0 one for the Storage API.

        Raises:
            EnvironmentUnavailable: see :func:`local.bigquery.environment.ensure`.
            ServerDidNotStart: see :meth:`local.bigquery.process.BigQueryProcess.start`.
        """
        env_dir = environment.ensure(env_dir or environment.environment_dir())
        process = BigQueryProcess.start(
            env_dir=env_dir,
            data_dir=data_dir,
            project=project,
            storage_endpoint=storage_endpoint,
            corrected=corrected,
            grpc_port=grpc_port,
        )
        try:
            front = Front(
                upstream_port=process.port,
                storage_endpoint=storage_endpoint,
                data_dir=data_dir,
                location=location,
                port=port,
                strictness=strictness,
            )
        except BaseException:
            process.stop()
            raise
        front.start()
        return cls(process, front, FaultsClient(front.url), project, location)

    @property
    def url(self) -> str:
        return self.front.url

    @property
    def grpc_address(self) -> str:
        return self.process.grpc_address

    def create_dataset(self, dataset: str, location: str | None = None) -> None:
        """Make a dataset, at the stand-in's own location unless told otherwise; one that exists is kept.

        Raises:
            ValueError: the server refused.
        """
        reference = {"projectId": self.project, "datasetId": dataset}
        body = {"datasetReference": reference, "location": location or self.location}
        path = f"/bigquery/v2/projects/{self.project}/datasets"
        answer = Upstream("127.0.0.1", self.process.port).send(
            "POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        if answer.status not in (http.HTTPStatus.OK, http.HTTPStatus.CONFLICT):
            raise ValueError(f"dataset {dataset}: {answer.status} {answer.body.decode(errors='replace')}")

    def stop(self) -> None:
        """End the front, then local-bigquery."""
        self.front.stop()
        self.process.stop()
