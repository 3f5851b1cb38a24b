"""A runner task over one measured file, run in a process of its own: file, rows, readers, folder."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.folder_files import FolderFiles
from benchmarks.peer_files import SIX
from benchmarks.task import FolderStore, make_plan
from benchmarks.ways import hide_pandas
from etl_runner.config.parse import parse_source
from etl_runner.config.resolved import ResolvedSource
from etl_runner.execution.task import run_task
from etl_runner.sources.files.source import FilesSource

TYPES = {
    "id": "INT64",
    "customer_id": "INT64",
    "amount": "NUMERIC",
    "status": "STRING",
    "note": "STRING",
    "created_at": "TIMESTAMP",
    "due": "DATE",
    "paid": "BOOL",
    "weight": "FLOAT64",
    "discount": "INT64",
    "shop": "INT64",
}
_LINES = {
    "name": "lines",
    "type": "STRUCT",
    "mode": "REPEATED",
    "fields": [{"name": "sku", "type": "STRING"}, {"name": "quantity", "type": "INT64"}],
}


class OrdersTable:
    """A dataset with the destination, whose types are the authority."""

    def __init__(self, suffix: str) -> None:
        wanted = SIX if suffix == ".parquet" else tuple(TYPES)
        self._fields: list[dict[str, Any]] = [{"name": name, "type": TYPES[name]} for name in wanted]
        if suffix == ".jsonl":
            self._fields.append(_LINES)

    def get_table(self, path: str) -> dict[str, Any] | None:
        """The one table."""
        del path
        return {"type": "TABLE", "schema": {"fields": self._fields}}

    def dataset_location(self, path: str) -> str | None:
        """Where the dataset is."""
        del path
        return "EU"


def resolve(file: Path) -> ResolvedSource:
    """The source document of one file."""
    document = {
        "source_type": "gcs",
        "file_pattern": file.name,
        "load_type": "transactional",
        "dest_table_name": "orders",
        "metadata_columns": False,
        "selected_columns": list(SIX) if file.suffix == ".parquet" else [],
        "connection_params": {"source_type": "gcs", "bucket": "bench", "use_runner_account": True},
    }
    return parse_source(document, name="sources/orders.yaml", source_id="orders").resolve()


def opener(resolved: ResolvedSource, file: Path) -> Callable[[ResolvedSource], FilesSource]:
    """Builds the source of the file's folder."""
    bucket = FolderFiles(file.parent)
    return lambda _: FilesSource(resolved.document, resolved.connection, lambda: bucket)  # type: ignore[arg-type]


def main() -> None:
    """Load the file into shards.

    Raises:
        RuntimeError: it wrote another number of rows.
    """
    file, rows, readers, folder = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    hide_pandas()
    import pyarrow as pa

    pa.set_memory_pool(pa.system_memory_pool())
    resolved = resolve(file)
    open_it = opener(resolved, file)
    store = FolderStore(folder)
    store.create("plan.jsonl", make_plan(resolved, readers, open_it, OrdersTable(file.suffix)).to_jsonl())
    summary = run_task(store, "plan.jsonl", 0, 1, lambda _: open_it(resolved), slots=readers)
    if summary.rows != rows:
        raise RuntimeError(f"{summary.rows} rows of {rows}")


if __name__ == "__main__":
    main()
