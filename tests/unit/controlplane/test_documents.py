from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from etl_runner.config.resolved import ResolvedSource, secrets_of
from etl_runner.config.secrets import SecretRef, SecretRouter
from etl_runner.controlplane.client import ControlPlane
from etl_runner.controlplane.documents import ControlPlaneResolver, load_source
from etl_runner.errors import ConfigError, PermanentError

from .server import Issuer, Server, control_plane

FLAT: dict[str, Any] = {
    "source_type": "postgresql",
    "connection_params": {
        "source_type": "postgresql",
        "host": "db.example.com",
        "port": 5432,
        "database": "sales",
        "username": "etl",
        "password": "hunter2",
    },
    "load_type": "transactional",
    "source_table_name": "orders",
    "timestamp_column": "updated_at",
    "dest_table_name": "orders",
    "last_sync_value": "",
    "selected_columns": [],
}


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def server(issuer: Issuer) -> Iterator[Server]:
    with control_plane(issuer) as served:
        yield served


def test_the_flat_form_becomes_a_source_whose_plan_holds_no_secret(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.configs["orders"] = FLAT
    plane = ControlPlane(server.url, server.issuer.token)
    with caplog.at_level(logging.WARNING):
        resolved = load_source(plane, "orders")
    assert resolved is not None
    stored = json.dumps(resolved.to_json())
    assert "hunter2" not in stored + caplog.text + repr(resolved)
    assert "holds the value of password" in caplog.text

    # What a worker does with the plan: it asks again, and follows a password that was changed meanwhile.
    again = ResolvedSource.from_json(json.loads(stored))
    (secret,) = secrets_of(again.connection).values()
    router = SecretRouter(control_plane=ControlPlaneResolver(plane))
    assert router.reveal(secret) == "hunter2"
    server.configs["orders"] = {
        **FLAT,
        "connection_params": {**FLAT["connection_params"], "password": "rotated"},
    }
    assert router.reveal(secret) == "rotated"
    del server.configs["orders"]
    with pytest.raises(PermanentError, match="no longer has that source"):
        router.reveal(secret)


def test_a_document_of_the_control_plane_cannot_name_one_of_another_source(server: Server) -> None:
    server.configs["orders"] = {
        **FLAT,
        "connection_params": {
            **FLAT["connection_params"],
            "password": {"control_plane": "payroll", "field": "connection_params.password"},
        },
    }
    with pytest.raises(ConfigError, match="is not a secret"):
        load_source(ControlPlane(server.url, server.issuer.token), "orders")


def test_what_is_wrong_in_it_is_told_at_once(server: Server) -> None:
    server.configs["orders"] = {**FLAT, "load_type": "transactionl", "timestmp_column": "x"}
    with pytest.raises(ConfigError) as caught:
        load_source(ControlPlane(server.url, server.issuer.token), "orders")
    assert len(caught.value.problems) == 2
    assert caught.value.document == "control-plane/orders.json"


def test_a_source_that_it_does_not_have_is_none(server: Server) -> None:
    assert load_source(ControlPlane(server.url, server.issuer.token), "orders") is None


def test_a_process_without_a_control_plane_says_so() -> None:
    secret = SecretRef(control_plane="orders", field="connection_params.password")
    with pytest.raises(PermanentError, match="cannot read secrets of that kind"):
        SecretRouter().reveal(secret)
