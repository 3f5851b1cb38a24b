"""What the catalog says about a table or a query: columns with their types, keys, indexes, the server.

A constant number of short queries over ``pg_catalog``, whatever the table's size.
https://www.postgresql.org/docs/current/catalogs.html
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from etl_runner.errors import ConfigError, PermanentError, Problem
from etl_runner.sources.postgres.connect import Control
from etl_runner.sources.postgres.types import PgType
from etl_runner.sources.quoting import qualified

_KINDS = {
    "r": "table",
    "p": "partitioned table",
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
}


@dataclass(frozen=True)
class PgColumn:
    """A column of a table or query."""

    name: str
    type: PgType
    declared: str
    """The type as the server spells it, domains by their names: ``numeric(12,2)``, ``email``."""
    nullable: bool = True
    note: str | None = None
    collation: str | None = None
    """Of a table's text column: its collation as SQL text."""


@dataclass(frozen=True)
class Relation:
    """A table or view, or a query in its place."""

    sql: str
    """What stands after FROM, without alias: ``"public"."orders"`` or ``(SELECT ...)``."""
    label: str
    """For people: ``public.orders``, ``the query``."""
    columns: tuple[PgColumn, ...]
    kind: str = "query"
    """table, partitioned table, view, materialized view, foreign table, query."""
    oid: int | None = None
    primary_key: tuple[str, ...] = ()
    indexed: tuple[str, ...] = ()
    """Columns that a whole btree index begins with, so that ranges and extremes of them are cheap."""
    versioned: bool = False
    """Whether rows carry a usable ``xmin``: tables of the heap, and partitioned tables made of such."""
    analyzed: bool = False
    filtered: bool = False
    """Whether row-level security hides rows from this user."""

    def column(self, name: str) -> PgColumn | None:
        """The column of that name, or None."""
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True)
class Server:
    """Who answers."""

    system: str | None
    """``system_identifier`` of the cluster; None where the role may not read it."""
    database: str
    database_oid: int
    in_recovery: bool
    sees_all_sessions: bool
    """Whether ``pg_stat_activity`` shows other users' transactions (``pg_read_all_stats``)."""

    @property
    def identity(self) -> str:
        """Tells this database from another: ``<system identifier>/<database oid>/<name>``."""
        return f"{self.system or 'unknown'}/{self.database_oid}/{self.database}"


def server_of(control: Control) -> Server:
    """Ask the server who it is. Must run in its own statement order: nothing here opens a snapshot early."""
    database, oid, recovery, sees, may_identify = control.one(
        "SELECT current_database()::text,"
        " (SELECT oid::int8 FROM pg_catalog.pg_database WHERE datname = current_database()),"
        " pg_is_in_recovery(), pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),"
        " has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')",
        "asking who the server is",
    )
    system = None
    if may_identify:
        system = control.value(
            "SELECT system_identifier::text FROM pg_catalog.pg_control_system()", "asking who the server is"
        )
    return Server(system, database, oid, recovery, sees)


def table(control: Control, schema: str | None, name: str, document: str) -> Relation:
    """A table or view with its columns.

    Args:
        control: an open connection, in a transaction.
        schema: None: wherever the role's search path finds it; ``schema.table`` as the name works as well.
        name: as the catalog spells it.
        document: what a ConfigError names.

    Raises:
        ConfigError: there is none; the message suggests what is there.
    """
    found = _find(control, schema, name)
    if found is None and schema is None and "." in name:
        first, _, rest = name.partition(".")
        found = _find(control, first, rest)
    if found is None:
        raise _missing_table(control, schema, name, document)
    oid, actual_schema, actual_name, kind, analyzed, filtered, readable, versioned = found
    if not readable:
        raise PermanentError(
            f"{control.where}: user {control.where.user!r} may not read {actual_schema}.{actual_name};"
            " grant it USAGE on the schema and SELECT on the table"
        )
    rows = control.rows(
        "SELECT attname::text, atttypid::int8, atttypmod, format_type(atttypid, atttypmod), attnotnull,"
        " attgenerated::text, attnum,"
        " (SELECT quote_ident(n.nspname) || '.' || quote_ident(c.collname) FROM pg_catalog.pg_collation c"
        "   JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace WHERE c.oid = attcollation)"
        " FROM pg_catalog.pg_attribute"
        " WHERE attrelid = cast(:oid AS int8)::oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        f"reading the columns of {name}",
        oid=oid,
    )
    types = _types(control, {row[1] for row in rows})
    columns = tuple(
        PgColumn(
            name=attribute,
            type=_resolve(types, type_oid, modifier, declared),
            declared=declared,
            nullable=not not_null,
            note="generated" if generated else None,
            collation=collation,
        )
        for attribute, type_oid, modifier, declared, not_null, generated, _, collation in rows
    )
    numbers = {row[6]: row[0] for row in rows}
    primary, indexed = _keys(control, oid, numbers)
    return Relation(
        sql=qualified(actual_schema, actual_name),
        label=f"{actual_schema}.{actual_name}",
        columns=columns,
        kind=_KINDS[kind],
        oid=oid,
        primary_key=primary,
        indexed=indexed,
        versioned=versioned,
        analyzed=analyzed,
        filtered=filtered,
    )


