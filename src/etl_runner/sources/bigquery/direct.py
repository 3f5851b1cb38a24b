"""Whether BigQuery can do a run alone: one query from the source into the destination."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from etl_runner.config.connections import BigQueryConnection
from etl_runner.config.database import DatabaseSource
from etl_runner.planning.plan import Destination, PlannedColumn
from etl_runner.sources.bigquery.access import Warehouse
from etl_runner.sources.bigquery.quoting import identifier
from etl_runner.sources.bigquery.relation import Relation
from etl_runner.sources.bigquery.types import by_query

_NAMED = 5


def obstacle(
    document: DatabaseSource,
    connection: BigQueryConnection,
    warehouse: Warehouse,
    relation: Relation,
    columns: Sequence[PlannedColumn],
    destination: Destination,
) -> str | None:
    """Why rows have to leave BigQuery, as the end of a sentence; None: they need not.

    The query is the commit's job: it runs in the deployment's project and location as the deployment's
    account, so that it can read only what that account may read there, and only on purpose.
    """
    if document.engine in ("cloud_run", "dataflow"):
        return f"the source document asks for {document.engine}"
    if not connection.use_runner_account:
        return "the connection has credentials of its own, and commits run as the deployment's account"
    if warehouse.billing_project != warehouse.runner_project:
        return (
            f"reading is billed to {warehouse.billing_project}, and commits run in {warehouse.runner_project}"
        )
    if relation.location.lower() != destination.location.lower():
        return f"{relation.label} is in {relation.location}, and the destination in {destination.location}"
    changed = [column.source for column in columns if _item(relation, column) is None]
    if changed:
        named = ", ".join(changed[:_NAMED]) + (", ..." if len(changed) > _NAMED else "")
        return f"values of {named} have to be converted to the destination's types one by one"
    return None


def direct_query(
    relation: Relation, columns: Sequence[PlannedColumn], where: str | None, as_of: datetime
) -> str:
    """SELECT of the destination's columns, by their names there."""
    items = ", ".join(
        f"{_item(relation, column)} AS {identifier(column.destination.name)}" for column in columns
    )
    return f"SELECT {items} FROM {relation.as_of(as_of)}" + (f" WHERE {where}" if where else "")


def _item(relation: Relation, column: PlannedColumn) -> str | None:
    found = relation.column(column.source)
    return None if found is None else by_query(found.field, column.destination, identifier(found.name))
