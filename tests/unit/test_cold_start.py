"""Functions are up before Google's clients are: their import loads none, and nothing heavy."""

from __future__ import annotations

import json

import pytest

from benchmarks.cold_start import HEAVY, ROOT, ColdStart, function_names, run_python, table

# Documents' models; a request that needs none starts without them.
MODELS = ("pydantic",)
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
