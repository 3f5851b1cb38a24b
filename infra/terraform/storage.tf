locals {
  # versioned: an overwritten document or state can be had back.
  buckets = {
    config  = { versioned = true, soft_delete_days = 7 }
    state   = { versioned = true, soft_delete_days = 30 }
    staging = { versioned = false, soft_delete_days = 0 }
    code    = { versioned = false, soft_delete_days = 0 }
  }
}

resource "google_storage_bucket" "this" {
  for_each = local.buckets

  name     = "${var.project}-${var.name}-${each.key}"
  project  = var.project
  location = upper(local.location)
  labels   = local.labels

  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = var.destroy_data

  versioning {
    enabled = each.value.versioned
  }

  soft_delete_policy {
    retention_duration_seconds = each.value.soft_delete_days * 86400
  }

  # Staged files are worth nothing after their run.
  dynamic "lifecycle_rule" {
    for_each = each.key == "staging" ? [var.staging_days] : []
    content {
      action {
        type = "Delete"
      }
      condition {
        age = lifecycle_rule.value
      }
    }
  }

  dynamic "lifecycle_rule" {
    for_each = each.key == "staging" ? [1] : []
    content {
      action {
        type = "AbortIncompleteMultipartUpload"
      }
      condition {
        age = lifecycle_rule.value
      }
    }
  }

  # state.json is replaced at each step of a run. Only its old versions go; what the protocol rests on
  # (commit records, ledger, receipts) is create-only and outside of every rule.
  dynamic "lifecycle_rule" {
    for_each = each.key == "state" ? [30] : []
    content {
      action {
        type = "Delete"
      }
      condition {
        days_since_noncurrent_time = lifecycle_rule.value
        with_state                 = "ARCHIVED"
        matches_suffix             = ["/state.json"]
      }
    }
  }

  dynamic "encryption" {
    for_each = var.kms_key == null ? [] : [var.kms_key]
    content {
      default_kms_key_name = encryption.value
    }
  }

  depends_on = [google_project_service.this, google_kms_crypto_key_iam_member.agent]
}
