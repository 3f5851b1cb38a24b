"""What the ``rejects`` commands do: list, load and replay."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from etl_runner.commit.close import Done, Failure, Pending
from etl_runner.commit.finalize import Finalizer
from etl_runner.commit.jobs import BigQueryJobs, JobStatus
from etl_runner.commit.open_run import Finished, Opened, Opener, Skipped
from etl_runner.commit.rejects import SUFFIX, RejectsEnd, RejectsLoader
from etl_runner.config.resolved import ResolvedSource
from etl_runner.errors import ConfigError, EtlError, ObjectExists, PermanentError, Problem
from etl_runner.execution.lease import keep_slot
from etl_runner.execution.task import run_task
from etl_runner.planning.write_plan import plan_name
from etl_runner.rejects.corrections import Corrections
from etl_runner.rejects.reader import StagedRejects
from etl_runner.rejects.replay import ReplayPlanner, check_catalog, replayed_runs
from etl_runner.rejects.table import RejectedRow, RejectedRun
from etl_runner.settings import Settings
from etl_runner.state.document import State
from etl_runner.state.ledger import Ledger
from etl_runner.state.receipts import Receipts
from etl_runner.state.records import CommitRecords
from etl_runner.state.store import StateStore


@dataclass(frozen=True)
class Overview:
    """A run with rejects. ``state``: ``pending`` (can be replayed), ``replayed``, or ``kept`` (not in the
    table; :meth:`Rejects.load` tries again)."""

    run: RejectedRun
    state: str


class Rejects:
    """The rejects of one source."""

    def __init__(
        self,
        resolved: ResolvedSource,
        settings: Settings,
        planner: ReplayPlanner,
        jobs: BigQueryJobs,
        opener: Opener,
        finalizer: Finalizer,
        store: StateStore,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._resolved = resolved
        self._settings = settings
        self._planner = planner
        self._loader = RejectsLoader(jobs)
        self._opener = opener
        self._finalizer = finalizer
        self._store = store
        self._sleep = sleep

    @property
    def table(self) -> str:
        """``project.dataset.table`` of the rejects."""
        document, settings = self._resolved.document, self._settings
        project, dataset = (
            document.dest_project or settings.project,
            document.dest_dataset or settings.dataset,
        )
        return f"{project}.{dataset}.{document.dest_table_name}{SUFFIX}"

    def overview(self) -> list[Overview]:
        """The source's runs with rejects, oldest first."""
        return self._overview(self._store.read())

    def rows(self, run_ids: Sequence[str], limit: int | None = None) -> Iterator[RejectedRow]:
        """The rejected rows of these runs."""
        return self._planner.rejects.rows(self.table, self._store.source_id, run_ids, limit)

    def load(self, run_id: str) -> RejectsEnd:
        """Load the rejects of a run that were kept, with the next job number.

        Raises:
            ConfigError: there is no such run, or it has no rejects.
        """
        receipt = self._receipts.read(run_id)
        if receipt is None or receipt.get("rejects_table") is None:
            message = f"run {run_id} has no receipt that tells of rejects"
            raise ConfigError("request", (Problem("run", message),))
        records = CommitRecords(self._planner.state, self._store.source_id)
        record = records.read(run_id, receipt["epoch"])
        while isinstance(end := self._loader.load(record, go_on=True), JobStatus):
            self._sleep(2)
        if end is None:
            raise PermanentError(f"the commit record of run {run_id} names no rejects")
        return end

    def replay(
        self, run_id: str, wanted: Sequence[str] = (), corrections: Corrections | None = None
    ) -> Done | Skipped | Finished:
        """Replay the rejects of the ``wanted`` runs (all that can be, when empty) as the run ``run_id``.

        Raises:
            ConfigError: a run cannot be replayed, or corrections do not fit.
            PermanentError, RetryableError: as for any run; it is closed as failed.
        """
        opened = self._opener.open_run(run_id)
        if not isinstance(opened, Opened):
            return opened
        key = opened.key
        try:
            self._extract(opened, wanted, corrections or Corrections.none())
        except EtlError as error:
            self._finalizer.finalize(key, Failure("replay", str(error)))
            raise
        while isinstance(result := self._finalizer.finalize(key), Pending):
            self._sleep(result.retry_after)
        return result

    def _extract(self, opened: Opened, wanted: Sequence[str], corrections: Corrections) -> None:
        key, planner = opened.key, self._planner
        known = {item.run.run_id: item for item in self._overview(opened.state)}
        chosen = list(wanted) or [name for name, item in known.items() if item.state == "pending"]
        problems = [
            Problem(
                "run", f"run {name} has no rejects to replay", known[name].state if name in known else None
            )
            for name in chosen
            if name not in known or known[name].state != "pending"
        ]
        if problems:
            raise ConfigError("request", tuple(problems))
        check_catalog(self._resolved, list(self._receipts.all()), chosen)
        plan = planner.make_plan(self._resolved, key, opened.state, chosen, corrections)
        name = plan_name(key.run_id, key.epoch)
        try:
            planner.staging.create(name, plan.to_jsonl())
        except ObjectExists as error:
            raise PermanentError(f"run {key.run_id} is planned already: replay under another id") from error
        keep = keep_slot(self._store, plan.header)
        staged = StagedRejects(planner.staging)
        run_task(planner.staging, name, 0, 1, lambda _: staged, on_progress=lambda _: keep())

    def _overview(self, state: State) -> list[Overview]:
        replayed = replayed_runs(Ledger(self._planner.state, self._store.source_id), state)
        loaded = self._planner.rejects.runs(self.table, self._store.source_id)
        there = {run.run_id for run in loaded}
        found = [Overview(run, "replayed" if run.run_id in replayed else "pending") for run in loaded]
        for receipt in self._receipts.all():
            told = receipt.get("rejects_table") or {}
            if told.get("outcome") == "kept" and receipt["run_id"] not in there:
                run = RejectedRun(receipt["run_id"], receipt["rejects"], receipt["started"])
                found.append(Overview(run, "kept"))
        return sorted(found, key=lambda item: item.run.rejected_at)

    @property
    def _receipts(self) -> Receipts:
        return Receipts(self._planner.state, self._store.source_id)
