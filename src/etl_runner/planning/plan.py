"""The plan of a run: what every later step reads and nobody changes.

Stored create-only as JSON Lines in ``runs/<run_id>/<epoch>/plan.jsonl``: the header on line 1, then one
work unit a line, so that a worker reads the header and only its own units into memory. Of two planners
the second one finds the object there and uses the winner's plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from etl_runner import jsontypes
from etl_runner.convert.fields import BqField

Engine = Literal["none", "cloud_run", "dataflow", "bigquery"]
Disposition = Literal["append", "replace", "merge", "replace_range"]
UnitKind = Literal["whole", "range", "hash", "file"]
PLAN_FORMAT = 1
GIVEN = "given"
"""``rule`` in the detail of a window that a person gave."""


@dataclass(frozen=True)
class PlannedColumn:
    """One column on its way: name and type at the source, how it is read, field at the destination."""

    source: str
    """Name at the source."""
    source_type: str
    """Type as the source spells it, e.g. ``numeric(12,2)``, ``timestamp with time zone[]``."""
    destination: BqField
    expression: str | None = None
    """For databases: the select item that reads the column exactly (type guards included), unaliased."""

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "source_type": self.source_type,
            "destination": self.destination.to_api(),
            "expression": self.expression,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> PlannedColumn:
        return cls(
            source=value["source"],
            source_type=value["source_type"],
            destination=BqField.from_api(value["destination"]),
            expression=value.get("expression"),
        )


@dataclass(frozen=True)
class Window:
    """What a run covers. ``low`` and ``high`` are exact text as the source spells values, for people and
    for the source's own use; None means unbounded. ``detail`` is the source's own (e.g. xid horizons)."""

    kind: Literal["all", "cursor", "files"]
    column: str | None = None
    low: str | None = None
    high: str | None = None
    late: str | None = None
    """The late window, e.g. ``1h``; rows up to this much behind ``low`` are looked at again."""
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class WorkUnit:
    """The smallest thing a worker does; may be done any number of times with the same result."""

    id: str
    """``u00000`` onwards: sorts in planned order, largest unit first."""
    kind: UnitKind
    spec: dict[str, Any]
    """The source's own, e.g. ``{"where": "..."}``."""
    label: str
    """For people: ``time_hour [2013-01-01, 2013-02-01)``."""
    rows: int | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Workers:
    """The machines of a Dataflow job. Readers in all: ``count * processes * threads``."""

    count: int
    machine_type: str
    processes: int
    """Worker processes of one machine."""
    threads: int
    """Units that one process reads at the same time."""
    image: str
    """The container image that they run."""


@dataclass(frozen=True)
class Destination:
    """Where the rows go and how the table has to look."""

    project: str
    dataset: str
    table: str
    location: str
    exists: bool
    schema: tuple[BqField, ...]
    """All columns of the table once the run is committed (metadata columns included)."""
    added: tuple[str, ...] = ()
    """Columns of ``schema`` that an existing table lacks yet, and nested fields (``box.width``)."""
    partition_field: str | None = None
    partition_type: str | None = None
    """HOUR, DAY, MONTH, YEAR."""
    clustering: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """``project.dataset.table``."""
        return f"{self.project}.{self.dataset}.{self.table}"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "schema": [column.to_api() for column in self.schema]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Destination:
        return cls(
            **{
                **value,
                "schema": tuple(BqField.from_api(column) for column in value["schema"]),
                "added": tuple(value["added"]),
                "clustering": tuple(value["clustering"]),
            }
        )


