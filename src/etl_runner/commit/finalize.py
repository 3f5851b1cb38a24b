"""The last step of a run, called by the workflow until it answers done.

It is also the failure path: a run that is still extracting is closed, one that is committing is rolled
forward, since its rows may be in the table already.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from etl_runner.commit.close import Closer, Done, Failure, Pending, RunKey
from etl_runner.commit.direct import direct_record, load_record, loads_files
from etl_runner.commit.files import ledger_entries, unplanned_columns
from etl_runner.commit.jobs import BigQueryJobs
from etl_runner.commit.prepare import (
    base_receipt,
    check_manifests,
    commit_record,
    extracted_receipt,
    rejected_record,
)
from etl_runner.commit.roll_forward import ChangedFile, RollForward, cannot_look, claim_commit
from etl_runner.commit.steps import table_resource
from etl_runner.errors import PermanentError
from etl_runner.execution.manifest import Manifest
from etl_runner.planning.plan import Plan, run_prefix
from etl_runner.state.document import Slot, State
from etl_runner.state.ledger import Ledger
from etl_runner.state.objects import ObjectStore
from etl_runner.state.records import CommitRecords
from etl_runner.state.store import StateStore

log = logging.getLogger(__name__)

CollectManifests = Callable[[ObjectStore, Plan], Sequence[Manifest]]
"""All manifests that count, their shards' footers verified; PermanentError names what is missing."""

_MAX_CLEANED = 2_000  # a lifecycle rule removes what is more


