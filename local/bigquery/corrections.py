"""local-bigquery with corrections; a script that runs in local-bigquery's own environment.

Started by :mod:`local.bigquery.process` with that environment's Python; it takes local-bigquery's own
command line. Each correction replaces one function of version 0.3.2 (fixed in requirements.txt) where it
departs from the BigQuery API reference in a way that the project relies on:

- ``tables.write``: a load that creates a table gives it the declared schema, REQUIRED included;
  WRITE_TRUNCATE_DATA keeps the table and its schema, adds columns only with ALLOW_FIELD_ADDITION and
  leaves everything as it was when it fails; ALLOW_FIELD_RELAXATION relaxes; each write changes
  lastModifiedTime and the etag.
- ``tables._alter``: a changed schema adds fields inside RECORDs too.
- ``tables.load``: numRows counts the rows, also after deletions.
- ``load._projection``: BYTES columns of Parquet are bytes, not base64 text; a declared column that the
  files lack is NULL.
- ``load._reader``: decimals that DuckDB would read as floating point are read exactly, and refused when
  the stand-in's BIGNUMERIC, DECIMAL(38, 18), cannot hold them.
- ``database.writing`` and what creates, changes or drops tables: one writer at a time. DuckLake can lose
  one of two tables that are created at the same moment.
- ``runner.submit``: of two submissions of one job id at the same moment only one is accepted.
- ``read._query``: a read session's snapshot_time is kept, and its ranges are structs of start and end.
- ``load.run``: one load at a time. The first ones after the start define the storage emulator to DuckDB,
  which must not happen twice at once; and several DuckDB readers of fake-gcs-server at once now and then get
  a piece of a file for an answer, and fail with an error that is not even text.
- ``database._connect``: DuckDB computes with as many threads as ``ETL_LOCAL_BIGQUERY_THREADS`` says, where it
  is set. Of the tests' small tables it takes up to a quarter less of the processor with one than with two.
"""

from __future__ import annotations

import contextlib
import decimal
import functools
import importlib.metadata
import os
import threading
from collections.abc import Iterator
from typing import Any

import duckdb  # type: ignore[import-not-found]
import pyarrow as pa
import pyarrow.parquet as pq
from local_bigquery import cli  # type: ignore[import-not-found]
from local_bigquery.catalog import datasets, metadata, names, tables  # type: ignore[import-not-found]
from local_bigquery.engine import database, results, types  # type: ignore[import-not-found]
from local_bigquery.errors import BigQueryError, already_exists, not_found  # type: ignore[import-not-found]
from local_bigquery.grpc import read  # type: ignore[import-not-found]
from local_bigquery.jobs import load, query, runner  # type: ignore[import-not-found]
from local_bigquery.models import Table  # type: ignore[import-not-found]
from local_bigquery.sql import translate  # type: ignore[import-not-found]

VERSION = "0.3.2"
_WIDEST_SCALE = 18
_WIDEST_PRECISION = 38
_INCOMING = 'temp.main."_incoming"'

_load_lock = threading.Lock()
_snapshot = threading.local()
_writer_lock = threading.RLock()
_original_reader = load._reader
_original_projection = load._projection
_original_layout = tables.layout
_original_load = tables.load
_original_alter = tables._alter
_original_run = query._run
_original_column = read._column
_original_session = read.create_session
_original_connect = database._connect


@functools.cache
def connect() -> Any:
    """The connection of which all others are cursors."""
    connection = _original_connect.__wrapped__()
    if threads := os.environ.get("ETL_LOCAL_BIGQUERY_THREADS"):
        connection.execute(f"SET threads = {int(threads)}")
    return connection


@contextlib.contextmanager
def writing(*_table: str) -> Iterator[None]:
    """Exclusive right to write; the original is exclusive per table only."""
    with _writer_lock:
        yield


