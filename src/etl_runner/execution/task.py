"""One task of a run: its share of the plan's units, a few at a time.

Task ``i`` of ``n`` takes the units ``i``, ``i + n``, ``i + 2n`` ... of the plan, whose largest come first.
A unit that has a manifest is done, so a task that is started again goes on where it was.
"""

from __future__ import annotations

import logging
import secrets
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path

from etl_runner import jsontypes
from etl_runner.convert.casting import Casting
from etl_runner.errors import EtlError, ObjectExists, PermanentError, RetryableError
from etl_runner.execution.attempts import Stopped, attempt_unit
from etl_runner.execution.failures import Failure, read_failures, record_failure, task_key
from etl_runner.execution.manifest import Manifest, manifest_name, manifest_prefix, snapshot_name
from etl_runner.execution.readers import Readers
from etl_runner.execution.shard_writer import WriterOptions, delete_quietly
from etl_runner.execution.unit import discard
from etl_runner.planning.plan import PlanHeader, WorkUnit, units_of
from etl_runner.sources.base import Session, Source
from etl_runner.state.objects import ObjectStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TaskSummary:
    """What a task has done so far. ``skipped`` units had a manifest before; the other numbers count only
    this attempt's units. ``seconds`` since the task began."""

    index: int
    count: int
    units: int
    """Units of this task, done or not."""
    done: int = 0
    skipped: int = 0
    read: int = 0
    rows: int = 0
    rejects: int = 0
    bytes: int = 0
    seconds: float = 0.0

    @property
    def remaining(self) -> int:
        """Units still to do."""
        return self.units - self.done - self.skipped


@dataclass(frozen=True)
class TaskOptions:
    """How a task goes about its work."""

    attempts: int = 4
    """Times that a unit is tried before the task gives up and is itself tried again."""
    backoff_seconds: float = 1.0
    """Pause before the second try; doubles each time."""
    beat_seconds: float = 60.0
    """Progress is reported after every unit, and within a long one about this often."""
    writer: WriterOptions = field(default_factory=WriterOptions)
    workdir: Path | None = None
    """Where shards lie until they are uploaded; a temporary folder when None."""


OnProgress = Callable[[TaskSummary], None]


def read_plan(objects: ObjectStore, name: str, index: int, count: int) -> tuple[PlanHeader, list[WorkUnit]]:
    """The plan's header and the units of task ``index`` of ``count``.

    Raises:
        PermanentError: there is no such plan, or its snapshot is shared among tasks.
    """
    stored = objects.read(name)
    if stored is None:
        raise PermanentError(f"the plan {objects.uri(name)} does not exist")
    lines = _lines(stored.data)
    header = PlanHeader.from_json(jsontypes.loads(next(lines)))
    if not 0 <= index < count:
        raise PermanentError(f"task {index} of {count} does not exist")
    if header.snapshot and count != 1:
        raise PermanentError(
            f"run {header.run_id} reads one snapshot, which one task does alone: start 1 task, not {count}"
        )
    return header, list(units_of(islice(lines, index, None, count)))


