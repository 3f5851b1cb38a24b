"""The two steps of the pipeline. Importable by name on every worker; nothing of ``__main__`` is pickled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict

import apache_beam as beam
from apache_beam.metrics.metric import Metrics
from apache_beam.utils.shared import Shared

from etl_runner import jsontypes
from etl_runner.execution.beam.worker_logs import name_lines
from etl_runner.execution.manifest import Manifest
from etl_runner.execution.worker import Parts, PlanWorker
from etl_runner.planning.plan import WorkUnit

NAMESPACE = "etl"

MakeParts = Callable[[], Parts]
"""Builds a worker's collaborators; pickled by reference, with plain values only."""


@beam.typehints.with_input_types(tuple[int, int])
@beam.typehints.with_output_types(bytes)
class ReadPlan(beam.DoFn):
    """A share of the plan (its index, and of how many) to its pending units, one JSON document each."""

    def __init__(self, make_parts: MakeParts, plan_name: str) -> None:
        super().__init__()
        self._make_parts = make_parts
        self._plan_name = plan_name

    def process(self, element: tuple[int, int]) -> Iterator[bytes]:
        """See :meth:`etl_runner.execution.worker.PlanWorker.pending` for the errors."""
        name_lines()
        for unit in PlanWorker(self._make_parts(), self._plan_name).pending(*element):
            yield jsontypes.dumps(asdict(unit))


@beam.typehints.with_input_types(bytes)
class ExtractUnit(beam.DoFn):
    """A unit to its shards and its manifest, which are objects: nothing comes out but numbers.

    Counters (shown on the job's page): ``units``, ``rows`` written, ``rejects``, ``bytes`` of the shards,
    ``rows_read``; the distribution ``unit_milliseconds``. A bundle that is done twice counts twice.
    """

    def __init__(self, make_parts: MakeParts, plan_name: str) -> None:
        super().__init__()
        self._make_parts = make_parts
        self._plan_name = plan_name
        self._shared = Shared()
        self._worker: PlanWorker | None = None

    def setup(self) -> None:
        """Join the process's worker: one session at the source, however many threads there are."""
        name_lines()
        self._worker = self._shared.acquire(
            lambda: PlanWorker(self._make_parts(), self._plan_name), tag=self._plan_name
        )
        self._worker.enter()

    def teardown(self) -> None:
        """Leave it."""
        if self._worker is not None:
            self._worker.leave()
            self._worker = None

    def process(self, element: bytes) -> None:
        """One unit; see :meth:`etl_runner.execution.worker.PlanWorker.execute` for the errors."""
        if self._worker is None:
            self.setup()
        if self._worker is not None:
            _count(self._worker.execute(WorkUnit(**jsontypes.loads(element))))


def _count(manifest: Manifest) -> None:
    for name, value in (
        ("units", 1),
        ("rows", manifest.rows),
        ("rows_read", manifest.read),
        ("rejects", manifest.rejects),
        ("bytes", manifest.bytes),
    ):
        Metrics.counter(NAMESPACE, name).inc(value)
    Metrics.distribution(NAMESPACE, "unit_milliseconds").update(round(manifest.seconds * 1000))
