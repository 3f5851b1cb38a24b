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
_DONE = "done-2"
"""Marks a folder as whole; another name where the files are to be others."""
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


def folder_of(home: Path, rows: int) -> Path:
    """A folder with ``orders.csv``, ``orders.jsonl`` and ``orders.parquet`` of ``rows`` rows."""
    folder = home / f"files-{rows}"
    if (folder / _DONE).exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "orders.csv").open("w") as csv, (folder / "orders.jsonl").open("w") as lines:
        names = [name for name in _order(1) if name != "lines"]
        csv.write(",".join(names) + "\n")
        for block in orders(rows):
            csv.writelines(",".join(_cell(order[name]) for name in names) + "\n" for order in block)
            lines.writelines(json.dumps(order) + "\n" for order in block)
    _parquet(folder)
    (folder / _DONE).touch()
    return folder


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parquet(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    kinds = {"amount": pa.decimal128(12, 2), "created_at": pa.timestamp("us", "UTC"), "due": pa.date32()}
    from pyarrow import csv

    writer: pq.ParquetWriter | None = None
    with csv.open_csv(
        folder / "orders.csv", convert_options=csv.ConvertOptions(column_types=kinds)
    ) as reader:
        for table in _groups(reader):
            text = pc.cast(table["shop"], pa.string())
            table = table.set_column(table.schema.get_field_index("shop"), "shop", text)
            writer = writer or pq.ParquetWriter(folder / "orders.parquet", table.schema, compression="zstd")
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
