"""The same cases on every engine: units that fail, never succeed, hang, are done twice.

An engine is a function that gets a plan extracted; what it leaves in the bucket is compared with the plan.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from etl_runner.errors import EtlError, PermanentError
from etl_runner.execution.beam.pipeline import build
from etl_runner.execution.collect import collect_manifests, collect_verified
from etl_runner.execution.task import run_task
from etl_runner.planning.plan import Plan
from etl_runner.state.memory import MemoryObjectStore
from tests.conftest import fresh_name
from tests.engines.scripted import Script, attempts, make_parts, memory_store
from tests.unit.execution.worlds import PLAN_NAME, make_plan, rows_of, stored

UNITS = 12
Engine = Callable[["World"], None]


@dataclass
class World:
    """A plan whose source follows a script."""

    store: MemoryObjectStore
    key: str
    folder: Path
    plan: Plan = field(default_factory=lambda: make_plan(UNITS))
    script: Script = field(default_factory=dict)

    def parts(self) -> Any:
        """What a worker starts with."""
        return make_parts(self.key, self.folder, self.script)

    def check_exact(self) -> None:
        """Each row of the plan is in the shards that count, once."""
        manifests = collect_verified(self.store, self.plan)
        assert sorted(row["id"] for row in rows_of(self.store, manifests)) == list(range(UNITS * 10))

    def reason(self) -> str:
        """Why the run cannot be committed."""
        with pytest.raises(PermanentError) as caught:
            collect_manifests(self.store, self.plan.header, [unit.id for unit in self.plan.units])
        return str(caught.value)


def cloud_run(world: World) -> None:
    """Two tasks at once, each started again up to three times, as the job service does."""
    parts = world.parts()()
    errors: list[BaseException] = []

    def task(index: int) -> None:
        for retry in range(4):
            try:
                run_task(world.store, PLAN_NAME, index, 2, parts.open_source, options=parts.options)
                return
            except EtlError as error:
                if retry == 3:
                    errors.append(error)

    threads = [threading.Thread(target=task, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _beam(world: World, *options: str) -> None:
    pipeline = beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner", *options]))
    build(pipeline, PLAN_NAME, world.parts())
    pipeline.run().wait_until_finish()


def dataflow(world: World) -> None:
    """The pipeline."""
    _beam(world)


def dataflow_twice(world: World) -> None:
    """The pipeline, every bundle of it done twice."""
    _beam(world, "--direct_runner_bundle_repeat=1")


def dataflow_threads(world: World) -> None:
    """The pipeline over three workers, which are threads here."""
    _beam(world, "--direct_num_workers=3", "--direct_running_mode=multi_threading")


ENGINES = (cloud_run, dataflow, dataflow_twice, dataflow_threads)


@pytest.fixture(params=ENGINES, ids=lambda engine: engine.__name__)
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.param
    return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    key = fresh_name("store")
    with memory_store(key) as store:
        made = World(store, key, tmp_path)
        stored(made.plan, store)
        yield made


def test_every_row_once(engine: Engine, world: World) -> None:
    engine(world)
    world.check_exact()
    assert {unit.id: len(attempts(world.folder, unit.id)) for unit in world.plan.units} == {
        unit.id: 1 for unit in world.plan.units
    }


def test_units_that_fail_twice_and_then_succeed(engine: Engine, world: World) -> None:
    world.script = {"u00003": ("fail", "fail"), "u00007": ("fail", "fail")}
    engine(world)
    world.check_exact()
    assert len(attempts(world.folder, "u00003")) == 3


def test_a_unit_that_never_succeeds_fails_the_run_and_is_named(engine: Engine, world: World) -> None:
    world.script = {"u00005": ("refuse",) * 50}
    with pytest.raises(Exception, match="unit u00005, row 7: column 'amount' does not fit"):
        engine(world)
    assert "unit u00005, row 7: column 'amount' does not fit" in world.reason()
    # What cannot help is not tried again, whoever asks.
    before = len(attempts(world.folder, "u00005"))
    with pytest.raises(Exception, match="row 7"):
        engine(world)
    assert len(attempts(world.folder, "u00005")) == before == 1


def test_a_unit_that_keeps_failing_is_named_and_can_be_done_later(engine: Engine, world: World) -> None:
    world.script = {"u00005": ("fail",) * 50}
    with pytest.raises(Exception, match="connection lost"):
        engine(world)
    assert "u00005" in world.reason()
    assert "connection lost" in world.reason()
    world.script = {}
    engine(world)
    world.check_exact()


def test_a_zombie_that_finishes_after_its_replacement_changes_nothing(engine: Engine, world: World) -> None:
    zombie = World(world.store, world.key, world.folder, script={"u00002": ("hang",)})
    thread = threading.Thread(target=_quietly, args=(dataflow, zombie))
    thread.start()
    try:
        _until(lambda: list(world.folder.glob("hangs-u00002-*")))
        engine(world)
        world.check_exact()
        manifests = collect_verified(world.store, world.plan)
    finally:
        (world.folder / "go").touch()
        thread.join(60)
    assert not thread.is_alive()
    assert collect_verified(world.store, world.plan) == manifests
    world.check_exact()


def test_a_run_of_one_snapshot_is_refused_where_one_task_cannot_have_it(world: World) -> None:
    world.plan = make_plan(UNITS, snapshot=True)
    world.store.delete(PLAN_NAME)
    stored(world.plan, world.store)
    with pytest.raises(Exception, match="reads one snapshot, which only a single task"):
        dataflow(world)


def test_what_was_done_is_not_read_again(world: World) -> None:
    cloud_run(world)
    dataflow(world)
    assert all(len(attempts(world.folder, unit.id)) == 1 for unit in world.plan.units)


def test_the_jobs_page_counts_what_was_written(world: World) -> None:
    pipeline = beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"]))
    build(pipeline, PLAN_NAME, world.parts())
    result = pipeline.run()
    counters = {each.key.metric.name: each.committed for each in result.metrics().query()["counters"]}
    manifests = collect_verified(world.store, world.plan)
    assert counters == {
        "units": UNITS,
        "rows": UNITS * 10,
        "rows_read": UNITS * 10,
        "rejects": 0,
        "bytes": sum(manifest.bytes for manifest in manifests),
    }


def _quietly(engine: Engine, world: World) -> None:
    try:
        engine(world)
    except Exception as error:
        assert "manifest" in str(error), error


def _until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
