"""A complete deployment behind a stand-in of the administrative APIs, read through Google's own clients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from etl_runner.doctor.diagnose import Report, diagnose
from etl_runner.doctor.inventory import FUNCTIONS, accounts_of, inventory
from etl_runner.doctor.permissions import EXTERNAL, grants
from etl_runner.doctor.reads import Reads
from etl_runner.doctor.things import Grant, Thing
from etl_runner.gcp.admin import GoogleCloud
from etl_runner.settings import Settings
from etl_runner.state.memory import MemoryObjectStore
from local.admin import AdminServer, Resources
from local.admin.resources import NUMBER

CONNECTION = b"""
source_type: postgresql
host: db.example.com
database: shop
username: etl
password: {secret_manager: shop-password}
"""
SOURCE = b"""
source_type: postgresql
connection: shop
source_table_name: orders
load_type: catalog
dest_table_name: orders
"""
SCHEDULES = b"orders: {cron: '15 * * * *', time_zone: Europe/Berlin}\n"
FILES = b"""
source_type: gcs
connection_params: {source_type: gcs, bucket_name: "gs://my-files/in", use_runner_account: true}
file_pattern: "*.csv"
file_format: csv
load_type: transactional
dest_table_name: files
"""
WAREHOUSE = b"""
source_type: bigquery
connection_params: {source_type: bigquery, project: my-project, use_runner_account: true}
source_table_name: sales.orders
load_type: catalog
dest_table_name: sold
"""
READS = Reads({"my-files": "EUROPE-WEST1"}, {"sales": "EUROPE-WEST3"}, billed=True)
BUCKETS = {"my-files": "EUROPE-WEST1"}
DOCUMENTS = {"connections/shop.yaml": {"password": {"secret_manager": "shop-password"}}}
SCHEDULED = {"orders": {"cron": "15 * * * *", "time_zone": "Europe/Berlin"}}
URLS = {name: f"https://etl-{name}.example.run.app" for name in (*FUNCTIONS, EXTERNAL)}


def settings_for(endpoint: str | None) -> Settings:
    """The deployment of these tests."""
    return Settings(
        project="my-project",
        location="europe-west1",
        bigquery_location="EU",
        dataset="warehouse",
        config_bucket="my-project-etl-config",
        state_bucket="my-project-etl-state",
        staging_bucket="my-project-etl-staging",
        events_topic="etl-run-events",
        wake_topic="etl-arrivals",
        job="etl-runner",
        dataflow_template="gs://my-project-etl-code/templates/runner.json",
        admin_endpoint=endpoint,
    )


SETTINGS = settings_for(None)
ACCOUNTS = accounts_of(SETTINGS, NUMBER)
KEY = "event-key"
THINGS = inventory(
    SETTINGS, ACCOUNTS, DOCUMENTS, SCHEDULED, event_buckets=BUCKETS, reads=READS, external=True, key=KEY
)
GRANTS = grants(THINGS, ACCOUNTS, dataflow=True, bigquery=True)


@dataclass
class Deployed:
    """The stand-in's contents, and how to look at them."""

    resources: Resources
    config: MemoryObjectStore
    cloud: GoogleCloud

    def diagnose(self) -> Report:
        """What ``etl-runner doctor`` finds."""
        return diagnose(SETTINGS, self.config, self.cloud)


@pytest.fixture(scope="session")
def admin() -> Iterator[tuple[AdminServer, GoogleCloud]]:
    """The server, and Google's clients for it."""
    server = AdminServer(Resources())
    try:
        yield server, GoogleCloud(settings_for(server.endpoint))
    finally:
        server.stop()


@pytest.fixture
def deployed(admin: tuple[AdminServer, GoogleCloud]) -> Deployed:
    """Complete: nothing is missing."""
    server, cloud = admin
    server.resources = Resources.of(
        SETTINGS, URLS, DOCUMENTS, SCHEDULED, event_buckets=BUCKETS, reads=READS, external=True, key=KEY
    )
    config = MemoryObjectStore()
    config.create("connections/shop.yaml", CONNECTION)
    config.create("sources/orders.yaml", SOURCE)
    config.create("sources/files.yaml", FILES)
    config.create("sources/sold.yaml", WAREHOUSE)
    config.create("schedules.yaml", SCHEDULES)
    return Deployed(server.resources, config, cloud)


def thing_id(thing: Thing) -> str:
    """For pytest."""
    return f"{thing.kind}-{thing.name}".rstrip("-")


def grant_id(grant: Grant) -> str:
    """For pytest."""
    return f"{grant.who}-{grant.binding.role.rsplit('/', 1)[-1]}-{thing_id(grant.thing)}"
