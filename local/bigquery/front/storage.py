"""Reading source objects: Parquet footers by one range request each, whole columns only when needed."""

from __future__ import annotations

import http
import http.client
import json
import threading
import urllib.parse
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

_TAIL_BYTES = 64 * 1024
_CACHED_FOOTERS = 50_000
_READERS = 8


class ObjectMissing(Exception):  # noqa: N818 - a finding, not a failure
    """A source object or bucket does not exist; the message is its URI."""


class NotParquet(Exception):  # noqa: N818 - a finding, not a failure
    """An object's end is not a Parquet footer; the message is its URI."""


@dataclass(frozen=True)
class ParquetFile:
    """One source file by its footer."""

    uri: str
    metadata: pq.FileMetaData


def split(uri: str) -> tuple[str, str]:
    """``gs://bucket/a/b`` as (``bucket``, ``a/b``)."""
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    return bucket, name


class SourceObjects:
    """The objects of one Cloud Storage endpoint (``http://host:port``), read without credentials.

    Buckets are at ``location`` until :meth:`set_bucket_location` says otherwise: the storage emulator has
    one place for all buckets and does not keep the location that a bucket was made with.
    """

    def __init__(self, endpoint: str, location: str) -> None:
        parts = urllib.parse.urlsplit(endpoint)
        if parts.scheme != "http" or parts.port is None:
            raise ValueError(f"the storage endpoint must read http://host:port, not {endpoint!r}")
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(_READERS, thread_name_prefix="footers")
        self._footers: OrderedDict[tuple[str, str], pq.FileMetaData] = OrderedDict()
        self._lock = threading.Lock()
        self._location = location
        self._locations: dict[str, str] = {}

    def close(self) -> None:
        """End the reading threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def set_bucket_location(self, bucket: str, location: str) -> None:
        """Say where a bucket is."""
        self._locations[bucket] = location

    def bucket_location(self, bucket: str) -> str:
        """Where a bucket is; asked of one that does not exist too."""
        return self._locations.get(bucket, self._location)

    def files(self, uris: Iterable[str]) -> list[ParquetFile]:
        """The footers of the objects that URIs name (one ``*`` is allowed in each), in order.

        Raises:
            ObjectMissing: a URI names nothing.
            NotParquet: an object is something else.
        """
        names = [name for uri in uris for name in (self._matching(uri) if "*" in uri else (uri,))]
        return list(self._pool.map(self._file, names))

    def column(self, uri: str, name: str) -> pa.ChunkedArray:
        """One whole top-level column."""
        bucket, key = split(uri)
        status, _, body = self._get(_media(bucket, key), {})
        if status != http.HTTPStatus.OK:
            raise ObjectMissing(uri)
        return pq.read_table(pa.BufferReader(body), columns=[name]).column(0)

    def _matching(self, uri: str) -> list[str]:
        bucket, pattern = split(uri)
        before, _, after = pattern.partition("*")
        found: list[str] = []
        token = ""
        while True:
            query = {"prefix": before, "maxResults": "1000"} | ({"pageToken": token} if token else {})
            path = f"/storage/v1/b/{urllib.parse.quote(bucket, safe='')}/o?{urllib.parse.urlencode(query)}"
            status, _, body = self._get(path, {})
            if status != http.HTTPStatus.OK:
                raise ObjectMissing(uri)
            page = json.loads(body)
            found += [item["name"] for item in page.get("items", ()) if item["name"].endswith(after)]
            token = page.get("nextPageToken") or ""
            if not token:
                break
        names = [name for name in found if len(name) >= len(before) + len(after)]
        if not names:
            raise ObjectMissing(uri)
        return [f"gs://{bucket}/{name}" for name in names]

    def _file(self, uri: str) -> ParquetFile:
        bucket, key = split(uri)
        generation, tail = self._tail(uri, bucket, key, _TAIL_BYTES)
        with self._lock:
            known = self._footers.get((uri, generation))
        if known is not None:
            return ParquetFile(uri, known)
        if len(tail) < 12 or tail[-4:] != b"PAR1":
            raise NotParquet(uri)
        needed = int.from_bytes(tail[-8:-4], "little") + 8
        if needed > len(tail):
            generation, tail = self._tail(uri, bucket, key, needed)
        try:
            metadata = pq.read_metadata(pa.BufferReader(tail))
        except pa.ArrowException as error:
            raise NotParquet(uri) from error
        with self._lock:
            self._footers[uri, generation] = metadata
            while len(self._footers) > _CACHED_FOOTERS:
                self._footers.popitem(last=False)
        return ParquetFile(uri, metadata)

    def _tail(self, uri: str, bucket: str, key: str, length: int) -> tuple[str, bytes]:
        status, headers, body = self._get(_media(bucket, key), {"Range": f"bytes=-{length}"})
        if status not in (http.HTTPStatus.OK, http.HTTPStatus.PARTIAL_CONTENT):
            raise ObjectMissing(uri)
        return headers.get("x-goog-generation", ""), body

    def _get(self, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        # A connection that the server has closed meanwhile is replaced once: reads can be repeated.
        for last in (False, True):
            connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
            if connection is None:
                connection = http.client.HTTPConnection(self._host, self._port, timeout=60)
                self._local.connection = connection
            try:
                connection.request("GET", path, headers=headers)
                response = connection.getresponse()
                body = response.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                self._local.connection = None
                if last:
                    raise
                continue
            return response.status, {key.lower(): value for key, value in response.getheaders()}, body
        raise AssertionError("unreachable")


def _media(bucket: str, key: str) -> str:
    quoted = urllib.parse.quote(bucket, safe=""), urllib.parse.quote(key, safe="")
    return f"/download/storage/v1/b/{quoted[0]}/o/{quoted[1]}?alt=media"
