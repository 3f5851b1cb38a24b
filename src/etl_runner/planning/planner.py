"""Making the plan of a run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING

from etl_runner.commit.close import Clock, RunKey, timestamp, utc_now
from etl_runner.commit.staging import staging_field
from etl_runner.config.resolved import ResolvedSource
from etl_runner.planning.backfill import (
    again_of,
    between_of,
    check_backfill,
    check_given,
    check_replaceable,
    disposition_of,
    range_column,
    replaced_files,
)
from etl_runner.planning.destination import Matched, Tables, find_destination, match_columns
from etl_runner.planning.engine import Sizing, choose_direct, choose_engine
from etl_runner.planning.plan import Disposition, Engine, Plan, PlanHeader
from etl_runner.planning.workers import Fleet, most_readers
from etl_runner.settings import Settings
from etl_runner.sources.base import Extract, FilesOfWindow, PlanRequest, Scope, Source
from etl_runner.state.document import State
from etl_runner.state.requests import Backfill

if TYPE_CHECKING:
    from etl_runner.sources.files.store import FileVersion

KnownFiles = Callable[[str, State], set[tuple[str, str]]]
"""Reads a source's ledger as a state lists it."""
AdoptedFiles = Callable[[str, State], Collection[str]]
"""The URIs of a source's files that an earlier system loaded."""
_DISPOSITIONS: dict[str, Disposition] = {"transactional": "append", "catalog": "replace", "upsert": "merge"}


