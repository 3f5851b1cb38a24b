resource "google_bigquery_dataset" "this" {
  count = var.create_dataset ? 1 : 0

  dataset_id                 = var.dataset
  project                    = var.project
  location                   = local.location
  description                = "Loaded by ETL Runner"
  labels                     = local.labels
  delete_contents_on_destroy = var.destroy_data

  dynamic "default_encryption_configuration" {
    for_each = var.kms_key == null ? [] : [var.kms_key]
    content {
      kms_key_name = default_encryption_configuration.value
    }
  }

  depends_on = [google_project_service.this, google_kms_crypto_key_iam_member.agent]
}

# The run history: what src/etl_runner/history would make itself, from the same files.

locals {
  history = "${local.repository}/src/etl_runner/history"
  history_tables = {
    etl_runs  = { clustering = ["source_id"] }
    etl_files = { clustering = ["source_id", "uri"] }
  }
}

resource "google_bigquery_table" "history" {
  for_each = local.history_tables

  project             = var.project
  dataset_id          = var.create_dataset ? google_bigquery_dataset.this[0].dataset_id : var.dataset
  table_id            = each.key
  description         = "Run history of ETL Runner"
  labels              = local.labels
  schema              = file("${local.history}/tables/${each.key}.json")
  clustering          = each.value.clustering
  deletion_protection = !var.destroy_data

  time_partitioning {
    type  = "DAY"
    field = "finished"
  }
}

resource "google_bigquery_table" "history_view" {
  for_each = toset(["etl_last_state", "etl_rows_per_day", "etl_rejects"])

  project             = var.project
  dataset_id          = var.create_dataset ? google_bigquery_dataset.this[0].dataset_id : var.dataset
  table_id            = each.key
  description         = "View over the run history of ETL Runner"
  labels              = local.labels
  deletion_protection = false

  view {
    query          = templatefile("${local.history}/views/${each.key}.sql", { project = var.project, dataset = var.dataset })
    use_legacy_sql = false
  }

  depends_on = [google_bigquery_table.history]
}
