"""The table of rules: what the front refuses, how, and by which page of BigQuery's documentation.

``python -m local.bigquery.front.rules --markdown`` prints it for docs/local-stack-bigquery.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from local.bigquery.front import rules_files, rules_request, rules_table
from local.bigquery.front.facts import Facts
from local.bigquery.front.loadjob import LoadJob

_DOCS = "https://cloud.google.com/bigquery/docs/"
PARQUET = ("Loading Parquet data from Cloud Storage", _DOCS + "loading-data-cloud-storage-parquet")
STORAGE = ("Loading data from Cloud Storage: Limitations", _DOCS + "loading-data-cloud-storage#limitations")
QUOTAS = ("Quotas and limits: Load jobs, Partitioned tables", _DOCS + "quotas")
JOBS = ("REST: Job (JobReference, JobConfiguration, JobConfigurationLoad)", _DOCS + "reference/rest/v2/Job")
LOCATIONS = ("BigQuery locations", _DOCS + "locations")
SCHEMAS = ("Managing table schemas", _DOCS + "managing-table-schemas")
TYPES = ("Data types", _DOCS + "reference/standard-sql/data-types")
PARTITIONS = ("Introduction to partitioned tables", _DOCS + "partitioned-tables")
CLUSTERS = ("Introduction to clustered tables", _DOCS + "clustered-tables")
LABELS = ("Requirements for labels", _DOCS + "labels-intro#requirements")
STAND_IN = ("none: the stand-in itself cannot do it", "")

Applies = Literal["every load", "Parquet loads"]
Check = Callable[[LoadJob, Facts], "str | None"]


@dataclass(frozen=True)
class Rule:
    """One refusal. ``status`` is the HTTP status of ``jobs.insert``, which creates no job; None means
    that the job is created and fails with ``reason``, its id burned."""

    check: Check
    page: tuple[str, str]
    reason: str = "invalid"
    status: int | None = None
    applies: Applies = "Parquet loads"

    @property
    def name(self) -> str:
        return self.check.__name__

    @property
    def summary(self) -> str:
        return (self.check.__doc__ or "").strip().split("\n")[0].rstrip(".")


@dataclass(frozen=True)
class Refusal:
    """What a rule found."""

    rule: Rule
    message: str


RULES: tuple[Rule, ...] = (
    Rule(rules_request.job_id, JOBS, status=400, applies="every load"),
    Rule(rules_request.labels, LABELS, status=400, applies="every load"),
    Rule(rules_request.destination, JOBS, status=400, applies="every load"),
    Rule(rules_request.too_many_uris, QUOTAS, status=400, applies="every load"),
    Rule(rules_request.not_gs, JOBS, status=400, applies="every load"),
    Rule(rules_request.wildcard, JOBS, status=400, applies="every load"),
    Rule(rules_request.dataset_elsewhere, LOCATIONS, reason="notFound", status=404, applies="every load"),
    Rule(rules_table.schema_update_options, JOBS, status=400, applies="every load"),
    Rule(rules_table.partition_decorator, STAND_IN, status=400, applies="every load"),
    Rule(rules_request.bucket_elsewhere, STORAGE, applies="every load"),
    Rule(rules_request.generation_in_uri, STORAGE, applies="every load"),
    Rule(rules_request.partition_field, PARTITIONS, applies="every load"),
    Rule(rules_request.clustering_field, CLUSTERS, applies="every load"),
    Rule(rules_table.schema_changes, SCHEMAS, applies="every load"),
    Rule(rules_table.layout_changes, SCHEMAS, applies="every load"),
    Rule(rules_request.type_not_from_parquet, PARQUET),
    Rule(rules_request.missing_uri, STORAGE, reason="notFound"),
    Rule(rules_request.not_parquet, PARQUET),
    Rule(rules_request.too_many_columns, QUOTAS),
    Rule(rules_files.lists_without_inference, PARQUET),
    Rule(rules_files.nanoseconds, PARQUET),
    Rule(rules_files.uuid, PARQUET),
    Rule(rules_files.column_types, PARQUET),
    Rule(rules_files.decimals, TYPES),
    Rule(rules_files.nulls_in_required, SCHEMAS),
    Rule(rules_files.nulls_in_repeated, TYPES),
    Rule(rules_files.partitions_of_job, QUOTAS),
    Rule(rules_files.partitions_of_table, QUOTAS),
)
"""In the order in which they are asked; the first that speaks decides."""


def refusal(job: LoadJob, facts: Facts) -> Refusal | None:
    """The first rule that refuses the job, with its message; None when the job may pass."""
    for rule in RULES:
        if rule.applies == "Parquet loads" and not job.is_parquet:
            continue
        message = rule.check(job, facts)
        if message is not None:
            return Refusal(rule, message)
    return None


def markdown() -> str:
    """The table of rules as a Markdown table."""
    lines = ["| rule | refuses | for | how | documentation |", "|---|---|---|---|---|"]
    for rule in RULES:
        how = f"HTTP {rule.status}, no job" if rule.status else f"failed job, `{rule.reason}`"
        title, url = rule.page
        page = f"[{title}]({url})" if url else title
        lines.append(f"| `{rule.name}` | {rule.summary} | {rule.applies} | {how} | {page} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """List the rules."""
    parser = argparse.ArgumentParser(prog="python -m local.bigquery.front.rules", description=main.__doc__)
    parser.add_argument("--markdown", action="store_true", help="as the Markdown table of the documentation")
    options = parser.parse_args(arguments)
    plain = "".join(f"{rule.name}: {rule.summary}\n" for rule in RULES)
    sys.stdout.write(markdown() if options.markdown else plain)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
