"""Generated rows of files arrive with equal values: a file's own bytes against what BigQuery prints."""

from __future__ import annotations

import datetime as dt
import io
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import fresh_name
from tests.integration.exactness import generated
from tests.integration.files.conftest import Shelf

pytestmark = pytest.mark.stack

Normal = Callable[[str], Any]
_PRINTED = {
    "STRING": "{c}",
    "BYTES": "TO_HEX({c})",
    "TIMESTAMP": "CAST(UNIX_MICROS({c}) AS STRING)",
    "JSON": "TO_JSON_STRING({c})",
}


def _same(text: str) -> str:
    return text


def _clock(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def _time(text: str) -> dt.time:
    return dt.time.fromisoformat(text)


def _micros(text: str) -> int:
    since = dt.datetime.fromisoformat(text).replace(tzinfo=None) - dt.datetime(1970, 1, 1)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _float(text: str) -> str:
    return repr(float(text))


# Column: the destination's type; text of the file and text of BigQuery, each as the value that it denotes.
Column = tuple[str, st.SearchStrategy[str], Normal, Normal]
TEXTUAL: dict[str, Column] = {
    "i": ("INT64", generated.whole(64).map(str), int, int),
    "f": ("FLOAT64", st.floats(allow_nan=False, allow_infinity=False).map(repr), _float, _float),
    "n": ("NUMERIC", generated.decimals(38, 9), Decimal, Decimal),
    # The stand-in's BIGNUMERIC has 38 digits.
    "bn": ("BIGNUMERIC", generated.decimals(38, 18), Decimal, Decimal),
    "o": ("BOOL", st.sampled_from(["true", "false"]), _same, _same),
    "d": ("DATE", generated.dates(), _same, _same),
    "tm": ("TIME", generated.times(), _time, _time),
    "dt": ("DATETIME", generated.clocks(), _clock, _clock),
    "ts": ("TIMESTAMP", generated.clocks().map(lambda text: f"{text}+00:00"), _micros, int),
}
NUMBERS = ("i", "f", "n", "bn", "o")
"""Columns whose values stand in JSON as they are; the others are JSON's texts."""


def _create(shelf: Shelf, columns: dict[str, str]) -> None:
    """A new source and a destination whose types are given."""
    shelf.lab.source_id = shelf.lab.table = fresh_name("t")
    if columns:
        declared = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        shelf.lab.query(f"CREATE TABLE {{table}} (id INT64, {declared})")


def _load(shelf: Shelf, data: bytes, kind: str) -> None:
    name = f"{shelf.lab.table}.{kind}"
    shelf.put(name, data)
    shelf.document(
        file_pattern=name,
        file_format=kind,
        load_type="catalog",
        metadata_columns=False,
        file_format_options={},
    )
    shelf.lab.steps_ok("first")


def _loaded(shelf: Shelf, columns: dict[str, tuple[str, Normal]]) -> list[dict[str, Any]]:
    printed = ", ".join(
        f"{_PRINTED.get(kind, 'CAST({c} AS STRING)').format(c=name)} AS {name}"
        for name, (kind, _) in columns.items()
    )
    rows = shelf.lab.query(f"SELECT {printed} FROM {{table}} ORDER BY id")
    return [
        {
            name: None if text is None else normal(text)
            for (name, (_, normal)), text in zip(columns.items(), row, strict=True)
        }
        for row in rows
    ]


def _csv_field(text: str | None, *, quoted: bool) -> str:
    if text is None:
        return ""
    return '"' + text.replace('"', '""') + '"' if quoted else text


@pytest.mark.parametrize("shelf", ["gcs"], indirect=True)
@generated.round_trips
@given(
    rows=generated.tables(
        {"s": generated.texts(30, nul=True), **{name: column[1] for name, column in TEXTUAL.items()}}
    ),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_csv_round_trip(shelf: Shelf, rows: generated.Rows, end: str) -> None:
    _create(shelf, {"s": "STRING", **{name: column[0] for name, column in TEXTUAL.items()}})
    lines = [f"id,{','.join(rows[0])}"]
    for number, row in enumerate(rows):
        fields = [_csv_field(value, quoted=name == "s") for name, value in row.items()]
        lines.append(f"{number},{','.join(fields)}")
    _load(shelf, (end.join(lines) + end).encode(), "csv")
    columns = {"s": ("STRING", _same), **{name: (c[0], c[3]) for name, c in TEXTUAL.items()}}
    read = {"s": _same, **{name: column[2] for name, column in TEXTUAL.items()}}
    wanted = [
        {name: None if text is None else read[name](text) for name, text in row.items()} for row in rows
    ]
    assert not generated.differences(wanted, _loaded(shelf, columns))


@pytest.mark.parametrize("shelf", ["gcs"], indirect=True)
@generated.round_trips
@given(
    rows=generated.tables(
        {
            "s": generated.texts(30, nul=True),
            "j": generated.json_texts(nul=True).map(lambda text: text.replace("\n", " ")),
            "tags": st.lists(generated.texts(8, nul=True), max_size=3),
            **{name: column[1] for name, column in TEXTUAL.items()},
        },
        never_null=["tags"],
    ),
    ascii_only=st.booleans(),
)
def test_json_lines_round_trip(shelf: Shelf, rows: generated.Rows, ascii_only: bool) -> None:
    declared = {name: column[0] for name, column in TEXTUAL.items()}
    _create(shelf, {"s": "STRING", "j": "JSON", "tags": "ARRAY<STRING>", **declared})
    lines = []
    for number, row in enumerate(rows):
        members = [f'"id": {number}']
        for name, value in row.items():
            if value is None:
                # A key that is not there is NULL, as null is.
                members += [f'"{name}": null'] if number % 2 else []
            elif name == "j" or name in NUMBERS:
                members.append(f'"{name}": {value}')
            else:
                members.append(f'"{name}": {json.dumps(value, ensure_ascii=ascii_only)}')
        lines.append("{" + ", ".join(members) + "}\n")
    data = "".join(lines).encode()
    _load(shelf, data, "jsonl")
    columns: dict[str, tuple[str, Normal]] = {
        "s": ("STRING", _same),
        "j": ("JSON", json.loads),
        "tags": ("JSON", json.loads),
        **{name: (column[0], column[3]) for name, column in TEXTUAL.items()},
    }
    # By an independent reader of the file's bytes; numbers stay as they are written.
    wanted = []
    for line in data.decode().split("\n")[:-1]:
        found = json.loads(line, parse_int=_same, parse_float=_same)
        values = {name: found.get(name) for name in columns}
        values["j"] = json.loads(line).get("j")
        for name, column in TEXTUAL.items():
            text = values[name]
            text = json.dumps(text) if isinstance(text, bool) else text
            values[name] = None if text is None else column[2](text)
        wanted.append(values)
    # JSON's null as a whole value and NULL are both None here.
    assert not generated.differences(wanted, _loaded(shelf, columns))


_ARROW: dict[str, tuple[pa.DataType, str, Callable[[str], Any]]] = {
    "i": (pa.int64(), "INT64", int),
    "f": (pa.float64(), "FLOAT64", float),
    "n": (pa.decimal128(38, 9), "NUMERIC", Decimal),
    "bn": (pa.decimal128(38, 18), "BIGNUMERIC", Decimal),
    "o": (pa.bool_(), "BOOL", lambda text: text == "true"),
    "d": (pa.date32(), "DATE", dt.date.fromisoformat),
    "tm": (pa.time64("us"), "TIME", _time),
    "dt": (pa.timestamp("us"), "DATETIME", _clock),
    "ts": (pa.timestamp("us", "UTC"), "TIMESTAMP", _clock),
}


@pytest.mark.parametrize("shelf", ["gcs"], indirect=True)
@generated.round_trips
@given(
    rows=generated.tables(
        {
            "s": generated.texts(30, nul=True),
            "b": st.binary(max_size=20),
            "u": generated.whole(32, signed=False),
            "x": st.floats().map(repr),
            "tags": st.lists(generated.texts(8, nul=True), max_size=3),
            "box": st.fixed_dictionaries(
                {"a": generated.whole(32), "w": st.lists(generated.texts(4), max_size=2)}
            ),
            **{name: column[1] for name, column in TEXTUAL.items()},
        },
        never_null=["tags"],
    ),
    compression=st.sampled_from(["none", "snappy", "zstd"]),
    group=st.sampled_from([5, 100]),
)
def test_parquet_round_trip(shelf: Shelf, rows: generated.Rows, compression: str, group: int) -> None:
    _create(shelf, {})
    arrays: dict[str, pa.Array] = {"id": pa.array(range(len(rows)), pa.int64())}
    kinds = {
        "s": pa.string(),
        "b": pa.binary(),
        "u": pa.uint32(),
        "tags": pa.list_(pa.string()),
        "box": pa.struct([("a", pa.int32()), ("w", pa.list_(pa.string()))]),
    }
    for name in rows[0]:
        values = [row[name] for row in rows]
        if name in kinds:
            arrays[name] = pa.array(values, kinds[name])
            continue
        kind, _, made = _ARROW["f" if name == "x" else name]
        arrays[name] = pa.array([None if text is None else made(text) for text in values], kind)
    out = io.BytesIO()
    pq.write_table(pa.table(arrays), out, compression=compression, row_group_size=group)
    _load(shelf, out.getvalue(), "parquet")
    columns: dict[str, tuple[str, Normal]] = {
        "s": ("STRING", _same),
        "b": ("BYTES", _same),
        "u": ("INT64", int),
        "x": ("FLOAT64", _float),
        "tags": ("JSON", json.loads),
        "box": ("JSON", json.loads),
        **{name: (kind, TEXTUAL[name][3]) for name, (_, kind, _) in _ARROW.items()},
    }
    read: dict[str, Callable[[Any], Any]] = {name: column[2] for name, column in TEXTUAL.items()}
    read |= {"b": lambda data: data.hex(), "x": _float}
    wanted = [
        {
            name: None if value is None else read.get(name, lambda same: same)(value)
            for name, value in row.items()
        }
        for row in rows
    ]
    assert not generated.differences(wanted, _loaded(shelf, columns))
