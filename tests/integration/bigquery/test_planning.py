"""What planning costs BigQuery: as many calls and queries whatever the table's size, of few columns."""

from __future__ import annotations

from typing import Any

import pytest
from google.cloud.bigquery._http import Connection

from tests.integration.bigquery.support import Lab

pytestmark = pytest.mark.stack


_RUN, _DRY = 6, 1
"""Jobs of a plan at most: what reads a column, and what only asks what reading would cost."""


class Calls:
    """What goes over BigQuery's API, by the official client."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gets = 0
        self.run: list[str] = []
        self.dry: list[str] = []
        request: Any = Connection.api_request

        def counted(connection: Connection, *args: Any, **kwargs: Any) -> Any:
            data = kwargs.get("data") or {}
            if kwargs.get("method") == "GET":
                self.gets += 1
            elif str(kwargs.get("path")).endswith(("/jobs", "/queries")):
                query = data.get("configuration", {}).get("query", data)["query"]
                (self.dry if data.get("configuration", {}).get("dryRun") else self.run).append(query)
            return request(connection, *args, **kwargs)

        monkeypatch.setattr(Connection, "api_request", counted)


@pytest.mark.parametrize("engine", ["auto", "cloud_run"])
@pytest.mark.parametrize("load", ["catalog", "whole", "later", "key"])
def test_planning_submits_as_many_queries_whatever_the_size_and_reads_no_other_column(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, load: str, engine: str
) -> None:
    fields: dict[str, Any] = {"engine": engine, "unit_rows": 100}
    if load != "catalog":
        cursor = {"incrementing_column": "id"} if load == "key" else {"timestamp_column": "at"}
        fields |= {"load_type": "transactional", **cursor}
    if load == "later":
        fields["last_sync_value"] = "2026-01-01 00:30:00"
    calls, units = [], []
    for table, rows in (("small", 1_000), ("large", 20_000)):
        lab.sql(
            f"CREATE TABLE {{source}}.{table} (id INT64, at TIMESTAMP, note STRING) PARTITION BY DATE(at)",
            f"INSERT INTO {{source}}.{table} SELECT n, "
            f"TIMESTAMP_ADD(TIMESTAMP '2026-01-01', INTERVAL n MINUTE), 'x' "
            f"FROM UNNEST(GENERATE_ARRAY(1, {rows})) AS n",
        )
        source = lab.put(**fields, source_table_name=table, dest_table_name=f"loaded_{table}")
        with monkeypatch.context() as patches:
            counted = Calls(patches)
            _, plan = lab.plan(source)
        calls.append(counted)
        units.append(len(plan.units))
    small, large = calls
    assert small.gets == large.gets
    assert len(small.dry) == len(large.dry) <= _DRY
    # Where no partition tells how the rows lie, one more query does.
    told = [[sql for sql in counted.run if "APPROX_QUANTILES" not in sql] for counted in calls]
    assert len(told[0]) == len(told[1]), told
    assert max(len(counted.run) for counted in calls) <= _RUN, calls
    assert engine == "auto" or units[1] > 4 * units[0] >= 4
    assert not any("note" in sql or "*" in sql.replace("COUNT(*)", "") for sql in small.run + large.run)
