"""File formats: from the bytes of one open file to Arrow record batches, with every bad row named.

How a file source uses this package:

1. At plan time it opens some of the window's files and asks ``format_named(...).sample_schema(...)`` for
   each; :func:`etl_runner.formats.detect.merge` makes columns of the samples and reports conflicts between
   files. With a value that does not fit later, :meth:`~etl_runner.formats.base.Limits.widen` the sample.
2. A large plain file may be cut into parts (:mod:`etl_runner.formats.ranges`; Parquet: any byte ranges that
   tile the file); the parts go into the units.
3. A worker opens the file (for a part, the stream begins one byte before it; for Parquet the whole file,
   seekable) and iterates ``read``. Each :class:`~etl_runner.formats.base.Block` has a batch for the
   converter, its columns named like their destinations, and bad rows, which become rejects by
   :meth:`~etl_runner.formats.base.BadRow.reject`. An error means that nothing of the file counts.

Nothing here opens a connection or reads configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etl_runner.config.files import FileFormat
    from etl_runner.formats.base import Format


def format_named(name: FileFormat) -> Format:
    """The format of a source document's ``file_format``; its reader is imported now, not before."""
    if name == "csv":
        from etl_runner.formats.csv import Csv

        return Csv()
    if name == "parquet":
        from etl_runner.formats.parquet import Parquet

        return Parquet()
    if name == "json":
        from etl_runner.formats.json import Json

        return Json()
    from etl_runner.formats.jsonl import JsonLines

    return JsonLines()