class Finalizer:
    """Finalizes runs of one source."""

    def __init__(
        self,
        store: StateStore,
        records: CommitRecords,
        staging: ObjectStore,
        jobs: BigQueryJobs,
        closer: Closer,
        collect_manifests: CollectManifests,
        ledger: Ledger,
        changed: ChangedFile = cannot_look,
    ) -> None:
        """``changed`` looks at files that BigQuery loads itself."""
        self._store = store
        self._records = records
        self._staging = staging
        self._jobs = jobs
        self._closer = closer
        self._collect_manifests = collect_manifests
        self._ledger = ledger
        self._changed = changed
        self._roll_forward = RollForward(store, records, jobs, closer, changed)

    def finalize(self, key: RunKey, failure: Failure | None = None) -> Done | Pending:
        """Commit the run's extraction, or close it.

        Raises:
            RetryableError: a service is unavailable; call again.
            CorruptStateError: see :meth:`RollForward.roll_forward`.
        """
        state = self._store.read()
        slot = state.slot
        if slot is None or not slot.belongs_to(key.run_id, key.epoch):
            # Whoever advanced it may have died before its staging objects were removed.
            return self._tidied(key, self._closer.outcome_of(key, state))
        if slot.phase == "extracting":
            done = self._leave_extracting(key, state, slot, failure)
            if done is not None:
                return self._tidied(key, done)
        result = self._roll_forward.roll_forward(key)
        if isinstance(result, Done) and result.outcome == "ok":
            self._clean_up(key, result)
            self._ledger.compact(self._store)
        return result

    def _tidied(self, key: RunKey, done: Done) -> Done:
        """Remove what a committed run left in staging, where it is not known to be removed."""
        prefix = run_prefix(key.run_id, key.epoch)
        if done.outcome == "ok" and next(iter(self._staging.list(prefix)), None) is not None:
            self._clean_up(key, done)
        return done

    def _leave_extracting(
        self, key: RunKey, state: State, slot: Slot, failure: Failure | None
    ) -> Done | None:
        """Close the run, or write its record and claim the commit. None: it is committing now, by this
        call or by a copy of it."""
        plan = self._read_plan(key)
        receipt = self._failed_receipt(plan, state)
        if failure is not None and failure.cancelled:
            return self._closer.close_failed(key, receipt, failure.message, slot, "cancelled")
        if failure is not None:
            return self._closer.close_failed(key, receipt, self._reason(plan, failure), slot)
        if plan is None:
            return self._closer.close_failed(key, receipt, "the run has no plan", slot)
        if plan.header.engine == "bigquery":
            return self._claim_direct(key, plan, state, slot)
        try:
            manifests = self._collect_manifests(self._staging, plan)
            check_manifests(plan.header, manifests)
            segment = self._write_segment(plan, manifests)
            record = None
            if sum(manifest.rows for manifest in manifests) == 0 and self._is_nothing(plan):
                if not any(manifest.rejects for manifest in manifests):
                    return self._commit_nothing(key, plan, state, manifests, segment)
                record = rejected_record(plan, state, manifests, self._staging, segment)
            now = self._closer.clock()
            record = record or commit_record(plan, state, manifests, self._staging, now, segment)
        except PermanentError as error:
            return self._closer.close_failed(key, receipt, str(error), slot)
        self._records.write(record)
        claim_commit(self._store, key)
        return None

    def _claim_direct(self, key: RunKey, plan: Plan, state: State, slot: Slot) -> Done | None:
        """Nothing was extracted, so there are no manifests: BigQuery reads the source itself."""
        now = self._closer.clock()
        if loads_files(plan.header):
            record = load_record(plan.header, state, now, self._write_segment(plan, ()))
            if record.originals is not None and (changed := self._changed(record.originals)) is not None:
                reason = f"{changed}; nothing was loaded, the next run takes what is there"
                return self._closer.close_failed(key, self._failed_receipt(plan, state), reason, slot)
        else:
            record = direct_record(plan.header, state, now)
        self._records.write(record)
        claim_commit(self._store, key)
        return None

    def _write_segment(self, plan: Plan, manifests: Sequence[Manifest]) -> str | None:
        """Write what the commit adds to the ledger; it counts once the state lists it."""
        if plan.header.ledger_segment is not None or plan.header.window.kind != "files":
            return plan.header.ledger_segment
        entries = ledger_entries(plan, manifests)
        return self._ledger.write(plan.header.run_id, plan.header.epoch, entries) if entries else None

    def _failed_receipt(self, plan: Plan | None, state: State) -> dict[str, Any]:
        if plan is None:
            return {}
        receipt = base_receipt(plan.header, state)
        if plan.header.window.kind == "files":
            receipt["unplanned"] = unplanned_columns(self._staging, plan.header, state)
        return receipt

    def _is_nothing(self, plan: Plan) -> bool:
        """Whether an extract without rows needs no job: a missing table is created, one is not emptied.

        Raises:
            PermanentError: the table would lose its rows, which nobody allowed.
        """
        header = plan.header
        destination = header.destination
        if header.disposition in ("replace", "replace_range") and destination.exists:
            if header.allow_empty:
                return False
            if header.disposition == "replace_range":
                raise PermanentError(
                    f"the source has no rows in the window, so those of {destination.path} would be deleted; "
                    "they were left as they are. Backfill with --allow-empty if that is meant"
                )
            raise PermanentError(
                f"the source is empty, so {destination.path} would be emptied; it was left as it is. "
                "Set allow_empty: true if that is meant"
            )
        if not destination.exists and destination.schema:
            self._jobs.create_table(table_resource(destination))
        return True

    def _commit_nothing(
        self,
        key: RunKey,
        plan: Plan,
        state: State,
        manifests: Sequence[Manifest],
        segment: str | None,
    ) -> Done | None:
        """No rows and no rejects: only the watermark moves, without a table operation."""
        return self._closer.advance(
            key,
            extracted_receipt(plan.header, state, manifests, segment),
            phase="extracting",
            watermark=plan.header.next_watermark,
            ledger_segment=segment,
        )

    def _read_plan(self, key: RunKey) -> Plan | None:
        stored = self._staging.read(f"{run_prefix(key.run_id, key.epoch)}plan.jsonl")
        plan = None if stored is None else Plan.from_jsonl(stored.data)
        # Run ids are the workflow's and unique; one given by hand may be another source's as well.
        return plan if plan is not None and plan.header.source_id == key.source_id else None

    def _reason(self, plan: Plan | None, failure: Failure) -> str:
        """The most telling account: what the units themselves said, else the workflow's error."""
        if plan is not None:
            try:
                self._collect_manifests(self._staging, plan)
            except PermanentError as error:
                return f"{failure.step}: {error}"
        return f"{failure.step}: {failure.message}"

    def _clean_up(self, key: RunKey, done: Done) -> None:
        """Remove what the commit made superfluous. Nothing depends on it."""
        # A run that found nothing has no record, and made no table.
        record = self._records.find(key.run_id, key.epoch)
        kept = (done.receipt or {}).get("rejects_table", {}).get("outcome") != "loaded"
        for table in record.drop_tables if record is not None else ():
            self._jobs.delete_table(table)
        prefix = run_prefix(key.run_id, key.epoch)
        for number, info in enumerate(self._staging.list(prefix)):
            if number == _MAX_CLEANED:
                break
            # Rejects that are in no table are nowhere else: they stay until the lifecycle rule takes them.
            if not kept or not info.name.startswith(f"{prefix}rejects/"):
                self._staging.delete(info.name)
