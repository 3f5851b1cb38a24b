"""What a unit costs by itself: as many tiny units as a plan holds, on both engines (``benchmarks.engines``).

Everything runs in this process, with one reader and a store in memory, over a real PostgreSQL server. The
same queries alone, their rows thrown away, are subtracted; what is left is ours: attempt, conversion, a
Parquet file of ten rows, manifest, and what the engine adds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.server import server, table_of
from benchmarks.task import make_plan, open_source, resolve
from etl_runner.config.resolved import ResolvedSource
from etl_runner.execution.collect import collect_verified
from etl_runner.execution.task import run_task
from etl_runner.execution.worker import Parts
from etl_runner.planning.plan import Plan, PlanHeader
from etl_runner.planning.write_plan import plan_name
from etl_runner.sources.base import Source
from etl_runner.state.memory import MemoryObjectStore

ROWS_A_UNIT = 10
TARGET_MILLISECONDS = 5.0
"""Of our own, for each unit."""
_STORES: dict[str, MemoryObjectStore] = {}
"""Workers find their store here: what they are made with is pickled by name."""


@dataclass(frozen=True)
class Overhead:
    """Seconds in all; milliseconds of our own for each unit, of wall time and of the processor's."""

    engine: str
    units: int
    seconds: float
    own_milliseconds: float
    own_cpu_milliseconds: float
    queries_milliseconds: float
    """Of wall time, for each unit: what was subtracted."""


def measure(folder: Path, wanted: int, say: Callable[[str], None]) -> list[Overhead]:
    """Plan ``wanted`` units, which a plan may cap, and extract them on both engines.

    Raises:
        PermanentError: a row of the plan is missing.
    """
    rows = wanted * ROWS_A_UNIT
    with server(folder, [rows]) as postgres:
        resolved = resolve(postgres.url, table_of(rows), unit_rows=ROWS_A_UNIT)
        began = time.perf_counter()
        plan = make_plan(resolved, 1)
        units = len(plan.units)
        capped = "" if units == wanted else f" of {wanted:,} that were asked for"
        say(f"{units:,} units{capped}, planned in {time.perf_counter() - began:.2f} s")
        queries, queries_cpu = _timed(lambda: _queries_alone(plan))
        say(f"the queries alone: {queries:.1f} s, {1000 * queries / units:.2f} ms a unit")
        found = []
        for engine, run in (("Cloud Run Job task", _task), ("Beam", _pipeline)):
            name = plan_name(plan.header.run_id, plan.header.epoch)
            store = _STORES[engine] = MemoryObjectStore()
            store.create(name, plan.to_jsonl())
            seconds, cpu = _timed(partial(run, engine, name))
            manifests = collect_verified(store, plan)
            if sum(manifest.rows for manifest in manifests) != rows:
                raise SystemExit(f"{engine}: {sum(m.rows for m in manifests):,} rows arrived of {rows:,}")
            own, own_cpu = (1000 * spent / units for spent in (seconds - queries, cpu - queries_cpu))
            found.append(Overhead(engine, units, seconds, own, own_cpu, 1000 * queries / units))
            del _STORES[engine]
        return found


def table(found: Sequence[Overhead]) -> str:
    """For people and documents."""
    lines = [
        "| engine | units | seconds | the queries alone, ms a unit | our own ms a unit | of the processor |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.engine} | {one.units:,} | {one.seconds:.1f} | {one.queries_milliseconds:.2f} "
        f"| {one.own_milliseconds:.2f} | {one.own_cpu_milliseconds:.2f} |"
        for one in found
    ]
    return "\n".join(lines)


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of wall time, and of processor time of this process."""
    began, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - cpu


def _open(header: PlanHeader) -> Source:
    return open_source(ResolvedSource.from_json(header.config))


def _queries_alone(plan: Plan) -> None:
    with _open(plan.header).session(plan.header, snapshot=False) as session, session.reader() as reader:
        for unit in plan.units:
            for _ in reader.read(unit):
                pass


def _task(key: str, name: str) -> None:
    run_task(_STORES[key], name, 0, 1, _open, slots=1)


def _pipeline(key: str, name: str) -> None:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from etl_runner.execution.beam.pipeline import build

    pipeline = beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"]))
    build(pipeline, name, partial(_parts, key))
    pipeline.run().wait_until_finish()


def _parts(key: str) -> Parts:
    return Parts(objects=_STORES[key], open_source=_open, keep_slot=lambda _: _nothing)


def _nothing() -> None:
    """The run is ours."""