def exclusively(function: Any, lock: Any = _writer_lock) -> Any:
    """The function, run by one thread at a time."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        with lock:
            return function(*args, **kwargs)

    return run


def run_statement(cur: Any, tree: Any, *args: Any, **kwargs: Any) -> Any:
    """One SQL statement; DDL has the right to write."""
    with _writer_lock if isinstance(tree, query.DDL) else contextlib.nullcontext():
        return _original_run(cur, tree, *args, **kwargs)


def session(request: Any) -> Any:
    """A read session: of the table as it was at the session's snapshot_time, where it has one."""
    asked = request.read_session
    _snapshot.at = asked.table_modifiers.snapshot_time if "snapshot_time" in asked.table_modifiers else None
    try:
        return _original_session(request)
    finally:
        _snapshot.at = None


def session_sql(sql: str) -> Any:
    """The session's SELECT, parsed: its one table as of the session's snapshot_time."""
    at = getattr(_snapshot, "at", None)
    if at is not None:
        select, table, rest = sql.split("`", 2)
        sql = f"{select}`{table}` FOR SYSTEM_TIME AS OF TIMESTAMP '{at.isoformat()}'{rest}"
    return translate.parse(sql)


def session_column(name: str, kind: Any, data_format: Any) -> str:
    """A column of a session; a RANGE is a struct of start and end."""
    if types.field(name, kind).type != "RANGE":
        return str(_original_column(name, kind, data_format))
    quoted = database.quote(name)
    if kind.id == "list":
        return f"list_transform(coalesce({quoted}, []), item -> {_ends('item')}) AS {quoted}"
    return f"CASE WHEN {quoted} IS NULL THEN NULL ELSE {_ends(quoted)} END AS {quoted}"


def _ends(value: str) -> str:
    return "{" + ", ".join(f"'{end}': {value}.__range_{end}" for end in ("start", "end")) + "}"


def layout(columns: list[str], config: Any, write: str) -> Any:
    """Schema update options are allowed with WRITE_TRUNCATE_DATA too."""
    return _original_layout(columns, config, "WRITE_APPEND" if write == "WRITE_TRUNCATE_DATA" else write)


def projection(config: Any, fields: list[Any], columns: list[str]) -> Any:
    """The columns to select from a Parquet file, cast to their declared types."""
    if config.sourceFormat != "PARQUET" or not fields or config.hivePartitioningOptions:
        return _original_projection(config, fields, columns)
    present = {column.casefold() for column in columns}
    casts = [
        f"CAST({database.quote(field.name) if field.name.casefold() in present else 'NULL'} "
        f"AS {types.duckdb_type(field)}) AS {database.quote(field.name)}"
        for field in fields
    ]
    return ", ".join(casts), "false"


def reader(cur: Any, files: str, config: Any, fields: list[Any]) -> Any:
    """What to select from; wide decimals take the way over Arrow."""
    may_be_wide = not fields or any(_is_bignumeric(field) for field in fields)
    if config.sourceFormat == "PARQUET" and may_be_wide and _has_wide_decimals(cur, files):
        blobs = cur.sql(f"SELECT content FROM read_blob({files})").fetchall()
        loaded = [_narrowed(pq.read_table(pa.BufferReader(content))) for (content,) in blobs]
        cur.register("_load_source", pa.concat_tables(loaded, promote_options="default"))
        return "_load_source"
    return _original_reader(cur, files, config, fields)


def _is_bignumeric(field: Any) -> bool:
    return field.type in ("BIGNUMERIC", "BIGDECIMAL") or any(map(_is_bignumeric, field.fields or []))


def _has_wide_decimals(cur: Any, files: str) -> bool:
    found = cur.sql(
        f"SELECT count(*) FROM parquet_schema({files}) "
        f"WHERE precision > {_WIDEST_PRECISION} OR scale > {_WIDEST_SCALE}"
    ).fetchone()
    return bool(found and found[0])


