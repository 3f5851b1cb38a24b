"""What the front remembers of jobs: where they are, and those that it failed itself."""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path

from etl_runner.jsontypes import JsonObject

_TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
    project TEXT NOT NULL,
    job_id TEXT NOT NULL,
    location TEXT NOT NULL,
    resource TEXT,
    PRIMARY KEY (project, job_id)
)
"""


class JobRegistry:
    """Jobs by (project, job id), kept in a file so that they outlive the front.

    A row without a resource is a job of local-bigquery's, of which only the location is kept here; a row
    with one is a job that the front failed, and the resource is all there is of it.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.execute(_TABLE)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def claim(self, project: str, job_id: str, location: str) -> bool:
        """Note where a job is about to be; False when the id belongs to a job that the front failed."""
        with self._lock:
            row = self._row(project, job_id)
            if row is not None and row[1] is not None:
                return False
            if row is None:
                self._connection.execute(
                    "INSERT INTO jobs VALUES (?, ?, ?, NULL)", (project, job_id, location)
                )
            return True

    def fail(self, project: str, job_id: str, location: str, resource: JsonObject) -> bool:
        """Keep a job that the front failed; False when the id is taken already."""
        with self._lock:
            cursor = self._connection.execute(
                "INSERT OR IGNORE INTO jobs VALUES (?, ?, ?, ?)",
                (project, job_id, location, json.dumps(resource)),
            )
            return cursor.rowcount == 1

    def location(self, project: str, job_id: str) -> str | None:
        """Where a job is, if it came through the front."""
        with self._lock:
            row = self._row(project, job_id)
        return row[0] if row else None

    def failed(self, project: str, job_id: str) -> JsonObject | None:
        """The resource of a job that the front failed."""
        with self._lock:
            row = self._row(project, job_id)
        if row is None or row[1] is None:
            return None
        resource: JsonObject = json.loads(row[1])
        return resource

    def _row(self, project: str, job_id: str) -> tuple[str, str | None] | None:
        found: tuple[str, str | None] | None = self._connection.execute(
            "SELECT location, resource FROM jobs WHERE project = ? AND job_id = ?", (project, job_id)
        ).fetchone()
        return found
