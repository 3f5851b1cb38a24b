"""Other ways from a file to Parquet with zstd; run by the peers' own Python: way, format, file, folder.

Types are given, never told from the values: that is what exact loading means (``00123`` is no number).
Columns, codec and its level are those of a runner task, row groups about as large.
"""

import queue
import sys
import threading
from collections.abc import Callable
from typing import Any

DUCKDB = {
    "id": "BIGINT",
    "customer_id": "BIGINT",
    "amount": "DECIMAL(12,2)",
    "status": "VARCHAR",
    "note": "VARCHAR",
    "created_at": "TIMESTAMPTZ",
    "due": "DATE",
    "paid": "BOOLEAN",
    "weight": "DOUBLE",
    "discount": "BIGINT",
    "shop": "BIGINT",
}
LEVEL = 1
"""Of zstd; the others' own default is 3, Arrow's and ours is 1."""
REPEATING = ("status", "due", "discount", "shop")
ROW_GROUP = 16 << 20
"""Bytes of Arrow memory."""
LINES = "STRUCT(sku VARCHAR, quantity BIGINT)[]"
SIX = ("id", "amount", "status", "created_at", "discount", "shop")
"""Of a Parquet file six columns are wanted, the last one, text, as a number."""


def duckdb(kind: str, path: str, folder: str) -> None:
    """DuckDB with two threads, order not kept."""
    import duckdb as db  # type: ignore[import-not-found]

    types = ", ".join(f"'{name}': '{kind}'" for name, kind in DUCKDB.items())
    source = {
        "csv": f"SELECT * FROM read_csv('{path}', header=true, columns={{{types}}})",
        "jsonl": f"SELECT * FROM read_json('{path}', format='newline_delimited', "
        f"columns={{{types}, 'lines': '{LINES}'}})",
        "parquet": f"SELECT * REPLACE (CAST(shop AS BIGINT) AS shop) FROM "
        f"(SELECT {', '.join(SIX)} FROM read_parquet('{path}'))",
    }[kind]
    connection = db.connect()
    connection.execute("SET threads=2; SET preserve_insertion_order=false; SET TimeZone='UTC'")
    how = f"FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL {LEVEL}"
    connection.execute(f"COPY ({source}) TO '{folder}/out.parquet' ({how})")


def polars(kind: str, path: str, folder: str) -> None:
    """polars, streaming."""
    import polars as pl  # type: ignore[import-not-found]

    kinds: dict[str, Any] = {
        "id": pl.Int64,
        "customer_id": pl.Int64,
        "amount": pl.Decimal(12, 2),
        "status": pl.String,
        "note": pl.String,
        "created_at": pl.String,
        "due": pl.Date,
        "paid": pl.Boolean,
        "weight": pl.Float64,
        "discount": pl.Int64,
        "shop": pl.Int64,
    }
    instant = pl.col("created_at").str.to_datetime(time_unit="us", time_zone="UTC")
    if kind == "csv":
        frame = pl.scan_csv(path, schema=kinds).with_columns(instant)
    elif kind == "jsonl":
        # It reads neither decimals nor dates from JSON.
        lines = pl.List(pl.Struct({"sku": pl.String, "quantity": pl.Int64}))
        frame = pl.scan_ndjson(path, schema={**kinds, "amount": pl.String, "due": pl.String, "lines": lines})
        frame = frame.with_columns(
            instant, pl.col("amount").cast(pl.Decimal(12, 2)), pl.col("due").str.to_date()
        )
    else:
        frame = pl.scan_parquet(path).select(SIX).with_columns(pl.col("shop").cast(pl.Int64))
    frame.sink_parquet(f"{folder}/out.parquet", compression="zstd", compression_level=LEVEL)


def arrow(kind: str, path: str, folder: str) -> None:
    """pyarrow, streaming, with the types given, written in a thread of its own."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    amount, instant = pa.decimal128(12, 2), pa.timestamp("us", "UTC")
    names = {
        "id": pa.int64(),
        "customer_id": pa.int64(),
        "amount": amount,
        "status": pa.string(),
        "note": pa.string(),
        "created_at": instant,
        "due": pa.date32(),
        "paid": pa.bool_(),
        "weight": pa.float64(),
        "discount": pa.int64(),
        "shop": pa.int64(),
    }
    batches: Any
    if kind == "csv":
        from pyarrow import csv

        convert = csv.ConvertOptions(column_types=names)
        batches = csv.open_csv(
            path, convert_options=convert, parse_options=csv.ParseOptions(newlines_in_values=True)
        )
    elif kind == "jsonl":
        from pyarrow import json

        lines = pa.list_(pa.struct([("sku", pa.string()), ("quantity", pa.int64())]))
        # Text in the file; Arrow's reader casts no text to these.
        text = {"amount": pa.string(), "created_at": pa.string(), "due": pa.string(), "lines": lines}
        schema = pa.schema({**names, **text})
        batches = json.open_json(
            path,
            read_options=json.ReadOptions(block_size=1 << 20),
            parse_options=json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
        )
        target = pa.schema({**names, "lines": lines})
        batches = (pa.Table.from_batches([batch]).cast(target).to_batches()[0] for batch in batches)
    else:
        file = pq.ParquetFile(path)
        target = pa.schema([(name, names[name]) for name in SIX])
        batches = (batch.cast(target) for batch in file.iter_batches(columns=list(SIX)))
    waiting: queue.Queue[Any] = queue.Queue(2)
    thread = threading.Thread(target=_write, args=(waiting, f"{folder}/out.parquet"))
    thread.start()
    for batch in batches:
        waiting.put(batch)
    waiting.put(None)
    thread.join()


def _write(waiting: Any, path: str) -> None:
    """Write the batches that come, to the one that is None."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer: Any = None
    held: list[Any] = []
    while True:
        batch = waiting.get()
        if batch is not None:
            held.append(batch)
        if held and (batch is None or sum(each.nbytes for each in held) >= ROW_GROUP):
            table = pa.Table.from_batches(held)
            # Dictionaries of columns that do not repeat are built and thrown away: a third of the time.
            writer = writer or pq.ParquetWriter(
                path,
                table.schema,
                compression="zstd",
                compression_level=LEVEL,
                use_dictionary=[name for name in REPEATING if name in table.schema.names],
            )
            writer.write_table(table, row_group_size=table.num_rows)
            held = []
        if batch is None:
            break
    writer.close()


WAYS: dict[str, Callable[[str, str, str], None]] = {"duckdb": duckdb, "polars": polars, "arrow": arrow}

if __name__ == "__main__":
    WAYS[sys.argv[1]](*sys.argv[2:5])
