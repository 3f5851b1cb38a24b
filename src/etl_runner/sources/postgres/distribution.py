"""What the server knows of a column's distribution: statistics, else a bounded sample, else its extremes.

Values come back sorted by the server, in the order that comparisons in a unit's condition will use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from etl_runner.sources.cut import SCALES, Edge
from etl_runner.sources.postgres.connect import Control
from etl_runner.sources.postgres.schema import PgColumn, Relation
from etl_runner.sources.quoting import identifier

SAMPLE_PAGES = 1_000
"""Pages of 8 KiB that a sample reads, about."""
SAMPLE_EDGES = 200


@dataclass(frozen=True)
class Distribution:
    """Edges of a column's values, how they were found, and the share of NULLs (None: not known)."""

    edges: tuple[Edge, ...]
    how: str
    null_share: float | None = None


def distribution(control: Control, relation: Relation, column: PgColumn) -> Distribution:
    """The distribution of a table's column; no edges when there is nothing to go by. Never a scan."""
    if relation.oid is None:
        return Distribution((), "nothing is known of a query's values")
    found = _from_statistics(control, relation, column)
    if found is None and relation.kind in ("table", "partitioned table", "materialized view"):
        found = _from_sample(control, relation, column)
    if found is None:
        return Distribution((), "there are no statistics")
    if column.name in relation.indexed and len(found.edges) > 1:
        found = replace(found, edges=_up_to_the_last(control, relation, column, found.edges))
    return found


def _from_statistics(control: Control, relation: Relation, column: PgColumn) -> Distribution | None:
    # A parent's statistics cover its children where they were gathered with them (inherited).
    # The casts go through text: histogram_bounds is anyarray, which nothing else can be done with.
    array = f"{column.type.sql}[]"
    rows = control.rows(
        "SELECT null_frac::float8, coalesce(array_length(histogram_bounds::text::text[], 1), 0),"
        " histogram_bounds::text, most_common_vals::text, most_common_freqs::text"
        " FROM pg_catalog.pg_stats s JOIN pg_catalog.pg_class c ON c.relname = s.tablename"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = s.schemaname"
        " WHERE c.oid = cast(:oid AS int8)::oid AND s.attname = cast(:name AS text)"
        " ORDER BY s.inherited DESC LIMIT 1",
        f"reading the statistics of {column.name}",
        oid=relation.oid,
        name=column.name,
    )
    if not rows:
        return None
    null_share, count, bounds, common, frequencies = rows[0]
    values = control.rows(
        "SELECT v::text AS spelled, max(f), bool_or(f IS NULL) FROM ("
        f" SELECT unnest(cast(:bounds AS text)::{array}) AS v, NULL::float8 AS f"
        f" UNION ALL SELECT unnest(cast(:common AS text)::{array}),"
        " unnest(cast(:frequencies AS text)::float8[])"
        f") AS s WHERE v IS NOT NULL GROUP BY v ORDER BY {_ordering('v', column)}",
        f"reading the statistics of {column.name}",
        bounds=bounds,
        common=common,
        frequencies=frequencies,
    )
    if not values:
        return None
    common_share = sum(share for _, share, _ in values if share is not None)
    rest = max(0.0, 1.0 - null_share - common_share)
    bucket = rest / (count - 1) if count > 1 else 0.0
    return Distribution(_edges(values, bucket), "statistics", null_share)


def _edges(values: list[list[object]], bucket: float) -> tuple[Edge, ...]:
    """Spread each histogram bucket evenly over the stretches that common values cut it into."""
    edges: list[Edge] = []
    index = 0
    while index < len(values):
        end = index + 1
        while end < len(values) and not values[end][2]:
            end += 1
        inside = bool(values[index][2]) and end < len(values)
        for place in range(index, end):
            text, share, _ = values[place]
            at = float(share) if isinstance(share, float) else 0.0
            edges.append(Edge(str(text), at, bucket / (end - index) if inside else 0.0))
        index = end
    return tuple(edges)


