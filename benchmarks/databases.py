"""Who competes over the tables of databases."""

from __future__ import annotations

from pathlib import Path

from benchmarks import peers
from benchmarks.contender import Contender, Kind, csv_rows, parquet_rows
from benchmarks.server import table_of
from benchmarks.ways import command

SHARE = 8
"""Ways of some ten thousand rows a second read this part of the table."""


def sizes(rows: int) -> list[int]:
    """The tables that are needed to measure ``rows`` rows."""
    return [rows, rows // SHARE]


def of_postgres(url: str, rows: int, *, with_peers: bool) -> list[Contender]:
    """PostgreSQL: the limit, runner tasks, the other tools, row by row."""
    found = [
        _own("limit", "limit: COPY binary to nowhere", "limit", url, rows, 1),
        _own("limit", "limit: COPY binary to nowhere", "limit", url, rows, 2),
        _own("ours", "runner task to Parquet shards", "ours", url, rows, 1),
        _own("ours", "runner task to Parquet shards", "ours", url, rows, 2),
        _own("per_row", "row by row: fetchmany, dict, JSON", "peer", url, rows // SHARE, 1),
    ]
    plain = f"{url}?sslmode=disable"
    return found + (_peers(url, plain, "postgres", "public", rows) if with_peers else [])


def of_mariadb(url: str, rows: int, *, with_peers: bool) -> list[Contender]:
    """MariaDB, likewise."""
    found = [
        _own("limit", "limit: client's text to nowhere", "limit", url, rows, 1),
        _own("limit", "limit: client's text to nowhere", "limit", url, rows, 2),
        _own("ours", "runner task to Parquet shards", "ours", url, rows, 1),
        _own("ours", "runner task to Parquet shards", "ours", url, rows, 2),
        _own("per_row", "row by row: PyMySQL, dict, JSON", "peer", url, rows // SHARE, 1),
    ]
    return found + (_peers(url, url, "mysql", "benchmark", rows) if with_peers else [])


def _own(way: str, label: str, kind: Kind, url: str, rows: int, readers: int) -> Contender:
    readers_text = "" if way == "per_row" else f", {readers} reader{'s' if readers > 1 else ''}"
    return Contender(
        label=label + readers_text,
        kind=kind,
        command=command(way, url, table_of(rows), rows, readers),
        rows=rows,
        readers=readers,
        count=parquet_rows if way == "ours" else None,
    )


def _below_out(folder: Path) -> int:
    """dlt keeps a second copy beside the destination."""
    return parquet_rows(folder / "out")


def _peers(url: str, plain: str, kind: str, schema: str, rows: int) -> list[Contender]:
    driver = "postgresql+psycopg2" if kind == "postgres" else "mysql+pymysql"
    share = rows // SHARE
    peers.python()
    dlt = peers.dlt(url.replace(url.partition(":")[0], driver, 1), table_of(rows))
    ingestr = peers.ingestr(plain, f"{schema}.{table_of(share)}")
    found = [
        Contender("dlt 1.31, connectorx", "peer", dlt, rows, count=_below_out),
        Contender("ingestr 0.15, to CSV", "peer", ingestr, share, count=csv_rows),
    ]
    if kind == "postgres":
        # On MariaDB it ends with "Unknown system variable 'max_execution_time'".
        rivet = peers.rivet(plain, kind, table_of(rows), "id", 2)
        found.append(Contender("rivet 0.32, parallel: 2", "peer", rivet, rows, 2, count=parquet_rows))
    sling = peers.sling()
    if sling is not None:
        run = peers.sling_command(sling, plain, f"{schema}.{table_of(share)}")
        found.append(Contender("sling 1.4, to CSV", "peer", run, share, count=csv_rows))
    return found