class Planner:
    """Plans runs. Reads metadata of source and destination; writes nothing, scans nothing."""

    def __init__(
        self,
        settings: Settings,
        tables: Tables,
        open_source: Callable[[ResolvedSource], Source],
        known_files: KnownFiles,
        fleet: Callable[[], Fleet | str],
        clock: Clock = utc_now,
        adopted_files: AdoptedFiles = lambda _source_id, _state: (),
    ) -> None:
        """``fleet`` says what Dataflow may use, or what it lacks; asked only when it is wanted."""
        self._adopted_files = adopted_files
        self._settings = settings
        self._tables = tables
        self._open_source = open_source
        self._known_files = known_files
        self._fleet = fleet
        self._clock = clock

    def make_plan(
        self,
        resolved: ResolvedSource,
        key: RunKey,
        state: State,
        files: tuple[FileVersion, ...] | None = None,
        backfill: Backfill | None = None,
    ) -> Plan:
        """Describe, match, fix the window, cut, choose.

        Args:
            resolved: the source.
            key: the run.
            state: as it was read after the slot was taken; its ledger says which files are loaded.
            files: for a run that events started: plan exactly these, minus those that the ledger has. None
                lists the bucket. Databases have none.
            backfill: this window instead of the next one; the watermark stays.

        Raises:
            ConfigError: the document does not fit source or destination.
            PermanentError, RetryableError: source or destination refuse or cannot be reached.
        """
        document = resolved.document
        if backfill is not None:
            check_backfill(document, backfill)
        settings = self._settings
        now = self._clock()
        source = self._open_source(resolved)
        if isinstance(source, FilesOfWindow):
            known = partial(self._known_files, key.source_id, state)
            source = source.within(Scope(known, files, _unplanned(state), again_of(document, backfill)))
        destination = find_destination(
            document, settings.project, settings.dataset, settings.bigquery_location, self._tables
        )
        description = source.describe()
        if description.nothing:
            matched = Matched((), destination, (), ())
        else:
            matched = match_columns(document, description, destination, source.expression)
        request = PlanRequest(
            matched.columns,
            state.watermark,
            document.unit_rows or settings.unit_rows,
            destination=matched.destination,
            readers=None if document.unit_rows else self._readers(resolved),
            between=between_of(document, backfill),
        )
        extract = source.plan(request)
        if backfill is not None:
            check_given(extract.window, document.source_type)
        direct = extract.direct
        alone = choose_direct(document.engine, extract.not_direct, None if direct is None else direct.reason)
        if alone is None:
            for column in matched.columns:
                staging_field(column.destination)  # refuses what no query puts back, before anything is read
        snapshot = document.load_type == "catalog" and extract.snapshot_possible
        choice = alone or choose_engine(
            Sizing(
                units=len(extract.units),
                rows=extract.estimated_rows,
                snapshot=snapshot,
                wanted=document.engine,
                threshold=settings.row_threshold,
                max_tasks=settings.max_tasks,
                slots=settings.task_slots,
                connections=extract.max_connections,
                fleet=self._fleet,
            )
        )
        merge = matched.merge
        disposition = disposition_of(document, backfill, destination, _DISPOSITIONS[document.load_type])
        header = PlanHeader(
            source_id=key.source_id,
            run_id=key.run_id,
            epoch=key.epoch,
            created=timestamp(now),
            config=resolved.to_json(),
            config_hash=resolved.hash(),
            source_type=document.source_type,
            engine=choice.engine,
            engine_reason=choice.reason,
            disposition=disposition,
            window=extract.window,
            columns=matched.columns,
            destination=matched.destination,
            units=len(extract.units),
            tasks=choice.tasks,
            slots=choice.slots,
            estimated_rows=extract.estimated_rows,
            estimated_bytes=extract.estimated_bytes,
            estimate_how=extract.estimate_how,
            read=extract.read,
            next_watermark=extract.next_watermark,
            snapshot=snapshot and choice.engine == "cloud_run",
            merge_keys=merge.keys if merge else (),
            merge_order=merge.order if merge else range_column(document, matched.columns, disposition),
            replaced_files=replaced_files(extract.units, disposition),
            merge_prune=merge.prune if merge else None,
            direct=None if direct is None else direct.to_json(),
            metadata=matched.metadata,
            on_bad_row=document.on_bad_row,
            max_rejects=document.max_rejects,
            allow_empty=document.allow_empty if backfill is None else backfill.allow_empty,
            workers=choice.workers,
            notes=tuple(
                dict.fromkeys(
                    (
                        *description.notes,
                        *matched.notes,
                        *extract.notes,
                        *_direct_notes(extract),
                        *_snapshot_notes(document.load_type, extract, choice.engine),
                    )
                )
            ),
        )
        if disposition == "replace_range":
            adopted = () if header.window.kind != "files" else self._adopted_files(key.source_id, state)
            check_replaceable(header, destination, adopted)
        return Plan(header, extract.units)

    def _readers(self, resolved: ResolvedSource) -> int:
        """Units that may be read at the same time, whatever the engine will be."""
        settings = self._settings
        most = settings.max_tasks * settings.task_slots
        if settings.dataflow_template is not None:
            most = max(most, most_readers(settings.dataflow_max_workers, settings.task_slots))
        connections = getattr(resolved.connection, "max_connections", None)
        return most if connections is None else min(most, connections)


def _unplanned(state: State) -> Mapping[str, str]:
    """Columns that the run before met and did not know, each with the URI of a file that has it."""
    last = state.last
    return {} if last is None or last.outcome == "ok" else last.receipt.get("unplanned") or {}


def _direct_notes(extract: Extract) -> tuple[str, ...]:
    if extract.not_direct is None or not extract.units:
        return ()
    return (f"BigQuery does not do it alone: {extract.not_direct}",)


def _snapshot_notes(load_type: str, extract: Extract, engine: Engine) -> tuple[str, ...]:
    # The plan names the version of each file, whenever it is read.
    one_state = extract.one_instant or extract.window.kind == "files"
    if load_type != "catalog" or one_state or not extract.units:
        return ()
    note = "units are read one after the other, not in one snapshot: rows that change meanwhile may differ"
    if not extract.snapshot_possible:
        return (note,)
    if engine == "dataflow":
        return (f"{note} (engine: auto or cloud_run reads them in one)",)
    return ()
