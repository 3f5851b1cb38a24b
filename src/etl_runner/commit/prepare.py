"""From the manifests of a finished extraction to its commit record."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from etl_runner.commit.merge import Bounds
from etl_runner.commit.rejects import rejects_load
from etl_runner.commit.steps import MAX_LOAD_BYTES, MAX_LOAD_URIS, commit_steps
from etl_runner.errors import PermanentError
from etl_runner.execution.manifest import Manifest
from etl_runner.planning.plan import Plan, PlanHeader
from etl_runner.state.document import State
from etl_runner.state.objects import ObjectStore
from etl_runner.state.records import CommitRecord, RejectsLoad


def base_receipt(header: PlanHeader, state: State) -> dict[str, Any]:
    """What a receipt says of a run before anything was extracted."""
    window = header.window
    return {
        "started": header.created,
        "engine": header.engine,
        "engine_reason": header.engine_reason,
        "disposition": header.disposition,
        "window": {"column": window.column, "low": window.low, "high": window.high, "late": window.late},
        "destination": header.destination.path,
        "units": header.units,
        "tasks": header.tasks,
        "rows_read": 0,
        "rows_loaded": 0,
        "rejects": 0,
        "bytes": 0,
        "jobs": [],
        "watermark_before": state.watermark,
        "watermark_after": state.watermark,
        "notes": list(header.notes),
    }


def extracted_receipt(
    header: PlanHeader, state: State, manifests: Sequence[Manifest], ledger_segment: str | None = None
) -> dict[str, Any]:
    """The receipt of a run whose manifests are all there and whose commit will succeed."""
    files = {"files": header.window.detail, "ledger_segment": ledger_segment}
    return {
        **(files if header.window.kind == "files" else {}),
        **base_receipt(header, state),
        "rows_read": sum(manifest.read for manifest in manifests),
        "rejects": sum(manifest.rejects for manifest in manifests),
        "rejects_objects": [manifest.rejects_object for manifest in manifests if manifest.rejects_object],
        "bytes": sum(manifest.bytes for manifest in manifests),
        "watermark_after": state.watermark if header.next_watermark is None else header.next_watermark,
    }


def check_manifests(header: PlanHeader, manifests: Sequence[Manifest]) -> None:
    """Refuse an extraction that must not be committed.

    Raises:
        PermanentError: too many rejects, or more shards than one load takes.
    """
    rejects = sum(manifest.rejects for manifest in manifests)
    if rejects > header.max_rejects:
        where = next(manifest.unit for manifest in manifests if manifest.rejects)
        raise PermanentError(
            f"{rejects} rows were rejected, max_rejects allows {header.max_rejects} (first in unit {where}); "
            "nothing was loaded"
        )
    shards = sum(len(manifest.shards) for manifest in manifests)
    if shards > MAX_LOAD_URIS:
        raise PermanentError(
            f"{shards} shards are more than the {MAX_LOAD_URIS} that one load job takes; raise unit_rows"
        )
    if sum(manifest.bytes for manifest in manifests) > MAX_LOAD_BYTES:
        raise PermanentError("the shards exceed the 15 TB that one load job takes; narrow the window")


def commit_record(
    plan: Plan,
    state: State,
    manifests: Sequence[Manifest],
    staging: ObjectStore,
    now: datetime,
    ledger_segment: str | None = None,
) -> CommitRecord:
    """What the commit of these manifests will do. Shards are named one by one, never by a wildcard.
    ``ledger_segment`` is written already."""
    header = plan.header
    rows = sum(manifest.rows for manifest in manifests)
    uris = sorted(staging.uri(shard.name) for manifest in manifests for shard in manifest.shards)
    steps, drop = commit_steps(header, uris, rows, now, _merge_bounds(header, manifests, staging))
    return CommitRecord(
        source_id=header.source_id,
        run_id=header.run_id,
        epoch=header.epoch,
        location=header.destination.location,
        rows=rows,
        steps=steps,
        watermark=header.next_watermark,
        ledger_segment=ledger_segment,
        receipt=extracted_receipt(header, state, manifests, ledger_segment),
        drop_tables=drop,
        rejects=_rejects(header, manifests, staging),
    )


def rejected_record(
    plan: Plan,
    state: State,
    manifests: Sequence[Manifest],
    staging: ObjectStore,
    ledger_segment: str | None = None,
) -> CommitRecord:
    """The record of a run whose every row was rejected: no job but that of the rejects."""
    header = plan.header
    return CommitRecord(
        source_id=header.source_id,
        run_id=header.run_id,
        epoch=header.epoch,
        location=header.destination.location,
        rows=0,
        steps=(),
        watermark=header.next_watermark,
        ledger_segment=ledger_segment,
        receipt=extracted_receipt(header, state, manifests, ledger_segment),
        rejects=_rejects(header, manifests, staging),
    )


def _rejects(header: PlanHeader, manifests: Sequence[Manifest], staging: ObjectStore) -> RejectsLoad | None:
    uris = [staging.uri(manifest.rejects_object) for manifest in manifests if manifest.rejects_object]
    return rejects_load(header.destination, uris, sum(manifest.rejects for manifest in manifests))


def _merge_bounds(header: PlanHeader, manifests: Sequence[Manifest], staging: ObjectStore) -> Bounds | None:
    if header.merge_prune is None or header.disposition != "merge":
        return None
    # Only a merge that is pruned pays for reading Parquet.
    from etl_runner.execution.bounds import column_bounds

    shards = [shard for manifest in manifests for shard in manifest.shards]
    return column_bounds(staging, shards, header.merge_prune)
