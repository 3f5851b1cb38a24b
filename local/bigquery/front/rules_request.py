"""Rules that need the request alone, or the names of things it speaks of."""

from __future__ import annotations

import re

from local.bigquery.front.facts import Facts
from local.bigquery.front.loadjob import LoadJob, leaves
from local.bigquery.front.storage import NotParquet, ObjectMissing, split

_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,1024}\Z")
_NOT_FROM_PARQUET = ("JSON", "INTERVAL", "RANGE")
_OUTSIDE_EU = ("EUROPE-WEST2", "EUROPE-WEST6")
_MAX_LABELS = 64


def job_id_problem(job_id: str) -> str | None:
    """Letters, digits, underscores and dashes, 1,024 at most."""
    if _JOB_ID.match(job_id):
        return None
    return (
        f'Invalid job ID "{job_id[:80]}". Job IDs must be alphanumeric (plus underscores and dashes) '
        "and must be at most 1024 characters long."
    )


def labels_problem(labels: object) -> str | None:
    """Keys and values of 63 characters: lower case letters, digits, underscores, dashes; 64 labels."""
    if not isinstance(labels, dict):
        return "Invalid value for labels: they are an object of texts."
    if len(labels) > _MAX_LABELS:
        return f"Too many labels: {len(labels)}. Limit is {_MAX_LABELS}."
    for key, value in labels.items():
        if not isinstance(value, str):
            return f'Label value for key "{key}" is not a text.'
        if not key or not key[0].isalpha() or not _label_text(key):
            return (
                f'Label key "{key}" must start with a lower case letter and hold only lower case letters, '
                "numbers, underscores and dashes, at most 63 characters."
            )
        if value and not _label_text(value):
            return (
                f'Label value "{value}" may hold only lower case letters, numbers, underscores and dashes, '
                "at most 63 characters."
            )
    return None


def _label_text(text: str) -> bool:
    # International letters are allowed as long as they are not upper case.
    return len(text) <= 63 and all((c.isalnum() and c == c.lower()) or c in "_-" for c in text)


def job_id(job: LoadJob, _facts: Facts) -> str | None:
    """Bad characters or length of the job id."""
    return job_id_problem(str((job.body.get("jobReference") or {}).get("jobId", "")))


def labels(job: LoadJob, _facts: Facts) -> str | None:
    """Bad labels on the job."""
    return labels_problem(job.body["configuration"].get("labels") or {})


def destination(job: LoadJob, _facts: Facts) -> str | None:
    """No complete name of a destination table."""
    for part, value in vars(job.destination).items():
        if not value:
            return f"Required parameter is missing: destinationTable.{part}Id"
    return None


def too_many_uris(job: LoadJob, facts: Facts) -> str | None:
    """More source URIs than one job may have."""
    limit = facts.strictness.uris_per_job
    return f"Too many sources provided: {len(job.uris)}. Limit is {limit}." if len(job.uris) > limit else None


def dataset_elsewhere(job: LoadJob, facts: Facts) -> str | None:
    """The destination's dataset does not exist, or not at the job's location."""
    name = f"Not found: Dataset {job.destination.project}:{job.destination.dataset}"
    if facts.dataset is None:
        return name
    if facts.dataset_location.casefold() != facts.location.casefold():
        return f"{name} was not found in location {facts.location}"
    return None


def bucket_elsewhere(job: LoadJob, facts: Facts) -> str | None:
    """A source bucket is neither in the dataset's location nor contained in it."""
    for bucket in dict.fromkeys(split(uri)[0] for uri in job.uris):
        found = facts.objects.bucket_location(bucket)
        if not contains(facts.dataset_location, found):
            return (
                f"Cannot read and write in different locations: source: {found}, "
                f"destination: {facts.dataset_location}"
            )
    return None


