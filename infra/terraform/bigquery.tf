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
