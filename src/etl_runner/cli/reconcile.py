"""``etl-runner reconcile``: compare a source with its destination, and repair what differs."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from etl_runner.cli import show
from etl_runner.cli.deployment import Deployment, open_deployment
from etl_runner.cli.exits import Exit
from etl_runner.cli.options import AsJson, Local, SettingsFile, reporting
from etl_runner.cli.output import Output, stderr_console
from etl_runner.cli.plan import NOT_RUN
from etl_runner.cli.run import Ended, follow
from etl_runner.cli.sources import check_id
from etl_runner.cli.watch import watch_on
from etl_runner.commit.close import RunKey
from etl_runner.commit.ranges import SOURCE_FILE
from etl_runner.config.database import DatabaseSource
from etl_runner.config.files import FileSource
from etl_runner.errors import ConfigError, PermanentError, Problem
from etl_runner.planning.destination import find_destination
from etl_runner.reconcile.compare import Comparable, Comparison, compare, repairs
from etl_runner.reconcile.files import batches, check_comparable, compare_files
from etl_runner.reconcile.ranges import Unit
from etl_runner.reconcile.upsert import UpsertComparison, compare_upsert
from etl_runner.sources.files.window import matching
from etl_runner.state.ledger import Ledger
from etl_runner.state.receipts import Receipts
from etl_runner.state.requests import BACKFILL_PREFIX, Backfill, Requests
from etl_runner.state.store import StateStore

if TYPE_CHECKING:
    from etl_runner.config.resolved import ResolvedSource
    from etl_runner.config.sources import SourceDocument

_UNITS = ("hour", "day", "month", "year")
_LISTED = 50


@reporting
def reconcile(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="The source's id.")],
    by: Annotated[
        str | None, typer.Option("--by", help="Length of a range: hour, day, month, year [default: by size].")
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Load the ranges that differ again, replacing their rows.")
    ] = False,
    settings: SettingsFile = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Compare counts and checksums of source and destination, range by range of the cursor.

    An upsert is compared by ranges of its key, and key by key where a range differs.

    One scan of the table on either side, up to where the source is settled. The repair is a backfill of
    exactly the ranges that differ; a catalog is repaired by a run. Files are compared by their rows; the
    repair loads again those that differ and are still what was loaded, and those that were not loaded.

    Example: etl-runner reconcile orders --by day

    Ends with 0 when all ranges are equal or repaired, 1 when some differ.
    """
    from etl_runner.config.load import load_source

    if by is not None and by not in _UNITS:
        problem = Problem("--by", "is no length of a range", found=by, allowed=", ".join(_UNITS))
        raise ConfigError("command line", (problem,))
    deployment = open_deployment(context, Path(settings) if settings else None, local)
    resolved = load_source(deployment.config, check_id(source))
    document = resolved.document
    if isinstance(document, DatabaseSource) and document.load_type == "upsert" and by is not None:
        raise ConfigError("command line", (Problem("--by", "an upsert is compared by ranges of its key"),))
    if not isinstance(document, DatabaseSource) and by is not None:
        raise ConfigError("command line", (Problem("--by", "files are compared one by one"),))
    look = _look(deployment, resolved, cast("Unit | None", by))
    found = look()
    runs: list[dict[str, Any]] = []
    if repair and found.differing:
        for run_id in _requested(deployment, source, document, found):
            ended = _run(deployment, source, run_id)
            runs.append(ended.to_json())
            if ended.exit is not Exit.OK:
                break
        found = look()
    answer = {"source_id": source, **asdict(found), "differing": len(found.differing), "repairs": runs}
    Output(as_json).answer(answer, *_page(source, found, runs, catalog=document.load_type == "catalog"))
    if found.differing:
        raise typer.Exit(Exit.FAILED)


def _look(deployment: Deployment, resolved: ResolvedSource, unit: Unit | None) -> Callable[[], Comparison]:
    """What compares the two sides as they are."""
    document, source_id = resolved.document, resolved.source_id
    if isinstance(document, FileSource):
        return lambda: _files(deployment, resolved, document)
    made = deployment.open_source(resolved)
    if not isinstance(document, DatabaseSource) or not hasattr(made, "ask"):
        message = f"sources of type {document.source_type} cannot be compared yet"
        raise ConfigError("reconcile", (Problem("source_type", message),))

    def look() -> Comparison:
        state = StateStore(deployment.state, source_id).read()
        plan = deployment.planner().make_plan(resolved, RunKey(source_id, NOT_RUN, state.epoch + 1), state)
        asked = cast("Comparable", made)
        if document.load_type == "upsert":
            return compare_upsert(asked, document, plan.header, state.watermark, deployment.jobs.rows)
        return compare(asked, document, plan.header, state.watermark, deployment.jobs.rows, unit)

    return look


