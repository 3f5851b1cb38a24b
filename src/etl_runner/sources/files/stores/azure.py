"""Azure Blob Storage as a source of files.

An object is read by its etag (``If-Match``), which changes with every write.
https://learn.microsoft.com/rest/api/storageservices/specifying-conditional-headers-for-blob-service-operations
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from etl_runner.config.connections import AzureConnection
from etl_runner.config.secrets import SecretResolver
from etl_runner.errors import EtlError, PermanentError, RetryableError
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
from etl_runner.sources.files.stores.reading import PIECE_BYTES

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

PAGE = 5_000
"""https://learn.microsoft.com/rest/api/storageservices/list-blobs: at most 5,000 a page."""
_OPTIONS: dict[str, Any] = {
    "connection_timeout": int(CONNECT_SECONDS),
    "read_timeout": int(READ_SECONDS),
    "retry_total": 2,
    "initial_backoff": 1,
    "increment_base": 2,
    "max_single_get_size": PIECE_BYTES,
    "max_chunk_get_size": PIECE_BYTES,
    "user_agent": "etl-runner",
}
_REFUSED = {
    "AuthorizationFailure": "access was denied; check credential, permissions and the account's firewall",
    "AuthenticationFailed": "the credential was not accepted; check the account's key, SAS or string",
    "NoAuthenticationInformation": "the container is not public; give the connection a credential",
    "InvalidAuthenticationInfo": "the sign-in was not accepted; check tenant_id, client_id, client_secret",
    "PublicAccessNotPermitted": "the account allows no public access; give the connection a credential",
    "ResourceNotFound": "there is no public container of that name; check bucket and account_name",
    "ContainerNotFound": "there is no such container; check bucket and account_name",
    "AccountIsDisabled": "the storage account is disabled",
    "KeyBasedAuthenticationNotPermitted": "the account allows no keys; use client_secret",
}
# https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
_PERMISSION = {
    "AuthorizationPermissionMismatch",
    "AuthorizationServiceMismatch",
    "AuthorizationResourceTypeMismatch",
    "InsufficientAccountPermissions",
    "AuthorizationProtocolMismatch",
}


def connect(connection: AzureConnection, secrets: SecretResolver) -> ContainerClient:
    """A client of the container with the connection's one way to sign in.

    Raises:
        PermanentError: a secret cannot be read or has the wrong form, or the endpoint is not a URL.
    """
    from azure.storage.blob import ContainerClient

    place = f"Azure container {connection.bucket}"
    if connection.connection_string is not None:
        text = secrets.reveal(connection.connection_string).strip()
        try:
            return ContainerClient.from_connection_string(text, connection.bucket, **_OPTIONS)
        except (ValueError, KeyError):
            pass
        raise PermanentError(f"{place}: connection_string is not a storage account's connection string")
    url = connection.endpoint or f"https://{connection.account_name}.blob.core.windows.net"
    try:
        return ContainerClient(
            url, connection.bucket, credential=_credential(connection, secrets), **_OPTIONS
        )
    except ValueError:
        pass
    raise PermanentError(f"{place}: endpoint is not the URL of a Blob service")


def _credential(connection: AzureConnection, secrets: SecretResolver) -> Any:
    from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential

    place = f"Azure container {connection.bucket}"
    if connection.anonymous:
        return None
    if connection.account_key is not None:
        key = secrets.reveal(connection.account_key).strip()
        _check_base64(key, place)
        return AzureNamedKeyCredential(str(connection.account_name), key)
    if connection.sas_token is not None:
        return AzureSasCredential(secrets.reveal(connection.sas_token).strip().removeprefix("?"))
    if connection.client_secret is not None:
        from etl_runner.sources.files.stores.azure_login import ClientSecretLogin

        return ClientSecretLogin(
            str(connection.tenant_id),
            str(connection.client_id),
            secrets.reveal(connection.client_secret),
            place=place,
        )
    # Without a credential the client would read anonymously, which is for a document to say.
    raise PermanentError(f"{place}: the connection names no credential")


