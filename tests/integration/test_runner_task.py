"""The Cloud Run Job's entry point as a process, over a real PostgreSQL and a Cloud Storage server."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from etl_runner.commit.close import RunKey, timestamp
from etl_runner.convert.rejects import Reject
from etl_runner.errors import PermanentError
from etl_runner.execution import entry
from etl_runner.execution.collect import collect_verified
from etl_runner.execution.manifest import Manifest
from etl_runner.gcp.deployment import Deployment
from etl_runner.planning.plan import Plan
from etl_runner.planning.planner import Planner
from etl_runner.settings import Settings
from etl_runner.state.document import Slot, State
from tests.conftest import Database, fresh_name

pytestmark = pytest.mark.stack

JOB = Path(__file__).parents[2] / "runner_image" / "job.py"
LARGE = 100_000
"""Rows of the table whose tasks are stopped: at 500 a unit, a task is far from its end after ten units."""
PASSWORD = "TEST_SOURCE_PASSWORD"


def no_fleet() -> str:
    return "there is no Dataflow"


class NoTables:
    """A dataset without tables."""

    def get_table(self, path: str) -> dict[str, Any] | None:
        return None

    def dataset_location(self, path: str) -> str | None:
        return "EU"


@dataclass
class World:
    """A deployment whose job is run by hand."""

    deployment: Deployment
    environ: dict[str, str]
    database: Database
    plan: Plan = field(init=False)
    plan_uri: str = field(init=False)

    def open_run(self, **document: Any) -> None:
        """Write a source document and a run's plan, as the functions before the job do."""
        connection = {
            "source_type": "postgresql",
            "host": self.database.host,
            "port": self.database.port,
            "database": self.database.database,
            "username": self.database.user,
            "password": {"env": PASSWORD},
        }
        source = {
            "source_type": "postgresql",
            "connection": "shop",
            "dest_table_name": "t",
            "load_type": "catalog",
            **document,
        }
        self.deployment.config.create("connections/shop.yaml", yaml.safe_dump(connection).encode())
        self.deployment.config.create("sources/orders.yaml", yaml.safe_dump(source).encode())
        key = RunKey("orders", "run-1", 1)
        deadline = timestamp(dt.datetime.now(dt.UTC) + dt.timedelta(hours=1))
        state = self.deployment.store("orders").change(
            lambda _: State(epoch=1, slot=Slot("run-1", 1, deadline))
        )
        planner = Planner(
            self.deployment.settings, NoTables(), self.deployment.open_source, lambda *_: set(), no_fleet
        )
        self.plan = planner.make_plan(self.deployment.load_source("orders"), key, state)
        name = "runs/run-1/1/plan.jsonl"
        self.deployment.staging.create(name, self.plan.to_jsonl())
        self.plan_uri = self.deployment.staging.uri(name)

    def start(
        self, index: int = 0, count: int = 1, environ: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start one task of the job."""
        task = {
            "ETL_PLAN_URI": self.plan_uri,
            "CLOUD_RUN_TASK_INDEX": str(index),
            "CLOUD_RUN_TASK_COUNT": str(count),
            "CLOUD_RUN_TASK_ATTEMPT": "0",
        }
        return subprocess.Popen(
            [sys.executable, JOB], env={**self.environ, **task, **(environ or {})}, stdout=subprocess.PIPE
        )

    def run(
        self, index: int = 0, count: int = 1, environ: Mapping[str, str] | None = None
    ) -> tuple[int, list[dict[str, Any]]]:
        """Run one task to its end: exit code and log lines."""
        process = self.start(index, count, environ)
        output, _ = process.communicate(timeout=240)
        return process.returncode, [json.loads(line) for line in output.splitlines()]

    def manifests(self) -> list[Manifest]:
        """The manifests of all units, shards verified."""
        return collect_verified(self.deployment.staging, self.plan)

    def rows(self) -> list[dict[str, Any]]:
        """All rows of the shards that count."""
        tables = []
        for manifest in self.manifests():
            for shard in manifest.shards:
                stored = self.deployment.staging.read(shard.name)
                assert stored is not None
                tables.append(pq.read_table(pa.BufferReader(stored.data)))
        return [row for table in tables for row in table.to_pylist()]

    def finished_units(self) -> int:
        """How many manifests there are."""
        return sum(1 for _ in self.deployment.staging.list("runs/run-1/1/units/"))


@pytest.fixture
def world(postgres: Database, gcs_endpoint: str, storage_client: Any) -> World:
    buckets = {role: fresh_name(role, "-") for role in ("config", "state", "staging")}
    for bucket in buckets.values():
        storage_client.create_bucket(bucket)
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(JOB.parents[1] / "src"),
        "ETL_PROJECT": "p",
        "ETL_LOCATION": "EU",
        "ETL_DATASET": "d",
        "STORAGE_EMULATOR_HOST": gcs_endpoint,
        "ETL_UNIT_ROWS": "500",
        PASSWORD: postgres.password,
        **{f"ETL_{role.upper()}_BUCKET": name for role, name in buckets.items()},
    }
    return World(Deployment(Settings.from_env(environ)), environ, postgres)


@pytest.fixture(autouse=True)
def password_here(postgres: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planning happens in this process."""
    monkeypatch.setenv(PASSWORD, postgres.password)


TYPES = """
CREATE TABLE everything AS SELECT
    i AS id, i::numeric(12,2) / 4 AS amount, 'näme ' || i AS name, i % 2 = 0 AS flag,
    date '1960-02-29' + i AS day,
    timestamptz '2020-01-01 12:00:00.000001+05:30' + i * interval '1 hour' AS at,
    time '23:59:59.999999' AS clock, ('\\x00ff' || '')::bytea AS raw, ARRAY[i, i + 1] AS list,
    jsonb_build_object('a', 1.10, 'b', NULL) AS doc, md5(i::text)::uuid AS token, i * 0.1::float8 AS weight
FROM generate_series(1, 2000) AS i
"""


def expected(i: int) -> dict[str, Any]:
    at = dt.datetime(2020, 1, 1, 6, 30, 0, 1, tzinfo=dt.UTC) + dt.timedelta(hours=i)
    return {
        "id": i,
        "amount": Decimal(i) / 4,
        "name": f"näme {i}",
        "flag": i % 2 == 0,
        "day": dt.date(1960, 2, 29) + dt.timedelta(days=i),
        "at": at,
        "clock": dt.time(23, 59, 59, 999999),
        "raw": b"\x00\xff",
        "list": [i, i + 1],
        "doc": {"a": 1.1, "b": None},
        "weight": i * 0.1,
    }


def test_a_task_turns_a_table_into_shards_exactly(world: World) -> None:
    world.database.execute(TYPES)
    world.database.execute("ALTER TABLE everything ADD PRIMARY KEY (id)")
    world.database.execute("ANALYZE everything")
    world.open_run(source_table_name="everything")
    code, lines = world.run()
    assert code == entry.DONE, lines
    rows = sorted(world.rows(), key=lambda row: row["id"])
    for row in rows:
        row["doc"] = json.loads(row["doc"])
        assert len(row.pop("token")) == 36
        row["amount"] = Decimal(row["amount"])
        del row["_etl_run_id"], row["_etl_loaded_at"]
    assert rows == [expected(i) for i in range(1, 2001)]
    # One line for each unit and one for the task, all of one run.
    done = [line for line in lines if line.get("unit")]
    assert sorted(line["unit"] for line in done) == [unit.id for unit in world.plan.units]
    assert sum(line["rows"] for line in done) == 2000
    assert {(line["run_id"], line["source_id"], line["task"]) for line in done} == {("run-1", "orders", 0)}
    assert {line["logging.googleapis.com/operation"]["id"] for line in done} == {"run-1"}
    assert world.database.password not in json.dumps(lines)


def test_tasks_share_the_plan_and_a_repeated_one_reads_nothing(world: World) -> None:
    world.database.execute("CREATE TABLE numbers AS SELECT i AS id FROM generate_series(1, 5000) AS i")
    world.database.execute("ALTER TABLE numbers ADD PRIMARY KEY (id)")
    world.database.execute("ANALYZE numbers")
    world.open_run(source_table_name="numbers", load_type="transactional", incrementing_column="id")
    assert len(world.plan.units) >= 4
    assert [world.run(index, 2)[0] for index in range(2)] == [entry.DONE, entry.DONE]
    assert sorted(row["id"] for row in world.rows()) == list(range(1, 5001))
    before = world.manifests()
    code, lines = world.run(environ={PASSWORD: "not needed any more"})
    assert (code, lines[-1]["skipped"]) == (entry.DONE, len(world.plan.units))
    assert world.manifests() == before


@pytest.fixture
def large(world: World) -> World:
    world.database.execute(
        "CREATE TABLE numbers AS SELECT i AS id, repeat(md5(i::text), 8) AS filler "
        f"FROM generate_series(1, {LARGE}) AS i"
    )
    world.database.execute("ALTER TABLE numbers ADD PRIMARY KEY (id)")
    world.database.execute("ANALYZE numbers")
    world.open_run(source_table_name="numbers", load_type="transactional", incrementing_column="id")
    return world


def wait_for_units(world: World, count: int) -> None:
    deadline = time.monotonic() + 60
    while world.finished_units() < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("units", [1, 10])
def test_a_killed_task_started_again_gives_each_row_once(large: World, units: int) -> None:
    process = large.start()
    try:
        wait_for_units(large, units)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert large.finished_units() < len(large.plan.units)
    with pytest.raises(PermanentError, match="were not extracted"):
        large.manifests()
    assert large.run()[0] == entry.DONE
    assert sorted(row["id"] for row in large.rows()) == list(range(1, LARGE + 1))


def test_a_stopped_task_keeps_its_finished_units(large: World) -> None:
    process = large.start()
    wait_for_units(large, 2)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == entry.TERMINATED
    assert 2 <= large.finished_units() < len(large.plan.units)
    assert large.run()[0] == entry.DONE
    assert sorted(row["id"] for row in large.rows()) == list(range(1, LARGE + 1))


def test_two_attempts_at_the_same_task_at_once(large: World) -> None:
    first, second = large.start(), large.start()
    assert [process.communicate(timeout=240) and process.returncode for process in (first, second)] == [0, 0]
    assert sorted(row["id"] for row in large.rows()) == list(range(1, LARGE + 1))


def test_a_run_that_lost_its_slot_ends_with_a_reason(large: World) -> None:
    # The deadline passed and another run took the slot: the next look ends the task.
    large.deployment.store("orders").change(
        lambda state: State(epoch=2, slot=Slot("run-2", 2, "2999-01-01T00:00:00Z"))
    )
    heartbeat = entry.heartbeat(
        large.deployment.store("orders"), large.plan.header, clock=iter(_minutes()).__next__
    )
    with pytest.raises(PermanentError, match="run run-1 no longer holds the slot of source orders"):
        for _ in range(3):
            heartbeat(None)  # type: ignore[arg-type]


def _minutes() -> Iterator[dt.datetime]:
    now = dt.datetime.now(dt.UTC)
    while True:
        now += dt.timedelta(minutes=1)
        yield now


def test_bad_rows_become_rejects_and_the_rest_is_kept(world: World) -> None:
    world.database.execute(
        "CREATE TABLE odd AS SELECT i AS id, "
        "CASE i WHEN 3 THEN 'infinity'::date ELSE '2020-01-01' END AS day, "
        "CASE i WHEN 5 THEN 'NaN'::numeric ELSE i END AS n FROM generate_series(1, 10) AS i"
    )
    world.open_run(source_table_name="odd", on_bad_row="reject", max_rejects=5)
    assert world.run()[0] == entry.DONE
    manifests = world.manifests()
    assert sum(manifest.read for manifest in manifests) == 10
    assert sorted(row["id"] for row in world.rows()) == [1, 2, 4, 6, 7, 8, 9, 10]
    names = [manifest.rejects_object for manifest in manifests if manifest.rejects_object]
    stored = [world.deployment.staging.read(name) for name in names]
    rejects = [Reject.from_line(line) for found in stored if found for line in found.data.splitlines()]
    assert sorted((r.column, r.value, json.loads(r.record)["id"]) for r in rejects) == [
        ("day", "infinity", "3"),
        ("n", "NaN", "5"),
    ]


def outcome(world: World, **environ: str) -> tuple[int, str]:
    code, lines = world.run(environ=environ)
    return code, str(lines[-1]["message"])


def test_final_errors_have_their_own_exit_code_and_are_recorded(world: World) -> None:
    world.database.execute("CREATE TABLE odd AS SELECT 1 AS id, 'infinity'::date AS day")
    world.open_run(source_table_name="odd")
    code, message = outcome(world)
    assert code == entry.FINAL
    assert "column 'day'" in message
    with pytest.raises(PermanentError, match="column 'day'"):
        world.manifests()
    # Trying again is refused without asking the source.
    assert outcome(world, **{PASSWORD: "wrong"}) == (code, message)


@pytest.mark.parametrize(
    ("environ", "code"),
    [
        ({PASSWORD: "wrong-secret-word"}, entry.FINAL),
        ({"ETL_PLAN_URI": "gs://"}, entry.FINAL),
        ({"CLOUD_RUN_TASK_INDEX": "one"}, entry.FINAL),
        ({"ETL_DATASET": ""}, entry.FINAL),
    ],
)
def test_what_is_wrong_with_the_job_is_one_message(
    world: World, environ: Mapping[str, str], code: int
) -> None:
    world.database.execute("CREATE TABLE t AS SELECT 1 AS id")
    world.open_run(source_table_name="t")
    found, lines = world.run(environ=environ)
    assert found == code
    assert [line["severity"] for line in lines] == ["ERROR"]
    assert "wrong-secret-word" not in json.dumps(lines)
