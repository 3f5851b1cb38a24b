"""What a run's commit adds to the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from etl_runner.errors import CorruptStateError
from etl_runner.execution.failures import read_failures
from etl_runner.execution.manifest import Manifest
from etl_runner.planning.plan import GIVEN, Plan, PlanHeader
from etl_runner.state.document import State
from etl_runner.state.ledger import APPENDED, LOADED, REPLACED, LedgerEntry
from etl_runner.state.objects import ObjectStore


def ledger_entries(plan: Plan, manifests: Sequence[Manifest]) -> list[LedgerEntry]:
    """An entry for every file of the plan: loaded with the rows that its units say, or ignored.

    Raises:
        CorruptStateError: a manifest accounts for other files than its unit has.
    """
    if plan.header.direct is not None:
        return _loaded_directly(plan.header)
    files = {unit.id: {file["uri"]: file for file in unit.spec.get("files", ())} for unit in plan.units}
    run_id = plan.header.run_id
    planned = {(file["uri"], file["version"]): file for unit in files.values() for file in unit.values()}
    rows = dict.fromkeys(planned, 0)
    rejects = dict.fromkeys(planned, 0)
    for manifest in manifests:
        found = {(file.uri, file.version) for file in manifest.files}
        if found != {(file["uri"], file["version"]) for file in files[manifest.unit].values()}:
            raise CorruptStateError(
                f"the manifest of unit {manifest.unit} of run {run_id} accounts for other files than planned"
            )
        for file in manifest.files:
            rows[file.uri, file.version] += file.rows
            rejects[file.uri, file.version] += file.rejects
    outcome = _outcome(plan.header)
    loaded = [_entry(file, run_id, outcome, rows[key], rejects[key]) for key, file in planned.items()]
    ignored = [_entry(file, run_id, "ignored", 0, 0) for file in plan.header.read.get("ignored", ())]
    return sorted([*loaded, *ignored], key=lambda entry: entry.key)


def _loaded_directly(header: PlanHeader) -> list[LedgerEntry]:
    """BigQuery loads whole files or none: their rows are what their footers say."""
    files = (header.direct or {}).get("files", ())
    outcome = _outcome(header)
    loaded = [_entry(file, header.run_id, outcome, file["rows"], 0) for file in files]
    ignored = [_entry(file, header.run_id, "ignored", 0, 0) for file in header.read.get("ignored", ())]
    return sorted([*loaded, *ignored], key=lambda entry: entry.key)


def _outcome(header: PlanHeader) -> str:
    """How the run's rows lie beside those that were there of the same file."""
    if header.window.detail.get("rule") != GIVEN or header.disposition == "merge":
        return LOADED
    return REPLACED if header.disposition == "replace_range" else APPENDED


def _entry(file: Mapping[str, Any], run_id: str, outcome: str, rows: int, rejects: int) -> LedgerEntry:
    return LedgerEntry(
        uri=file["uri"],
        version=file["version"],
        size=file["size"],
        modified=file["modified"],
        rows=rows,
        outcome=outcome,
        run_id=run_id,
        rejects=rejects,
    )


def unplanned_columns(staging: ObjectStore, header: PlanHeader, state: State) -> dict[str, str]:
    """Columns that a failed run met and its plan did not know, each with the URI of a file that has it; what
    the failed run before it met stays known until a run succeeds."""
    last = state.last
    found: dict[str, str] = {}
    if last is not None and last.outcome != "ok":
        found.update(last.receipt.get("unplanned") or {})
    for failure in read_failures(staging, header):
        found.update({column: failure.uri for column in failure.columns if failure.uri})
    return found