def _files(deployment: Deployment, resolved: ResolvedSource, document: FileSource) -> Comparison:
    names = deployment.settings
    destination = find_destination(
        document, names.project, names.dataset, names.bigquery_location, deployment.jobs
    )
    check_comparable(destination)
    # The bucket first: a file that is committed meanwhile is in the ledger by then.
    prefix = getattr(resolved.connection, "prefix", None) or ""
    listed = list(matching(deployment.open_files(resolved), prefix, document.file_pattern))
    state = StateStore(deployment.state, resolved.source_id).read()
    entries = Ledger(deployment.state, resolved.source_id).read(state)
    last_run = None
    if document.load_type == "catalog":
        # The receipt of the last run is written after the state: it may lie there only.
        receipts = [*Receipts(deployment.state, resolved.source_id).all()]
        receipts += [state.last.receipt] if state.last is not None else []
        made = [item for item in receipts if item["outcome"] == "ok" and item.get("disposition") == "replace"]
        last_run = max(made, key=lambda item: int(item["epoch"]), default={"run_id": None})["run_id"]
    return compare_files(document, listed, entries, destination, deployment.jobs.rows, last_run)


def _requested(
    deployment: Deployment, source: str, document: SourceDocument, found: Comparison
) -> list[str | None]:
    """The ids of the runs that repair what differs, their requests left; None: a regular run does."""
    if document.load_type == "catalog":
        return [None]
    # What the source does not have was counted: it is meant to go.
    if isinstance(document, DatabaseSource):
        windows = found.windows if isinstance(found, UpsertComparison) else repairs(found)
        asked = [Backfill(start, end, "replace", allow_empty=True) for start, end in windows]
    else:
        asked = [Backfill(None, None, "replace", True, uris=uris) for uris in batches(found.reload)]
    requests = Requests(deployment.state, source)
    ids: list[str | None] = []
    for request in asked:
        run_id = f"{BACKFILL_PREFIX}{secrets.token_hex(8)}"
        requests.write(run_id, request)
        ids.append(run_id)
    if any(item.verdict == "not loaded" and item.start not in found.reload for item in found.differing):
        ids.append(None)
    return ids


def _run(deployment: Deployment, source: str, run_id: str | None) -> Ended:
    execution = deployment.executions.start(source, run_id)
    with watch_on(stderr_console()) as watch:
        ended = follow(deployment, source, execution, watch)
    if ended.outcome == "skipped":
        raise PermanentError(
            f"run {(ended.holder or {}).get('run_id')} of {source} holds the slot: repair later"
        )
    return ended


def _page(
    source: str, found: Comparison, runs: list[dict[str, Any]], *, catalog: bool
) -> list[RenderableType]:
    page: list[RenderableType] = []
    if found.differing:
        table = Table("from", "to", "", box=None, pad_edge=False)
        for name in ("source", "destination"):
            table.add_column(name, justify="right")
        for item in found.differing[:_LISTED]:
            counts = (show.count(item.source_rows), show.count(item.destination_rows))
            table.add_row(item.start or "", item.end or "", Text(item.verdict, style="red"), *counts)
        page.append(table)
        if len(found.differing) > _LISTED:
            page.append(Text(f"... and {len(found.differing) - _LISTED} more"))
    rows = sum(item.source_rows for item in found.ranges)
    things = "files" if found.compared == (SOURCE_FILE,) else "ranges"
    total = f"{source}: {len(found.ranges)} {things}, {show.count(rows)} rows"
    if runs:
        total += f"; repaired by {', '.join(run['run_id'] for run in runs)}"
    if found.up_to and not found.ranges:
        text = f"all rows lie behind {found.up_to}, where late ones may come (late_window)"
        page.append(Text(f"{source}: nothing was compared: {text}"))
    else:
        verdict = f"{len(found.differing)} {things} differ" if found.differing else f"all {things} are equal"
        page.append(Text(f"{total}; {verdict}" + (f", up to {found.up_to}" if found.up_to else "")))
    if found.left_out:
        page.append(Text(f"counted, not summed: {', '.join(found.left_out)}", style="dim"))
    if isinstance(found, UpsertComparison):
        page += [Text(f"{item.verdict}: {', '.join(map(str, item.key))}") for item in found.keys[:_LISTED]]
        told = ", ".join(f"{count} {verdict}" for verdict, count in (found.counts or {}).items())
        if told:
            page.append(Text(f"keys: {told}"))
        if {"gone", "doubled"} & set(found.counts or {}):
            page.append(
                Text(
                    "gone: the source has the key no more; doubled: the destination has it more than once; "
                    "neither is repaired: a merge deletes nothing"
                )
            )
        if found.windows and not runs:
            page.append(Text(f"etl-runner reconcile {source} --repair merges what differs again"))
        return page
    left = 0
    if things == "files" and not catalog:
        left = sum(i.verdict != "not loaded" and i.start not in found.reload for i in found.differing)
    if left:
        page.append(
            Text(
                f"{left} of them cannot be repaired from the bucket: the file is gone, or was loaded in other"
                " versions, or its rejects were replayed"
            )
        )
    elif things != "files" and any(item.verdict == "extra" for item in found.differing):
        page.append(
            Text("the destination has more: rows that were deleted at the source, or moved to a newer cursor")
        )
    if len(found.differing) > left and not runs:
        page.append(Text(f"etl-runner reconcile {source} --repair loads what differs again"))
    return page
