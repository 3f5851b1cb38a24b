"""Executing a commit record. Anybody may do it, again and again: same inputs, same ids.

A slot in ``committing`` has a record. Its job number ``slot.n`` is looked up, submitted if there is none,
and judged when it is done::

    not there                    submit_job: create it, or adopt the one that a lost response hid
    refused, nothing created     burn_job_id: a tombstone takes the id, so that no late copy can use it
    running                      pending
    done, not the last step      next_step: (step, n) -> (step + 1, n + 1)
    done, the last step          the rejects' own job, if there are any, then advance
    failed, may work again       next_attempt: n -> n + 1, the same step
    failed for good, tombstone   close_failed, on this n
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from etl_runner.commit.close import Closer, Done, Pending, RunKey
from etl_runner.commit.jobs import (
    BigQueryJobs,
    JobExists,
    JobStatus,
    check_adopted,
    job_id,
    run_labels,
    tombstone_configuration,
    tombstone_reason,
)
from etl_runner.commit.rejects import RejectsLoader, rejects_receipt
from etl_runner.errors import CorruptStateError, PermanentError, RetryableError
from etl_runner.state.document import Slot, State
from etl_runner.state.records import CommitRecord, CommitRecords, Originals, Step
from etl_runner.state.store import StateStore

log = logging.getLogger(__name__)

# Each attempt may cost a table operation of the day's 1,500
# (https://cloud.google.com/bigquery/quotas#standard_tables), failures included.
MAX_ATTEMPTS = 6


ChangedFile = Callable[[Originals], str | None]
"""Says in words which original file is another one now than the planned one; None: none is."""


def cannot_look(originals: Originals) -> str | None:
    """For those who never commit original files.

    Raises:
        CorruptStateError: somebody did.
    """
    raise CorruptStateError(f"{len(originals.files)} original files are committed where nobody looks at them")


class RollForward:
    """Brings the committing run of one source to its end."""

    def __init__(
        self,
        store: StateStore,
        records: CommitRecords,
        jobs: BigQueryJobs,
        closer: Closer,
        changed: ChangedFile = cannot_look,
    ) -> None:
        self._changed = changed
        self._store = store
        self._records = records
        self._jobs = jobs
        self._closer = closer
        self._rejects = RejectsLoader(jobs)

    def roll_forward(self, key: RunKey) -> Done | Pending:
        """Execute the run's record as far as it goes now.

        Raises:
            RetryableError: a service is unavailable; call again.
            CorruptStateError: the record is gone, or a foreign job bears our id; nothing was changed.
        """
        record: CommitRecord | None = None
        while True:
            state = self._store.read()
            slot = state.slot
            if slot is None or not slot.belongs_to(key.run_id, key.epoch):
                return self._closer.outcome_of(key, state)
            record = record or self._records.read(key.run_id, key.epoch)
            result = self._execute(key, record, slot)
            if result is not None:
                return result

    def _execute(self, key: RunKey, record: CommitRecord, slot: Slot) -> Done | Pending | None:
        """One look at job ``slot.n``; None when the slot moved and wants another look."""
        if not record.steps:
            return self._commit(key, record, {**self._receipt(record, slot), "jobs": []})
        step = record.steps[slot.step]
        status = self._submit_job(key, record, step, slot.n)
        if status.state != "DONE":
            return Pending(_poll_seconds(record), f"BigQuery job {status.job_id}")
        if status.tombstone:
            reason = f"BigQuery refused job {status.job_id}: {tombstone_reason(status.query or '')}"
            return self._closer.close_failed(key, self._receipt(record, slot), reason, slot)
        if status.failed:
            attempts = slot.n - slot.step
            if status.retryable and attempts < MAX_ATTEMPTS:
                log.warning(
                    "job failed, will be repeated", extra={"job_id": status.job_id, "reason": status.reason}
                )
                self._move(slot, slot.step)
                return Pending(min(2**attempts, 60), f"after {status.reason}")
            reason = f"BigQuery job {status.job_id} failed ({status.reason}): {status.message}"
            return self._closer.close_failed(key, self._receipt(record, slot), reason, slot)
        if slot.step + 1 < len(record.steps) and (step.rows is None or status.rows == step.rows):
            changed = self._changed_file(record) if slot.step == 0 else None
            if changed is not None:
                reason = f"{changed}; nothing was published, the next run takes what is there"
                return self._closer.close_failed(key, self._receipt(record, slot), reason, slot)
            self._move(slot, slot.step + 1)
            return None
        if slot.step + 1 < len(record.steps):
            counted = "the manifests have" if record.originals is None else "the files' footers have"
            reason = (
                f"BigQuery job {status.job_id} staged {status.rows} rows, {counted} {step.rows}: "
                "nothing was published"
            )
            return self._closer.close_failed(key, self._receipt(record, slot), reason, slot)
        return self._advance(key, record, slot, step, status)

    def _advance(
        self, key: RunKey, record: CommitRecord, slot: Slot, step: Step, status: JobStatus
    ) -> Done | Pending | None:
        # A job done without error is the commit, whatever it counted.
        receipt = {**self._receipt(record, slot), "rows_loaded": status.rows}
        if receipt.get("disposition") == "replace_range":
            # The statement's own number has the rows that it deleted, too.
            receipt["rows_loaded"] = record.rows
        if receipt.get("engine") == "bigquery" and record.originals is None:
            receipt["rows_read"] = receipt["rows_loaded"]  # nobody else has read them
        paused = None
        if step.rows is not None and status.rows != step.rows:
            paused = (
                f"run {key.run_id} loaded {status.rows} rows where {step.rows} were expected "
                f"(BigQuery job {status.job_id})"
            )
            receipt["row_mismatch"] = {"expected": step.rows, "loaded": status.rows}
            log.critical("row mismatch", extra={"run_id": key.run_id, "job_id": status.job_id})
        elif len(record.steps) == 1 and (changed := self._changed_file(record)) is not None:
            paused = (
                f"run {key.run_id} loaded files straight into the destination, and {changed}: which "
                f"version was loaded is not known (BigQuery job {status.job_id})"
            )
            receipt["replaced"] = changed
            log.critical("file replaced", extra={"run_id": key.run_id, "job_id": status.job_id})
        return self._commit(key, record, receipt, paused)

    def _commit(
        self, key: RunKey, record: CommitRecord, receipt: dict[str, Any], paused: str | None = None
    ) -> Done | Pending | None:
        """The rows are in for good: the rejects follow, then the state."""
        end = self._rejects.load(record)
        if isinstance(end, JobStatus):
            return Pending(_poll_seconds(record), f"BigQuery job {end.job_id} with the rejects")
        if end is not None:
            receipt = {**receipt, "rejects_table": rejects_receipt(record, end)}
            if end.outcome == "loaded":
                receipt.pop("rejects_objects", None)
        return self._closer.advance(
            key,
            receipt,
            phase="committing",
            watermark=record.watermark,
            ledger_segment=record.ledger_segment,
            paused=paused,
        )

    def _changed_file(self, record: CommitRecord) -> str | None:
        """Which original file is not the planned one any more, in words; looked at when its job is done."""
        if record.originals is None:
            return None
        try:
            return self._changed(record.originals)
        except CorruptStateError:
            raise
        except PermanentError as error:
            return f"its files cannot be looked at any more ({error})"

    def _submit_job(self, key: RunKey, record: CommitRecord, step: Step, n: int) -> JobStatus:
        identifier = job_id(key.source_id, key.epoch, key.run_id, n)
        labels = run_labels(key.source_id, key.run_id, key.epoch, n)
        status = self._jobs.get(identifier, record.location)
        if status is None:
            configuration = {**step.configuration, "labels": labels}
            try:
                for action in step.prepare:
                    if action.action == "create":
                        self._jobs.create_table(action.table)
                    else:
                        self._jobs.add_columns(action.table)
                status = self._jobs.insert(identifier, record.location, configuration)
            except JobExists:
                status = self._adopt(identifier, record.location)
            except PermanentError as refusal:  # a preparation's or the job's own: no job was created
                status = self._burn_job_id(identifier, record.location, labels, refusal)
        check_adopted(status, step.kind, labels, step.configuration)
        return status

    def _burn_job_id(
        self, identifier: str, location: str, labels: dict[str, str], refusal: PermanentError
    ) -> JobStatus:
        log.error("job refused, its id is burnt", extra={"job_id": identifier, "reason": str(refusal)})
        try:
            # If even this is refused, the error goes out and the slot stays committing, loudly.
            return self._jobs.insert(identifier, location, tombstone_configuration(labels, str(refusal)))
        except JobExists:
            return self._adopt(identifier, location)

    def _adopt(self, identifier: str, location: str) -> JobStatus:
        status = self._jobs.get(identifier, location)
        if status is None:
            raise RetryableError(f"BigQuery job {identifier} exists but cannot be read yet")
        return status

    def _move(self, slot: Slot, step: int) -> None:
        """CAS (step, n) to (``step``, n + 1), from exactly the slot that was judged."""

        def decide(state: State) -> State | None:
            current = state.slot
            if current is None or replace(current, deadline=slot.deadline) != slot:
                return None
            return state.with_slot(replace(current, step=step, n=slot.n + 1))

        self._store.change(decide)

    def _receipt(self, record: CommitRecord, slot: Slot) -> dict[str, Any]:
        jobs = [job_id(record.source_id, record.epoch, record.run_id, n) for n in range(1, slot.n + 1)]
        return {**record.receipt, "rows_loaded": 0, "jobs": jobs}


def claim_commit(store: StateStore, key: RunKey) -> None:
    """CAS extracting to committing, once the record is written: from here on only the record decides."""

    def decide(state: State) -> State | None:
        slot = state.slot
        if slot is None or not slot.belongs_to(key.run_id, key.epoch) or slot.phase != "extracting":
            return None
        return state.with_slot(Slot(slot.run_id, slot.epoch, slot.deadline, phase="committing"))

    store.change(decide)


def _poll_seconds(record: CommitRecord) -> int:
    # Small loads are done in a few seconds; big ones need no close watch.
    return 2 if record.rows < 1_000_000 else 10
