"""Whether BigQuery can load files by itself, and whether they were still the planned ones when it had.

A load job gives the values that the converter gives only where the file declares the destination's very type,
which Parquet alone does. BigQuery's readers of CSV and JSON take spellings that the converter rejects (``t``
for a BOOL, ``2024-1-5`` for a DATE, digits beyond a NUMERIC's scale, which are rounded), so that no column of
text is provably the same: https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-csv#data_types.
Parquet: https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-parquet#type_conversions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from etl_runner.config.connections import BucketConnection, GcsConnection
from etl_runner.config.files import FileSource
from etl_runner.convert.fields import BqField
from etl_runner.planning.plan import PlannedColumn
from etl_runner.sources.base import DirectLoad, PlanRequest
from etl_runner.sources.files.current import current_versions
from etl_runner.sources.files.store import FileStore

if TYPE_CHECKING:
    from etl_runner.formats.detect import Detected
    from etl_runner.sources.files.look import Looked
    from etl_runner.sources.files.window import Chosen

MOST_FILES = 10_000
"""https://cloud.google.com/bigquery/quotas#load_jobs: source URIs in a job."""
MOST_BYTES = 15 * 10**12
_NAMED = 5
_TYPES = {
    "bool": "BOOL",
    **dict.fromkeys(("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"), "INT64"),
    "float": "FLOAT64",
    "double": "FLOAT64",
    "string": "STRING",
    "large_string": "STRING",
    "binary": "BYTES",
    "large_binary": "BYTES",
    "date32[day]": "DATE",
    "time32[ms]": "TIME",
    "time64[us]": "TIME",
}
"""Arrow's word for a Parquet column's type to the BigQuery type with the same values."""
_INSTANT = re.compile(r"timestamp\[(?:ms|us), tz=[^\]]+\]")
_DECIMAL = re.compile(r"decimal(?:32|64|128|256)\((\d+), (-?\d+)\)")
# Digits before and after the point: the type's own without parameters.
# https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#decimal_types
_ROOM = {"NUMERIC": (29, 9), "BIGNUMERIC": (38, 38)}


def wanted(document: FileSource) -> bool:
    """Whether the document lets BigQuery load the files, or asks for it."""
    return document.engine == "bigquery" or not document.exact_generation


def direct_load(document: FileSource, chosen: Chosen, looked: Looked) -> DirectLoad:
    """The load of exactly these files, whose footers say how many rows each has."""
    files = tuple(
        {**asdict(file), "rows": sample.rows}
        for file, sample in zip(chosen.files, looked.samples, strict=True)
    )
    return DirectLoad(files, staged=document.exact_generation or document.load_type == "upsert")


def obstacle(
    document: FileSource,
    connection: BucketConnection,
    chosen: Chosen,
    looked: Looked,
    detected: Detected,
    request: PlanRequest,
) -> str | None:
    """Why BigQuery does not load the files by itself, as the end of a sentence; None: it can."""
    if document.engine in ("cloud_run", "dataflow"):
        return f"the source document asks for {document.engine}"
    if not isinstance(connection, GcsConnection):
        return "only files of Cloud Storage can be loaded by BigQuery itself"
    if not connection.use_runner_account:
        return "the connection has credentials of its own, and load jobs run as the deployment's account"
    if document.file_format != "parquet":
        return (
            f"{document.file_format} files declare no types, and BigQuery would take other texts for the same"
            " values than the conversion does; only parquet files are loaded as they are"
        )
    if document.metadata_columns:
        return "files have no metadata columns (metadata_columns: false loads without them)"
    if document.on_bad_row == "reject":
        return "on_bad_row: reject puts single rows aside, and a load job takes all rows or none"
    return _of_files(chosen, looked) or _of_columns(detected, request)


def _of_files(chosen: Chosen, looked: Looked) -> str | None:
    if looked.unseen:
        return f"{looked.unseen} files were not looked at, and a load job checks less than a run does"
    if len(chosen.files) > MOST_FILES or chosen.bytes > MOST_BYTES:
        return f"one load job takes {MOST_FILES:,} files and 15 TB"
    odd = [file.name for file in chosen.files if "*" in file.name or "#" in file.name]
    if odd:
        return f"BigQuery takes the name {odd[0]!r} for a pattern or a generation"
    return None


def _of_columns(detected: Detected, request: PlanRequest) -> str | None:
    left_out = {column.name for column in detected.columns} - {column.source for column in request.columns}
    if left_out:
        return f"columns of the files are left out: {_listed(sorted(left_out))}"
    renamed = [column.source for column in request.columns if column.source != column.destination.name]
    if renamed:
        return f"columns have other names in the destination: {_listed(renamed)}"
    changed = [column.source for column in request.columns if not _as_it_is(column)]
    if changed:
        return f"values of {_listed(changed)} have to be converted to the destination's types one by one"
    return None


def _as_it_is(column: PlannedColumn) -> bool:
    """Whether each value of the column is one of the destination's, in every file."""
    field = column.destination
    if field.mode != "NULLABLE" or field.max_length is not None:
        return False
    return all(_same(kind, field) for kind in column.source_type.split(" or "))


def _same(kind: str, field: BqField) -> bool:
    if found := _DECIMAL.fullmatch(kind):
        if field.type not in _ROOM:
            return False
        whole, scale = int(found[1]) - int(found[2]), int(found[2])
        room, places = _ROOM[field.type]
        if field.precision is not None:
            room, places = field.precision - (field.scale or 0), field.scale or 0
        return 0 <= scale <= places and whole <= room
    if _INSTANT.fullmatch(kind):
        return field.type == "TIMESTAMP"
    return _TYPES.get(kind) == field.type


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def changed_file(store: FileStore, files: Sequence[tuple[str, str]]) -> str | None:
    """The first of the files, each a name and its planned version, that is another one now or gone, in words;
    None: all are what they were, and were ever since they were planned, for no version comes back.

    Raises:
        RetryableError, PermanentError: the bucket cannot be reached, or refuses.
    """
    now = current_versions(store, [name for name, _ in files])
    for name, version in files:
        file = now.get(name)
        if file is None:
            return f"{name} is gone"
        if file.version != version:
            return f"{name} was replaced: version {version} was planned, {file.version} is there"
    return None
