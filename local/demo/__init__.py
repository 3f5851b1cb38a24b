"""``python -m local.demo``: PostgreSQL to BigQuery through the workflow, twice, and checked."""
