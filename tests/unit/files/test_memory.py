"""A file of any size in constant memory, from the bucket's bytes to the uploaded shard."""

from __future__ import annotations

import subprocess
import sys

import pytest

CHILD = r"""
import contextlib, io, itertools, sys, tempfile
from dataclasses import replace
from pathlib import Path
import pyarrow as pa
from etl_runner.config.parse import parse_source
from etl_runner.convert.fields import BqField
from etl_runner.execution.unit import execute_unit
from etl_runner.planning.plan import PlannedColumn, WorkUnit
from etl_runner.sources.files.reader import FilesReader
from etl_runner.state.memory import MemoryObjectStore
from etl_runner.state.objects import ObjectInfo
from tests.peak import peak_kilobytes
from tests.unit.execution.worlds import make_plan

pa.set_memory_pool(pa.system_memory_pool())
kind, size = sys.argv[1], int(sys.argv[2]) << 20
LINES = {
    "csv": b"".join(b"%d,name %d,%d.25\n" % (n, n * 7, n) for n in range(50_000)),
    "jsonl": b"".join(
        b'{"id": %d, "name": "name %d", "amount": %d.25}\n' % (n, n * 7, n) for n in range(50_000)
    ),
}[kind]
HEAD = b"id,name,amount\n" if kind == "csv" else b""

class Stream(io.RawIOBase):
    def __init__(self):
        self.left, self.buffer = size, io.BytesIO(HEAD)
    def read(self, n=-1):
        data = self.buffer.read(n)
        if not data and self.left > 0:
            self.left -= len(LINES)
            self.buffer = io.BytesIO(LINES)
            data = self.buffer.read(n)
        return data

class Bucket:
    @contextlib.contextmanager
    def open(self, file, start=0):
        yield Stream()

class Sink(MemoryObjectStore):
    def create_from_file(self, name, path, content_type):
        return ObjectInfo(name, Path(path).stat().st_size, 1)

document = parse_source({
    "source_type": "gcs", "dest_table_name": "t", "load_type": "catalog", "file_pattern": "*." + kind,
    "connection_params": {"source_type": "gcs", "bucket": "inbox", "use_runner_account": True},
}, name="t", source_id="t").resolve().document
header = replace(make_plan().header, columns=tuple(
    PlannedColumn(name, "text", BqField(name, type))
    for name, type in (("id", "INT64"), ("name", "STRING"), ("amount", "NUMERIC"))
), read={"known": ["id", "name", "amount"]})
file = {"uri": "gs://inbox/a." + kind, "name": "a." + kind, "version": "1", "size": size, "modified": ""}
unit = WorkUnit("u00000", "file", {"files": [file]}, "")
with tempfile.TemporaryDirectory() as folder:
    reader = FilesReader(Bucket(), document, header)
    manifest = execute_unit(reader, unit, header, Sink(), workdir=Path(folder))
print(manifest.rows, peak_kilobytes() // 1024)
"""


def measured(kind: str, megabytes: int) -> tuple[int, int]:
    """Rows, and the child's peak in MB."""
    command = [sys.executable, "-c", CHILD, kind, str(megabytes)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    rows, peak = done.stdout.split()
    return int(rows), int(peak)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_file_five_times_as_large_needs_no_more_memory(kind: str) -> None:
    small, small_peak = measured(kind, 60)
    large, large_peak = measured(kind, 300)
    assert large > 4 * small
    assert large_peak < small_peak + 40, (small_peak, large_peak)
