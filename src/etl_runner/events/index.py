"""Which sources an object concerns, without reading their documents.

Sources of one bucket are found by the text that all of their files' names begin with (prefix and the literal
head of the glob): one dictionary look-up for each length that occurs, however many sources there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from etl_runner.events.object_event import ObjectEvent
from etl_runner.sources.files.globs import compile_glob

if TYPE_CHECKING:
    from etl_runner.config.resolved import ResolvedSource


@dataclass(frozen=True)
class IndexEntry:
    """What events need to know of one source of files. ``account`` is Azure's; None matches any.
    ``table`` is the destination, ``project.dataset.table``."""

    source_id: str
    source_type: str
    bucket: str
    account: str | None
    prefix: str
    pattern: str
    load_type: str
    order_by: str
    table: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> IndexEntry:
        return cls(**value)

    def matches(self, event: ObjectEvent) -> bool:
        """Whether the object is one of the source's files."""
        return (
            event.dialect == self.source_type
            and event.bucket == self.bucket
            and (self.account is None or event.account is None or self.account == event.account)
            and event.name.startswith(self.prefix)
            and compile_glob(self.pattern).matches(event.name[len(self.prefix) :])
        )


def entry_of(resolved: ResolvedSource, project: str, dataset: str) -> IndexEntry | None:
    """The entry of a source; None for what is no source of files. ``project`` and ``dataset`` are the
    deployment's."""
    from etl_runner.config.connections import AzureConnection, BucketConnection
    from etl_runner.config.files import FileSource

    document, connection = resolved.document, resolved.connection
    if not isinstance(document, FileSource) or not isinstance(connection, BucketConnection):
        return None
    table = ".".join(
        (document.dest_project or project, document.dest_dataset or dataset, document.dest_table_name)
    )
    return IndexEntry(
        source_id=resolved.source_id,
        source_type=connection.storage,
        bucket=connection.bucket,
        account=connection.account_name if isinstance(connection, AzureConnection) else None,
        prefix=connection.prefix,
        pattern=document.file_pattern,
        load_type=document.load_type,
        order_by=document.order_by,
        table=table,
    )


class SourceIndex:
    """The sources of files, by bucket and by what their files' names begin with."""

    def __init__(self, entries: Iterable[IndexEntry]) -> None:
        self.entries = {entry.source_id: entry for entry in entries}
        self._buckets: dict[tuple[str, str], dict[str, list[IndexEntry]]] = {}
        for entry in self.entries.values():
            head = entry.prefix + compile_glob(entry.pattern).literal
            heads = self._buckets.setdefault((entry.source_type, entry.bucket), {})
            heads.setdefault(head, []).append(entry)
        self._lengths = {
            bucket: sorted({len(head) for head in heads}) for bucket, heads in self._buckets.items()
        }

    def match(self, event: ObjectEvent) -> list[IndexEntry]:
        """The sources that want the object, in the order of their ids."""
        return sorted(self._candidates(event), key=lambda entry: entry.source_id)

    def _candidates(self, event: ObjectEvent) -> Iterator[IndexEntry]:
        bucket = (event.dialect, event.bucket)
        heads = self._buckets.get(bucket, {})
        for length in self._lengths.get(bucket, ()):
            if length > len(event.name):
                return
            for entry in heads.get(event.name[:length], ()):
                if entry.matches(event):
                    yield entry
