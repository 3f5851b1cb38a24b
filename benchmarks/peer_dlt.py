"""dlt's fastest way from a table to Parquet files; run by the peers' own Python: URL, table, folder."""

import os
import sys

import dlt  # type: ignore[import-not-found]
from dlt.sources.sql_database import sql_table  # type: ignore[import-not-found]


def main() -> None:
    """Load the table."""
    url, table, folder = sys.argv[1:4]
    os.environ["DESTINATION__FILESYSTEM__BUCKET_URL"] = f"file://{folder}/out"
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"
    resource = sql_table(credentials=url, table=table, backend="connectorx", chunk_size=100_000)
    pipeline = dlt.pipeline(
        "orders", destination="filesystem", dataset_name="d", pipelines_dir=f"{folder}/state"
    )
    pipeline.run(resource, loader_file_format="parquet", write_disposition="replace")


if __name__ == "__main__":
    main()
