"""Cloud Storage as a source of files, through its JSON API.

An object is read by its generation: of a bucket with versioning, the planned version is still there after a
newer one came; without versioning, the read finds nothing and says so.
https://cloud.google.com/storage/docs/request-preconditions
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from etl_runner.config.connections import GcsConnection
from etl_runner.config.secrets import SecretResolver
from etl_runner.errors import EtlError, PermanentError, RetryableError
from etl_runner.lean_client import lean
from etl_runner.sources.files.store import FileVersion
from etl_runner.sources.files.stores.base import BucketStore
from etl_runner.sources.files.stores.common import (
    CONNECT_SECONDS,
    READ_SECONDS,
    network_meaning,
    replaced,
    rfc3339,
    status_meaning,
    told,
)

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client

SCOPE = "https://www.googleapis.com/auth/devstorage.read_only"
PAGE = 1_000
_TIMEOUT = (CONNECT_SECONDS, READ_SECONDS)
_FIELDS = "items(name,generation,size,updated),nextPageToken"
_PERMISSION = re.compile(r"storage\.[a-z]+\.[a-zA-Z]+")
_RETRY_SECONDS = 60.0


def connect(connection: GcsConnection, secrets: SecretResolver, endpoint: str | None) -> Client:
    """A client with the connection's identity: its key, or the runner's account where it names none.

    An endpoint that begins with ``http://`` gets no credentials: they would travel in the open.

    Raises:
        PermanentError: the secret cannot be read, or is not a service account's key.
    """
    from google.cloud.storage import Client

    options: dict[str, Any] = {"client_options": {"api_endpoint": endpoint}} if endpoint else {}
    if endpoint is not None and endpoint.startswith("http://"):
        from google.auth.credentials import AnonymousCredentials

        return lean(Client(project="none", credentials=AnonymousCredentials(), **options))  # type: ignore[no-untyped-call]
    if connection.credentials is not None:
        key = key_credentials(secrets.reveal(connection.credentials), f"bucket {connection.bucket}")
        return lean(Client(project=key.project_id or "none", credentials=key, **options))
    return lean(Client(**options))


def key_credentials(key: str, place: str, scope: str = SCOPE) -> Any:
    """Credentials of a service account's key, given as its JSON text.

    Raises:
        PermanentError: it is no such key; the message does not repeat it.
    """
    from google.auth.exceptions import GoogleAuthError
    from google.oauth2.service_account import Credentials

    try:
        return Credentials.from_service_account_info(json.loads(key), scopes=[scope])  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, AttributeError, KeyError, GoogleAuthError):
        pass
    raise PermanentError(f"{place}: credentials is not a service account's key in JSON")


class GcsFileStore(BucketStore["Client"]):
    """A bucket of Cloud Storage; see the base class."""

    page_size = PAGE

    def head(self, name: str) -> FileVersion | None:
        from google.api_core.exceptions import NotFound

        with told(self, self.place, f"looking at {name}"):
            try:
                blob = self._bucket.blob(name)
                blob.reload(timeout=_TIMEOUT, retry=self._retry)
            except NotFound as error:
                if _bucket_is_missing(error):
                    raise
                return None
            return self._version(blob)

    @property
    def place(self) -> str:
        """The bucket, in words."""
        return f"Cloud Storage bucket {self._name}"

    def meaning(self, error: Exception, place: str, doing: str) -> EtlError | None:
        """See :class:`etl_runner.sources.files.stores.common.Cloud`."""
        from google.api_core import exceptions as api
        from google.auth import exceptions as auth

        if isinstance(error, auth.RefreshError):
            return PermanentError(
                f"{place}: the service account's key was not accepted; it may be deleted, disabled or expired"
            )
        if isinstance(error, auth.DefaultCredentialsError):
            return PermanentError(
                f"{place}: this process has no account of its own; give the connection credentials"
            )
        if isinstance(error, api.GoogleAPICallError):
            return _api_meaning(error, place, doing)
        if isinstance(error, api.RetryError) and isinstance(error.cause, Exception):
            return self.meaning(error.cause, place, doing) or RetryableError(f"{place}: no answer")
        network = network_meaning(error, place, "storage.googleapis.com", "the storage endpoint")
        if network is None and isinstance(error, api.RetryError | OSError):
            return RetryableError(f"{place}, while {doing}: the connection was lost")
        return network

    @cached_property
    def _bucket(self) -> Any:
        return self._client.bucket(self._name)

    @cached_property
    def _retry(self) -> Any:
        from google.cloud.storage.retry import DEFAULT_RETRY

        return DEFAULT_RETRY.with_timeout(_RETRY_SECONDS)

    def _pages(self, prefix: str, start: str, size: int, *, retry: bool = True) -> Iterator[Any]:
        def pages() -> Iterator[Any]:
            found = self._client.list_blobs(
                self._bucket,
                prefix=prefix or None,
                start_offset=start or None,
                fields=_FIELDS,
                page_size=size,
                timeout=_TIMEOUT,
                retry=self._retry if retry else None,
            )
            yield from found.pages

        return pages()

    def _fetch(self, file: FileVersion, start: int, end: int, *, retry: bool = True) -> bytes:
        from google.api_core import exceptions as api

        blob = self._bucket.blob(file.name, generation=int(file.version))
        with told(self, self.place, f"reading {file.name}"):
            try:
                # Raw: an object with Content-Encoding gzip would be inflated on its way otherwise.
                data: bytes = blob.download_as_bytes(
                    start=start,
                    end=end - 1,
                    raw_download=True,
                    checksum=None,
                    if_generation_match=int(file.version),
                    timeout=_TIMEOUT,
                    retry=self._retry if retry else None,
                )
            except (api.NotFound, api.PreconditionFailed, api.RequestRangeNotSatisfiable) as error:
                if _bucket_is_missing(error):
                    raise
                data = b""
                gone = True
            else:
                gone = False
        if gone:
            raise replaced(file)
        return data

    def _version(self, blob: Blob) -> FileVersion:
        return FileVersion(
            uri=f"gs://{self._name}/{blob.name}",
            name=str(blob.name),
            version=str(blob.generation),
            size=int(blob.size or 0),
            modified=rfc3339(blob.updated),
        )


def _bucket_is_missing(error: Any) -> bool:
    # The API's own words: "The specified bucket does not exist."
    return error.code == 404 and "bucket" in str(error.message).lower()


def _api_meaning(error: Any, place: str, doing: str) -> EtlError:
    if error.code == 404:
        return PermanentError(f"{place}: there is no such bucket; check bucket")
    if error.code == 401:
        return PermanentError(f"{place}: the identity was not accepted; check credentials")
    if error.code == 403:
        named = _PERMISSION.search(str(error.message))
        needed = f" {named.group()}" if named else ""
        return PermanentError(
            f"{place}, while {doing}: a permission is missing{needed};"
            " grant roles/storage.objectViewer on the bucket to the account that reads"
        )
    if error.code == 400:
        return PermanentError(f"{place}, while {doing}: the request was refused as invalid; check bucket")
    return status_meaning(error.code, place, doing, type(error).__name__)
