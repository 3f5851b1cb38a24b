"""Where a deployment looks for a source: its run's document, the config bucket, the control plane."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from etl_runner import jsontypes
from etl_runner.controlplane.client import ControlPlane
from etl_runner.controlplane.wiring import BothEvents, control_plane
from etl_runner.errors import ConfigError
from etl_runner.gcp.deployment import Deployment
from etl_runner.settings import Settings
from etl_runner.state.memory import MemoryObjectStore

from .server import Issuer, Server
from .server import control_plane as serving
from .test_documents import FLAT

SETTINGS = Settings("p", "l", "EU", "d", "config", "state", "staging")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Issuer()) as served:
        yield served


@pytest.fixture
def deployment(server: Server) -> Deployment:
    made = Deployment(SETTINGS)
    parts = {
        "config": MemoryObjectStore("config"),
        "state": MemoryObjectStore("state"),
        "control_plane": ControlPlane(server.url, server.issuer.token),
    }
    made.__dict__.update(parts)  # what its cached properties would have built
    return made


def test_each_place_is_asked_in_its_turn(deployment: Deployment, server: Server) -> None:
    server.configs["orders"] = {**FLAT, "dest_table_name": "from_control_plane"}
    assert deployment.load_source("orders").document.dest_table_name == "from_control_plane"
    stored = {**FLAT, "dest_table_name": "from_config"}
    deployment.config.create("sources/orders.json", jsontypes.dumps(stored))
    asked = len(server.tokens)
    assert deployment.load_source("orders").document.dest_table_name == "from_config"
    assert len(server.tokens) == asked
    inline = {
        "source_type": "gcs",
        "connection_params": {"bucket": "b-1", "use_runner_account": True},
        "load_type": "catalog",
        "file_pattern": "*.csv",
        "dest_table_name": "from_request",
    }
    deployment.inline.keep("orders", "r1", inline)
    assert deployment.load_source("orders", "r1").document.dest_table_name == "from_request"
    assert deployment.load_source("orders", "r2").document.dest_table_name == "from_config"


def test_a_source_that_is_nowhere_is_a_configuration_error(deployment: Deployment) -> None:
    with pytest.raises(ConfigError, match="nobody"):
        deployment.load_source("nobody")


def test_the_ends_of_runs_are_told_to_it(deployment: Deployment) -> None:
    assert isinstance(deployment.events, BothEvents)


def test_settings_name_it_or_there_is_none() -> None:
    assert control_plane(SETTINGS) is None
    env = {
        "ETL_PROJECT": "p",
        "ETL_LOCATION": "l",
        "ETL_DATASET": "d",
        "ETL_CONFIG_BUCKET": "c",
        "ETL_STATE_BUCKET": "s",
        "ETL_STAGING_BUCKET": "t",
        "ETL_CONTROL_PLANE_URL": "https://control.example.com/",
    }
    settings = Settings.from_env(env)
    assert settings.control_plane_url == "https://control.example.com"
    assert Deployment(settings).control_plane is not None
