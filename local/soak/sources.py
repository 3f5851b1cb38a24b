"""What the soak loads: tables of PostgreSQL, MariaDB and BigQuery, and files in buckets of three clouds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etl_runner.jsontypes import JsonObject
from local.azure import AzureServer
from local.mariadb import MariaDbServer
from local.object_events import Deliver, S3Events, deliverer
from local.s3 import S3Server
from local.stack import Stack

DATABASE = "soak"
BUCKET = "soak-files"
"""In S3 and Azure; Cloud Storage's is the topology's landing bucket."""
PREFIX = "soak/"
PG_TABLES = """
CREATE TABLE orders (id bigserial PRIMARY KEY, note text NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, updated_at timestamptz NOT NULL);
CREATE TABLE products (id int PRIMARY KEY, price numeric(10,2) NOT NULL);
INSERT INTO products SELECT n, n FROM generate_series(1, 50) n;
CREATE INDEX ON orders (updated_at);
CREATE INDEX ON customers (updated_at);
"""
MARIADB_TABLE = (
    "CREATE TABLE visits (id bigint AUTO_INCREMENT PRIMARY KEY, note varchar(40) NOT NULL, "
    "at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), KEY (at))"
)
BIGQUERY_TABLE = "CREATE TABLE soak_source.measures (id INT64 NOT NULL, note STRING NOT NULL)"
ORDERS = "soak-orders"
TABLES: dict[str, JsonObject] = {
    ORDERS: {
        "connection": "soak-postgres",
        "load_type": "transactional",
        "source_table_name": "orders",
        "timestamp_column": "updated_at",
        "late_window": "1m",
        "unit_rows": 50,
    },
    "soak-customers": {
        "connection": "soak-postgres",
        "load_type": "upsert",
        "source_table_name": "customers",
        "timestamp_column": "updated_at",
        "primary_key_column": ["id"],
        "late_window": "1m",
    },
    "soak-products": {
        "connection": "soak-postgres",
        "load_type": "catalog",
        "source_table_name": "products",
    },
    "soak-visits": {
        "connection": "soak-mariadb",
        "load_type": "transactional",
        "source_table_name": "visits",
        "timestamp_column": "at",
    },
    "soak-measures": {
        "connection": "soak-bigquery",
        "load_type": "transactional",
        "source_table_name": "measures",
        "incrementing_column": "id",
    },
}
FILES: dict[str, JsonObject] = {
    "soak-gcs": {"connection": "soak-gcs", "file_pattern": "*.csv"},
    "soak-s3": {"connection": "soak-s3", "file_pattern": "*.jsonl"},
    "soak-azure": {"connection": "soak-azure", "file_pattern": "*.parquet"},
}
IDS = (*TABLES, *FILES)


def table_of(source_id: str) -> str:
    """The destination's name."""
    return source_id.replace("-", "_")


@dataclass
class World:
    """The topology and the servers beside it."""

    stack: Stack
    mariadb: MariaDbServer
    s3: S3Server
    azure: AzureServer
    s3_events: S3Events
    deliver: Deliver
    """Tells file_arrival of an object."""

    @classmethod
    def start(cls, stack: Stack, folder: Path) -> World:
        """Start the servers, and write databases, buckets and documents."""
        # Each is stopped by the topology, which is stopped whatever happens.
        mariadb = stack.keep(MariaDbServer.start(folder / "mariadb.log"))
        s3 = stack.keep(S3Server.start(folder / "s3.log"))
        azure = stack.keep(AzureServer.start(folder / "azure"))
        deliver = deliverer(stack.layout.function_urls["file_arrival"], stack.layout.event_key)
        s3.create_bucket(BUCKET)
        azure.create_container(BUCKET)
        world = cls(stack, mariadb, s3, azure, S3Events(s3, BUCKET, deliver), deliver)
        world._prepare()
        return world

    def bigquery(self) -> Any:
        """A client of the BigQuery server that goes round the front, whose faults are for the runs."""
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.bigquery import Client

        return Client(
            project=self.stack.settings.project,
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
            client_options={"api_endpoint": self.stack.bigquery.process.url},
        )

    def _prepare(self) -> None:
        stack = self.stack
        stack.postgres.create_database(DATABASE)
        connection = stack.postgres.connect(DATABASE)
        connection.run(PG_TABLES)
        connection.close()
        self.mariadb.create_database(DATABASE)
        with self.mariadb.connect(DATABASE) as mariadb, mariadb.cursor() as cursor:
            cursor.execute(MARIADB_TABLE)
        stack.bigquery.create_dataset("soak_source")
        self.bigquery().query_and_wait(BIGQUERY_TABLE)
        for name, document in self._connections().items():
            stack.put_connection(name, document)
        for source_id, fields in {**TABLES, **FILES}.items():
            source_type = self._connections()[str(fields["connection"])]["source_type"]
            document = {
                "source_type": source_type,
                "load_type": "transactional",
                "dest_table_name": table_of(source_id),
                **fields,
            }
            stack.put_source(source_id, document)

    def _connections(self) -> dict[str, JsonObject]:
        landing = self.stack.layout.names.landing_bucket
        return {
            "soak-postgres": self._database("postgresql", self.stack.postgres),
            "soak-mariadb": self._database("mysql", self.mariadb),
            "soak-bigquery": {
                "source_type": "bigquery",
                "project": self.stack.settings.project,
                "dataset": "soak_source",
                "use_runner_account": True,
            },
            "soak-gcs": {
                "source_type": "gcs",
                "bucket": landing,
                "prefix": PREFIX,
                "use_runner_account": True,
            },
            "soak-s3": {**self.s3.document(BUCKET), "prefix": PREFIX},
            "soak-azure": {**self.azure.document(BUCKET), "prefix": PREFIX},
        }

    def _database(self, source_type: str, server: Any) -> JsonObject:
        password = self.stack.data / f"{source_type}-password"
        password.touch(mode=0o600)
        password.write_text(server.password)
        return {
            "source_type": source_type,
            "host": server.host,
            "port": server.port,
            "database": DATABASE,
            "username": server.user,
            "password": {"file": str(password)},
        }
