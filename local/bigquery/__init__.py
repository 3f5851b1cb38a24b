"""A local stand-in for BigQuery: local-bigquery behind a front that refuses what BigQuery refuses."""
