"""Whether a window has any rows at all: a look that saves starting the extraction for nothing.

Exact, because every transaction that the window admits had ended when the window was fixed: a row that this
look does not find, no unit finds later. It is bounded by time, since without an index on the cursor finding
nothing takes a scan.
"""

from __future__ import annotations

from etl_runner.errors import RetryableError
from etl_runner.sources.postgres.connect import Control
from etl_runner.sources.postgres.schema import Relation

MOST_ROWS = 10_000
"""Where more rows are estimated, there are some."""
SECONDS = 1


def nothing_new(control: Control, relation: Relation, condition: str) -> bool:
    """True: no row belongs to the window. False: there may be some.

    Args:
        control: outside of a transaction.
        condition: the window's rule as SQL, over rows of ``t``.
    """
    try:
        with control.transaction(timeout_seconds=SECONDS):
            found = control.value(
                f"SELECT EXISTS (SELECT FROM {relation.sql} AS t WHERE {condition})", "looking for new rows"
            )
    except RetryableError:
        # It took too long; the extraction will see.
        return False
    return not found
