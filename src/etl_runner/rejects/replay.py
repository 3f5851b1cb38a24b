"""Replaying rejects: a run of the source whose units are its rejected rows.

Everything of a run holds for it: the slot, the plan, the manifests, one commit, one compare-and-swap. Which
runs it replays is written into a ledger segment that the commit lists in the state, so that no row is
replayed twice, whatever is killed or repeated. What does not fit again is a reject of the replay and can be
replayed in its turn. The watermark stays where it is.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from etl_runner.commit.close import Clock, RunKey, timestamp
from etl_runner.commit.rejects import SUFFIX
from etl_runner.commit.staging import staging_field
from etl_runner.config.resolved import ResolvedSource
from etl_runner.config.types import FILE_TYPES
from etl_runner.convert.fields import BqField
from etl_runner.convert.names import destination_names
from etl_runner.errors import ConfigError, PermanentError, Problem
from etl_runner.planning.destination import METADATA_FIELDS, Tables, find_destination, match_columns
from etl_runner.planning.plan import (
    Destination,
    Disposition,
    Plan,
    PlanHeader,
    PlannedColumn,
    Window,
    WorkUnit,
    run_prefix,
)
from etl_runner.planning.upsert import Merge, merge_of
from etl_runner.rejects.corrections import Corrections
from etl_runner.rejects.table import RejectedRow, RejectsTable
from etl_runner.settings import Settings
from etl_runner.sources.base import Source
from etl_runner.state.document import State
from etl_runner.state.ledger import REPLACED, Ledger, LedgerEntry
from etl_runner.state.objects import ObjectStore

UNIT_ROWS = 5_000
REPLAYED = "replayed"
SOURCE_FILE = "_etl_source_file"
_SCHEME = "rejects:"


def replayed_runs(ledger: Ledger, state: State) -> set[str]:
    """The runs whose rejects were replayed."""
    return {uri.removeprefix(_SCHEME) for uri, _ in ledger.known(state) if uri.startswith(_SCHEME)}


@dataclass(frozen=True)
class ReplayPlanner:
    """Makes the plans of replays. ``open_source`` is asked for an upsert of a database only, whose key is
    named at the source."""

    settings: Settings
    tables: Tables
    rejects: RejectsTable
    staging: ObjectStore
    state: ObjectStore
    open_source: Callable[[ResolvedSource], Source]
    clock: Clock

    def make_plan(
        self,
        resolved: ResolvedSource,
        key: RunKey,
        state: State,
        wanted: Sequence[str],
        corrections: Corrections,
    ) -> Plan:
        """Stage the rejects of the ``wanted`` runs, corrected, and plan them.

        Args:
            state: as it was read after the slot was taken.

        Raises:
            ConfigError: a run was replayed already, corrections that name no row or column, columns that the
                destination does not have.
        """
        document, settings = resolved.document, self.settings
        destination = find_destination(
            document, settings.project, settings.dataset, settings.bigquery_location, self.tables
        )
        ledger = Ledger(self.state, key.source_id)
        again = replayed_runs(ledger, state) & set(wanted)
        if again:
            message = f"the rejects of run {', '.join(sorted(again))} were replayed already"
            raise ConfigError("request", (Problem("run", message),))
        rows = self.rejects.rows(f"{destination.path}{SUFFIX}", key.source_id, wanted)
        stale = superseded(ledger.read(state))
        rows = (row for row in rows if not stale(row))
        with_file = any(field.name == SOURCE_FILE for field in destination.schema)
        units, names = self._stage(key, (_prepared(row, corrections, with_file) for row in rows))
        corrections.check({field.name for field in destination.schema})
        columns = _columns(destination, names)
        disposition: Disposition = "append"
        merge: Merge | None = None
        if document.load_type == "upsert":
            disposition = "merge"
            merge = self._merge(resolved, destination)
        total = sum(unit.rows or 0 for unit in units)
        segment = ledger.write(
            key.run_id,
            key.epoch,
            [
                LedgerEntry(f"{_SCHEME}{run}", "", 0, timestamp(self.clock()), total, REPLAYED, key.run_id)
                for run in wanted
            ],
        )
        metadata = tuple(
            name
            for name in METADATA_FIELDS
            if name not in names and name in {field.name for field in destination.schema}
        )
        header = PlanHeader(
            source_id=key.source_id,
            run_id=key.run_id,
            epoch=key.epoch,
            created=timestamp(self.clock()),
            config=resolved.to_json(),
            config_hash=resolved.hash(),
            source_type=document.source_type,
            engine="cloud_run",
            engine_reason="rejects are replayed in place",
            disposition=disposition,
            window=Window("all"),
            columns=columns,
            destination=destination,
            units=len(units),
            tasks=1,
            slots=1,
            estimated_rows=total,
            estimated_bytes=None,
            estimate_how="counted",
            metadata=metadata,
            on_bad_row="reject",
            max_rejects=total,
            merge_keys=merge.keys if merge else (),
            merge_order=merge.order if merge else None,
            merge_prune=merge.prune if merge else None,
            ledger_segment=segment,
            notes=(f"replay of the rejects of {', '.join(wanted)}",),
        )
        return Plan(header, units)

    def _merge(self, resolved: ResolvedSource, destination: Destination) -> Merge | None:
        document = resolved.document
        if document.source_type not in FILE_TYPES:
            source = self.open_source(resolved)
            return match_columns(document, source.describe(), destination, source.expression).merge
        # The bucket may hold other files by now, or none: the destination has the columns that were loaded.
        cursor = document.timestamp_column
        wanted = [*document.primary_key_column, *([cursor] if cursor else [])]
        names = destination_names(list(dict.fromkeys(wanted)), document.column_mapping)
        existing = {field.name.lower(): field for field in destination.schema}
        found = {name: existing[to.lower()] for name, to in names.items() if to.lower() in existing}
        loaded = {field.name: field for field in destination.schema} | found
        return merge_of(document, destination, loaded, loaded)

    def _stage(self, key: RunKey, rows: Iterator[RejectedRow]) -> tuple[tuple[WorkUnit, ...], dict[str, Any]]:
        """The rows as objects of :data:`UNIT_ROWS` rows each, and the columns that they carry."""
        units: list[WorkUnit] = []
        names: dict[str, Any] = {}
        token = secrets.token_hex(8)
        for chunk in chunks(rows):
            number = len(units)
            name = f"{run_prefix(key.run_id, key.epoch)}replay/{token}-{number}.jsonl"
            self.staging.create(name, b"".join(row.to_line() for row in chunk))
            spec = {"object": name}
            units.append(WorkUnit(f"u{number:05}", "whole", spec, f"{len(chunk)} rejects", len(chunk)))
            for row in chunk:
                names |= dict.fromkeys(row.types or ())
        return tuple(units), names


def chunks(rows: Iterable[RejectedRow], size: int = UNIT_ROWS) -> Iterator[list[RejectedRow]]:
    """The rows in lists of at most ``size``, none of which has two rows of one place in a file: a file that
    was replaced has the same lines again, and what is rejected again is told apart by unit and place."""
    chunk: list[RejectedRow] = []
    spots: set[tuple[str | None, int, int]] = set()
    for row in rows:
        if len(chunk) == size or (row.file is not None and row.spot in spots):
            yield chunk
            chunk, spots = [], set()
        chunk.append(row)
        spots.add(row.spot)
    if chunk:
        yield chunk


def superseded(entries: Iterable[LedgerEntry]) -> Callable[[RejectedRow], bool]:
    """Tells rejects of files whose rows were all replaced by a later backfill, which read them again.
    ``entries`` is the ledger, in order."""
    replaced: dict[str, int] = {}
    runs: dict[str, int] = {}
    for number, entry in enumerate(entries):
        runs[entry.run_id] = number
        if entry.outcome == REPLACED:
            replaced[entry.uri] = number
    return lambda row: replaced.get(row.file or "", -1) > runs.get(row.run_id, -1)


def _prepared(row: RejectedRow, corrections: Corrections, with_file: bool) -> RejectedRow:
    row = corrections.apply(row)
    if not with_file or row.file is None or row.types is None or SOURCE_FILE in row.types:
        return row
    record, types = {**row.record, SOURCE_FILE: row.file}, {**row.types, SOURCE_FILE: "string"}
    return replace(row, record=record, types=types)


def _columns(destination: Destination, names: dict[str, Any]) -> tuple[PlannedColumn, ...]:
    known = {field.name: field for field in destination.schema}
    gone = [name for name in names if name not in known]
    if gone:
        message = (
            f"{destination.path} has no column {', '.join(gone)}, which rejected rows carry: add it, or "
            "replay other runs only"
        )
        raise ConfigError("destination", (Problem("dest_table_name", message),))
    # Where no row carries a column (all are lines that are no rows), every one may be corrected.
    wanted: list[BqField] = [field for field in destination.schema if field.name in names]
    if not wanted:
        wanted = [field for field in destination.schema if field.name not in METADATA_FIELDS]
    for field in wanted:
        staging_field(field)
    return tuple(PlannedColumn(field.name, "text", replace(field, description=None)) for field in wanted)


def check_catalog(
    resolved: ResolvedSource, receipts: Sequence[dict[str, Any]], wanted: Sequence[str]
) -> None:
    """Rejects of a catalog belong to the table that its latest commit made, and to no later one.

    Raises:
        PermanentError: the table was replaced since.
    """
    if resolved.document.load_type != "catalog":
        return
    committed = [receipt for receipt in receipts if receipt.get("outcome") == "ok"]
    latest = max((n for n, receipt in enumerate(committed) if receipt["disposition"] == "replace"), default=0)
    # Replays since that commit added to the same table.
    allowed = {receipt["run_id"] for receipt in committed[latest:]}
    late = [run for run in wanted if run not in allowed]
    if late:
        raise PermanentError(
            f"the table was replaced after run {late[0]}, whose rejects are not part of it any more: run the "
            "source again, and replay what that run rejects"
        )
