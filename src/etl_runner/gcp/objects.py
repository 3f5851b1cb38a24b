"""Cloud Storage as an object store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from google.api_core.exceptions import NotFound, PreconditionFailed

from etl_runner.errors import GenerationMismatch, ObjectExists, RetryableError
from etl_runner.gcp.faults import translated
from etl_runner.state.objects import ObjectInfo, StoredObject

if TYPE_CHECKING:
    from google.cloud.storage import Client

_READS = 5
_LISTED = "items(name,size,generation,metadata),nextPageToken"


class GcsObjectStore:
    """Implements :class:`etl_runner.state.objects.ObjectStore` on one bucket.

    The client repeats reads and conditional writes by itself; where a repeated write finds that its first
    attempt had worked after all, it reports a precondition failure, which the protocol expects.
    """

    def __init__(self, client: Client, bucket: str) -> None:
        self._bucket = client.bucket(bucket)
        self._client = client

    def uri(self, name: str) -> str:
        return f"gs://{self._bucket.name}/{name}"

    def read(self, name: str) -> StoredObject | None:
        with translated(f"reading {self.uri(name)}"):
            for _ in range(_READS):
                blob = self._bucket.blob(name)
                try:
                    data = blob.download_as_bytes()
                    if blob.generation is not None:
                        return StoredObject(data, int(blob.generation))
                    # A server that leaves the generation out of the download: ask, then read just that one.
                    blob.reload()
                    generation = int(blob.generation or 0)
                    return StoredObject(blob.download_as_bytes(if_generation_match=generation), generation)
                except NotFound:
                    return None
                except PreconditionFailed:
                    continue
        raise RetryableError(f"{self.uri(name)} changes faster than it can be read")

    def read_tail(self, name: str, size: int) -> tuple[bytes, int] | None:
        with translated(f"reading {self.uri(name)}"):
            blob = self._bucket.get_blob(name)
            if blob is None:
                return None
            whole = int(blob.size)
            if whole == 0:
                return b"", 0
            start = max(0, whole - size)
            data = blob.download_as_bytes(start=start, end=whole - 1, if_generation_match=blob.generation)
            return data, whole

    def create(
        self,
        name: str,
        data: bytes,
        content_type: str = "application/json",
        metadata: Mapping[str, str] | None = None,
    ) -> int:
        return self._upload(name, data, content_type, 0, metadata)

    def create_from_file(self, name: str, path: str, content_type: str) -> ObjectInfo:
        blob = self._bucket.blob(name)
        with translated(f"writing {self.uri(name)}"):
            try:
                blob.upload_from_filename(path, content_type=content_type, if_generation_match=0)
            except PreconditionFailed as error:
                raise ObjectExists(name) from error
        return ObjectInfo(name, Path(path).stat().st_size, int(blob.generation))

    def replace(self, name: str, data: bytes, generation: int) -> int:
        return self._upload(name, data, "application/json", generation)

    def delete(self, name: str) -> None:
        with translated(f"deleting {self.uri(name)}"):
            try:
                self._bucket.delete_blob(name)
            except NotFound:
                return

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        with translated(f"listing {self.uri(prefix)}"):
            for blob in self._client.list_blobs(self._bucket, prefix=prefix, fields=_LISTED):
                yield ObjectInfo(blob.name, int(blob.size), int(blob.generation), blob.metadata or {})

    def _upload(
        self,
        name: str,
        data: bytes,
        content_type: str,
        generation: int,
        metadata: Mapping[str, str] | None = None,
    ) -> int:
        blob = self._bucket.blob(name)
        if metadata:
            blob.metadata = dict(metadata)
        with translated(f"writing {self.uri(name)}"):
            try:
                blob.upload_from_string(data, content_type=content_type, if_generation_match=generation)
            except PreconditionFailed as error:
                conflict = ObjectExists if generation == 0 else GenerationMismatch
                raise conflict(name) from error
        return int(blob.generation)
