"""What the catalog says about a table or a query: columns with their types, keys, indexes, the server.

A constant number of short queries over ``information_schema``, whatever the table's size.
https://dev.mysql.com/doc/refman/8.4/en/information-schema.html
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from typing import Any

from etl_runner.errors import ConfigError, PermanentError, Problem
from etl_runner.sources.mysql.connect import Control
from etl_runner.sources.mysql.diagnose import DUPLICATE_COLUMN
from etl_runner.sources.mysql.quoting import literal, qualified
from etl_runner.sources.mysql.types import MyType

BINARY_CHARSET = 63
"""The character set's number of bytes: https://dev.mysql.com/doc/refman/8.4/en/charset-binary-set.html"""


@dataclass(frozen=True)
class MyColumn:
    """A column of a table or query."""

    name: str
    type: MyType
    declared: str
    """The type as the server spells it: ``bigint(20) unsigned``."""
    nullable: bool = True


@dataclass(frozen=True)
class Relation:
    """A table or view, or a query in its place."""

    sql: str
    """What stands after FROM, without alias."""
    label: str
    """For people: ``shop.orders``, ``the query``."""
    columns: tuple[MyColumn, ...]
    kind: str = "query"
    """table, view, query."""
    database: str = ""
    name: str = ""
    engine: str | None = None
    primary_key: tuple[str, ...] = ()
    indexed: tuple[str, ...] = ()
    """Columns that an ordered index begins with, the primary key's first."""
    rows: int | None = None
    """The catalog's estimate."""
    row_bytes: int | None = None

    def column(self, name: str) -> MyColumn | None:
        """The column of that name (MySQL's column names know no case), or None."""
        return next((column for column in self.columns if column.name.lower() == name.lower()), None)


def identity_of(control: Control) -> str:
    """Tells this server's database from another: ``<server's own id>/<database>``."""
    found = dict(
        control.rows(
            "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('server_uuid', 'server_uid', 'hostname')",
            "asking who the server is",
        )
    )
    server = found.get("server_uuid") or found.get("server_uid") or found.get("hostname") or "unknown"
    return f"{server}/{control.where.database}"


def table(control: Control, database: str | None, name: str, document: str) -> Relation:
    """A table or view with its columns.

    Args:
        control: an open connection.
        database: where it is; None: the connection's own, or ``database.table`` as the name.
        name: as the catalog spells it.
        document: what a ConfigError names.

    Raises:
        ConfigError: there is none; the message suggests what is there.
    """
    place = database or control.where.database
    found = _find(control, place, name)
    if not found and database is None and "." in name:
        first, _, rest = name.partition(".")
        found = _find(control, first, rest)
    if not found:
        raise _missing_table(control, place, name, document)
    # The catalog may compare without case where the server's tables are told apart by it.
    place, actual, kind, engine, rows, row_bytes = min(found, key=lambda row: row[1] != name)
    columns = _columns(control, place, actual)
    if not columns:
        raise PermanentError(
            f"{control.where}: user {control.where.user!r} may see no column of {place}.{actual};"
            " grant it SELECT"
        )
    primary, indexed = _keys(control, place, actual)
    return Relation(
        sql=qualified(place, actual),
        label=f"{place}.{actual}",
        columns=columns,
        kind="view" if "VIEW" in kind else "table",
        database=place,
        name=actual,
        engine=engine,
        primary_key=primary,
        indexed=indexed,
        rows=None if rows is None else int(rows),
        row_bytes=None if row_bytes is None else int(row_bytes),
    )


def _find(control: Control, database: str, name: str) -> list[tuple[Any, ...]]:
    return control.rows(
        "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE, TABLE_ROWS, AVG_ROW_LENGTH"
        f" FROM information_schema.TABLES WHERE TABLE_SCHEMA = {literal(database)}"
        f" AND TABLE_NAME = {literal(name)}",
        f"looking for {name}",
    )


def _missing_table(control: Control, database: str, name: str, document: str) -> ConfigError:
    rows = control.rows(
        f"SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {literal(database)}"
        " LIMIT 10000",
        "listing the tables",
    )
    names = sorted(str(row[0]) for row in rows)
    near = difflib.get_close_matches(name, names, n=5, cutoff=0.5)
    problem = Problem(
        "source_table_name",
        f"is no table or view of database {database} that user {control.where.user!r} may see",
        found=name,
        allowed=", ".join(near or names[:20]) or "the database shows this user no table",
    )
    return ConfigError(document, (problem,))


def _columns(control: Control, database: str, name: str) -> tuple[MyColumn, ...]:
    rows = control.rows(
        "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, NUMERIC_PRECISION, NUMERIC_SCALE"
        f" FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {literal(database)}"
        f" AND TABLE_NAME = {literal(name)} ORDER BY ORDINAL_POSITION",
        f"reading the columns of {name}",
    )
    json_columns = _json_columns(control, database, name) if control.is_mariadb else set()
    return tuple(
        MyColumn(
            name=str(column),
            type=(
                MyType("json")
                if column in json_columns
                else MyType(
                    name=str(kind).lower(),
                    unsigned="unsigned" in str(declared).lower(),
                    precision=int(precision or 0),
                    scale=int(scale or 0),
                    declared_scale=str(kind).lower() in ("float", "double") and scale is not None,
                )
            ),
            declared="json" if column in json_columns else str(declared),
            nullable=nullable == "YES",
        )
        for column, kind, declared, nullable, precision, scale in rows
    )