def _narrowed(table: pa.Table) -> pa.Table:
    for index, field in enumerate(table.schema):
        kind = field.type
        if pa.types.is_decimal(kind) and (kind.precision > _WIDEST_PRECISION or kind.scale > _WIDEST_SCALE):
            try:
                column = _cast_narrow(table.column(index))
            except (pa.ArrowInvalid, decimal.Inexact) as error:
                raise BigQueryError(
                    "invalid",
                    f"Column {field.name} holds a value that the local stand-in cannot store: its BIGNUMERIC "
                    f"has {_WIDEST_PRECISION} digits, {_WIDEST_SCALE} of them fractional",
                ) from error
            table = table.set_column(index, field.name, column)
        elif pa.types.is_nested(kind) and "decimal256" in str(kind):
            raise BigQueryError(
                "invalid", f"The local stand-in cannot read wide decimals inside {field.name}"
            )
    return table


def _cast_narrow(column: Any) -> Any:
    """Arrow's cast; Python's decimals for what it refuses, which may fit (2 ** 65 - 1 at scale 38)."""
    narrow = pa.decimal128(_WIDEST_PRECISION, _WIDEST_SCALE)
    try:
        return column.cast(narrow)
    except pa.ArrowInvalid:
        unit = decimal.Decimal(1).scaleb(-_WIDEST_SCALE)
        exact = decimal.Context(prec=200, traps=[decimal.Inexact])
        values = column.to_pylist()
        return pa.array(
            [None if each is None else each.quantize(unit, context=exact) for each in values], narrow
        )


def alter(project_id: str, dataset_id: str, table_id: str, given: list[Any]) -> None:
    """Change a table's columns to the fields ``given``, nested ones included."""
    reference = (project_id, dataset_id, table_id)
    there = {field.name.casefold(): field for field in tables.columns(*reference)}
    _original_alter(*reference, given)
    for field in given:
        known = there.get(field.name.casefold())
        if known is not None:
            _alter_inside(tables.name(*reference), [known.name], known, field)


def _alter_inside(table: str, path: list[str], known: Any, given: Any) -> None:
    if known.mode == "REPEATED":
        path = [*path, "element"]
    there = {field.name.casefold(): field for field in known.fields or []}
    for field in given.fields or []:
        inside = there.get(field.name.casefold())
        if inside is not None:
            _alter_inside(table, [*path, inside.name], inside, field)
        elif there:
            where = ".".join(database.quote(part) for part in path)
            database.execute(f"ALTER TABLE {table} ADD COLUMN {where}.{types.column(field, nested=True)}")


def load_table(project_id: str, dataset_id: str, table_id: str) -> Any:
    """The table's resource, its rows counted instead of estimated."""
    resource = _original_load(project_id, dataset_id, table_id)
    if resource.type != "TABLE" or not tables.fields(resource):
        return resource
    ((rows,),) = database.fetch(f"SELECT count(*) FROM {tables.name(project_id, dataset_id, table_id)}")
    return resource.replace(numRows=str(rows))


