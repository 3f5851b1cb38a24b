from __future__ import annotations

import socket

from etl_runner import jsontypes

from .conftest import FakeDeployment


def _put(deployment: FakeDeployment, connection_id: str, **changes: object) -> None:
    document = {
        "source_type": "postgresql",
        "host": "127.0.0.1",
        "database": "sales",
        "username": "etl",
        "password": {"env": "PASSWORD"},
        **changes,
    }
    deployment.config.create(f"connections/{connection_id}.json", jsontypes.dumps(document))


def test_connections_are_listed(deployment: FakeDeployment) -> None:
    assert deployment.json("connections", "list") == (0, {"connections": []})
    _put(deployment, "warehouse")
    _put(deployment, "archive")
    assert deployment.json("connections", "list") == (0, {"connections": ["archive", "warehouse"]})


def test_a_server_that_refuses_is_told_in_one_sentence_and_may_be_tried_again(
    deployment: FakeDeployment,
) -> None:
    with socket.socket() as taken:  # bound and not listening
        taken.bind(("127.0.0.1", 0))
        _put(deployment, "warehouse", port=taken.getsockname()[1])
        code, answer = deployment.json("connections", "test", "warehouse")
    assert code == 5
    assert not answer["ok"]
    assert answer["retry"]
    assert "the connection was refused" in answer["message"]


def test_what_has_to_be_changed_ends_with_another_code(deployment: FakeDeployment) -> None:
    _put(deployment, "warehouse", host="no-such-host.invalid")
    code, answer = deployment.json("connections", "test", "warehouse")
    assert (code, answer["retry"]) == (6, False)
    assert "cannot be resolved" in answer["message"]
    _put(deployment, "secretless", password={"env": "NOT_SET"})
    code, answer = deployment.json("connections", "test", "secretless")
    assert code == 6
    assert "NOT_SET" in answer["message"]


def test_a_connection_that_there_is_not_is_a_matter_of_configuration(deployment: FakeDeployment) -> None:
    _put(deployment, "warehouse")
    code, answer = deployment.json("connections", "test", "warehous")
    assert code == 3
    assert "warehouse" in answer["error"]["message"]


def test_the_connection_of_a_source_can_be_named_by_the_source(deployment: FakeDeployment) -> None:
    _put(deployment, "warehouse", host="no-such-host.invalid")
    deployment.add_source("orders")
    code, answer = deployment.json("connections", "test", "orders", "--source")
    assert (code, answer["connection"]) == (6, "orders")
