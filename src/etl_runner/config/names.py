"""What names may look like: ids of documents, and BigQuery's projects, datasets, tables and columns."""

from __future__ import annotations

import re
import unicodedata

DOCUMENT_ENDINGS = (".yaml", ".yml", ".json")
"""Of a document's object, behind its id."""
ID_PATTERN = r"^[A-Za-z0-9_-]{1,128}$"
ID_ALLOWED = "1 to 128 letters, digits, - and _"
DATASET_PATTERN = r"^[A-Za-z0-9_]{1,1024}$"
PROJECT_PATTERN = r"^(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$"
COLUMN_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,299}$"

# Table ids have 1,024 UTF-8 bytes (https://cloud.google.com/bigquery/docs/tables#table_naming); the
# tables that stand beside a destination (`<dest>__rejects`, a run's staging table) need the rest.
TABLE_BYTES = 900
_TABLE_CATEGORIES = ("L", "M", "N", "Pc", "Pd", "Zs")

# https://cloud.google.com/bigquery/docs/schemas#column_names
RESERVED_COLUMN_PREFIXES = (
    "_TABLE_",
    "_FILE_",
    "_PARTITION",
    "_ROW_TIMESTAMP",
    "__ROOT__",
    "_COLIDENTIFIER",
    "_CHANGE_SEQUENCE_NUMBER",
    "_CHANGE_TYPE",
    "_CHANGE_TIMESTAMP",
)
METADATA_PREFIX = "_etl_"


def is_id(text: str) -> bool:
    """Whether ``text`` can be a source's or a connection's id."""
    return re.fullmatch(ID_PATTERN[1:-1], text) is not None


def is_reserved(source_id: str) -> bool:
    """Whether the id is kept for what the runner itself loads."""
    return source_id.startswith(METADATA_PREFIX)


def table_fault(name: str) -> str | None:
    """Why ``name`` cannot be a destination table, or None when it can."""
    if "." in name:
        return "holds a dot: write the dataset in dest_dataset and the project in dest_project"
    for character in name:
        category = unicodedata.category(character)
        if category not in _TABLE_CATEGORIES and category[0] not in _TABLE_CATEGORIES:
            return f"holds {character!r}, which BigQuery does not allow in a table's name"
    if len(name.encode("utf-8", "surrogatepass")) > TABLE_BYTES:
        return f"is longer than {TABLE_BYTES} bytes"
    return None


def column_fault(name: str) -> str | None:
    """Why ``name`` cannot be a destination column, or None when it can."""
    if re.fullmatch(COLUMN_PATTERN[1:-1], name) is None:
        return "is not a BigQuery column name"
    upper = name.upper()
    for prefix in RESERVED_COLUMN_PREFIXES:
        if upper.startswith(prefix):
            return f"begins with {prefix}, which BigQuery keeps for itself"
    if name.lower().startswith(METADATA_PREFIX):
        return f"begins with {METADATA_PREFIX}, which the metadata columns use"
    return None
