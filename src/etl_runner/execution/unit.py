"""One work unit, from the reader to its manifest.

Any attempt may die anywhere and any number of attempts may run at once: the shards of an attempt bear
its random token, and the create-only manifest decides which attempt counts.
"""

from __future__ import annotations

import datetime as dt
import logging
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from etl_runner import jsontypes
from etl_runner.convert.cast import Converter
from etl_runner.convert.casting import Casting
from etl_runner.convert.rejects import Reject
from etl_runner.errors import CorruptStateError, ObjectExists, PermanentError
from etl_runner.execution.manifest import Manifest, manifest_name, rejects_name, shard_name
from etl_runner.execution.shard_writer import ShardWriter, WriterOptions, delete_quietly
from etl_runner.execution.tally import Tally
from etl_runner.planning.plan import PlanHeader, WorkUnit
from etl_runner.sources.base import Reader
from etl_runner.state.objects import ObjectStore

log = logging.getLogger(__name__)

JSON_LINES = "application/x-ndjson"


def read_manifest(
    objects: ObjectStore, header: PlanHeader, unit: str, snapshot: str | None = None
) -> Manifest | None:
    """The unit's manifest, or None while no attempt has finished.

    Raises:
        CorruptStateError: the object is not the manifest of this unit.
    """
    name = manifest_name(header.run_id, header.epoch, unit, snapshot)
    stored = objects.read(name)
    return None if stored is None else parse_manifest(name, unit, stored.data)


def parse_manifest(name: str, unit: str, data: bytes) -> Manifest:
    """Read a manifest's bytes and check that they add up.

    Raises:
        CorruptStateError: they do not, or belong to another unit.
    """
    try:
        manifest = Manifest.from_json(jsontypes.loads(data))
    except (ValueError, TypeError, KeyError) as error:
        raise CorruptStateError(f"the manifest {name} cannot be read") from error
    whole = manifest.read == manifest.rows + manifest.rejects
    if manifest.files:
        whole = whole and manifest.rows == sum(file.rows for file in manifest.files)
        whole = whole and manifest.rejects == sum(file.rejects for file in manifest.files)
    if manifest.unit != unit or not whole or manifest.rows != sum(shard.rows for shard in manifest.shards):
        raise CorruptStateError(f"the manifest {name} does not add up or is not that of unit {unit}")
    return manifest


