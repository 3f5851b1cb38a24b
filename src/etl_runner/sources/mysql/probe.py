"""Whether a window has any rows at all: a look that saves starting the extraction for nothing.

As exact as the window: what is committed behind its end after this look is what the plan says is lost. It is
bounded by time, since without an index on the cursor finding nothing takes a scan.
"""

from __future__ import annotations

from etl_runner.errors import RetryableError
from etl_runner.sources.mysql.connect import Control
from etl_runner.sources.mysql.schema import Relation

MOST_ROWS = 10_000
"""Where more rows are expected, there are some."""
SECONDS = 1


def nothing_new(control: Control, relation: Relation, condition: str) -> bool:
    """True: no row belongs to the window. False: there may be some.

    Args:
        control: in no transaction.
        condition: the window as SQL, over rows of ``t``.
    """
    look = f"EXISTS (SELECT 1 FROM {relation.sql} AS t WHERE {condition})"
    # https://mariadb.com/kb/en/set-statement/
    # https://dev.mysql.com/doc/refman/8.4/en/optimizer-hints.html#optimizer-hints-execution-time
    if control.is_mariadb:
        sql = f"SET STATEMENT max_statement_time = {SECONDS} FOR SELECT {look}"
    else:
        sql = f"SELECT /*+ MAX_EXECUTION_TIME({SECONDS * 1000}) */ {look}"
    try:
        return not control.value(sql, "looking for new rows")
    except RetryableError:
        # It took too long; the extraction will see.
        return False
