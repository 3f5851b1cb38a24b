from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from etl_runner.config.secrets import (
    MAX_SECRET_BYTES,
    DocumentResolver,
    EnvFileResolver,
    Secret,
    SecretRef,
    SecretResolver,
    SecretRouter,
    SecretValue,
)
from etl_runner.errors import ConfigError, PermanentError
from etl_runner.state.memory import MemoryObjectStore

DOCUMENT = SecretRef(document="connections/c.yaml", field="password")


def fails(resolver: SecretResolver, secret: Secret) -> str:
    with pytest.raises(PermanentError) as caught:
        resolver.reveal(secret)
    return str(caught.value)


def test_environment_variables() -> None:
    resolver = EnvFileResolver({"A": "value", "EMPTY": ""})
    assert resolver.reveal(SecretRef(env="A")) == "value"
    assert (
        fails(resolver, SecretRef(env="B")) == "secret env B: the environment variable is not set or is empty"
    )
    assert "EMPTY" in fails(resolver, SecretRef(env="EMPTY"))
    assert "only environment variables and files" in fails(resolver, DOCUMENT)


def test_files(tmp_path: Path) -> None:
    resolver = EnvFileResolver({})
    path = tmp_path / "secret"
    for written, read in (
        (b"value\n", "value"),
        (b"value\r\n", "value"),
        (b" v \n\n", " v \n"),
        ("ä".encode(), "ä"),
    ):
        path.write_bytes(written)
        assert resolver.reveal(SecretRef(file=str(path))) == read
    for written, message in (
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff", "not UTF-8"),
        (b"x" * 70_000, "larger"),
    ):
        path.write_bytes(written)
        assert message in fails(resolver, SecretRef(file=str(path)))
    path.write_bytes(b"x" * MAX_SECRET_BYTES)
    assert len(resolver.reveal(SecretRef(file=str(path)))) == MAX_SECRET_BYTES
    assert "No such file" in fails(resolver, SecretRef(file=str(tmp_path / "none")))


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"password: value\n", "value"),
        (b"password: 12345\n", "12345"),
        (b"password: {type: service_account}\n", '{"type": "service_account"}'),
    ],
)
def test_documents(data: bytes, value: str) -> None:
    objects = MemoryObjectStore()
    objects.create("connections/c.yaml", data)
    assert DocumentResolver(objects).reveal(DOCUMENT) == value


@pytest.mark.parametrize(
    "data", [b"user: x\n", b"password:\n", b"password: true\n", b"password: [a]\n", b"- a\n"]
)
def test_documents_that_changed(data: bytes) -> None:
    objects = MemoryObjectStore()
    resolver = DocumentResolver(objects)
    assert "is gone from the config bucket" in fails(resolver, DOCUMENT)
    objects.create("connections/c.yaml", data)
    assert fails(resolver, DOCUMENT) == (
        "secret document connections/c.yaml, field password: the document no longer has a value there"
    )
    assert "only documents" in fails(resolver, SecretRef(env="A"))


def test_a_document_that_is_broken_is_a_config_error() -> None:
    objects = MemoryObjectStore()
    objects.create("connections/c.yaml", b"password: [\n")
    with pytest.raises(ConfigError, match=r"connections/c\.yaml"):
        DocumentResolver(objects).reveal(DOCUMENT)


def test_the_router_asks_the_resolver_of_the_kind() -> None:
    router = SecretRouter(local=EnvFileResolver({"A": "value"}))
    assert router.reveal(SecretRef(env="A")) == "value"
    assert router.reveal(SecretValue("inline")) == "inline"
    assert "cannot read secrets of that kind" in fails(router, SecretRef(secret_manager="x"))
    assert "cannot read secrets of that kind" in fails(router, DOCUMENT)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("shop", "projects/mine/secrets/shop/versions/latest"),
        ("shop/versions/3", "projects/mine/secrets/shop/versions/3"),
        ("projects/other/secrets/shop", "projects/other/secrets/shop/versions/latest"),
        ("projects/other/secrets/shop/versions/7", "projects/other/secrets/shop/versions/7"),
    ],
)
def test_names_of_secret_manager(written: str, name: str) -> None:
    assert SecretRef(secret_manager=written).version_name("mine") == name


@pytest.mark.parametrize(
    "fields", [{}, {"env": "A", "file": "/a"}, {"field": "x"}, {"document": "x"}, {"env": "1A"}]
)
def test_a_reference_names_one_place(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="SecretRef"):
        SecretRef(**fields)


def test_a_value_hides_itself() -> None:
    secret = SecretValue("hunter2")
    assert secret.reveal() == "hunter2"
    for shown in (
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret:>20}",
        " ".join([str(secret), repr(secret)]),
        f"{[secret]}",
    ):
        assert "hunter2" not in shown
    assert secret == SecretValue("hunter2") != SecretValue("other")
    assert hash(secret) == hash(SecretValue("hunter2"))
    assert secret != "hunter2"
    assert copy.deepcopy({"a": secret})["a"] is copy.copy(secret) is secret
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(secret, protocol)
    assert SecretValue("\ud800") != SecretValue("x")
