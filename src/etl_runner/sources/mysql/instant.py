"""The moment of planning: the server's clock, running statements, open transactions.

The order of the questions matters: the clock first, then statements that are running (their ``NOW()`` is the
statement's begin, which can lie before the begin of their transaction in InnoDB), then transactions that have
written. A transaction that is in neither list writes nothing with a cursor before the clock's value. InnoDB
may answer from a cache of up to 0.1 seconds, hence the pause.
https://dev.mysql.com/doc/refman/8.4/en/innodb-information-schema-internal-data.html
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from etl_runner.errors import PermanentError
from etl_runner.sources.mysql.connect import Control
from etl_runner.sources.mysql.diagnose import PRIVILEGE_NEEDED
from etl_runner.sources.mysql.quoting import literal

MARGIN = timedelta(seconds=2)
"""Begin times come in whole seconds, and a row's ``NOW()`` may lie in the second before."""
_CACHE_SECONDS = 0.15
_READING = r"^[[:space:](]*(SELECT|SHOW|EXPLAIN|DESC|SET|USE|KILL)[[:space:]]"

_RUNNING = (
    "SELECT ID, CAST(UTC_TIMESTAMP(6) - INTERVAL TIME SECOND AS CHAR) FROM information_schema.PROCESSLIST"
    " WHERE ID <> CONNECTION_ID() AND COMMAND IN ('Query', 'Execute') AND TIME IS NOT NULL"
    # Without INFO or with anything that is not plainly reading, it may be writing.
    f" AND (INFO IS NULL OR UPPER(LEFT(INFO, 200)) NOT REGEXP {literal(_READING)})"
    " ORDER BY TIME DESC LIMIT 1"
)
_OPEN = (
    "SELECT trx_mysql_thread_id, CAST(LEAST("
    # trx_started is a wall clock of the server's system zone. In the hour that such a clock repeats, what it
    # was a day ago tells which of the two is the earlier one.
    "CONVERT_TZ(trx_started, 'SYSTEM', '+00:00'),"
    " trx_started - INTERVAL TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP() - INTERVAL 1 DAY,"
    " CONVERT_TZ(UTC_TIMESTAMP() - INTERVAL 1 DAY, '+00:00', 'SYSTEM')) SECOND) AS CHAR) AS began"
    " FROM information_schema.INNODB_TRX"
    " WHERE trx_mysql_thread_id <> CONNECTION_ID() AND trx_rows_modified > 0 ORDER BY began LIMIT 1"
)


@dataclass(frozen=True)
class Instant:
    """What the server said; both clock values are naive and in the zone of the cursor."""

    t0: datetime
    oldest: datetime | None
    """When the earliest transaction or statement began that may write rows behind ``t0``."""
    holder: int | None
    """Its connection's id."""
    visible: bool
    """Whether all transactions that write here can be seen: this user has PROCESS, and nothing comes from
    another server."""
    elsewhere: str | None
    """What makes transactions of other servers' arrive here: ``a replica``, ``a member of a cluster``."""
    zone: str | None
    """For a cursor without time zone: the zone that it is taken to be written in."""


def observe(control: Control, *, local: bool, sleep: Callable[[float], None]) -> Instant:
    """Ask the questions, in their order.

    Args:
        control: a connection whose session is in UTC.
        local: whether the cursor is a wall clock in the server's time zone.
        sleep: waits.

    Raises:
        PermanentError: the server does not know its own time zone.
    """
    t0 = _moment(control.value("SELECT CAST(UTC_TIMESTAMP(6) AS CHAR)", "reading the clock"))
    running = control.rows(_RUNNING, "looking for running statements")
    sleep(_CACHE_SECONDS)
    opened = control.allowed(_OPEN, "looking for open transactions", *PRIVILEGE_NEEDED)
    began = [(_moment(row[1]), int(row[0])) for row in (*running, *(opened or ()))]
    oldest, holder = min(began, default=(None, None))
    zone = None
    if local:
        zone = str(control.value("SELECT @@GLOBAL.time_zone", "asking for the time zone"))
        t0 = _at(control, t0, zone)
        oldest = None if oldest is None else _at(control, oldest, zone)
    elsewhere = _elsewhere(control)
    return Instant(t0, oldest, holder, opened is not None and elsewhere is None, elsewhere, zone)


def _elsewhere(control: Control) -> str | None:
    """Whether rows come here from another server, whose open transactions nobody shows here."""
    settings = dict(
        control.rows(
            "SHOW GLOBAL VARIABLES WHERE Variable_name IN"
            " ('read_only', 'wsrep_on', 'group_replication_group_name')",
            "asking whether the server follows another",
        )
    )
    if settings.get("wsrep_on") == "ON" or settings.get("group_replication_group_name"):
        return "a member of a cluster"
    applying = control.value(
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST"
        # InnoDB's own threads are the system's too.
        " WHERE USER = 'system user' AND COMMAND <> 'Daemon'",
        "asking whether the server follows another",
    )
    return "a replica" if applying or settings.get("read_only", "OFF") not in ("OFF", "0") else None


def _moment(text: Any) -> datetime:
    return datetime.fromisoformat(str(text))


def _at(control: Control, moment: datetime, zone: str) -> datetime:
    text = control.value(
        f"SELECT CAST(CONVERT_TZ({literal(moment.isoformat(sep=' '))}, '+00:00', {literal(zone)}) AS CHAR)",
        "reading the clock",
    )
    if text is None:
        raise PermanentError(
            f"{control.where}: the server does not know its own time_zone {zone}: its time zone"
            " tables are empty; load them (mariadb-tzinfo-to-sql), or give time_zone an offset"
        )
    return _moment(text)
