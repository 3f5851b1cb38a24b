"""functions/<f>/requirements.txt are what uv.lock says."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from tools.requirements import ROOT, LockError, current, requirements, targets


def test_each_function_has_the_locked_requirements() -> None:
    assert [path.parent.name for path in targets()] == [
        "file_arrival",
        "finalize",
        "plan",
        "sweep",
        "trigger",
    ]
    stale = [str(path.relative_to(ROOT)) for path in targets() if path.read_text() != current()]
    assert stale == [], "run `python -m tools.requirements`"


def test_they_hold_what_functions_import_and_nothing_of_the_pipeline_or_the_command() -> None:
    names = set(requirements(tomllib.loads((ROOT / "uv.lock").read_text())))
    assert {"functions-framework", "google-cloud-bigquery", "google-cloud-storage", "pydantic"} <= names
    assert "adbc-driver-postgresql" in names  # plan answers previews, which read as units do
    assert not {"etl-runner", "typer", "pytest", "pandas", "apache-beam"} & names


def lock(*packages: dict[str, Any], functions: list[dict[str, Any]]) -> dict[str, Any]:
    project = {"name": "etl-runner", "version": "0", "optional-dependencies": {"functions": functions}}
    return {"package": [project, *packages]}


def test_extras_and_markers_are_followed() -> None:
    found = requirements(
        lock(
            {"name": "a", "version": "1", "optional-dependencies": {"x": [{"name": "b"}]}},
            {"name": "b", "version": "2"},
            {"name": "c", "version": "3"},
            functions=[
                {"name": "a", "extra": ["x"]},
                {"name": "c", "marker": "sys_platform == 'win32'"},
            ],
        )
    )
    assert found == {"a": "1", "b": "2"}


def test_the_version_for_the_functions_runtime_is_taken() -> None:
    old = {"name": "a", "version": "1", "resolution-markers": ["python_full_version < '3.12'"]}
    new = {"name": "a", "version": "2", "resolution-markers": ["python_full_version >= '3.12'"]}
    assert requirements(lock(old, new, functions=[{"name": "a"}])) == {"a": "1"}


def test_a_package_that_is_not_locked_is_refused() -> None:
    with pytest.raises(LockError, match="0 versions of a"):
        requirements(lock(functions=[{"name": "a"}]))