def _lines(data: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(data):
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        yield data[start:end]
        start = end + 1


def run_task(
    objects: ObjectStore,
    plan_name: str,
    index: int,
    count: int,
    open_source: Callable[[PlanHeader], Source],
    *,
    slots: int | None = None,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
    options: TaskOptions | None = None,
) -> TaskSummary:
    """Do a task's units.

    Args:
        objects: the staging bucket.
        plan_name: the plan's object name.
        index: of this task, from 0.
        count: of all tasks of the run.
        open_source: builds the source from the plan's header; called only if there is work.
        slots: units read at the same time; None takes the plan's.
        on_progress: called after every unit and now and then within long ones, never by two threads at
            once; an error that it raises ends the task.
        stop: once set, no further unit is begun and running ones are given up.

    Raises:
        PermanentError: a unit cannot be done; recorded for the step that closes the run.
        RetryableError: source or store kept failing, or the task was stopped: start it again.
    """
    options = options or TaskOptions()
    header, units = read_plan(objects, plan_name, index, count)
    task = _Task(objects, header, index, count, units, on_progress, stop or threading.Event(), options)
    try:
        done = task.done_before()
        if done >= {unit.id for unit in units}:
            return task.summary(skipped=len(units))
        task.refuse_hopeless(done)
        task.run(open_source, [unit for unit in units if unit.id not in done], slots or header.slots)
    except Stopped:
        raise
    except Exception as error:
        task.record(task_key(index), error)
        raise
    return task.summary()


class _Task:
    """The state that the slots of one task share."""

    def __init__(
        self,
        objects: ObjectStore,
        header: PlanHeader,
        index: int,
        count: int,
        units: list[WorkUnit],
        on_progress: OnProgress | None,
        stop: threading.Event,
        options: TaskOptions,
    ) -> None:
        self._recorded = False
        self._objects = objects
        self._header = header
        self._snapshot = secrets.token_hex(8) if header.snapshot else None
        self._on_progress = on_progress
        self._stop = stop
        self._halt = threading.Event()
        self._options = options
        self._index = index
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._beat_lock = threading.Lock()
        self._last_beat = self._started
        self._summary = TaskSummary(index, count, len(units))
        self._manifests: list[Manifest] = []
        self._unit_ids = {unit.id for unit in units}

    def summary(self, skipped: int | None = None) -> TaskSummary:
        """The numbers as of now."""
        with self._lock:
            if skipped is not None:
                self._summary = replace(self._summary, skipped=skipped)
            return replace(self._summary, seconds=round(time.monotonic() - self._started, 3))

    def done_before(self) -> set[str]:
        """The units of this task that need not be done: one listing, no reads. Units of a snapshot count
        only all together."""
        run_id, epoch = self._header.run_id, self._header.epoch
        if self._header.snapshot:
            finished = self._objects.read(snapshot_name(run_id, epoch)) is not None
            return set(self._unit_ids) if finished else set()
        prefix = manifest_prefix(run_id, epoch)
        names = (info.name for info in self._objects.list(prefix))
        done = {name.removeprefix(prefix).removesuffix(".json") for name in names} & self._unit_ids
        self.summary(skipped=len(done))
        return done

    def refuse_hopeless(self, done: set[str]) -> None:
        """Give up at once when an earlier attempt found that this task cannot succeed.

        Raises:
            PermanentError: with the reason that was recorded.
        """
        mine = (self._unit_ids - done) | {task_key(self._index)}
        for failure in read_failures(self._objects, self._header):
            if failure.final and failure.unit in mine:
                self._recorded = True
                raise PermanentError(failure.message)

    def run(self, open_source: Callable[[PlanHeader], Source], units: list[WorkUnit], slots: int) -> None:
        """Do ``units`` in ``slots`` threads over one session of the source."""
        queue = deque(units)
        with ExitStack() as stack:
            workdir = self._options.workdir
            if workdir is None:
                workdir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="etl-")))
            session = self._open(open_source, stack)
            workers = max(1, min(slots, len(units)))
            readers = Readers(session, workers)
            stack.callback(readers.close)
            pool = stack.enter_context(ThreadPoolExecutor(workers, thread_name_prefix="slot"))
            casting = Casting.of(self._header)
            futures = [pool.submit(self._work, readers, casting, queue, workdir) for _ in range(workers)]
            self._settle(futures)
        if self._header.snapshot:
            self._complete_snapshot()

    def _open(self, open_source: Callable[[PlanHeader], Source], stack: ExitStack) -> Session:
        source = open_source(self._header)
        for attempt in range(1, self._options.attempts + 1):
            try:
                return stack.enter_context(source.session(self._header, snapshot=self._header.snapshot))
            except RetryableError as error:
                self._pause(attempt, error, "opening the source")
        raise AssertionError("unreachable: the last attempt raises")

    def _settle(self, futures: list[Future[None]]) -> None:
        """Wait for the slots; when one fails, tell the others and raise its error."""
        wait(futures, return_when=FIRST_EXCEPTION)
        failed = [future for future in futures if future.done() and future.exception() is not None]
        if failed:
            self._halt.set()
            wait(futures)
            # What a slot raised because it was told to stop is not the reason.
            reasons = [error for future in futures if (error := future.exception()) is not None]
            raise next((error for error in reasons if not isinstance(error, Stopped)), reasons[0])

    def _work(self, readers: Readers, casting: Casting, queue: deque[WorkUnit], workdir: Path) -> None:
        """One slot: take units until there are none."""
        while True:
            self._check_stop()
            try:
                unit = queue.popleft()
            except IndexError:
                return
            try:
                manifest = attempt_unit(
                    readers,
                    unit,
                    self._header,
                    self._objects,
                    workdir=workdir,
                    casting=casting,
                    # What was done before is known from a listing.
                    known_undone=True,
                    pause=partial(self._pause, what=f"unit {unit.id}", unit=unit),
                    snapshot=self._snapshot,
                    writer=self._options.writer,
                    on_batch=lambda _: self._between_batches(),
                )
            except Stopped:
                raise
            except EtlError as error:
                self.record(unit.id, error)
                raise
            self._unit_done(unit, manifest)

    def _pause(self, attempt: int, error: RetryableError, what: str, unit: WorkUnit | None = None) -> None:
        """Wait before the next attempt; after the last one, raise."""
        fields = {"unit": unit.id} if unit else {}
        if attempt >= self._options.attempts:
            raise error
        delay = self._options.backoff_seconds * 2 ** (attempt - 1)
        log.warning(
            "%s failed and is tried again in %.1f s: %s", what, delay, error, extra={"fields": fields}
        )
        self._stop.wait(delay)
        self._check_stop()

    def record(self, key: str, error: Exception) -> None:
        """Write down why the task fails, once; the first reason is the one that counts."""
        if self._recorded:
            return
        self._recorded = True
        try:
            record_failure(self._objects, self._header, Failure.of(key, error))
        except EtlError as trouble:
            # What went wrong first is what the caller has to hear.
            log.warning("the failure of %s could not be recorded: %s", key, trouble)

    def _check_stop(self) -> None:
        if self._stop.is_set() or self._halt.is_set():
            raise Stopped("the task was told to stop; its finished units stay finished")

    def _between_batches(self) -> None:
        self._check_stop()
        if time.monotonic() - self._last_beat < self._options.beat_seconds:
            return
        if self._beat_lock.acquire(blocking=False):
            try:
                self._beat()
            finally:
                self._beat_lock.release()

    def _beat(self) -> None:
        self._last_beat = time.monotonic()
        if self._on_progress is not None:
            self._on_progress(self.summary())

    def _unit_done(self, unit: WorkUnit, manifest: Manifest) -> None:
        with self._lock:
            now = self._summary
            self._summary = replace(
                now,
                done=now.done + 1,
                read=now.read + manifest.read,
                rows=now.rows + manifest.rows,
                rejects=now.rejects + manifest.rejects,
                bytes=now.bytes + manifest.bytes,
            )
            if self._snapshot is not None:
                self._manifests.append(manifest)
            done, units = self._summary.done + self._summary.skipped, self._summary.units
        log.info(
            "unit %s done: %d rows in %.1f s (%d of %d)",
            unit.id,
            manifest.rows,
            manifest.seconds,
            done,
            units,
            extra={
                "fields": {
                    "unit": unit.id,
                    "label": unit.label,
                    "rows": manifest.rows,
                    "rejects": manifest.rejects,
                    "bytes": manifest.bytes,
                    "seconds": manifest.seconds,
                }
            },
        )
        with self._beat_lock:
            self._beat()

    def _complete_snapshot(self) -> None:
        """Name our snapshot as the one that counts. If another attempt's is named already, ours goes."""
        run_id, epoch = self._header.run_id, self._header.epoch
        name = snapshot_name(run_id, epoch)
        try:
            self._objects.create(name, jsontypes.dumps({"snapshot": self._snapshot}))
            return
        except ObjectExists:
            stored = self._objects.read(name)
        if stored is not None and jsontypes.loads(stored.data)["snapshot"] == self._snapshot:
            return
        log.info("the snapshot was completed by another attempt")
        for manifest in self._manifests:
            discard(self._objects, manifest)
        delete_quietly(
            self._objects,
            [manifest_name(run_id, epoch, manifest.unit, self._snapshot) for manifest in self._manifests],
        )
