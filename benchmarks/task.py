"""A runner task over a measured table, with a folder in place of the staging bucket."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from etl_runner.commit.close import RunKey
from etl_runner.config.parse import parse_source
from etl_runner.config.resolved import ResolvedSource
from etl_runner.config.secrets import EnvFileResolver
from etl_runner.planning.destination import Tables
from etl_runner.planning.plan import Plan
from etl_runner.planning.planner import Planner
from etl_runner.settings import Settings
from etl_runner.sources.base import Source
from etl_runner.sources.registry import build_source
from etl_runner.state.document import State
from etl_runner.state.memory import MemoryObjectStore
from etl_runner.state.objects import ObjectInfo

PASSWORD = "BENCHMARK_PASSWORD"
UNIT_ROWS = 50_000


class FolderStore(MemoryObjectStore):
    """Keeps shards as files, so that the measured memory is the task's own."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def create_from_file(self, name: str, path: str, content_type: str) -> ObjectInfo:
        del content_type
        target = self._folder / name.replace("/", "_")
        os.link(path, target)
        return ObjectInfo(name, target.stat().st_size, 1)


class NoTables:
    """A dataset without tables."""

    def get_table(self, path: str) -> dict[str, Any] | None:
        """None: there is no such table."""
        del path
        return None

    def dataset_location(self, path: str) -> str | None:
        """Where the dataset is."""
        del path
        return "EU"


def document_of(url: str, table: str, **more: Any) -> dict[str, Any]:
    """The source document of a table, read by its increasing key, with ``more`` in it; the password is in the
    environment afterwards."""
    parts = urlsplit(url)
    os.environ[PASSWORD] = unquote(parts.password or "")
    source_type = "postgresql" if url.startswith("postgresql") else "mysql"
    return {
        "source_type": source_type,
        "source_table_name": table,
        "load_type": "transactional",
        "incrementing_column": "id",
        "dest_table_name": "orders",
        "connection_params": {
            "source_type": source_type,
            "host": parts.hostname,
            "port": parts.port,
            "database": parts.path.lstrip("/"),
            "username": unquote(parts.username or ""),
            "password": {"env": PASSWORD},
        },
        **more,
    }


def resolve(url: str, table: str, **more: Any) -> ResolvedSource:
    """``document_of`` a table, with its defaults."""
    document = document_of(url, table, **more)
    return parse_source(document, name="sources/orders.yaml", source_id="orders").resolve()


def open_source(resolved: ResolvedSource) -> Source:
    """The source, as a worker builds it."""
    return build_source(resolved, EnvFileResolver())


def make_plan(
    resolved: ResolvedSource,
    slots: int,
    open_it: Callable[[ResolvedSource], Source] = open_source,
    tables: Tables | None = None,
) -> Plan:
    """The plan of a first run, ``slots`` readers in one task."""
    settings = Settings(
        project="p",
        location="EU",
        bigquery_location="EU",
        dataset="d",
        config_bucket="config",
        state_bucket="state",
        staging_bucket="staging",
        unit_rows=UNIT_ROWS,
        max_tasks=1,
        task_slots=slots,
    )
    planner = Planner(
        settings, tables or NoTables(), open_it, lambda *_: set(), lambda: "there is no Dataflow"
    )
    return planner.make_plan(resolved, RunKey("orders", "benchmark", 1), State())