@dataclass(frozen=True)
class PlanHeader:
    """Everything about a run that is not a unit."""

    source_id: str
    run_id: str
    epoch: int
    created: str
    """RFC 3339, UTC."""
    config: dict[str, Any]
    """The resolved source document, secrets as references."""
    config_hash: str
    source_type: str
    engine: Engine
    engine_reason: str
    disposition: Disposition
    window: Window
    columns: tuple[PlannedColumn, ...]
    destination: Destination
    units: int
    tasks: int
    slots: int
    """Units that one task reads at the same time. On Dataflow a worker process counts as a task."""
    estimated_rows: int | None
    estimated_bytes: int | None
    estimate_how: str
    read: dict[str, Any] = field(default_factory=dict)
    """What the source needs to read any unit, its own."""
    next_watermark: dict[str, Any] | None = None
    """What the state's watermark becomes when this run is committed; None leaves it as it is."""
    snapshot: bool = False
    """All units are read in one exported snapshot, by one task; its manifests count only together."""
    merge_keys: tuple[str, ...] = ()
    """For ``merge``: the destination columns that identify a row."""
    merge_order: str | None = None
    """For ``merge``: of several rows with one key, the one with the greatest value of this column stays. For
    ``replace_range``: the column that the window is about."""
    replaced_files: tuple[str, ...] = ()
    """For ``replace_range`` of files: the URIs of those whose rows give way."""
    merge_prune: str | None = None
    """For ``merge``: the partitioning column, where it cannot differ between the versions of a row."""
    direct: dict[str, Any] | None = None
    """For the engine ``bigquery``: ``query``, which gives the planned columns, and ``rows``, how many it
    gives exactly (None where nobody can know). Or, of files, ``files`` with their versions and rows, ``rows``
    of all, and ``staged``: whether they go through a staging table."""
    metadata: tuple[str, ...] = ()
    """Metadata columns wanted: ``_etl_run_id``, ``_etl_loaded_at``, ``_etl_source_file``."""
    on_bad_row: Literal["fail", "reject"] = "fail"
    max_rejects: int = 0
    allow_empty: bool = False
    ledger_segment: str | None = None
    """A ledger segment that was written with the plan and counts once the run is committed."""
    workers: Workers | None = None
    """For Dataflow."""
    notes: tuple[str, ...] = ()
    """For people: what is not guaranteed, what holds ``high`` back, what was counted."""

    def to_json(self) -> dict[str, Any]:
        return {
            "format": PLAN_FORMAT,
            **{name: getattr(self, name) for name in self.__dataclass_fields__},
            "window": asdict(self.window),
            "columns": [column.to_json() for column in self.columns],
            "destination": self.destination.to_json(),
            "workers": None if self.workers is None else asdict(self.workers),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> PlanHeader:
        if value.get("format") != PLAN_FORMAT:
            raise ValueError(f"plan format {value.get('format')!r} is not {PLAN_FORMAT}")
        known = {key: item for key, item in value.items() if key != "format"}
        return cls(
            **{
                **known,
                "window": Window(**value["window"]),
                "columns": tuple(PlannedColumn.from_json(column) for column in value["columns"]),
                "destination": Destination.from_json(value["destination"]),
                "merge_keys": tuple(value.get("merge_keys", ())),
                "replaced_files": tuple(value.get("replaced_files", ())),
                "metadata": tuple(value["metadata"]),
                "workers": Workers(**value["workers"]) if value.get("workers") else None,
                "notes": tuple(value["notes"]),
            }
        )


@dataclass(frozen=True)
class Plan:
    """A header and its units, in the order in which they should be done."""

    header: PlanHeader
    units: tuple[WorkUnit, ...]

    def to_jsonl(self) -> bytes:
        """Canonical bytes; equal plans give equal bytes."""
        lines = [jsontypes.dumps(self.header.to_json())]
        lines += [jsontypes.dumps(unit) for unit in self.units]
        return b"\n".join(lines) + b"\n"

    @classmethod
    def from_jsonl(cls, data: bytes) -> Plan:
        lines = data.splitlines()
        header = PlanHeader.from_json(jsontypes.loads(lines[0]))
        return cls(header, tuple(units_of(lines[1:])))


def units_of(lines: Iterable[bytes]) -> Iterator[WorkUnit]:
    """The work units on the lines after the header."""
    for line in lines:
        yield WorkUnit(**jsontypes.loads(line))


def run_prefix(run_id: str, epoch: int) -> str:
    """Where a run's staging objects live: ``runs/<run_id>/<epoch>/``."""
    return f"runs/{run_id}/{epoch}/"
