"""Functions are up before Google's clients are: their import loads none, and nothing heavy. A task loads what
its source and format need."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cold_start import HEAVY, ROOT, ColdStart, function_names, run_python, table
from benchmarks.file_data import file_of
from benchmarks.measure import environment

# Documents' models; a request that needs none starts without them.
MODELS = ("pydantic",)
FORMATS = {
    "csv": ("etl_runner.formats.csv", "pyarrow.csv"),
    "jsonl": ("etl_runner.formats.jsonl", "etl_runner.formats.json_rows", "pyarrow.json"),
    "parquet": ("etl_runner.formats.parquet",),
}
OTHER_SOURCES = (
    "adbc_driver_manager",
    *(f"etl_runner.sources.{name}" for name in ("postgres", "mysql", "bigquery")),
)
CLIENTS = ("google.cloud.storage", "google.cloud.bigquery", "google.api_core", "grpc", "boto3", "azure")


@pytest.mark.parametrize("name", function_names())
def test_a_functions_import_loads_no_client_and_nothing_heavy(name: str) -> None:
    script = "import json, sys, main; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(run_python(name, "-c", script).stdout))
    assert loaded & {"etl_runner.http", "etl_runner.events.serve"}
    assert loaded & {*HEAVY, *CLIENTS, *MODELS} == set()


def test_there_are_functions_to_measure() -> None:
    assert {"trigger", "plan", "finalize"} <= set(function_names(ROOT))


def test_a_heavy_import_is_named() -> None:
    assert "imports pandas" in table([ColdStart("plan", 0.5, 0.4, 0.9, 0.8, 300, ("pandas",))])


@pytest.mark.parametrize("kind", FORMATS)
def test_a_task_over_files_loads_no_other_source_and_no_other_format(kind: str, tmp_path: Path) -> None:
    rows = 7
    file = file_of(tmp_path, rows, kind)
    script = (
        "import json, sys, etl_runner.execution.entry, benchmarks.file_task as task; task.main(); "
        "print(json.dumps(sorted(sys.modules)))"
    )
    command = [sys.executable, "-c", script, str(file), str(rows), "1", str(tmp_path)]
    done = subprocess.run(command, env=environment(), check=True, stdout=subprocess.PIPE)
    loaded = set(json.loads(done.stdout))
    others = {name for other, names in FORMATS.items() if other != kind for name in names}
    # Arrow loads numpy, and plans are made of documents' models.
    assert loaded & ({*HEAVY, *CLIENTS, *OTHER_SOURCES, *others} - {"numpy", "pyarrow"}) == set()
    assert loaded.issuperset(FORMATS[kind])
