"""The range of a column over a run's shards, from the statistics in their footers: no row is read."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from etl_runner.commit.merge import Bounds
from etl_runner.execution.collect import each, read_footer
from etl_runner.execution.manifest import Shard
from etl_runner.state.objects import ObjectStore


def column_bounds(objects: ObjectStore, shards: Sequence[Shard], column: str) -> Bounds | None:
    """The bounds of a DATE or TIMESTAMP column over all shards; None when a row group does not tell them
    (https://parquet.apache.org/docs/file-format/data-pages/columnchunks/, ``Statistics``).

    Raises:
        PermanentError: a shard is gone or is no Parquet file.
    """
    found = each(lambda shard: _of_shard(read_footer(objects, shard), column), shards)
    known = [item for item in found if item is not None]
    if len(known) < len(found) or not known:
        return None
    lows = [item.low for item in known if item.low is not None]
    highs = [item.high for item in known if item.high is not None]
    return Bounds(min(lows, default=None), max(highs, default=None), any(item.nulls for item in known))


def _of_shard(footer: bytes, column: str) -> Bounds | None:
    metadata = pq.read_metadata(pa.BufferReader(footer))
    index = metadata.schema.to_arrow_schema().get_field_index(column)
    lows, highs, nulls = [], [], False
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        # Columns before it may be nested: a leaf is found by its path.
        chunk = next(
            (
                group.column(leaf)
                for leaf in range(group.num_columns)
                if group.column(leaf).path_in_schema == column
            ),
            None,
        )
        statistics = None if chunk is None or index < 0 else chunk.statistics
        if statistics is None or not statistics.has_null_count:
            return None
        nulls = nulls or statistics.null_count > 0
        if statistics.null_count == group.num_rows:
            continue
        if not statistics.has_min_max:
            return None
        lows.append(statistics.min)
        highs.append(statistics.max)
    return Bounds(min(lows, default=None), max(highs, default=None), nulls)