def _check_base64(key: str, place: str) -> None:
    """An account's key is base64: the client would fail over another one at the first request, unclearly."""
    import base64
    import binascii

    try:
        base64.b64decode(key, validate=True)
    except binascii.Error:
        pass
    else:
        return
    raise PermanentError(f"{place}: account_key is not a storage account's key (base64)")


class AzureFileStore(BucketStore["ContainerClient"]):
    """A container of Azure Blob Storage; see the base class."""

    page_size = PAGE

    def head(self, name: str) -> FileVersion | None:
        from azure.core.exceptions import ResourceNotFoundError

        with told(self, self.place, f"looking at {name}"):
            try:
                return self._version(self._client.get_blob_client(name).get_blob_properties())
            except ResourceNotFoundError as error:
                if _code(error) == "ContainerNotFound":
                    raise
            return None

    @property
    def place(self) -> str:
        """The container, in words."""
        return f"Azure container {self._name}"

    def meaning(self, error: Exception, place: str, doing: str) -> EtlError | None:
        """See :class:`etl_runner.sources.files.stores.common.Cloud`."""
        from azure.core import exceptions as azure

        if isinstance(error, azure.HttpResponseError) and error.status_code is not None:
            return _response_meaning(error, place, doing)
        if not isinstance(error, azure.AzureError | OSError):
            return None
        host = str(self._client.primary_hostname)
        network = network_meaning(error, place, host, "account_name and endpoint")
        return network or RetryableError(f"{place}, while {doing}: the connection was lost")

    def _pages(self, prefix: str, start: str, size: int, *, retry: bool = True) -> Iterator[Any]:
        del start, retry  # only newer versions of the service begin in the middle; the client tries twice

        def pages() -> Iterator[Any]:
            yield from self._client.list_blobs(
                name_starts_with=prefix or None, results_per_page=size
            ).by_page()

        return pages()

    def _fetch(self, file: FileVersion, start: int, end: int, *, retry: bool = True) -> bytes:
        del retry
        from azure.core import MatchConditions
        from azure.core.exceptions import HttpResponseError

        with told(self, self.place, f"reading {file.name}"):
            try:
                data: bytes = (
                    self._client.get_blob_client(file.name)
                    .download_blob(
                        offset=start,
                        length=end - start,
                        etag=f'"{file.version}"',
                        match_condition=MatchConditions.IfNotModified,
                        max_concurrency=1,
                    )
                    .readall()
                )
                return data
            except HttpResponseError as error:
                gone = error.status_code in (412, 416) or _code(error) == "BlobNotFound"
                if not gone:
                    raise
        raise replaced(file)

    def _version(self, blob: Any) -> FileVersion:
        return FileVersion(
            uri=f"az://{self._name}/{blob.name}",
            name=str(blob.name),
            version=str(blob.etag).strip('"'),
            size=int(blob.size or 0),
            modified=rfc3339(blob.last_modified),
        )


def _code(error: Any) -> str:
    """The service's own word for the error (the header x-ms-error-code)."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def _response_meaning(error: Any, place: str, doing: str) -> EtlError:
    code, status = _code(error), error.status_code
    if code in _REFUSED:
        return PermanentError(f"{place}: {_REFUSED[code]}")
    if code == "BlobArchived":
        return PermanentError(f"{place}, while {doing}: the object is archived; rehydrate it first")
    if code in _PERMISSION or status == 403:
        return PermanentError(
            f"{place}, while {doing}: a permission is missing; a shared access signature needs read and list,"
            " an application the role Storage Blob Data Reader"
        )
    if status == 401:
        return PermanentError(f"{place}: the sign-in was not accepted; check the connection's credential")
    if status == 404:
        return PermanentError(f"{place}: there is no such container; check bucket and account_name")
    return status_meaning(status, place, doing, code)