def contains(dataset: str, bucket: str) -> bool:
    """Whether a bucket's location is the dataset's or part of its multi-region.

    London and Zurich are not in the EU multi-region (BigQuery locations).
    """
    outer, inner = dataset.upper(), bucket.upper()
    if outer == inner:
        return True
    if outer == "EU":
        return inner.startswith("EUROPE-") and inner not in _OUTSIDE_EU
    return outer == "US" and inner.startswith("US-")


def generation_in_uri(job: LoadJob, _facts: Facts) -> str | None:
    """A URI that names an object's generation."""
    for uri in job.uris:
        if re.search(r"#\d+\Z", uri):
            return f"Not found: URI {uri}: a generation number in a Cloud Storage URI is not supported"
    return None


def wildcard(job: LoadJob, _facts: Facts) -> str | None:
    """More than one wildcard in a URI, or one in the bucket's name."""
    for uri in job.uris:
        bucket, name = split(uri)
        if "*" in bucket or name.count("*") > 1:
            return f"Invalid URI {uri}: one '*' is allowed, after the bucket name"
    return None


def not_gs(job: LoadJob, _facts: Facts) -> str | None:
    """A URI outside Cloud Storage."""
    for uri in job.uris:
        if not uri.startswith("gs://") or not split(uri)[1]:
            return f"Source URI must be a Google Cloud Storage location: {uri}"
    return None


def missing_uri(_job: LoadJob, facts: Facts) -> str | None:
    """An object that does not exist."""
    try:
        _ = facts.files
    except ObjectMissing as missing:
        return f"Not found: URI {missing}"
    except NotParquet:
        return None  # the next rule says so
    return None


def not_parquet(_job: LoadJob, facts: Facts) -> str | None:
    """An object that is no Parquet file."""
    try:
        _ = facts.files
    except NotParquet as wrong:
        return f"Error while reading data, error message: Input file is not in Parquet format. File: {wrong}"
    return None


def type_not_from_parquet(job: LoadJob, facts: Facts) -> str | None:
    """JSON, INTERVAL and RANGE columns cannot be filled from Parquet; DATETIME is unproven."""
    refused = _NOT_FROM_PARQUET + (() if facts.strictness.datetime_from_parquet else ("DATETIME",))
    for _, field in leaves(job.schema):
        if field.type in refused:
            return f"Unsupported field type: {field.type}"
    return None


def too_many_columns(job: LoadJob, facts: Facts) -> str | None:
    """More columns, nested ones included, than a table may have."""
    count = max((len(leaves(job.schema)), *(file.metadata.num_columns for file in facts.files[:1])))
    limit = facts.strictness.columns_per_table
    return f"Too many fields: {count}. Limit is {limit}." if count > limit else None


def partition_field(job: LoadJob, _facts: Facts) -> str | None:
    """Time partitioning by a column that the schema lacks, or of a type that cannot partition."""
    name = (job.time_partitioning or {}).get("field")
    if not job.schema or not name:
        return None
    field = next((f for f in job.schema if f.name.casefold() == name.casefold()), None)
    if field is None:
        return "The field specified for partitioning cannot be found in the schema."
    if field.type not in ("DATE", "TIMESTAMP", "DATETIME") or field.mode == "REPEATED":
        return f"The field specified for time partitioning must be a DATE, TIMESTAMP or DATETIME: {name}"
    return None


def clustering_field(job: LoadJob, _facts: Facts) -> str | None:
    """Clustering by more than four columns, or by one that the schema lacks or that cannot cluster."""
    if len(job.clustering) > 4:
        return f"Too many clustering fields: {len(job.clustering)}. Limit is 4."
    by_name = {field.name.casefold(): field for field in job.schema}
    for name in job.clustering if job.schema else ():
        field = by_name.get(name.casefold())
        if field is None:
            return f"The field specified for clustering cannot be found in the schema. Invalid field: {name}"
        if field.mode == "REPEATED" or field.type in (
            "FLOAT64",
            "BYTES",
            "TIME",
            "STRUCT",
            "JSON",
            "INTERVAL",
        ):
            return f"Entity {name} cannot be clustered by: its type is {field.mode} {field.type}"
    return None
