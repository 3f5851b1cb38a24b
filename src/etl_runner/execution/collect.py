"""What the attempts at a run's units add up to, read by the step that commits it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from etl_runner import jsontypes
from etl_runner.errors import CorruptStateError, PermanentError
from etl_runner.execution.failures import read_failures
from etl_runner.execution.manifest import Manifest, Shard, manifest_name, manifest_prefix, snapshot_name
from etl_runner.execution.unit import parse_manifest
from etl_runner.planning.plan import Plan, PlanHeader
from etl_runner.state.objects import ObjectStore

THREADS = 16
"""Objects read at the same time."""
FEW = 2
T = TypeVar("T")
R = TypeVar("R")
NAMED = 5
"""Missing units that an error names, at most."""
_MAGIC = b"PAR1"
_END = 8
"""A Parquet file ends in the footer, its length (4 bytes, little endian) and the magic.
https://parquet.apache.org/docs/file-format/"""
_TAIL = 64 * 1024


def collect_manifests(objects: ObjectStore, header: PlanHeader, unit_ids: Sequence[str]) -> list[Manifest]:
    """The manifest of every unit, in the order of ``unit_ids``: one listing, then parallel reads.

    Raises:
        PermanentError: units have no manifest; names them and says why where that was recorded.
        CorruptStateError: a manifest cannot be read or does not add up.
    """
    run_id, epoch = header.run_id, header.epoch
    snapshot = completed_snapshot(objects, header) if header.snapshot else None
    if header.snapshot and snapshot is None and unit_ids:
        raise _incomplete(objects, header, list(unit_ids))
    there = {info.name for info in objects.list(manifest_prefix(run_id, epoch, snapshot))}
    names = {unit: manifest_name(run_id, epoch, unit, snapshot) for unit in unit_ids}
    missing = [unit for unit, name in names.items() if name not in there]
    if missing:
        raise _incomplete(objects, header, missing)

    def read(unit: str) -> Manifest:
        name = names[unit]
        stored = objects.read(name)
        if stored is None:
            raise CorruptStateError(f"the manifest {name} was listed and cannot be found")
        return parse_manifest(name, unit, stored.data)

    return each(read, unit_ids)


def collect_verified(objects: ObjectStore, plan: Plan) -> list[Manifest]:
    """The manifests of all units of a plan, every shard compared with its footer.

    Raises:
        PermanentError: units are missing, or a shard is not what its manifest says.
    """
    manifests = collect_manifests(objects, plan.header, [unit.id for unit in plan.units])
    verify_footers(objects, [shard for manifest in manifests for shard in manifest.shards])
    return manifests


def completed_snapshot(objects: ObjectStore, header: PlanHeader) -> str | None:
    """The token of the snapshot that counts, or None while no task has finished one.

    Raises:
        CorruptStateError: the object that names it cannot be read.
    """
    name = snapshot_name(header.run_id, header.epoch)
    stored = objects.read(name)
    if stored is None:
        return None
    try:
        return str(jsontypes.loads(stored.data)["snapshot"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptStateError(f"{name} does not name a snapshot") from error


def verify_footers(objects: ObjectStore, shards: Sequence[Shard]) -> int:
    """Compare every shard with its manifest: it is there, has the size and, by its Parquet footer, the
    rows. Returns the rows of all shards.

    Raises:
        PermanentError: a shard is missing or is another one than the manifest says.
    """
    return sum(each(lambda shard: _verify(objects, shard), shards))


def each(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """The function's results, many at the same time; a few are not worth starting threads for."""
    if len(items) <= FEW:
        return [function(item) for item in items]
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, items))


def read_footer(objects: ObjectStore, shard: Shard) -> bytes:
    """The shard's Parquet footer, length and magic; as much is read of the object as they need.

    Raises:
        PermanentError: the shard is gone or is no Parquet file.
    """
    found = objects.read_tail(shard.name, _TAIL)
    if found is None:
        raise PermanentError(f"the shard {objects.uri(shard.name)} is gone: run again")
    tail, size = found
    if size != shard.bytes:
        raise PermanentError(
            f"the shard {objects.uri(shard.name)} has {size} bytes and its manifest says {shard.bytes}: "
            f"run again"
        )
    footer = _footer(tail)
    if footer is None and len(tail) >= _END and tail.endswith(_MAGIC):
        # A footer of many columns and row groups is larger than the first read.
        needed = int.from_bytes(tail[-_END:-4], "little") + _END
        again = objects.read_tail(shard.name, needed) if needed <= size else None
        footer = _footer(again[0]) if again is not None else None
    if footer is None:
        raise PermanentError(f"the shard {objects.uri(shard.name)} is not a Parquet file: run again")
    return footer


def _verify(objects: ObjectStore, shard: Shard) -> int:
    rows = _rows(read_footer(objects, shard))
    if rows != shard.rows:
        raise PermanentError(
            f"the shard {objects.uri(shard.name)} has {rows} rows and its manifest says {shard.rows}: "
            f"run again"
        )
    return rows


def _footer(tail: bytes) -> bytes | None:
    """Footer, length and magic, or None when ``tail`` does not hold all of them."""
    if len(tail) < _END or not tail.endswith(_MAGIC):
        return None
    length = int.from_bytes(tail[-_END:-4], "little") + _END
    return tail[-length:] if length <= len(tail) else None


def _rows(footer: bytes) -> int:
    # Only whoever verifies pays for the import.
    import pyarrow as pa
    import pyarrow.parquet as pq

    return int(pq.read_metadata(pa.BufferReader(footer)).num_rows)


def _incomplete(objects: ObjectStore, header: PlanHeader, missing: list[str]) -> PermanentError:
    named = ", ".join(missing[:NAMED]) + (f" and {len(missing) - NAMED} more" if len(missing) > NAMED else "")
    text = f"{len(missing)} of {header.units} units of run {header.run_id} were not extracted: {named}"
    gone = set(missing)
    failures = read_failures(objects, header)
    # Of the recorded reasons, one of a missing unit or of a whole task says most.
    reason = next((f for f in failures if f.unit in gone or f.unit.startswith("task-")), None)
    if reason is None:
        return PermanentError(text)
    # Most messages of units name the unit themselves.
    said = reason.message if reason.unit in reason.message else f"{reason.unit}: {reason.message}"
    return PermanentError(f"{text}; {said}" if len(missing) > 1 else said)
