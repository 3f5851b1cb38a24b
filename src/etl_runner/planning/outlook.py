"""What a plan will cost: table operations of the day's budget, and money, roughly.

Prices are meant as list prices in US dollars of a region of the first tier; docs/cost.md says which of them
were compared with a price list. What a deployment pays depends on its region and contracts.
"""

from __future__ import annotations

from dataclasses import dataclass

from etl_runner.commit.staging import needs_staging
from etl_runner.planning.plan import PlanHeader

DAILY_OPERATIONS = 1_500
"""https://cloud.google.com/bigquery/quotas#standard_tables: operations a day and table, failures included."""
_CPU_SECOND, _GIB_SECOND = 0.000018, 0.000002
"""https://cloud.google.com/run/pricing, jobs, without the free tier."""
_CPUS, _GIB = 4, 8
_QUERY_TIB = 6.25
"""https://cloud.google.com/bigquery/pricing#on_demand_pricing"""
_ROWS_A_SECOND = 200_000
"""Of one reader, for an estimate on the safe side (docs/benchmarks.md)."""
_STARTUP_SECONDS = 15


@dataclass(frozen=True)
class Operations:
    """Table operations on the destination: those of this plan, and those of the last 24 hours."""

    planned: int
    used: int
    limit: int = DAILY_OPERATIONS

    @property
    def left(self) -> int:
        """What the day's budget has left after this plan."""
        return self.limit - self.used - self.planned


@dataclass(frozen=True)
class Cost:
    """About what a run costs, in US dollars, and how that was reckoned."""

    dollars: float
    how: str


def planned_operations(header: PlanHeader) -> int:
    """Jobs that write to the destination; staging tables have budgets of their own. A plan that turns out to
    find nothing makes none."""
    if header.engine == "none" and header.units == 0 and header.disposition != "replace":
        return 0
    return 1


def estimated_cost(header: PlanHeader) -> Cost:
    """The run's cost: extraction, and the query that a merge or a staged load needs. Loads are free."""
    rows, parts, dollars = header.estimated_rows or 0, [], 0.0
    if header.units and header.tasks and header.engine in ("cloud_run", "dataflow"):
        readers = max(1, header.tasks * header.slots)
        seconds = header.tasks * (_STARTUP_SECONDS + rows / (_ROWS_A_SECOND * readers))
        dollars += seconds * (_CPUS * _CPU_SECOND + _GIB * _GIB_SECOND)
        parts.append(f"{seconds:,.0f} task seconds of {_CPUS} CPUs and {_GIB} GiB")
    staged = any(needs_staging(column) for column in header.destination.schema)
    if header.units and (staged or header.disposition in ("merge", "replace_range")):
        size = header.estimated_bytes or 0
        dollars += size / 2**40 * _QUERY_TIB
        parts.append("one query over the staged rows" + _destination_part(header))
    if header.engine == "bigquery" and (header.direct or {}).get("staged", True):
        dollars += (header.estimated_bytes or 0) / 2**40 * _QUERY_TIB
        parts.append("one query over the source")
    return Cost(dollars, ", ".join(parts) or "nothing to extract; loads are free")


def _destination_part(header: PlanHeader) -> str:
    if header.disposition == "merge":
        return " and the destination's partitions that it touches (not reckoned)"
    if header.disposition != "replace_range":
        return ""
    read = "the destination's file names" if header.window.kind == "files" else "the window's partitions"
    return f" and {read} (not reckoned)"
