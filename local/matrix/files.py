"""Rows as the bytes of files, in every format, and a row that is none where the format can hold one."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from local.matrix.rows import COLUMNS, Row

BAD = 1
"""Bad rows in a file of a format that can hold them."""


def _text(value: object) -> object:
    return value.isoformat().replace("+00:00", "Z") if hasattr(value, "isoformat") else value


def csv_bytes(rows: Sequence[Row], *, bad: bool) -> bytes:
    """CSV with a header; NULL is an empty field, empty text a quoted one."""
    lines = [",".join(COLUMNS)]
    for row in rows:
        name = "" if row.name is None else '"' + row.name.replace('"', '""') + '"'
        flag = "true" if row.flag else "false"
        lines.append(f"{row.id},{name},{row.amount:.2f},{_text(row.at)},{flag},{row.day}")
    return "".join(f"{line}\n" for line in lines).encode() + (b"9999,too short\n" if bad else b"")


def _objects(rows: Sequence[Row], *, bad: bool) -> list[str]:
    found = []
    for row in rows:
        fields = {name: _text(getattr(row, name)) for name in COLUMNS if name != "amount"}
        # A number as it is written: JSON's writer would make a float of it.
        found.append(json.dumps(fields, ensure_ascii=False)[:-1] + f', "amount": {row.amount:.2f}}}')
    return found + (['{"id": 9999, "amount": "much"}'] if bad else [])


def jsonl_bytes(rows: Sequence[Row], *, bad: bool) -> bytes:
    """One object a line."""
    return "".join(f"{line}\n" for line in _objects(rows, bad=bad)).encode()


def json_bytes(rows: Sequence[Row], *, bad: bool) -> bytes:
    """One array of objects."""
    return ("[\n" + ",\n".join(_objects(rows, bad=bad)) + "\n]\n").encode()


def parquet_bytes(rows: Sequence[Row], *, bad: bool) -> bytes:
    """Parquet, typed: no row of it can be bad."""
    del bad
    kinds = (
        pa.int64(),
        pa.string(),
        pa.decimal128(14, 2),
        pa.timestamp("us", tz="UTC"),
        pa.bool_(),
        pa.date32(),
    )
    columns = [
        pa.array([getattr(row, name) for row in rows], kind)
        for name, kind in zip(COLUMNS, kinds, strict=True)
    ]
    out = io.BytesIO()
    pq.write_table(pa.table(columns, names=list(COLUMNS)), out, row_group_size=100)
    return out.getvalue()


def _gzip(write: Callable[..., bytes]) -> Callable[..., bytes]:
    return lambda rows, *, bad: gzip.compress(write(rows, bad=bad))


def _zstd(write: Callable[..., bytes]) -> Callable[..., bytes]:
    return lambda rows, *, bad: pa.compress(write(rows, bad=bad), "zstd", asbytes=True)


FORMATS: dict[str, Callable[..., bytes]] = {
    "csv": csv_bytes,
    "csv.gz": _gzip(csv_bytes),
    "parquet": parquet_bytes,
    "json": json_bytes,
    "jsonl": jsonl_bytes,
    "jsonl.zst": _zstd(jsonl_bytes),
}
"""Ending of the files' names to what writes them."""
