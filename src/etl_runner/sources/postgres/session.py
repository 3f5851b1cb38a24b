"""Reading units: a unit is one short read-only transaction with one COPY, decoded straight into Arrow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from etl_runner.errors import PermanentError, RetryableError
from etl_runner.planning.plan import WorkUnit
from etl_runner.sources.base import Rows
from etl_runner.sources.postgres import arrow
from etl_runner.sources.postgres.connect import Bulk, Control, Target, open_control
from etl_runner.sources.postgres.copying import Copying, Undecodable
from etl_runner.sources.postgres.schema import server_of
from etl_runner.sources.quoting import all_of, identifier
from etl_runner.sources.units import limit_of

REPLAY_WAIT_SECONDS = 60.0
"""How long a replica may take to catch up with the plan before the step is given back."""
_REPLAY_POLL_SECONDS = 0.5


def unit_query(read: Mapping[str, Any], unit: WorkUnit, items: str = "items") -> str:
    """The query of one unit.

    ``read`` is what the plan holds for every unit: ``items`` and ``binary`` (pairs of select item and
    destination name, for the driver and for our own decoder), ``from`` (with the alias ``t``) and ``where``
    (the window, or None).
    """
    selected = ", ".join(f"{expression} AS {identifier(name)}" for expression, name in read[items])
    where = all_of([read["where"], unit.spec.get("where")])
    return f"SELECT {selected} FROM {read['from']} WHERE {where}{limit_of(unit)}"


class PostgresReader:
    """An open bulk connection: ours, or the driver's from the first unit on that ours cannot decode. Not safe
    for use by two threads at once."""

    def __init__(
        self, target: Target, read: Mapping[str, Any], snapshot: str | None, timeout_seconds: int
    ) -> None:
        self._target = target
        self._read = read
        self._snapshot = snapshot
        self._timeout_seconds = timeout_seconds
        # Plans of older versions have no items for our decoder.
        self._bulk: Bulk | Copying = Copying(target, timeout_seconds) if "binary" in read else Bulk(target)

    def read(self, unit: WorkUnit) -> Iterator[Rows]:
        """The unit's rows, in batches of a few MiB, in plain Arrow types: uuid and JSON as text, numeric as
        decimal or text.

        Raises:
            RetryableError: connection lost, server restarting, query cancelled by its timeout.
            PermanentError: the query can never work.
        """
        doing = f"reading unit {unit.id}"
        if isinstance(self._bulk, Copying):
            sql = unit_query(self._read, unit, "binary")
            try:
                yield from map(Rows, self._bulk.stream(sql, snapshot=self._snapshot, doing=doing))
            except Undecodable:
                self.close()
                self._bulk = Bulk(self._target)
            else:
                return
        batches = self._bulk.stream(
            unit_query(self._read, unit),
            isolation="REPEATABLE READ",
            snapshot=self._snapshot,
            timeout_seconds=self._timeout_seconds,
            doing=doing,
        )
        for batch in batches:
            yield Rows(arrow.plain(batch))

    def close(self) -> None:
        """Close the connection."""
        self._bulk.close()


class PostgresSession:
    """Readers of one plan; with a snapshot token, all in that snapshot."""

    def __init__(
        self, target: Target, read: Mapping[str, Any], snapshot: str | None, timeout_seconds: int
    ) -> None:
        self._target = target
        self._read = read
        self._snapshot = snapshot
        self._timeout_seconds = timeout_seconds

    @contextmanager
    def reader(self) -> Iterator[PostgresReader]:
        """A further reader with a connection of its own."""
        reader = PostgresReader(self._target, self._read, self._snapshot, self._timeout_seconds)
        try:
            yield reader
        finally:
            reader.close()


@contextmanager
def open_session(
    target: Target,
    read: Mapping[str, Any],
    *,
    snapshot: bool,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[PostgresSession]:
    """Open the source for reading; units are read from the replica where the connection names one.

    Raises:
        RetryableError: the replica has not caught up; the server cannot be reached.
        PermanentError: this is not the server that the plan was made on.
    """
    timeout = target.connection.statement_timeout_seconds
    reading = replace(target, replica=target.connection.replica_host is not None)
    with open_control(reading) as control:
        with control.transaction():
            _same_server(control, read)
        if reading.replica:
            _wait_for_replay(control, int(read["xid_horizon"]), sleep)
        if not snapshot:
            # Nothing is held open while units are read: an idle session is one that a pooler cannot use.
            control.close()
            yield PostgresSession(reading, read, None, timeout)
            return
        with control.transaction(isolation="REPEATABLE READ", timeout_seconds=0):
            token = control.value("SELECT pg_export_snapshot()", "exporting a snapshot")
            yield PostgresSession(reading, read, token, timeout)


def _same_server(control: Control, read: Mapping[str, Any]) -> None:
    identity = server_of(control).identity
    if identity != read["identity"]:
        raise PermanentError(
            f"{control.where}: this is database {identity}, and the plan was made on {read['identity']}"
        )


def _wait_for_replay(control: Control, horizon: int, sleep: Callable[[float], None]) -> None:
    """Wait until every transaction that was finished for the plan is finished here too."""
    polls = int(REPLAY_WAIT_SECONDS / _REPLAY_POLL_SECONDS)
    seen = 0
    for _ in range(polls):
        with control.transaction():
            seen = control.value(
                "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::int8", "asking how far the replica is"
            )
        if seen >= horizon:
            return
        sleep(_REPLAY_POLL_SECONDS)
    raise RetryableError(
        f"{control.where}: the replica has replayed transactions up to {seen}, and the plan needs {horizon};"
        f" waited {REPLAY_WAIT_SECONDS:g} s"
    )


def select_items(items: Sequence[tuple[str, str]], raw: str | None, raw_name: str) -> list[list[str]]:
    """``[expression, name]`` for every column and, when any value may not fit, the raw column."""
    result = [[expression, name] for expression, name in items]
    return [*result, [raw, raw_name]] if raw is not None else result
