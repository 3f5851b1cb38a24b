"""What the tutorials show: a function that starts one load job for each object event and waits for it."""

from __future__ import annotations

import os
from functools import cache

import flask
import functions_framework
from google.cloud.bigquery import Client, LoadJobConfig, SchemaField

from etl_runner.gcp.clients import bigquery_client
from etl_runner.settings import Settings


@cache
def client() -> Client:
    """One for the process."""
    return bigquery_client(Settings.from_env())


@functions_framework.http
def main(request: flask.Request) -> str:
    """Load the object of one Pub/Sub notification."""
    attributes = request.get_json()["message"]["attributes"]
    if attributes["eventType"] != "OBJECT_FINALIZE":
        return "ignored"
    config = LoadJobConfig(
        source_format="CSV",
        skip_leading_rows=1,
        schema=[SchemaField("id", "INT64"), SchemaField("name", "STRING")],
        write_disposition="WRITE_APPEND",
    )
    uri = f"gs://{attributes['bucketId']}/{attributes['objectId']}"
    client().load_table_from_uri(uri, os.environ["NAIVE_TABLE"], job_config=config).result()
    return "loaded"
