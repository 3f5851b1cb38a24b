"""Generated rows for round trips through real servers.

An example is one table of :data:`ROWS` rows, so that a run's fixed costs are paid a few times only. Without
``ETL_TEST_EXAMPLES`` the same few examples are made each time; with it, so many others:
``ETL_TEST_EXAMPLES=100 pytest tests/integration -k round_trip``.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import string
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

ROWS = 24
_EXAMPLES = os.environ.get("ETL_TEST_EXAMPLES")

round_trips = settings(
    max_examples=int(_EXAMPLES or 2),
    derandomize=_EXAMPLES is None,
    deadline=None,
    # What differs is told value by value: smaller examples would cost a run each and say no more.
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
    database=None,
)

EDGES = [
    "",
    " ",
    "NULL",
    "\\N",
    "null",
    "''",
    '"',
    '""',
    "a,b",
    "\t",
    "\r\n",
    "\n",
    "\\",
    "\ufeffx",
    "0",
    "é",
]
EDGES += [
    "e\u0301",
    "\u2028",
    "\U0001f600",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\U0010ffff",
    "\x7f\x01",
]

FIRST, LAST = dt.date(1, 1, 1), dt.date(9999, 12, 31)


def texts(longest: int = 12, *, nul: bool = False) -> st.SearchStrategy[str]:
    """Texts of all planes without surrogates, and those that programs like to misread."""
    characters = st.characters(
        exclude_categories=["Cs"], exclude_characters=() if nul else "\0", min_codepoint=0
    )
    edges = [edge for edge in EDGES if len(edge) <= longest] + (["\0", "a\0b"] if nul and longest > 2 else [])
    return st.sampled_from(edges) | st.text(characters, max_size=longest)


def whole(bits: int, *, signed: bool = True) -> st.SearchStrategy[int]:
    """Whole numbers of so many bits, their ends often."""
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.sampled_from([low, high, low + 1, 0, 1]) | st.integers(low, high)


def decimals(digits: int, scale: int) -> st.SearchStrategy[str]:
    """Decimal numbers as text, of at most ``digits`` digits with ``scale`` of them after the point."""

    def written(number: int) -> str:
        sign, text = "-" if number < 0 else "", str(abs(number)).rjust(scale + 1, "0")
        return f"{sign}{text[:-scale]}.{text[-scale:]}" if scale else f"{sign}{text}"

    most = 10**digits - 1
    # Long division of numbers of several words goes wrong at the ends of words, if anywhere: Arrow's does.
    words = [number for bits in (64, 65, 96) if (number := 2**bits - 1) <= most]
    ends = [most, -most, 0, 1, -1, *words, *(-number for number in words)]
    return (st.sampled_from(ends) | st.integers(-most, most)).map(written)


def dates(first: dt.date = FIRST, last: dt.date = LAST) -> st.SearchStrategy[str]:
    """Days as ``YYYY-MM-DD``."""
    return (st.sampled_from([first, last]) | st.dates(first, last)).map(dt.date.isoformat)


def clocks(first: dt.date = FIRST, last: dt.date = LAST) -> st.SearchStrategy[str]:
    """Dates with times as ``YYYY-MM-DD HH:MM:SS.ffffff``."""
    low = dt.datetime.combine(first, dt.time())
    high = dt.datetime.combine(last, dt.time(23, 59, 59, 999_999))
    found = st.sampled_from([low, high]) | st.datetimes(low, high)
    return found.map(lambda value: value.isoformat(" ", "microseconds"))


def times() -> st.SearchStrategy[str]:
    """Times of the day as ``HH:MM:SS.ffffff``."""
    found = st.sampled_from([dt.time(), dt.time(23, 59, 59, 999_999)]) | st.times()
    return found.map(lambda value: value.isoformat("microseconds"))


def json_texts(*, nul: bool = False, largest: float | None = None) -> st.SearchStrategy[str]:
    """JSON documents, some of them with white space; floats up to ``largest``."""
    keys = st.text(string.ascii_letters + "é\U0001f600 '\"", max_size=4)
    least = None if largest is None else -largest
    floats = st.floats(least, largest, allow_nan=False, allow_infinity=False)
    leaves = st.none() | st.booleans() | whole(64) | floats | texts(6, nul=nul)
    values = st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=4,
    )

    def written(value: Any, indent: int | None, ascii_only: bool) -> str:
        return json.dumps(value, indent=indent, ensure_ascii=ascii_only)

    return st.builds(written, values, st.sampled_from([None, 1]), st.booleans())


class Rows(list[dict[str, Any]]):
    """Rows that do not fill the screen when an example fails; the differences are what matters."""

    def __repr__(self) -> str:
        return f"<{len(self)} rows>"


def _or_none(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """One in six is None. The first example has the first value of everything, which is an edge."""
    return st.integers(0, 5).flatmap(lambda n: st.none() if n == 5 else strategy)


@st.composite
def tables(
    draw: st.DrawFn, columns: Mapping[str, st.SearchStrategy[Any]], never_null: Sequence[str] = ()
) -> Rows:
    """:data:`ROWS` rows; None is drawn now and then, but not for the columns of ``never_null``."""

    def values(name: str) -> list[Any]:
        one = columns[name] if name in never_null else _or_none(columns[name])
        return draw(st.lists(one, min_size=ROWS, max_size=ROWS))

    drawn = {name: values(name) for name in columns}
    return Rows({name: drawn[name][row] for name in columns} for row in range(ROWS))


def differences(
    wanted: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]
) -> dict[tuple[int, str], tuple[Any, Any]]:
    """What is not equal: (row, column) to the value at the source and the one at the destination."""
    assert len(found) == len(wanted)
    return {
        (row, name): (value, other.get(name, "(no such column)"))
        for row, (one, other) in enumerate(zip(wanted, found, strict=True))
        for name, value in one.items()
        if value != other.get(name, "(no such column)")
    }
