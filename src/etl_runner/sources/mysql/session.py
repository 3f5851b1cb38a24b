"""Reading units: a unit is one query in a read-only transaction, its rows made into Arrow as they arrive.

InnoDB's snapshots cannot be handed from one connection to another, so the readers of a snapshot share one
connection and take turns at it, a unit at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from etl_runner.planning.plan import WorkUnit
from etl_runner.sources.base import Rows
from etl_runner.sources.mysql.connect import Control, Target, open_control
from etl_runner.sources.mysql.quoting import identifier
from etl_runner.sources.quoting import all_of
from etl_runner.sources.units import limit_of

if TYPE_CHECKING:
    import pyarrow as pa


def unit_query(read: Mapping[str, Any], unit: WorkUnit) -> str:
    """The query of one unit.

    ``read`` is what the plan holds for every unit: ``items`` (select item, destination name and kind of each
    column), ``from`` (with the alias ``t``) and ``where`` (the window, or None).
    """
    # Names are not needed on the wire, where a column of the destination may have one that MySQL refuses.
    items = ", ".join(
        f"{expression} AS {identifier(f'c{index}')}" for index, (expression, _, _) in enumerate(read["items"])
    )
    where = all_of([read["where"], unit.spec.get("where")])
    return f"SELECT {items} FROM {read['from']} WHERE {where}{limit_of(unit)}"


class MySqlReader:
    """An open connection. Not safe for use by two threads at once."""

    def __init__(self, control: Control, read: Mapping[str, Any], turn: threading.Lock | None = None) -> None:
        """
        Args:
            control: with a snapshot, in its transaction.
            read: the plan's.
            turn: held while a unit is read from a connection that others use too; None: it is ours alone.
        """
        self._control = control
        self._read = read
        self._turn = turn

    def read(self, unit: WorkUnit) -> Iterator[Rows]:
        """The unit's rows, in batches of about 1 MiB; decimals, times and text as text.

        Raises:
            RetryableError: connection lost, server restarting, query ended by its timeout.
            PermanentError: the query can never work.
        """
        if self._turn is None:
            with self._control.transaction():
                yield from map(Rows, self._batches(unit))
            return
        with self._turn:
            yield from map(Rows, self._batches(unit))

    def _batches(self, unit: WorkUnit) -> Iterator[pa.RecordBatch]:
        from etl_runner.sources.mysql.arrow import record_batch

        items: Sequence[Sequence[Any]] = self._read["items"]
        names, kinds = [item[1] for item in items], [item[2] for item in items]
        for chunk in self._control.stream(unit_query(self._read, unit), f"reading unit {unit.id}"):
            yield record_batch(chunk, names, kinds)


class MySqlSession:
    """Readers of one plan; with a shared connection, all in its snapshot."""

    def __init__(self, target: Target, read: Mapping[str, Any], shared: Control | None) -> None:
        self._target = target
        self._read = read
        self._shared = shared
        self._turn = threading.Lock()

    @contextmanager
    def reader(self) -> Iterator[MySqlReader]:
        """A further reader: with a connection of its own, or with a share in the snapshot's."""
        if self._shared is not None:
            yield MySqlReader(self._shared, self._read, self._turn)
            return
        with open_control(self._target, self._target.connection.statement_timeout_seconds) as control:
            yield MySqlReader(control, self._read)


@contextmanager
def open_session(target: Target, read: Mapping[str, Any], *, snapshot: bool) -> Iterator[MySqlSession]:
    """Open the source for reading.

    Raises:
        RetryableError, PermanentError: the server cannot be reached, or refuses.
    """
    if not snapshot:
        yield MySqlSession(target, read, None)
        return
    with (
        open_control(target, target.connection.statement_timeout_seconds) as control,
        control.transaction(snapshot=True),
    ):
        yield MySqlSession(target, read, control)
