"""A unit's result. The create-only object decides which attempt at the unit counts.

Names in the staging bucket::

    runs/<run_id>/<epoch>/units/<unit>.json                        one manifest a unit
    runs/<run_id>/<epoch>/units/<snapshot>/<unit>.json             when all units share one snapshot
    runs/<run_id>/<epoch>/snapshot.json                            names the snapshot that was completed
    runs/<run_id>/<epoch>/shards/<unit>-<attempt>-<n>.parquet
    runs/<run_id>/<epoch>/rejects/<unit>-<attempt>.jsonl
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from etl_runner.planning.plan import run_prefix


@dataclass(frozen=True)
class Shard:
    """One Parquet file: object name in the staging bucket, rows, size in bytes, MD5 as base64 (or None)."""

    name: str
    rows: int
    bytes: int
    md5: str | None = None


@dataclass(frozen=True)
class FileRows:
    """What one unit read of one file: ``rows`` that are in its shards, and ``rejects``. Of a file that is
    read in parts each unit has its share."""

    uri: str
    version: str
    rows: int
    rejects: int


@dataclass(frozen=True)
class Manifest:
    """What one attempt at one unit produced. ``read == rows + rejects`` always."""

    unit: str
    attempt: str
    rows: int
    """Rows in the shards."""
    read: int
    """Rows that came from the source."""
    rejects: int
    bytes: int
    """Bytes of all shards."""
    shards: tuple[Shard, ...]
    rejects_object: str | None = None
    seconds: float = 0.0
    finished: str = ""
    """RFC 3339, UTC."""
    snapshot: str | None = None
    files: tuple[FileRows, ...] = ()
    """For units of files: every file of the unit, one without rows included; they add up to ``read``."""

    def to_json(self) -> dict[str, Any]:
        # dataclasses.asdict copies every value deeply, which takes ten times as long.
        return {
            **vars(self),
            "shards": [dict(vars(shard)) for shard in self.shards],
            "files": [dict(vars(file)) for file in self.files],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Manifest:
        return cls(
            **{
                **value,
                "shards": tuple(Shard(**shard) for shard in value["shards"]),
                "files": tuple(FileRows(**file) for file in value.get("files", ())),
            }
        )


def manifest_prefix(run_id: str, epoch: int, snapshot: str | None = None) -> str:
    """The folder of a run's manifests."""
    folder = f"{run_prefix(run_id, epoch)}units/"
    return folder if snapshot is None else f"{folder}{snapshot}/"


def manifest_name(run_id: str, epoch: int, unit: str, snapshot: str | None = None) -> str:
    """The object that holds one unit's manifest."""
    return f"{manifest_prefix(run_id, epoch, snapshot)}{unit}.json"


def snapshot_name(run_id: str, epoch: int) -> str:
    """The object that names the completed snapshot: ``{"snapshot": "<token>"}``."""
    return f"{run_prefix(run_id, epoch)}snapshot.json"


def shard_name(run_id: str, epoch: int, unit: str, attempt: str, number: int) -> str:
    """The object that holds one shard."""
    return f"{run_prefix(run_id, epoch)}shards/{unit}-{attempt}-{number}.parquet"


def rejects_name(run_id: str, epoch: int, unit: str, attempt: str) -> str:
    """The object that holds the rejects of one attempt at a unit."""
    return f"{run_prefix(run_id, epoch)}rejects/{unit}-{attempt}.jsonl"