def query(control: Control, text: str, document: str) -> Relation:
    """A custom query with the columns that it will give. The query is planned, not run.

    Raises:
        ConfigError: it does not parse, or gives two columns of one name.
    """
    # The line break ends a comment on the query's last line.
    sql = f"({text}\n)"
    try:
        described = control.described(f"SELECT * FROM {sql} AS t LIMIT 0", "describing the query")
    except PermanentError as error:
        raise ConfigError(document, (Problem("query", str(error)),)) from error
    names = [name for name, _, _ in described]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigError(
            document,
            (Problem("query", f"gives several columns named {', '.join(repeated)}; name each with AS"),),
        )
    types = _types(control, {oid for _, oid, _ in described})
    pairs = ", ".join(f"({oid}::oid, {modifier})" for _, oid, modifier in described)
    spelled = [
        row[0]
        for row in control.rows(
            "SELECT format_type(o, m) FROM (SELECT o, m, row_number() OVER () AS n"
            f" FROM (VALUES {pairs}) AS v(o, m)) AS s ORDER BY n",
            "describing the query",
        )
    ]
    columns = tuple(
        PgColumn(name, _resolve(types, oid, modifier, declared), declared)
        for (name, oid, modifier), declared in zip(described, spelled, strict=True)
    )
    return Relation(sql=sql, label="the query", columns=columns)


def _find(control: Control, schema: str | None, name: str) -> list[Any] | None:
    place = (
        "c.oid = to_regclass(quote_ident(cast(:name AS text)))"
        if schema is None
        else "n.nspname = cast(:schema AS text) AND c.relname = cast(:name AS text)"
    )
    parameters = {"name": name} if schema is None else {"name": name, "schema": schema}
    rows = control.rows(
        "SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text,"
        " c.reltuples >= 0 OR EXISTS (SELECT FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class k"
        "   ON k.oid = i.inhrelid WHERE i.inhparent = c.oid AND k.reltuples >= 0),"
        " row_security_active(c.oid),"
        " has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT'),"
        # Children of other kinds (foreign tables, other access methods) have no xmin to go by.
        " c.relkind IN ('r', 'p') AND NOT EXISTS ("
        "   WITH RECURSIVE tree(oid) AS ("
        "     SELECT c.oid UNION ALL SELECT i.inhrelid FROM tree JOIN pg_catalog.pg_inherits i"
        "     ON i.inhparent = tree.oid)"
        "   SELECT FROM tree JOIN pg_catalog.pg_class k ON k.oid = tree.oid"
        "   LEFT JOIN pg_catalog.pg_am a ON a.oid = k.relam"
        "   WHERE k.relkind NOT IN ('r', 'p') OR (k.relkind = 'r' AND a.amname <> 'heap'))"
        " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        f" WHERE {place} AND c.relkind IN ('r', 'p', 'v', 'm', 'f')",
        f"looking for table {name}",
        **parameters,
    )
    return rows[0] if rows else None


