"""What a deployment reads in its own name: sources whose connection has no key of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from etl_runner.config.connections import BigQueryConnection, GcsConnection
from etl_runner.config.database import DatabaseSource
from etl_runner.config.resolved import ResolvedSource
from etl_runner.doctor.things import Thing
from etl_runner.sources.bigquery.relation import table_path


@dataclass(frozen=True)
class Reads:
    """Buckets and datasets of the deployment's project that sources read, each with its location."""

    buckets: Mapping[str, str] = field(default_factory=dict)
    datasets: Mapping[str, str] = field(default_factory=dict)
    billed: bool = False
    """Whether a source of BigQuery is read at the cost of the deployment's project."""

    def things(self, project: str) -> Iterator[Thing]:
        """What the grants of the table are on."""
        for name, location in sorted(self.buckets.items()):
            yield Thing("source-bucket", name, name, {"location": location})
        for name, location in sorted(self.datasets.items()):
            resource = f"projects/{project}/datasets/{name}"
            yield Thing("source-dataset", name, resource, {"location": location})


def event_buckets(sources: Iterable[ResolvedSource]) -> set[str]:
    """The buckets of Cloud Storage that sources read, with whatever key: their events are listened to."""
    connections = [source.connection for source in sources]
    return {each.bucket for each in connections if isinstance(each, GcsConnection)}


def buckets_read(sources: Iterable[ResolvedSource]) -> set[str]:
    """The buckets of Cloud Storage that are read without a key."""
    connections = [source.connection for source in sources]
    return {
        each.bucket for each in connections if isinstance(each, GcsConnection) and each.credentials is None
    }


def datasets_read(sources: Iterable[ResolvedSource], project: str) -> set[str]:
    """The project's datasets whose tables are read without a key. What a query or a view reads is not known
    from documents, and datasets of other projects are their owners' to grant."""
    found = set()
    for source in sources:
        document, connection = source.document, source.connection
        if not isinstance(connection, BigQueryConnection) or connection.credentials is not None:
            continue
        if not isinstance(document, DatabaseSource) or document.source_table_name is None:
            continue
        owner, dataset, _ = table_path(document, connection, source.source_id).rsplit(".", 2)
        if owner == project:
            found.add(dataset)
    return found


def billed_here(sources: Iterable[ResolvedSource], project: str) -> bool:
    """Whether a source of BigQuery is read without a key and billed to the project."""
    connections = [source.connection for source in sources]
    return any(
        isinstance(each, BigQueryConnection)
        and each.credentials is None
        and each.billing_project in (None, project)
        for each in connections
    )
