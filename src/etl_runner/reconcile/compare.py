"""The comparison of one source with its destination, and what there is to repair."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, Protocol

from etl_runner.commit.ranges import constant
from etl_runner.commit.staging import quote
from etl_runner.config.database import DatabaseSource
from etl_runner.convert.fields import BqField
from etl_runner.errors import ConfigError, PermanentError, Problem
from etl_runner.planning.plan import PlanHeader
from etl_runner.reconcile.ranges import Unit, bounds_between
from etl_runner.reconcile.summary import Compared, Question, Summary, summaries, summary_query
from etl_runner.sources.base import Description
from etl_runner.sources.cursors import Cursor
from etl_runner.sources.sums import BigQueryDialect, Dialect, Kind

Verdict = Literal["equal", "missing", "extra", "different", "not loaded"]
_TEXTS = (
    *("text", "character varying", "varchar", "uuid", "citext", "tinytext", "mediumtext", "longtext"),
    "string",
)
_KINDS: dict[str, Kind] = {
    "INT64": "integer",
    "NUMERIC": "decimal",
    "BIGNUMERIC": "decimal",
    "BOOL": "boolean",
    "TIMESTAMP": "instant",
    "DATETIME": "clock",
    "DATE": "date",
}


class Comparable(Protocol):
    """A database source that can be asked for sums."""

    dialect: Dialect

    def describe(self) -> Description: ...

    def cursor(self) -> Cursor | None:
        """The document's cursor; None where it has none."""

    def column(self, name: str) -> str:
        """A column of the asked table, as SQL text."""

    def ask(self, sql: Callable[[str], str]) -> list[list[Any]]:
        """The rows of a query that is made from the table's own SQL."""


Ask = Callable[[str], list[list[Any]]]


@dataclass(frozen=True)
class RangeResult:
    """One range ``[start, end)`` in the cursor's own text; both None for a whole table."""

    start: str | None
    end: str | None
    source_rows: int
    destination_rows: int
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """All ranges that have rows on either side, in order, and what was and was not compared."""

    ranges: tuple[RangeResult, ...]
    compared: tuple[str, ...]
    left_out: tuple[str, ...]
    up_to: str | None
    reload: tuple[str, ...] = ()
    """URIs of the files that a backfill repairs."""

    @property
    def differing(self) -> tuple[RangeResult, ...]:
        return tuple(item for item in self.ranges if item.verdict != "equal")


def compare(
    source: Comparable,
    document: DatabaseSource,
    header: PlanHeader,
    watermark: Mapping[str, Any] | None,
    ask_destination: Ask,
    unit: Unit | None = None,
) -> Comparison:
    """Compare up to where the source is settled: what lies behind it is on its way.

    Args:
        source: the source.
        document: its document.
        header: a plan of it, for columns and destination.
        watermark: the state's.
        ask_destination: runs a query in BigQuery.
        unit: length of a range; the finest that gives at most 400, from a day on.

    Raises:
        ConfigError: the destination does not exist, or no run was committed.
        RetryableError, PermanentError: a side cannot be reached, or refuses.
    """
    destination = header.destination
    if not destination.exists:
        problem = Problem("dest_table_name", f"{destination.path} does not exist: nothing was loaded yet")
        raise ConfigError("reconcile", (problem,))
    columns, left_out = columns_of(source, header)
    cursor = source.cursor() if document.load_type != "catalog" else None
    table = quote(destination.path)
    if cursor is None:
        ours = _summaries(source, Question(columns, None))
        theirs = summaries(
            Question(columns, None),
            ask_destination(
                summary_query(BigQueryDialect(), Question(columns, None), table, destination=True)
            ),
        )
        ranges = _judge([None, None], ours, theirs)
        return Comparison(ranges, names_of(columns), left_out, None)
    field = cursor_field(document, header)
    settled = (watermark or {}).get("settled") or (watermark or {}).get("value")
    if settled is None:
        raise ConfigError("reconcile", (Problem("watermark", "no run was committed yet"),))
    last = cursor.parse(str(settled))
    values = _bounds(source, cursor, field, table, last, ask_destination, unit)
    if not values:
        return Comparison((), names_of(columns), left_out, cursor.text(last))
    question = Question(columns, cursor.column, tuple(cursor.literal(value) for value in values))
    ours = _summaries(source, question)
    literals = tuple(constant(cursor.text(value), field) for value in values)
    asked = replace(question, cursor=quote(field.name), bounds=literals)
    sql = summary_query(BigQueryDialect(), asked, table, destination=True)
    theirs = summaries(asked, ask_destination(sql))
    texts = [cursor.text(value) for value in values]
    return Comparison(_judge(texts, ours, theirs), names_of(columns), left_out, cursor.text(last))