def write(
    cur: Any,
    sql: str,
    params: Any,
    reference: tuple[str, str, str],
    config: Any,
    default: str = "WRITE_EMPTY",
    prefix: str = "Invalid schema update. ",
    isolated: bool = False,
) -> bool:
    """Write the rows of a query to a table under a job's dispositions; tells whether the table is new."""
    disposition = config.writeDisposition or default
    relation = cur.sql(sql, params=params)
    changes = layout(relation.columns, config, disposition)
    name, label = tables.name(*reference), names.label(*reference)
    declared = tables.fields(Table(schema=config.schema_)) if getattr(config, "schema_", None) else []
    with (
        database.writing(*reference),
        database.cursor() if isolated else contextlib.nullcontext(cur) as writer,
    ):
        found = tables.exists(*reference)
        bodiless = found and tables._lookup(*reference)[0] == "EMPTY"
        if not found and config.createDisposition == "CREATE_NEVER":
            raise not_found("Table", label)
        if (
            found
            and not bodiless
            and disposition == "WRITE_EMPTY"
            and cur.sql(f"SELECT 1 FROM {name} LIMIT 1").fetchone()
        ):
            raise already_exists("Table", label)
        keeps = found and not bodiless and disposition in ("WRITE_APPEND", "WRITE_TRUNCATE_DATA")
        clears = keeps and disposition == "WRITE_TRUNCATE_DATA"
        if clears and not declared and not isolated:
            # The query may read the very table that it replaces.
            cur.execute(f"CREATE OR REPLACE TEMP TABLE _incoming AS {sql}", params)
            sql, params = f"SELECT * FROM {_INCOMING}", None
        with _transaction(writer):
            if keeps:
                changes = _evolve(writer, reference, relation, config, declared, prefix, changes)
                if clears:
                    writer.execute(f"DELETE FROM {name}")
            elif declared:
                body = ", ".join(types.column(field) for field in declared)
                writer.execute(f"CREATE OR REPLACE TABLE {name} ({body})")
            append = keeps or bool(declared)
            results.materialise(cur, sql, name, params, append, writer if isolated else None)
        cur.execute(f"DROP TABLE IF EXISTS {_INCOMING}")
    if bodiless and declared:
        changes = changes.replace(schema=config.schema_.dump())
    tables.annotate(reference, changes.replace(lastModifiedTime=metadata.now()))
    return not found


def _evolve(
    writer: Any,
    reference: tuple[str, str, str],
    relation: Any,
    config: Any,
    declared: list[Any],
    prefix: str,
    changes: Any,
) -> Any:
    """Add and relax columns as the job allows; answers ``changes`` with the new columns' descriptions."""
    options = getattr(config, "schemaUpdateOptions", None) or []
    existing = {field.name.casefold(): field for field in tables.columns(*reference)}
    tables.evolve(writer, reference, relation, options, prefix)
    if "ALLOW_FIELD_RELAXATION" in options:
        for field in declared:
            known = existing.get(field.name.casefold())
            if known is not None and known.mode == "REQUIRED" and field.mode != "REQUIRED":
                writer.execute(
                    f"ALTER TABLE {tables.name(*reference)} "
                    f"ALTER COLUMN {database.quote(field.name)} DROP NOT NULL"
                )
    added = [field for field in declared if field.name.casefold() not in existing]
    if not added:
        return changes
    known_fields = tables.fields(tables.load(*reference))
    return changes.replace(schema={"fields": [field.dump() for field in [*known_fields, *added]]})


@contextlib.contextmanager
def _transaction(writer: Any) -> Iterator[None]:
    writer.execute("BEGIN TRANSACTION")
    try:
        yield
    except BaseException:
        # A failed statement may have ended the transaction already.
        with contextlib.suppress(duckdb.TransactionException):
            writer.execute("ROLLBACK")
        raise
    writer.execute("COMMIT")


def apply() -> None:
    """Put the corrections in place.

    Raises:
        RuntimeError: the installed local-bigquery is not the version that they were written for.
    """
    installed = importlib.metadata.version("local-bigquery")
    if installed != VERSION:
        raise RuntimeError(f"the corrections are for local-bigquery {VERSION}, installed is {installed}")
    database._connect = connect
    runner.HANDLERS["load"] = exclusively(load.run, _load_lock)
    load._reader = reader
    load._projection = projection
    tables.layout = layout
    tables.write = write
    tables.load = load_table
    tables._alter = alter
    database.writing = writing
    query._run = run_statement
    read._column = session_column
    read.parse = session_sql
    read.create_session = session
    runner.submit = exclusively(runner.submit, threading.Lock())
    for module, names_ in ((tables, ("create", "update", "delete")), (datasets, ("create", "delete"))):
        for name in names_:
            setattr(module, name, exclusively(getattr(module, name)))


if __name__ == "__main__":
    apply()
    cli.main()
