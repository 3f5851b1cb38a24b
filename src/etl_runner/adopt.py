"""Taking over from an earlier system without loading again what it loaded.

A database source takes over the value at which the earlier system stopped; a source of files those that it
has processed. Both are one compare-and-swap of the state, refused once a run has moved it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from etl_runner import jsontypes
from etl_runner.errors import ConfigError, PermanentError, Problem
from etl_runner.state.document import State
from etl_runner.state.ledger import ADOPTED, Ledger, LedgerEntry
from etl_runner.state.store import StateStore

_NAMES = ("uri", "file_uri", "file_path", "file_name", "name", "path")
_TIMES = ("last_modified", "last_modified_date", "modified", "updated")
_SLACK = timedelta(seconds=1)
"""Earlier systems kept whole seconds."""


class Listed(Protocol):
    """A file as its bucket has it now."""

    @property
    def uri(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def modified(self) -> str: ...


@dataclass(frozen=True)
class Processed:
    """A file that the earlier system has processed; ``modified`` None where it did not keep that."""

    name: str
    modified: datetime | None = None


@dataclass(frozen=True)
class AdoptedFiles:
    """``changed``: processed, and newer now; ``gone``: processed, and no longer there. Changed files will be
    loaded by the next run."""

    adopted: int
    changed: tuple[str, ...]
    gone: tuple[str, ...]


def adopt_value(store: StateStore, value: str) -> None:
    """Let the source go on after ``value``, as the earlier system's last run left it.

    Raises:
        PermanentError: a run holds the slot, or runs have moved the watermark already.
    """
    wanted = {"value": value}

    def decide(state: State) -> State | None:
        if state.watermark == wanted:
            return None
        _check_untouched(store.source_id, state)
        if state.watermark is not None:
            raise PermanentError(
                f"source {store.source_id} has a watermark of its own, {state.watermark.get('value')}: it "
                "has nothing to take over; `etl-runner reset` moves it"
            )
        return replace(state, watermark=wanted)

    store.change(decide)


def adopt_files(
    store: StateStore, ledger: Ledger, listed: Iterable[Listed], processed: Sequence[Processed]
) -> AdoptedFiles:
    """Put the files of the bucket that were processed, and have not changed since, into the ledger.

    Repeating it changes nothing.

    Raises:
        PermanentError: a run holds the slot.
    """
    wanted = {_key(item.name): item for item in processed}
    entries, changed, seen = [], [], set()
    for file in listed:
        key = next((key for key in (_key(file.uri), _key(file.name)) if key in wanted), None)
        if key is None:
            continue
        seen.add(key)
        before = wanted[key].modified
        if before is not None and datetime.fromisoformat(file.modified) > before + _SLACK:
            changed.append(file.uri)
        else:
            entries.append(
                LedgerEntry(
                    uri=file.uri,
                    version=file.version,
                    size=file.size,
                    modified=file.modified,
                    rows=0,
                    outcome=ADOPTED,
                    run_id="adopted",
                )
            )
    gone = tuple(item.name for key, item in wanted.items() if key not in seen)
    if entries:
        _list_segment(store, ledger, entries)
    return AdoptedFiles(len(entries), tuple(changed), gone)


def _list_segment(store: StateStore, ledger: Ledger, entries: Sequence[LedgerEntry]) -> None:
    told = jsontypes.dumps(sorted(entry.key for entry in entries))
    known = ledger.known(store.read())
    if all(entry.key in known for entry in entries):
        return
    # The same files are the same segment, however often it is tried.
    segment = ledger.write(f"adopted-{hashlib.sha256(told).hexdigest()[:16]}", 0, entries)

    def decide(state: State) -> State | None:
        if segment in state.ledger:
            return None
        _check_untouched(store.source_id, state)
        return replace(state, ledger=(*state.ledger, segment))

    store.change(decide)


def _check_untouched(source_id: str, state: State) -> None:
    if state.slot is not None:
        raise PermanentError(
            f"source {source_id}: run {state.slot.run_id} holds the slot; adopt when it has ended"
        )


def read_processed(text: str, name: str) -> list[Processed]:
    """The list of an earlier system: a JSON array, JSON Lines, CSV with a header, or one name a line.

    Raises:
        ConfigError: an entry names no file, or its time is none; with the entry's number.
    """
    result, problems = [], []
    for number, entry in enumerate(_entries(text, name), start=1):
        found = next((str(entry[key]) for key in _NAMES if entry.get(key)), None)
        moment = next((str(entry[key]) for key in _TIMES if entry.get(key)), None)
        if found is None:
            problems.append(Problem(f"entry {number}", "names no file", allowed=", ".join(_NAMES)))
            continue
        try:
            result.append(Processed(found, None if moment is None else _instant(moment)))
        except ValueError:
            problems.append(Problem(f"entry {number}", "has a time that is none", found=repr(moment)))
    if problems:
        raise ConfigError(name, tuple(problems))
    return result


def _entries(text: str, name: str) -> Iterable[dict[str, Any]]:
    stripped = text.lstrip("\ufeff \n\t")
    try:
        if stripped.startswith("["):
            items = json.loads(stripped)
        elif stripped.startswith("{"):
            items = [json.loads(line) for line in stripped.splitlines() if line.strip()]
        else:
            lines = stripped.splitlines()
            if lines and any(item in _NAMES for item in next(csv.reader([lines[0]]))):
                return list(csv.DictReader(io.StringIO(stripped)))
            items = [line.strip() for line in lines if line.strip()]
    except ValueError as error:
        raise ConfigError(
            name, (Problem("", f"is neither JSON, CSV nor a list of names: {error}"),)
        ) from error
    return [item if isinstance(item, dict) else {"name": str(item)} for item in items]


def _instant(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


def _key(name: str) -> str:
    return name.strip().lstrip("/")