def execute_unit(
    reader: Reader,
    unit: WorkUnit,
    header: PlanHeader,
    objects: ObjectStore,
    *,
    workdir: Path,
    casting: Casting | None = None,
    known_undone: bool = False,
    snapshot: str | None = None,
    options: WriterOptions | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> Manifest:
    """Read, convert, write and record one unit; if that has been done already, just say so.

    Args:
        reader: open at the source; used by this thread alone.
        workdir: where a shard lies until it is uploaded.
        casting: the plan's, for all of its units; made of the header where there is none.
        known_undone: the caller has seen that there is no manifest, so it is not looked for before the
            work; should there be one by now, it counts all the same.
        snapshot: the token of the snapshot that the reader sees, for plans of one snapshot.
        on_batch: called after each batch with the rows read so far; what it raises ends the attempt.

    Returns:
        The manifest that counts: this attempt's, or that of another one that was first.

    Raises:
        PermanentError: the source refuses, a column cannot be cast, or a row does not fit and
            ``on_bad_row`` is ``fail`` (or more rows than ``max_rejects``). FileError where one file is to
            blame.
        RetryableError: source or store failed in a way that may pass.
    """
    found = None if known_undone else read_manifest(objects, header, unit.id, snapshot)
    if found is not None:
        return found
    started = time.monotonic()
    attempt = secrets.token_hex(8)
    converter = Converter.sharing(casting or Casting.of(header), unit.id)
    tally = Tally(unit)

    def shard_object(number: int) -> str:
        return shard_name(header.run_id, header.epoch, unit.id, attempt, number)

    with (
        ShardWriter(objects, shard_object, converter.schema, workdir, options) as writer,
        _Rejects(header, unit.id, workdir / f"{unit.id}-{attempt}.jsonl") as rejects,
    ):
        rows = bad = 0
        for read in reader.read(unit):
            file, first = read.file, converter.read + 1
            with tally.blaming(file):
                converted = converter.convert(read.batch, file)
                written = converted.batch.num_rows
                unfit = converted.rejects
                rejects.add(tally.rejects_of(file, read.bad, unfit, first, written, read.lines, read.places))
            rows += written
            bad += len(read.bad)
            if written:
                writer.write(converted.batch)
            # Neither the batch nor its conversion is kept while the next one is being read.
            del read, converted
            if on_batch is not None:
                on_batch(converter.read + bad)
        shards = writer.finish()
        total = converter.read + bad
        rejects_object = rejects.upload(objects, rejects_name(header.run_id, header.epoch, unit.id, attempt))
        written = sum(shard.rows for shard in shards)
        if not total == rows + rejects.count == written + rejects.count:
            raise PermanentError(
                f"unit {unit.id} read {total} rows but wrote {written} and rejected {rejects.count}"
            )
        manifest = Manifest(
            unit=unit.id,
            attempt=attempt,
            rows=written,
            read=total,
            rejects=rejects.count,
            bytes=sum(shard.bytes for shard in shards),
            shards=shards,
            rejects_object=rejects_object,
            seconds=round(time.monotonic() - started, 3),
            finished=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            snapshot=snapshot,
            files=tally.files(),
        )
    return _publish(objects, header, manifest)


def _publish(objects: ObjectStore, header: PlanHeader, manifest: Manifest) -> Manifest:
    """Create the manifest. If another attempt was first, its manifest counts and our shards go.

    An error here says nothing about whether the manifest exists, so the shards stay: the next attempt
    finds out.
    """
    name = manifest_name(header.run_id, header.epoch, manifest.unit, manifest.snapshot)
    try:
        objects.create(name, jsontypes.dumps(manifest.to_json()))
        return manifest
    except ObjectExists:
        winner = read_manifest(objects, header, manifest.unit, manifest.snapshot)
    if winner is None:
        raise CorruptStateError(f"the manifest {name} exists and cannot be found")
    if winner.attempt != manifest.attempt:
        log.info("unit %s was finished by another attempt", manifest.unit)
        discard(objects, manifest)
    return winner


def discard(objects: ObjectStore, manifest: Manifest) -> None:
    """Delete the shards and rejects of an attempt that does not count."""
    names = [shard.name for shard in manifest.shards]
    delete_quietly(objects, [*names, *([manifest.rejects_object] if manifest.rejects_object else [])])


class _Rejects:
    """The rejects of one attempt, kept in a local file so that many of them need no memory."""

    def __init__(self, header: PlanHeader, unit: str, path: Path) -> None:
        self._header = header
        self._unit = unit
        self._path = path
        self._file: IO[bytes] | None = None
        self.count = 0

    def __enter__(self) -> _Rejects:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)

    def add(self, rejects: tuple[Reject, ...]) -> None:
        """Keep the rejects.

        Raises:
            PermanentError: the source's document does not allow them.
        """
        if not rejects:
            return
        first = rejects[0]
        what = f"column {first.column!r} {first.reason}" if first.column else f"the row {first.reason}"
        if self._header.on_bad_row == "fail":
            raise PermanentError(
                f"{first.place}: {what}; correct the value or the type, or set on_bad_row: reject"
            )
        self.count += len(rejects)
        if self.count > self._header.max_rejects:
            raise PermanentError(
                f"unit {self._unit} has more bad rows than max_rejects allows ({self._header.max_rejects}); "
                f"{first.place}: {what}"
            )
        if self._file is None:
            self._file = self._path.open("wb")
        run = {
            "source_id": self._header.source_id,
            "run_id": self._header.run_id,
            # The same for all attempts, as _etl_loaded_at is.
            "rejected_at": self._header.created,
        }
        self._file.writelines(reject.to_line(**run) for reject in rejects)

    def upload(self, objects: ObjectStore, name: str) -> str | None:
        """Write the rejects object, if there are any, and return its name."""
        if self._file is None:
            return None
        self._file.flush()
        try:
            objects.create_from_file(name, str(self._path), JSON_LINES)
        except ObjectExists:
            # The name holds this attempt's random token: a lost response hid our own success.
            log.debug("rejects %s had been written", name)
        return name
