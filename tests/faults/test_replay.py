"""A replay of rejects, cut at every remote call and repeated: no row is loaded twice, none is lost."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from etl_runner.commit.close import Done
from etl_runner.config.connections import PostgresConnection
from etl_runner.config.database import PostgresSource
from etl_runner.config.resolved import ResolvedSource
from etl_runner.errors import ConfigError, RetryableError
from etl_runner.rejects.replay import ReplayPlanner
from etl_runner.rejects.service import Rejects
from etl_runner.rejects.table import RejectedRow, RejectedRun
from etl_runner.settings import Settings
from tests.faults.world import SOURCE, Cut, Killed, Process, Wire, World

BAD = 100
"""Rejected row n of unit u is the id 100 + 10 u + n; every second one does not fit again."""


class Table:
    """The rejects table of the world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def runs(self, path: str, source_id: str) -> list[RejectedRun]:
        del path, source_id
        found = [run for run, _, _ in self._world.bigquery.rejected]
        return [
            RejectedRun(run, found.count(run), "2026-01-01T00:00:00+00:00") for run in dict.fromkeys(found)
        ]

    def rows(
        self, path: str, source_id: str, run_ids: Sequence[str], limit: int | None = None
    ) -> Iterator[RejectedRow]:
        del path, source_id, limit
        for run, unit, row in self._world.bigquery.rejected:
            if run not in run_ids:
                continue
            fits = run == "first" and row % 2 == 0
            record = {"id": str(BAD + 10 * int(unit[1:]) + row) if fits else "x"}
            yield RejectedRow(run, unit, None, None, row, 0, "id", "is bad", "x", record, {"id": "string"})


class Tables:
    """The destination's metadata."""

    def get_table(self, path: str) -> dict[str, Any]:
        return {"schema": {"fields": [{"name": "id", "type": "INTEGER"}]}}

    def dataset_location(self, path: str) -> str:
        return "EU"


def service_of(world: World, cut: Cut | None = None) -> Rejects:
    around = (cut or Cut()).around
    process = Process(world, around)
    document = PostgresSource.model_validate(
        {
            "source_type": "postgresql",
            "connection": "shop",
            "load_type": "transactional",
            "source_table_name": "orders",
            "timestamp_column": "at",
            "dest_table_name": "orders",
        }
    )
    settings = Settings("p", "europe-west1", "EU", "d", "config", "state", "staging")
    connection = PostgresConnection.model_validate(
        {"source_type": "postgresql", "host": "h", "database": "d", "username": "u", "password": {"env": "P"}}
    )
    nothing: Any = None
    planner = ReplayPlanner(
        settings,
        Tables(),
        Table(world),
        process.staging,
        Wire(world.state, "state", around),
        nothing,
        world.clock,
    )
    jobs: Any = Wire(world.bigquery, "bigquery", around)
    resolved = ResolvedSource(document, connection, SOURCE)
    return Rejects(
        resolved, settings, planner, jobs, process.opener, process.finalizer, process.store, lambda _: None
    )


def rejected_world() -> World:
    world = World()
    world.rejects = 2
    world.process().run("first")
    world.check()
    world.rejects = 0
    return world


def _check(world: World) -> None:
    world.check_rejects()
    assert sorted(world.table) == [1, 2, 3, 4, 5, BAD, BAD + 10]
    assert world.process().store.read().slot is None
    assert world.process().store.read().watermark == {"value": 5}
    again = [run for run, _, _ in world.bigquery.rejected if run != "first"]
    assert len(again) == 2, again


def test_a_replay_loads_what_fits_and_rejects_the_rest_again() -> None:
    world = rejected_world()
    done = service_of(world).replay("replay")
    assert isinstance(done, Done)
    assert done.receipt is not None
    assert (done.receipt["rows_loaded"], done.receipt["rejects"]) == (2, 2)
    _check(world)
    states = {item.run.run_id: item.state for item in service_of(world).overview()}
    assert states == {"first": "replayed", "replay": "pending"}
    with pytest.raises(ConfigError, match="run first has no rejects to replay"):
        service_of(world).replay("twice", ["first"])
    _check(world)


@pytest.mark.parametrize("how", ["before", "after", "lost"])
def test_a_replay_cut_at_every_call_and_repeated(how: str) -> None:
    cut = Cut()
    service_of(rejected_world(), cut).replay("replay")
    assert len(cut.calls) > 20
    for at in range(len(cut.calls)):
        world = rejected_world()
        with contextlib.suppress(Killed, RetryableError):
            service_of(world, Cut(at, how)).replay("replay")
        world.later(hours=2)
        world.process().run("between")
        with contextlib.suppress(ConfigError):  # it was replayed already
            service_of(world).replay("again", ["first"])
        try:
            _check(world)
        except AssertionError as error:
            raise AssertionError(f"{how} call {at}, {cut.calls[at]}: {error}") from error
