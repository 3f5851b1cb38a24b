"""A worker process of the distributed engine: what its threads share while they do units of one plan.

The engine decides which unit goes where and how often; the unit itself is done as a Cloud Run Job task does
it: the same attempts, the same manifests, the same record of what went wrong.
"""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from etl_runner import jsontypes
from etl_runner.convert.casting import Casting
from etl_runner.errors import EtlError, PermanentError, RetryableError
from etl_runner.execution.attempts import attempt_unit
from etl_runner.execution.failures import Failure, read_failures, record_failure, task_key
from etl_runner.execution.manifest import Manifest, manifest_prefix
from etl_runner.execution.readers import Readers
from etl_runner.execution.task import TaskOptions
from etl_runner.logs import log_fields
from etl_runner.planning.plan import PlanHeader, WorkUnit, units_of
from etl_runner.sources.base import Session, Source
from etl_runner.state.objects import ObjectStore

log = logging.getLogger(__name__)

KeepSlot = Callable[[], None]


@dataclass(frozen=True)
class Parts:
    """What a worker needs of its deployment."""

    objects: ObjectStore
    """The staging bucket."""
    open_source: Callable[[PlanHeader], Source]
    keep_slot: Callable[[PlanHeader], KeepSlot]
    """Gives what is called as work goes on: renews the run's deadline, raises PermanentError when the run
    is no longer ours."""
    options: TaskOptions = field(default_factory=TaskOptions)


@dataclass(frozen=True)
class _Opened:
    readers: Readers
    casting: Casting
    workdir: Path
    stack: ExitStack


