"""Reading units by our own decoder of binary COPY; see the ADR on it for why there are two ways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from etl_runner.errors import PermanentError
from etl_runner.sources.postgres.connect import Control, Target, connect
from etl_runner.sources.postgres.diagnose import Garbled

if TYPE_CHECKING:
    import pyarrow as pa

_GRACE_SECONDS = 10
"""Longer than the server itself lets a statement run."""


class Undecodable(Exception):  # noqa: N818 - an answer for the caller, which has another way
    """The result has a column of a type that has no decoder here, as arrays have none."""


class Copying:
    """An open connection for reading units as Arrow. Not safe for use by two threads at once."""

    def __init__(self, target: Target, timeout_seconds: int) -> None:
        self._target = target
        self._timeout_seconds = timeout_seconds
        self._control: Control | None = self._connect()

    def stream(self, sql: str, *, snapshot: str | None, doing: str) -> Iterator[pa.RecordBatch]:
        """The query's rows in batches of about 2 MiB, in one transaction of its own.

        Raises:
            Undecodable: before any batch.
            RetryableError, PermanentError: see :mod:`~etl_runner.sources.postgres.diagnose`.
        """
        from etl_runner.sources.postgres.copy_columns import Field, decodable, record_batch

        control = self._control = self._control or self._connect()
        # A single COPY sees one snapshot in any case; an exported one wants this level.
        with control.transaction(
            isolation="REPEATABLE READ", timeout_seconds=self._timeout_seconds, snapshot=snapshot
        ):
            # The transaction holds the table's lock from here on: its types stay what they are.
            described = control.described(f"SELECT * FROM ({sql}) AS unit LIMIT 0", doing)
            fields = [Field(*column) for column in described]
            if not decodable(fields):
                raise Undecodable
            copied = control.copied(f"COPY ({sql}) TO STDOUT (FORMAT binary)", len(fields), doing)
            complete = False
            try:
                for rows in copied:
                    yield record_batch(rows, fields)
                complete = True
            except Garbled as error:
                raise PermanentError(
                    f"{control.where}, while {doing}: the server's answer cannot be read: {error}"
                ) from error
            finally:
                copied.close()
                if not complete:
                    # Closed by then: the next unit begins on a new one.
                    self._control = None

    def close(self) -> None:
        """Close the connection; a broken one too."""
        control, self._control = self._control, None
        if control is not None:
            control.close()

    def _connect(self) -> Control:
        patience = self._timeout_seconds + _GRACE_SECONDS if self._timeout_seconds else None
        return connect(self._target, patience)
