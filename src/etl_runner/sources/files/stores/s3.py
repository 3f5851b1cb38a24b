"""S3, and servers that speak its API, as a source of files.

An object is read by its etag (``If-Match``), which changes with its content.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-reads.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from etl_runner.config.connections import S3Connection
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

PAGE = 1_000
"""https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html: at most 1,000 keys a page."""
DEFAULT_REGION = "us-east-1"
"""Where requests for a bucket of an unknown region begin; S3 answers with the right one."""
_ATTEMPTS = 3
_KEY_ERRORS = {
    "InvalidAccessKeyId": "the access key's id is not known; check access_key_id",
    "SignatureDoesNotMatch": "the secret does not belong to the access key; check secret_access_key",
    "AuthorizationHeaderMalformed": "the signature was not understood; check region and access_key_id",
    "ExpiredToken": "the session token has expired; give new temporary credentials",
    "InvalidToken": "the session token was not accepted; check session_token",
    "RequestTimeTooSkewed": "this machine's clock is wrong; S3 refuses its signatures",
}
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList


def connect(connection: S3Connection, secrets: SecretResolver) -> Any:
    """botocore's S3 client with the connection's keys and nothing of the environment's.

    Raises:
        PermanentError: a secret cannot be read, or the endpoint is not a URL.
    """
    import botocore.session
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES as VARIABLES

    # Profile, files, regions and endpoints of this process's environment belong to somebody else: each of the
    # session's variables loses the name under which botocore would look it up there.
    own = {name: (None, None, default, convert) for name, (_, _, default, convert) in VARIABLES.items()}
    session = botocore.session.Session(session_vars=own)
    for name in ("config_file", "credentials_file"):
        session.set_config_variable(name, "/dev/null")
    keys: dict[str, str | None] = {}
    if not connection.anonymous:
        if connection.access_key_id is None or connection.secret_access_key is None:
            raise PermanentError(
                f"S3 bucket {connection.bucket}: access_key_id and secret_access_key are missing"
            )
        token = connection.session_token
        keys = {
            "aws_access_key_id": secrets.reveal(connection.access_key_id).strip(),
            "aws_secret_access_key": secrets.reveal(connection.secret_access_key).strip(),
            "aws_session_token": None if token is None else secrets.reveal(token).strip(),
        }
    config = Config(
        signature_version=UNSIGNED if connection.anonymous else "s3v4",
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        ignore_configured_endpoint_urls=True,
        # Servers other than AWS have no name of its own for each bucket.
        s3={"addressing_style": "path" if connection.endpoint else "auto"},
        user_agent_extra="etl-runner",
    )
    try:
        return session.create_client(
            "s3",
            region_name=connection.region or DEFAULT_REGION,
            endpoint_url=connection.endpoint,
            config=config,
            **keys,
        )
    except ValueError:
        pass
    raise PermanentError(f"S3 bucket {connection.bucket}: endpoint or region is not valid")


class S3FileStore(BucketStore[Any]):
    """A bucket of S3; see the base class."""

    page_size = PAGE

    def head(self, name: str) -> FileVersion | None:
        from botocore.exceptions import ClientError

        with told(self, self.place, f"looking at {name}"):
            try:
                found = self._client.head_object(Bucket=self._name, Key=name)
            except ClientError as error:
                if _status(error) != 404:
                    raise
                self._page("", 1)  # says when it is the bucket that is missing; a HEAD has no body to tell
                return None
            return self._version({**found, "Key": name, "Size": found["ContentLength"]})

    @property
    def place(self) -> str:
        """The bucket, in words."""
        return f"S3 bucket {self._name}"

    def meaning(self, error: Exception, place: str, doing: str) -> EtlError | None:
        """See :class:`etl_runner.sources.files.stores.common.Cloud`."""
        from botocore import exceptions as boto

        if isinstance(error, boto.ClientError):
            return _client_meaning(error, place, doing)
        if isinstance(error, boto.ParamValidationError):
            return PermanentError(f"{place}, while {doing}: the bucket's or object's name is not valid")
        if not isinstance(error, boto.BotoCoreError | OSError):
            return None
        host = str(self._client.meta.endpoint_url).partition("://")[2]
        network = network_meaning(error, place, host, "endpoint and region")
        return network or RetryableError(f"{place}, while {doing}: the connection was lost")

    def _pages(self, prefix: str, start: str, size: int, *, retry: bool = True) -> Iterator[Any]:
        del retry  # the client tries again a few times

        def pages() -> Iterator[Any]:
            more = {"StartAfter": start} if start else {}
            while True:
                page = self._page(prefix, size, **more)
                yield page.get("Contents", ())
                if not page.get("IsTruncated"):
                    return
                more = {"ContinuationToken": page["NextContinuationToken"]}

        return pages()

    def _page(self, prefix: str, size: int, **token: str) -> Any:
        return self._client.list_objects_v2(Bucket=self._name, Prefix=prefix, MaxKeys=size, **token)

    def _fetch(self, file: FileVersion, start: int, end: int, *, retry: bool = True) -> bytes:
        del retry
        from botocore.exceptions import ClientError

        with told(self, self.place, f"reading {file.name}"):
            try:
                answer = self._client.get_object(
                    Bucket=self._name,
                    Key=file.name,
                    IfMatch=f'"{file.version}"',
                    Range=f"bytes={start}-{end - 1}",
                )
                with answer["Body"] as body:
                    data: bytes = body.read()
                return data
            except ClientError as error:
                gone = error.response.get("Error", {}).get("Code") == "NoSuchKey" or _status(error) in (
                    412,
                    416,
                )
                if not gone:
                    raise
        raise replaced(file)

    def _version(self, item: Any) -> FileVersion:
        name = item["Key"]
        etag = str(item.get("ETag") or "").strip('"')
        if not etag:
            raise PermanentError(
                f"{self.place}: the server tells no etag of {name}; versions cannot be told apart"
            )
        return FileVersion(
            uri=f"s3://{self._name}/{name}",
            name=name,
            version=etag,
            size=int(item["Size"]),
            modified=rfc3339(item["LastModified"]),
        )


def _status(error: Any) -> int | None:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status if isinstance(status, int) else None


def _client_meaning(error: Any, place: str, doing: str) -> EtlError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = _status(error)
    if code in _KEY_ERRORS:
        return PermanentError(f"{place}: {_KEY_ERRORS[code]}")
    if code == "NoSuchBucket":
        return PermanentError(f"{place}: there is no such bucket; check bucket, region and endpoint")
    if code == "InvalidObjectState":
        return PermanentError(f"{place}, while {doing}: the object is archived; restore it first")
    if code in ("PermanentRedirect", "IllegalLocationConstraintException") or status == 301:
        return PermanentError(f"{place}: the bucket is in another region; check region")
    if status == 403:
        needed = "s3:ListBucket" if doing.startswith(("listing", "testing")) else "s3:GetObject"
        return PermanentError(
            f"{place}, while {doing}: access was denied; the key needs {needed}"
            + (" (and s3:GetObject)" if needed == "s3:ListBucket" else "")
        )
    if status == 401:
        return PermanentError(f"{place}: the access key was not accepted; check access_key_id")
    return status_meaning(status, place, doing, code)
