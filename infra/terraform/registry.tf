# Runner images, and what the functions' builds make.

resource "google_artifact_registry_repository" "this" {
  repository_id = var.name
  project       = var.project
  location      = var.region
  format        = "DOCKER"
  description   = "Images of ETL Runner"
  labels        = local.labels
  kms_key_name  = var.kms_key

  # The ten newest stay whatever their age, so that a deployment can go back.
  cleanup_policies {
    id     = "keep-newest"
    action = "KEEP"
    most_recent_versions {
      keep_count = 10
    }
  }

  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"
    condition {
      older_than = "7776000s"
    }
  }

  depends_on = [google_project_service.this, google_kms_crypto_key_iam_member.agent]
}
