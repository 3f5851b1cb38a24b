from __future__ import annotations

from typing import Any

import google_crc32c
import pytest
from google.api_core import exceptions as api
from google.cloud.secretmanager_v1 import AccessSecretVersionResponse, SecretPayload

from etl_runner.config.secrets import SecretRef, SecretValue
from etl_runner.errors import PermanentError, RetryableError
from etl_runner.gcp.secrets import SecretManagerResolver

NAME = "projects/mine/secrets/shop/versions/latest"
SHOP = SecretRef(secret_manager="shop")


def refused(kind: type[Exception]) -> Exception:
    """An API error; the library's own constructors are untyped."""
    return kind("detail")


class Client:
    """Secret Manager with one answer."""

    def __init__(self, answer: bytes | Exception, checksum: int | None = None) -> None:
        self.answer, self.checksum = answer, checksum
        self.names: list[str] = []
        self.made = 0

    def __call__(self) -> Any:
        self.made += 1
        return self

    def access_secret_version(
        self, *, request: dict[str, str], timeout: float
    ) -> AccessSecretVersionResponse:
        assert timeout > 0
        self.names.append(request["name"])
        if isinstance(self.answer, Exception):
            raise self.answer
        payload = SecretPayload(data=self.answer)
        if self.checksum is not None:
            payload.data_crc32c = self.checksum
        return AccessSecretVersionResponse(payload=payload)


def test_the_value_of_the_named_version_with_one_client() -> None:
    client = Client("wörd".encode(), int(google_crc32c.value("wörd".encode())))
    resolver = SecretManagerResolver(client, "mine")
    assert client.made == 0
    assert resolver.reveal(SHOP) == resolver.reveal(SHOP) == "wörd"
    assert client.names == [NAME, NAME]
    assert client.made == 1
    assert resolver.reveal(SecretValue("inline")) == "inline"


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (refused(api.NotFound), PermanentError, "there is no such secret or version"),
        (refused(api.PermissionDenied), PermanentError, "roles/secretmanager.secretAccessor"),
        (refused(api.FailedPrecondition), PermanentError, "disabled or destroyed"),
        (refused(api.InvalidArgument), PermanentError, "InvalidArgument"),
        (refused(api.ServiceUnavailable), RetryableError, "cannot be read"),
        (b"", PermanentError, "is empty"),
        (b"\xff", PermanentError, "not UTF-8"),
    ],
)
def test_failures_name_the_secret(answer: bytes | Exception, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        SecretManagerResolver(Client(answer), "mine").reveal(SHOP)
    assert NAME in str(caught.value)


def test_a_damaged_value_is_fetched_again() -> None:
    with pytest.raises(RetryableError, match="damaged") as caught:
        SecretManagerResolver(Client(b"hunter2", 1), "mine").reveal(SHOP)
    assert "hunter2" not in str(caught.value)


def test_only_references_to_secret_manager() -> None:
    with pytest.raises(PermanentError, match="env A"):
        SecretManagerResolver(Client(b"x"), "mine").reveal(SecretRef(env="A"))
