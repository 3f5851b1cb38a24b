"""The tables of the history, each filled by a source that only the runner has.

Their ids begin with ``_etl_``, which no document's may: they have a state, a slot, epochs, commit records and
receipts like any source, and so they are exact at every crash point by the same protocol. Two tables are two
streams, because a commit that loads two tables one after the other could fail between them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any

from etl_runner.history.rows import file_rows, run_rows
from etl_runner.state.objects import ObjectStore

RowsOf = Callable[[ObjectStore, dict[str, Any]], Iterator[dict[str, Any]]]


@dataclass(frozen=True)
class Stream:
    """One table of the history. ``rows_of`` gives a receipt's rows as JSON objects."""

    source_id: str
    table: str
    clustering: tuple[str, ...]
    rows_of: RowsOf
    partition_field: str = "finished"

    def schema(self) -> list[dict[str, Any]]:
        """The table's fields, as the API and Terraform write them."""
        text = resources.files("etl_runner.history").joinpath(f"tables/{self.table}.json").read_text("utf-8")
        fields: list[dict[str, Any]] = json.loads(text)
        return fields


RUNS = Stream("_etl_history_runs", "etl_runs", ("source_id",), run_rows)
FILES = Stream("_etl_history_files", "etl_files", ("source_id", "uri"), file_rows)
STREAMS = (RUNS, FILES)