class PlanWorker:
    """One plan in one process. Safe for many threads; each of them calls :meth:`enter` before its first
    unit and :meth:`leave` after its last one. The source is open while anybody is inside, and no more of
    its readers than the plan's ``slots`` are."""

    def __init__(self, parts: Parts, plan_name: str) -> None:
        self._parts = parts
        self._plan_name = plan_name
        self._lock = threading.RLock()
        self._beat_lock = threading.Lock()
        self._inside = 0
        self._opened: _Opened | None = None
        self._header: PlanHeader | None = None
        self._keep: KeepSlot | None = None
        self._last_beat = time.monotonic()
        self._hopeless: dict[str, str] = {}

    def enter(self) -> None:
        """One more thread is going to do units."""
        with self._lock:
            self._inside += 1

    def leave(self) -> None:
        """A thread has done its last unit; the last one closes the source."""
        with self._lock:
            self._inside -= 1
            if self._inside > 0 or self._opened is None:
                return
            opened, self._opened = self._opened, None
        opened.stack.close()

    def pending(self, index: int = 0, count: int = 1) -> list[WorkUnit]:
        """The units of share ``index`` of ``count`` that have no manifest yet, in the plan's order, the
        largest first.

        Raises:
            PermanentError: an earlier attempt found that the run cannot succeed, or the plan is not for
                this engine.
        """
        header, units = self._plan()
        prefix = manifest_prefix(header.run_id, header.epoch)
        with log_fields(_names(header)):
            listed = (info.name for info in self._parts.objects.list(prefix))
            done = {name.removeprefix(prefix).removesuffix(".json") for name in listed}
            left = [unit for unit in units[index::count] if unit.id not in done]
            log.info("%d of %d units are to be done", len(left), header.units)
            for unit in left:
                self._refuse_hopeless(unit)
        return left

    def execute(self, unit: WorkUnit) -> Manifest:
        """Do a unit, or find that it is done.

        Raises:
            PermanentError: it cannot be done; recorded for the step that closes the run.
            RetryableError: source or store kept failing; another attempt may fare better.
        """
        header = self._load()
        with log_fields({**_names(header), "unit": unit.id}):
            return self._execute(header, unit)

    def _execute(self, header: PlanHeader, unit: WorkUnit) -> Manifest:
        self._refuse_hopeless(unit)
        try:
            opened = self._open(header)
            manifest = attempt_unit(
                opened.readers,
                unit,
                header,
                self._parts.objects,
                workdir=opened.workdir,
                casting=opened.casting,
                pause=lambda attempt, error: self._pause(attempt, error, f"unit {unit.id}"),
                writer=self._parts.options.writer,
                on_batch=lambda _: self._between_batches(),
            )
        except Exception as error:
            self._record(header, unit.id, error)
            raise
        log.info("unit %s done: %d rows in %.1f s", unit.id, manifest.rows, manifest.seconds)
        with self._beat_lock:
            self._beat()
        return manifest

    def _plan(self) -> tuple[PlanHeader, list[WorkUnit]]:
        stored = self._parts.objects.read(self._plan_name)
        if stored is None:
            raise PermanentError(f"the plan {self._parts.objects.uri(self._plan_name)} does not exist")
        first, *rest = stored.data.splitlines()
        header = PlanHeader.from_json(jsontypes.loads(first))
        if header.snapshot:
            raise PermanentError(
                f"run {header.run_id} reads one snapshot, which only a single task of the Cloud Run Job can"
            )
        self._hopeless = {
            failure.unit: failure.message
            for failure in read_failures(self._parts.objects, header)
            if failure.final
        }
        return header, list(units_of(rest))

    def _load(self) -> PlanHeader:
        with self._lock:
            if self._header is None:
                self._header, _ = self._plan()
                self._keep = self._parts.keep_slot(self._header)
            return self._header

    def _refuse_hopeless(self, unit: WorkUnit) -> None:
        reason = self._hopeless.get(unit.id) or self._hopeless.get(task_key(0))
        if reason is not None:
            raise PermanentError(reason)

    def _open(self, header: PlanHeader) -> _Opened:
        with self._lock:
            if self._opened is None:
                with ExitStack() as stack:
                    workdir = self._parts.options.workdir
                    if workdir is None:
                        workdir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="etl-")))
                    readers = Readers(self._session(header, stack), max(1, header.slots))
                    stack.callback(readers.close)
                    self._opened = _Opened(readers, Casting.of(header), workdir, stack.pop_all())
            return self._opened

    def _session(self, header: PlanHeader, stack: ExitStack) -> Session:
        try:
            source = self._parts.open_source(header)
            attempt = 0
            while True:
                attempt += 1
                try:
                    return stack.enter_context(source.session(header, snapshot=False))
                except RetryableError as error:
                    self._pause(attempt, error, "opening the source")
        except Exception as error:
            self._record(header, task_key(0), error)
            raise

    def _pause(self, attempt: int, error: RetryableError, what: str) -> None:
        """Wait before the next attempt; after the last one, raise."""
        options = self._parts.options
        if attempt >= options.attempts:
            raise error
        delay = options.backoff_seconds * 2 ** (attempt - 1)
        log.warning("%s failed and is tried again in %.1f s: %s", what, delay, error)
        time.sleep(delay)

    def _record(self, header: PlanHeader, key: str, error: Exception) -> None:
        """Write down why ``key`` fails; a final reason is not looked for again in this process."""
        failure = Failure.of(key, error)
        if key in self._hopeless or task_key(0) in self._hopeless:
            return
        if failure.final:
            self._hopeless[key] = failure.message
        try:
            record_failure(self._parts.objects, header, failure)
        except EtlError as trouble:
            # What went wrong first is what the caller has to hear.
            log.warning("the failure of %s could not be recorded: %s", key, trouble)

    def _between_batches(self) -> None:
        if time.monotonic() - self._last_beat < self._parts.options.beat_seconds:
            return
        if self._beat_lock.acquire(blocking=False):
            try:
                self._beat()
            finally:
                self._beat_lock.release()

    def _beat(self) -> None:
        self._last_beat = time.monotonic()
        if self._keep is not None:
            self._keep()


def _names(header: PlanHeader) -> dict[str, object]:
    """What every line of a run bears."""
    return {"source_id": header.source_id, "run_id": header.run_id, "epoch": header.epoch}
