"""What the BigQuery tests share: a source dataset, and whole runs in this process."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from google.cloud import storage

from etl_runner import operations
from etl_runner.config.resolved import ResolvedSource
from etl_runner.execution.task import run_task
from etl_runner.gcp.deployment import Deployment
from etl_runner.jsontypes import JsonObject
from etl_runner.planning.plan import Plan
from etl_runner.settings import Settings
from tests.conftest import BIGQUERY_LOCATION, PROJECT, Warehouse, fresh_name


@dataclass
class Lab:
    """A deployment, and the dataset that sources read from."""

    deployment: Deployment
    bigquery: Warehouse
    source: str
    """Dataset of the sources' tables; ``{source}`` in SQL."""
    project: str = PROJECT

    def sql(self, *statements: str) -> None:
        """Run statements."""
        for statement in statements:
            self.rows(statement)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query; ``{source}`` and ``{dataset}`` stand for the two datasets."""
        return self.bigquery.rows(sql.replace("{source}", f"`{self.project}`.`{self.source}`"))

    def put(self, **fields: Any) -> str:
        """Write a source document; a catalog of ``t`` unless ``fields`` say otherwise. Its id, which is a
        new one unless ``source_id`` is given."""
        name = fields.pop("source_id", None) or fresh_name("s")
        connection = {
            "source_type": "bigquery",
            "project": self.project,
            "dataset": self.source,
            "use_runner_account": True,
            **fields.pop("connection_params", {}),
        }
        document = {
            "source_type": "bigquery",
            "connection_params": {key: value for key, value in connection.items() if value is not None},
            "load_type": "catalog",
            "dest_table_name": "loaded",
            **fields,
        }
        if "query" not in document:
            document.setdefault("source_table_name", "t")
        self.deployment.config.delete(f"sources/{name}.json")
        self.deployment.config.create(f"sources/{name}.json", json.dumps(document).encode())
        return name

    def plan(self, source_id: str, run_id: str | None = None) -> tuple[JsonObject, Plan]:
        """Open a run and plan it: the run's handle, and its plan."""
        opened = operations.trigger(
            self.deployment, {"source_id": source_id, "run_id": run_id or fresh_name("run", "-")}
        )
        assert opened["status"] == "opened", opened
        key = {name: opened[name] for name in ("source_id", "run_id", "epoch")}
        planned = operations.plan(self.deployment, key)
        name = planned["plan_uri"].split("/", 3)[3]
        stored = self.deployment.staging.read(name)
        assert stored is not None
        return {**key, "plan_name": name}, Plan.from_jsonl(stored.data)

    def extract(self, handle: JsonObject, plan: Plan) -> None:
        """Do the units, as the job's one task."""
        if plan.units:
            run_task(
                self.deployment.staging,
                handle["plan_name"],
                0,
                1,
                lambda header: self.deployment.open_source(ResolvedSource.from_json(header.config)),
            )

    def finalize(self, handle: JsonObject) -> JsonObject:
        """Finalize until it is done; the receipt."""
        for _ in range(600):
            answer = operations.finalize(self.deployment, handle)
            if answer["status"] == "done":
                return dict(answer["receipt"])
            time.sleep(0.2)  # as the workflow does
        raise AssertionError("finalize never ends")

    def run(self, source_id: str) -> tuple[Plan, JsonObject]:
        """A whole run: its plan and its receipt."""
        handle, plan = self.plan(source_id)
        self.extract(handle, plan)
        return plan, self.finalize(handle)


def lab_of(bigquery: Warehouse, client: storage.Client, gcs_endpoint: str, source: str) -> Lab:
    """A deployment with buckets of its own, loading into ``bigquery``'s dataset."""
    buckets = {name: fresh_name(name, "-") for name in ("config", "state", "staging")}
    for bucket in buckets.values():
        client.create_bucket(bucket)
    settings = Settings(
        project=PROJECT,
        location="europe-west1",
        bigquery_location=BIGQUERY_LOCATION,
        dataset=bigquery.dataset,
        config_bucket=buckets["config"],
        state_bucket=buckets["state"],
        staging_bucket=buckets["staging"],
        bigquery_endpoint=bigquery.url,
        bigquery_storage_endpoint=f"http://{bigquery.server.grpc_address}",
        storage_endpoint=gcs_endpoint,
    )
    return Lab(Deployment(settings), bigquery, source)