def _from_sample(control: Control, relation: Relation, column: PgColumn) -> Distribution | None:
    pages = control.value(
        "SELECT coalesce(sum(pg_relation_size(k.oid)) / current_setting('block_size')::int8, 0)::int8"
        " FROM (SELECT cast(:oid AS int8)::oid AS oid UNION SELECT relid FROM"
        " pg_partition_tree(cast(:oid AS int8)::oid)) AS k",
        "measuring the table",
        oid=relation.oid,
    )
    if not pages:
        return None
    percent = min(100.0, 100.0 * SAMPLE_PAGES / pages)
    name = identifier(column.name)
    fractions = ", ".join(f"{number / SAMPLE_EDGES:.6f}" for number in range(SAMPLE_EDGES + 1))
    row = control.one(
        f"SELECT (percentile_disc(ARRAY[{fractions}]::float8[])"
        f" WITHIN GROUP (ORDER BY {name}))::text, count(*), count({name})"
        f" FROM {relation.sql} TABLESAMPLE SYSTEM ({percent:.6f})",
        f"sampling {column.name}",
    )
    array, every, known = row
    if not known:
        return None
    values = control.rows(
        f"SELECT v::text AS spelled, count(*) FROM unnest(cast(:sample AS text)::{column.type.sql}[]) AS u(v)"
        f" WHERE v IS NOT NULL GROUP BY v ORDER BY {_ordering('v', column)}",
        f"sampling {column.name}",
        sample=array,
    )
    last = len(values) - 1
    edges = tuple(
        # The same value k times over: k - 1 steps lie at it, one between it and the next.
        Edge(text, at=float(times - 1), after=0.0 if index == last else 1.0)
        for index, (text, times) in enumerate(values)
    )
    return Distribution(edges, f"a sample of {percent:.2g} % of the pages", 1.0 - known / every)


def _up_to_the_last(
    control: Control, relation: Relation, column: PgColumn, edges: tuple[Edge, ...]
) -> tuple[Edge, ...]:
    """Add the greatest value there is, which an index tells at once: statistics age, keys grow."""
    scale = SCALES.get(column.type.name)
    name = identifier(column.name)
    if scale is None:
        return edges
    rows = control.rows(
        # Not max(), which uuid does not have everywhere; this is the same step to the index's end. The
        # qualified name is the column: a bare one in ORDER BY would be the text that is selected.
        f"SELECT t.{name}::text AS spelled FROM {relation.sql} AS t"
        f" WHERE t.{name} IS NOT NULL ORDER BY t.{name} DESC LIMIT 1",
        f"reading the greatest {column.name}",
    )
    if not rows:
        return edges
    last = rows[0][0]
    first, known, greatest = (scale.position(text) for text in (edges[0].value, edges[-1].value, last))
    if first is None or known is None or greatest is None or greatest <= known or known <= first:
        return edges
    # The newer stretch is taken to be as dense as the older ones on average.
    density = sum(edge.at + edge.after for edge in edges) / (known - first)
    return (*edges[:-1], replace(edges[-1], after=density * (greatest - known)), Edge(last))


def ascending(control: Control, column: PgColumn, values: Sequence[str]) -> bool:
    """Whether the server itself finds each value below the next, by the comparison that units will use.

    Units tile a table only if it does; statistics from before a change of collation could break it.
    """
    if len(values) < 2:
        return True
    wrong = control.value(
        "SELECT count(*) FROM (SELECT v, lag(v) OVER (ORDER BY n) AS before"
        f" FROM unnest(cast(:values AS text[])::{column.type.sql}[]) WITH ORDINALITY AS u(v, n)) AS s"
        f" WHERE before IS NOT NULL AND NOT {_ordering('before', column)} < v",
        f"checking the cut points of {column.name}",
        values=list(values),
    )
    return bool(wrong == 0)


def _ordering(item: str, column: PgColumn) -> str:
    """Sort as the column does: its own collation, where it has one."""
    return f"{item} COLLATE {column.collation}" if column.collation else item
