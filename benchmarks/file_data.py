"""The files that are measured: the orders of the databases, as CSV, JSON Lines (nested) and Parquet."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_START = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
_BLOCK = 50_000
_ROW_GROUP = 100_000
_MADE = "made-2"
"""Marks a file as whole; another name where files are to be made anew."""
STATES = ("new", "paid", "shipped", "cancelled", "returned")


def orders(rows: int) -> Iterator[list[dict[str, Any]]]:
    """The orders in blocks; the same for the same number of rows."""
    for first in range(1, rows + 1, _BLOCK):
        yield [_order(i) for i in range(first, min(first + _BLOCK, rows + 1))]


def _order(i: int) -> dict[str, Any]:
    token = hashlib.md5(str(i).encode(), usedforsecurity=False).hexdigest()
    return {
        "id": i,
        "customer_id": i * 7919 % 100_000,
        "amount": f"{i * 31 % 1_000_000 / 100:.2f}",
        "status": STATES[i % 5],
        "note": token + token[:8],
        "created_at": (_START + dt.timedelta(milliseconds=13_371 * i)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "due": (_START + dt.timedelta(days=i // 10_000)).date().isoformat(),
        "paid": i % 3 == 0,
        "weight": i * 1.1,
        "discount": None if i % 4 == 0 else i % 50,
        "shop": i % 7,
        "lines": [{"sku": f"s{i % 1000}", "quantity": i % 9}, {"sku": "gift", "quantity": 1}],
    }


def file_of(home: Path, rows: int, kind: str) -> Path:
    """``orders.csv``, ``orders.jsonl`` or ``orders.parquet`` of ``rows`` rows, made when it is not there."""
    folder = home / f"files-{rows}"
    file, done = folder / f"orders.{kind}", folder / f"{kind}-{_MADE}"
    if done.exists():
        return file
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "parquet":
        _parquet(file, file_of(home, rows, "csv"))
    elif kind == "csv":
        names = [name for name in _order(1) if name != "lines"]
        with file.open("w") as csv:
            csv.write(",".join(names) + "\n")
            for block in orders(rows):
                csv.writelines(",".join(_cell(order[name]) for name in names) + "\n" for order in block)
    else:
        with file.open("w") as lines:
            for block in orders(rows):
                lines.writelines(json.dumps(order) + "\n" for order in block)
    done.touch()
    return file


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parquet(file: Path, source: Path) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    kinds = {"amount": pa.decimal128(12, 2), "created_at": pa.timestamp("us", "UTC"), "due": pa.date32()}
    from pyarrow import csv

    writer: pq.ParquetWriter | None = None
    with csv.open_csv(source, convert_options=csv.ConvertOptions(column_types=kinds)) as reader:
        for table in _groups(reader):
            text = pc.cast(table["shop"], pa.string())
            table = table.set_column(table.schema.get_field_index("shop"), "shop", text)
            writer = writer or pq.ParquetWriter(file, table.schema, compression="zstd")
            writer.write_table(table, row_group_size=table.num_rows)
    if writer is not None:
        writer.close()


def _groups(batches: Iterable[Any]) -> Iterator[Any]:
    """Tables of :data:`_ROW_GROUP` rows and more, each of which becomes a row group."""
    import pyarrow as pa

    held: list[Any] = []
    for batch in batches:
        held.append(batch)
        if sum(each.num_rows for each in held) >= _ROW_GROUP:
            yield pa.Table.from_batches(held)
            held = []
    if held:
        yield pa.Table.from_batches(held)