def _missing_table(control: Control, schema: str | None, name: str, document: str) -> ConfigError:
    rows = control.rows(
        "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition"
        " AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%'"
        " ORDER BY 1, 2 LIMIT 5000",
        "listing tables",
    )
    wanted = f"{schema}.{name}" if schema else name
    if schema and schema not in {row[0] for row in rows}:
        schemas = sorted({row[0] for row in rows})
        near = difflib.get_close_matches(schema, schemas, n=1)
        same = [row[0] for row in rows if row[1] == name]
        return ConfigError(
            document,
            (
                Problem(
                    "schema_name",
                    "no table that this user can see is in such a schema",
                    found=schema,
                    suggestion=(same or near or [None])[0],
                ),
            ),
        )
    candidates = {row[1] if schema == row[0] else f"{row[0]}.{row[1]}": row for row in rows}
    spellings = {key.lower(): key for key in [row[1] for row in rows] + list(candidates)}
    close = difflib.get_close_matches(name.lower(), list(spellings), n=1, cutoff=0.6)
    suggestion = spellings[close[0]] if close else None
    if schema is None and suggestion is not None and "." not in suggestion:
        homes = [row[0] for row in rows if row[1] == suggestion]
        if suggestion == name and homes:
            suggestion = f"{homes[0]}.{name}"
    return ConfigError(
        document,
        (
            Problem(
                "source_table_name",
                f"there is no such table or view in database {control.where.database}",
                found=wanted,
                suggestion=suggestion,
            ),
        ),
    )


def _keys(control: Control, oid: int, numbers: dict[int, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    rows = control.rows(
        "SELECT i.indisprimary, i.indkey::text, i.indnkeyatts FROM pg_catalog.pg_index i"
        " JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_am a ON a.oid = c.relam"
        " WHERE i.indrelid = cast(:oid AS int8)::oid AND i.indisvalid AND i.indpred IS NULL"
        " AND a.amname = 'btree'"
        " ORDER BY i.indisprimary DESC, i.indisunique DESC, i.indnkeyatts, i.indexrelid",
        "reading the indexes",
        oid=oid,
    )
    primary: tuple[str, ...] = ()
    indexed: list[str] = []
    for is_primary, keys, count in rows:
        # 0 stands for an expression; included columns follow the first `count`.
        attributes = [int(key) for key in keys.split()][:count]
        if is_primary:
            primary = tuple(numbers[attribute] for attribute in attributes)
        first = numbers.get(attributes[0])
        if first is not None and first not in indexed:
            indexed.append(first)
    return primary, tuple(indexed)


@dataclass(frozen=True)
class _TypeRow:
    name: str
    kind: str
    sql: str
    base: int
    base_modifier: int
    base_sql: str | None
    element: int


def _types(control: Control, oids: set[int]) -> dict[int, _TypeRow]:
    """The types, what their domains are made of, and their elements."""
    if not oids:
        return {}
    start = ", ".join(f"({oid}::oid)" for oid in sorted(oids))
    rows: Sequence[list[Any]] = control.rows(
        "WITH RECURSIVE wanted(oid) AS ("
        f" SELECT * FROM (VALUES {start}) AS v(oid)"
        " UNION SELECT r.oid FROM wanted w JOIN pg_catalog.pg_type t ON t.oid = w.oid"
        " CROSS JOIN LATERAL (VALUES (t.typbasetype), (t.typelem)) AS r(oid) WHERE r.oid <> 0)"
        " SELECT t.oid::int8, t.typname::text, t.typtype::text, format_type(t.oid, NULL),"
        " t.typbasetype::int8, t.typtypmod,"
        " CASE WHEN t.typbasetype <> 0 THEN format_type(t.typbasetype, t.typtypmod) END,"
        # Only a true array is its element's array; int2vector and name have elements as well.
        " CASE WHEN e.typarray = t.oid THEN t.typelem ELSE 0 END::int8"
        " FROM wanted w JOIN pg_catalog.pg_type t ON t.oid = w.oid"
        " LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem",
        "reading the types",
    )
    return {row[0]: _TypeRow(*row[1:]) for row in rows}


def _resolve(types: dict[int, _TypeRow], oid: int, modifier: int, sql: str, domain: bool = False) -> PgType:
    row = types[oid]
    if row.kind == "d":
        # A domain's own modifier is the one that counts; domains of domains go on.
        return _resolve(types, row.base, row.base_modifier, row.base_sql or "", domain=True)
    element = None
    if row.element:
        # The modifier of an array column is its elements'.
        element = _resolve(types, row.element, modifier, sql.removesuffix("[]"))
    return PgType(
        name=row.name,
        sql=sql,
        kind=row.kind,
        modifier=modifier,
        element=element,
        domain=domain or (element is not None and element.domain),
    )
