"""A laboratory for each test: a database, a destination and sources of its own on the running topology."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.stack import Stack
from tests.conftest import Database
from tests.integration.exactness.lab import Lab


@pytest.fixture(scope="session")
def password_file(server_dir: Path, stack: Stack) -> Path:
    """The database's password, where functions and tasks find it by a reference."""
    path = server_dir / "password"
    path.touch(mode=0o600)
    path.write_text(stack.postgres.password)
    return path


@pytest.fixture
def lab(
    stack: Stack, postgres: Database, password_file: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Lab]:
    """An empty laboratory; faults are disarmed after the test."""
    # The one client that takes its endpoint from the environment only.
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", stack.environ["PUBSUB_EMULATOR_HOST"])
    laboratory = Lab(stack, postgres, password_file)
    stack.bigquery.faults.clear()
    stack.bigquery.faults.forget_requests()
    yield laboratory
    stack.bigquery.faults.clear()
    laboratory.close()
