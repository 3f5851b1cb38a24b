"""A deployment over the test servers, and a dataset to read from beside the one to load into."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.cloud import storage

from tests.conftest import Warehouse, fresh_name
from tests.integration.bigquery.support import Lab, lab_of


@pytest.fixture
def lab(bigquery: Warehouse, storage_client: storage.Client, gcs_endpoint: str) -> Iterator[Lab]:
    """Source and destination datasets at one location, in one project."""
    source = fresh_name("source")
    bigquery.server.create_dataset(source)
    made = lab_of(bigquery, storage_client, gcs_endpoint, source)
    yield made
    bigquery.client.delete_dataset(source, delete_contents=True, not_found_ok=True)
