"""Commit records: what a commit will do, written before it does anything.

``sources/<id>/commits/<epoch>-<run_id>.json`` is create-only and outside every lifecycle rule: whoever
finds a slot in ``committing`` executes the record, and everybody executes the same one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from etl_runner import jsontypes
from etl_runner.errors import CorruptStateError, ObjectExists
from etl_runner.state.objects import ObjectStore

RECORD_FORMAT = 1


@dataclass(frozen=True)
class Preparation:
    """An idempotent table operation before a step's job: ``create`` a table that may exist already, or
    ``add_columns`` that may be there already. ``table`` is the API's Table resource."""

    action: Literal["create", "add_columns"]
    table: dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One BigQuery job of a commit. ``configuration`` is the API's JobConfiguration; ``rows`` what the
    job must write, or None where it need not be checked."""

    kind: Literal["load", "query"]
    configuration: dict[str, Any]
    rows: int | None
    prepare: tuple[Preparation, ...] = ()


@dataclass(frozen=True)
class RejectsLoad:
    """The load of a committed run's rejects: ``rows`` of them into ``table_path``. ``configuration`` is the
    API's JobConfiguration, ``table`` the Table resource to create where there is none."""

    table_path: str
    rows: int
    configuration: dict[str, Any]
    table: dict[str, Any]


@dataclass(frozen=True)
class Originals:
    """The source's own files, which the first job loads; none of them may have changed until it is done."""

    config: dict[str, Any]
    """The resolved source, which says whose bucket it is."""
    files: tuple[tuple[str, str], ...]
    """Name and planned version of each."""


@dataclass(frozen=True)
class CommitRecord:
    """A run's commit: its jobs in order, and what the state becomes when the last one is done. Without any
    ``steps`` (all rows were rejected) the change of the state is the commit."""

    source_id: str
    run_id: str
    epoch: int
    location: str
    rows: int
    steps: tuple[Step, ...]
    watermark: dict[str, Any] | None
    ledger_segment: str | None
    receipt: dict[str, Any]
    """The receipt of success as far as it is known before the jobs ran."""
    drop_tables: tuple[str, ...] = field(default_factory=tuple)
    """Staging tables to remove afterwards, ``project.dataset.table``."""
    rejects: RejectsLoad | None = None
    originals: Originals | None = None

    def to_json(self) -> bytes:
        return jsontypes.dumps({"format": RECORD_FORMAT, **vars(self)})

    @classmethod
    def from_json(cls, data: bytes) -> CommitRecord:
        value = jsontypes.loads(data)
        if value.pop("format") != RECORD_FORMAT:
            raise CorruptStateError("a commit record of another format: deploy the release that wrote it")
        steps = tuple(
            Step(**{**step, "prepare": tuple(Preparation(**action) for action in step["prepare"])})
            for step in value["steps"]
        )
        rejects = RejectsLoad(**value["rejects"]) if value.get("rejects") else None
        originals = None
        if found := value.get("originals"):
            originals = Originals(found["config"], tuple((name, version) for name, version in found["files"]))
        return cls(
            **{
                **value,
                "steps": steps,
                "drop_tables": tuple(value["drop_tables"]),
                "rejects": rejects,
                "originals": originals,
            }
        )


class CommitRecords:
    """One source's commit records in the state bucket."""

    def __init__(self, objects: ObjectStore, source_id: str) -> None:
        self._objects = objects
        self._source_id = source_id

    def write(self, record: CommitRecord) -> CommitRecord:
        """Write the record and return the one that counts: an earlier one, if there is one."""
        try:
            self._objects.create(self._name(record.run_id, record.epoch), record.to_json())
        except ObjectExists:
            return self.read(record.run_id, record.epoch)
        return record

    def read(self, run_id: str, epoch: int) -> CommitRecord:
        """The record of a run.

        Raises:
            CorruptStateError: there is none; a slot in ``committing`` always has one.
        """
        record = self.find(run_id, epoch)
        if record is None:
            name = self._objects.uri(self._name(run_id, epoch))
            raise CorruptStateError(f"commit record {name} is gone: restore the object")
        return record

    def find(self, run_id: str, epoch: int) -> CommitRecord | None:
        """The record of a run, or None when it has none."""
        stored = self._objects.read(self._name(run_id, epoch))
        return None if stored is None else CommitRecord.from_json(stored.data)

    def _name(self, run_id: str, epoch: int) -> str:
        return f"sources/{self._source_id}/commits/{epoch}-{run_id}.json"