def _json_columns(control: Control, database: str, name: str) -> set[str]:
    """MariaDB's JSON is ``longtext`` with a check of the column's own: ``json_valid(`c`)``."""
    rows = control.rows(
        "SELECT CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS"
        f" WHERE CONSTRAINT_SCHEMA = {literal(database)} AND TABLE_NAME = {literal(name)}",
        f"reading the checks of {name}",
    )
    found = (re.fullmatch(r"json_valid\(`((?:[^`]|``)+)`\)", str(row[0]), re.IGNORECASE) for row in rows)
    return {match[1].replace("``", "`") for match in found if match}


def _keys(control: Control, database: str, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The primary key's columns, and the first columns of ordered indexes without a prefix length."""
    rows = control.rows(
        "SELECT INDEX_NAME, COLUMN_NAME, SEQ_IN_INDEX, SUB_PART, INDEX_TYPE"
        f" FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = {literal(database)}"
        f" AND TABLE_NAME = {literal(name)}"
        " ORDER BY INDEX_NAME <> 'PRIMARY', INDEX_NAME, SEQ_IN_INDEX",
        f"reading the indexes of {name}",
    )
    primary = tuple(str(row[1]) for row in rows if row[0] == "PRIMARY")
    first = [
        str(column)
        for _, column, place, part, kind in rows
        # Of an index over an expression the column is NULL.
        if int(place) == 1 and part is None and kind == "BTREE" and column is not None
    ]
    return primary, tuple(dict.fromkeys(first))


def query(control: Control, sql: str, document: str) -> Relation:
    """A query with its columns; none of its rows is read.

    Raises:
        ConfigError: two of its columns have one name.
        PermanentError: the server does not accept it.
    """
    from_ = f"({sql}\n)"
    probe = f"SELECT * FROM {from_} AS t LIMIT 0"
    if control.allowed(probe, "describing the query", DUPLICATE_COLUMN) is None:
        raise ConfigError(
            document, (Problem("query", "has two columns of one name; give one another name with AS"),)
        )
    fields = control.described(probe, "describing the query")
    return Relation(sql=from_, label="the query", columns=tuple(_field_column(field) for field in fields))


def _field_column(field: Any) -> MyColumn:
    from pymysql.constants import FLAG

    type_ = field_type(field)
    declared = type_.name + (f"({type_.precision},{type_.scale})" if type_.name == "decimal" else "")
    return MyColumn(
        name=field.name,
        type=type_,
        declared=declared + (" unsigned" if type_.unsigned else ""),
        nullable=not field.flags & FLAG.NOT_NULL,
    )


def field_type(field: Any) -> MyType:
    """The type that a column description of the protocol means.

    https://mariadb.com/kb/en/result-set-packets/#column-definition-packet
    """
    from pymysql.constants import FIELD_TYPE, FLAG

    names = {
        FIELD_TYPE.TINY: "tinyint",
        FIELD_TYPE.SHORT: "smallint",
        FIELD_TYPE.INT24: "mediumint",
        FIELD_TYPE.LONG: "int",
        FIELD_TYPE.LONGLONG: "bigint",
        FIELD_TYPE.FLOAT: "float",
        FIELD_TYPE.DOUBLE: "double",
        FIELD_TYPE.YEAR: "year",
        FIELD_TYPE.DATE: "date",
        FIELD_TYPE.NEWDATE: "date",
        FIELD_TYPE.TIME: "time",
        FIELD_TYPE.DATETIME: "datetime",
        FIELD_TYPE.TIMESTAMP: "timestamp",
        FIELD_TYPE.BIT: "bit",
        FIELD_TYPE.JSON: "json",
        FIELD_TYPE.GEOMETRY: "geometry",
        FIELD_TYPE.ENUM: "enum",
        FIELD_TYPE.SET: "set",
    }
    code, unsigned = field.type_code, bool(field.flags & FLAG.UNSIGNED)
    if code in (FIELD_TYPE.DECIMAL, FIELD_TYPE.NEWDECIMAL):
        # The length is that of the longest text, sign and point included.
        precision = field.length - (0 if unsigned else 1) - (1 if field.scale else 0)
        return MyType("decimal", unsigned, precision, field.scale)
    if code in names:
        type_ = MyType(names[code], unsigned)
        if code == FIELD_TYPE.BIT:
            return replace(type_, precision=field.length, unsigned=False)
        if code in (FIELD_TYPE.FLOAT, FIELD_TYPE.DOUBLE):
            # 31 stands for no declared number of decimals (39 in newer servers).
            return replace(type_, declared_scale=field.scale < 31)
        return type_
    if field.flags & FLAG.ENUM:
        return MyType("enum")
    if field.flags & FLAG.SET:
        return MyType("set")
    return MyType("varbinary" if field.charsetnr == BINARY_CHARSET else "varchar")
