"""Source documents of files: Cloud Storage, S3, Azure Blob Storage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from etl_runner.config.base import Document
from etl_runner.config.connections import AzureConnection, GcsConnection, S3Connection
from etl_runner.config.rules import file_rules
from etl_runner.config.sources import SourceDocument
from etl_runner.config.values import Text, Truth, Whole, refusal
from etl_runner.errors import Problem

FileFormat = Literal["csv", "parquet", "json", "jsonl"]
Compression = Literal["auto", "none", "gzip", "zstd", "bz2"]
_ONE = "one character, not a line end"
_COMPRESSED = (".gz", ".zst", ".bz2")
_ENDINGS: dict[str, FileFormat] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}


def _character(value: Any) -> Any:
    if value in ("\\t", "tab"):
        return "\t"
    if not isinstance(value, str) or len(value) != 1 or value in "\r\n\x00":
        raise refusal("must be one character", _ONE)
    return value


def _character_or_none(value: Any) -> Any:
    return value if value == "none" else _character(value)


def _encoding(value: str) -> str:
    try:
        "".encode(value)
    except (LookupError, ValueError):
        known = False
    else:
        known = True
    if not known:
        raise refusal("is not a known text encoding", "a name such as utf-8, latin-1, cp1252 or utf-16")
    return value


class FileFormatOptions(Document):
    """How a file is written."""

    aliases: ClassVar[Mapping[str, str]] = {
        "separator": "delimiter",
        "sep": "delimiter",
        "quote_char": "quote",
        "quotechar": "quote",
        "escape_char": "escape",
        "escapechar": "escape",
        "header": "has_header",
        "null_values": "null_markers",
        "skip_rows": "skip_lines",
    }
    exact: ClassVar[frozenset[str]] = frozenset({"delimiter", "quote", "escape", "null_markers"})

    delimiter: Annotated[str, BeforeValidator(_character)] = Field(
        ",", description="CSV: what separates fields; \\t or tab for a tab."
    )
    quote: Annotated[str, BeforeValidator(_character_or_none)] = Field(
        '"', description="CSV: what encloses a field; none when nothing does."
    )
    escape: Annotated[str, BeforeValidator(_character_or_none)] = Field(
        "none", description="CSV: what takes the next character's meaning away; none: quotes are doubled."
    )
    encoding: Annotated[Text, AfterValidator(_encoding)] = Field(
        "utf-8", description="Text encoding of the files."
    )
    has_header: Truth = Field(True, description="CSV: whether the first line names the columns.")
    null_markers: Annotated[tuple[str, ...], Field(max_length=100)] = Field(
        ("",), description="CSV: fields that mean NULL; [] for none."
    )
    skip_lines: Annotated[Whole, Field(ge=0, le=1_000_000)] = Field(
        0, description="CSV: lines to leave out before the header."
    )
    compression: Compression = Field("auto", description="auto decides by the file's name.")


class FileSource(SourceDocument):
    """Files of a bucket or container; the bucket is the connection's."""

    aliases: ClassVar[Mapping[str, str]] = {
        **SourceDocument.aliases,
        "pattern": "file_pattern",
        "format": "file_format",
        "format_options": "file_format_options",
    }

    file_pattern: Annotated[Text, Field(max_length=1_024)] = Field(
        description="Glob below the connection's bucket and prefix: *.csv, data_*.parquet, **/part-*.json.gz."
    )
    file_format: FileFormat = Field(
        description="What the files are; when absent, told from the ending of file_pattern."
    )
    file_format_options: FileFormatOptions = Field(
        default_factory=FileFormatOptions, description="How the files are written."
    )
    file_selection: Literal["latest", "all"] | None = Field(
        None, description="Catalog loads: the latest matching file (when absent), or all of them."
    )
    order_by: Literal["last_modified", "name"] = Field(
        "last_modified", description="What makes a file the latest, and the order in which files are taken."
    )
    on_overwrite: Literal["append", "ignore", "fail"] = Field(
        "append", description="A file that was loaded and then overwritten: load it again, leave it, or fail."
    )
    exact_generation: Truth = Field(
        True,
        description="Read objects at the planned generation; false lets BigQuery load gcs files by itself.",
    )

    @property
    def selection(self) -> Literal["latest", "all"]:
        """``file_selection`` with its default for the load type."""
        return self.file_selection or ("latest" if self.load_type == "catalog" else "all")

    @model_validator(mode="before")
    @classmethod
    def _format_from_pattern(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "file_format" not in data:
            found = format_of(data.get("file_pattern"))
            if found is not None:
                return {**data, "file_format": found}
        return data

    @classmethod
    def rules(cls, fields: Mapping[str, Any]) -> Iterator[Problem]:
        return file_rules(fields)


def format_of(pattern: object) -> FileFormat | None:
    """The file format that the ending of a glob names, compression set aside."""
    if not isinstance(pattern, str):
        return None
    name = pattern.lower()
    for ending in _COMPRESSED:
        name = name.removesuffix(ending)
    return next((kind for ending, kind in _ENDINGS.items() if name.endswith(ending)), None)


class GcsSource(FileSource):
    """Files of Cloud Storage."""

    source_type: Literal["gcs"] = Field(description="The kind of source.")
    connection_params: GcsConnection | None = Field(None, description="The connection, written inline.")


class S3Source(FileSource):
    """Files of S3."""

    source_type: Literal["s3"] = Field(description="The kind of source.")
    connection_params: S3Connection | None = Field(None, description="The connection, written inline.")


class AzureSource(FileSource):
    """Files of Azure Blob Storage."""

    source_type: Literal["azure"] = Field(description="The kind of source.")
    connection_params: AzureConnection | None = Field(None, description="The connection, written inline.")