def repairs(comparison: Comparison) -> tuple[tuple[str, str], ...]:
    """Windows ``[start, end)`` that cover exactly what differs, neighbours joined."""
    windows: list[tuple[str, str]] = []
    for item in comparison.differing:
        if item.start is None or item.end is None:
            continue
        if windows and windows[-1][1] == item.start:
            windows[-1] = (windows[-1][0], item.end)
        else:
            windows.append((item.start, item.end))
    return tuple(windows)


def _summaries(source: Comparable, question: Question) -> dict[int, Summary]:
    rows = source.ask(lambda table: summary_query(source.dialect, question, table, destination=False))
    return summaries(question, rows)


def _bounds(
    source: Comparable,
    cursor: Cursor,
    field: BqField,
    table: str,
    last: Any,
    ask_destination: Ask,
    unit: Unit | None,
) -> list[Any]:
    text = source.dialect.text
    micros = {"timestamptz": "instant", "timestamp": "clock", "date": "date", "key": "integer"}
    kind: Any = micros[cursor.kind]
    ours = source.ask(lambda name: f"SELECT {text(f'min({cursor.column})', kind)} FROM {name}")[0][0]
    theirs_kind: Any = _KINDS.get(field.type, kind)
    least = BigQueryDialect().text(f"MIN({quote(field.name)})", theirs_kind)
    theirs = ask_destination(f"SELECT {least} FROM {table}")[0][0]
    found = [Decimal(str(value)) for value in (ours, theirs) if value is not None]
    if not found:
        return []
    first = from_number(cursor, min(found))
    return bounds_between(cursor, first, last, unit) if first <= last else []


def from_number(cursor: Cursor, number: Decimal) -> Any:
    """The cursor's value behind microseconds or days since 1970, or the key itself."""
    if cursor.kind == "key":
        return number
    if cursor.kind == "date":
        return date(1970, 1, 1) + timedelta(days=int(number))
    zone = UTC if cursor.kind == "timestamptz" else None
    return datetime(1970, 1, 1, tzinfo=zone) + timedelta(microseconds=int(number))


def columns_of(source: Comparable, header: PlanHeader) -> tuple[tuple[Compared, ...], tuple[str, ...]]:
    natural = {column.name: column for column in source.describe().columns}
    compared, left_out = [], []
    for planned in header.columns:
        known = natural.get(planned.source)
        field = planned.destination
        kind = None
        if known is not None and known.natural.mode == field.mode != "REPEATED":
            same = known.natural.type == field.type or {known.natural.type, field.type} <= {
                "NUMERIC",
                "BIGNUMERIC",
            }
            kind = _KINDS.get(field.type) if same else None
            if same and field.type == "STRING" and known.type.lower().startswith(_TEXTS):
                kind = "text"
        if kind is None:
            left_out.append(planned.source)
        else:
            compared.append(Compared(source.column(planned.source), quote(field.name), kind))
    return tuple(compared), tuple(left_out)


def cursor_field(document: DatabaseSource, header: PlanHeader) -> BqField:
    for planned in header.columns:
        if planned.source == document.cursor_column:
            return planned.destination
    raise PermanentError(
        f"{document.cursor_column} is not loaded into {header.destination.path}, so that its ranges "
        f"cannot be "
        "compared"
    )


def _judge(
    bounds: Sequence[str | None], ours: Mapping[int, Summary], theirs: Mapping[int, Summary]
) -> tuple[RangeResult, ...]:
    results = []
    for number in sorted({*ours, *theirs}):
        mine, other = ours.get(number, Summary()), theirs.get(number, Summary())
        verdict: Verdict = "equal"
        if mine.rows > other.rows:
            verdict = "missing"
        elif mine.rows < other.rows:
            verdict = "extra"
        elif (mine.hashes, dict(mine.sums)) != (other.hashes, dict(other.sums)):
            verdict = "different"
        start, end = (bounds[number], bounds[number + 1]) if len(bounds) > number + 1 else (None, None)
        results.append(RangeResult(start, end, mine.rows, other.rows, verdict))
    return tuple(results)


def names_of(columns: Sequence[Compared]) -> tuple[str, ...]:
    return tuple(column.destination.strip("`") for column in columns)
