# Objects that are created in buckets that sources read: each bucket's events go to file_arrival.

locals {
  # Whom file_arrival believes: calls through Google's own services are verified by the platform.
  event_settings = {
    for name in keys(local.functions) : name => name != "external" ? {} : { for key, value in {
      ETL_SNS_TOPICS     = join(",", try(var.external_events.sns_topics, []))
      ETL_ENTRA_TENANT   = try(var.external_events.azure_tenant, null)
      ETL_ENTRA_AUDIENCE = try(var.external_events.azure_audience, null)
    } : key => value if try(length(value), 0) > 0 }
  }

  connection_documents = { for file, id in local.document_ids : id => local.documents[file] if dirname(file) == "connections" }

  # Fields of a connection that name its bucket, in every accepted spelling (docs/configuration.md).
  bucket_fields = ["bucket", "bucket_name"]

  # Null where no bucket is named. gs://bucket/prefix, bucket/prefix and bucket are all accepted.
  source_buckets = {
    for file, document in local.documents : file => try(regex("^(?:gs://)?([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(?:/.*)?$", coalesce(flatten([
      for place in [try(document.connection_params, null), try(local.connection_documents[document.connection], null)] : [
        for field in local.bucket_fields : try(place[field], null)
      ]
    ])...))[0], null) if dirname(file) == "sources" && contains(["gcs", "google_cloud_storage"], try(document.source_type, ""))
  }
  event_buckets = toset(compact(values(local.source_buckets)))
}

data "google_storage_bucket" "event" {
  for_each = local.event_buckets

  name = each.key
}

# Eventarc repeats a delivery for a day; what is lost then is found by the source's next scheduled run.
resource "google_eventarc_trigger" "this" {
  for_each = local.event_buckets

  name    = "${var.name}-${substr(sha256(each.key), 0, 12)}"
  project = var.project
  # A trigger lies where its bucket does.
  location        = lower(data.google_storage_bucket.event[each.key].location)
  labels          = local.labels
  service_account = google_service_account.this["events"].email

  matching_criteria {
    attribute = "type"
    value     = "google.cloud.storage.object.v1.finalized"
  }

  matching_criteria {
    attribute = "bucket"
    value     = each.key
  }

  destination {
    cloud_run_service {
      service = google_cloudfunctions2_function.this["file-arrival"].name
      region  = var.region
    }
  }

  # Without the agents' roles a trigger is refused.
  depends_on = [google_project_iam_member.this, google_cloud_run_v2_service_iam_member.this]
}

# Arrivals whose holder died, and slots past their deadline.
resource "google_cloud_scheduler_job" "sweep" {
  # Not -sweep: a source may be called so, and its schedule is <name>-<source>.
  name             = "${var.name}_sweep"
  project          = var.project
  region           = var.region
  description      = "Takes up sources with arrivals or an expired slot"
  schedule         = "*/${var.sweep_minutes} * * * *"
  time_zone        = "Etc/UTC"
  attempt_deadline = "540s"

  retry_config {
    retry_count          = 1
    min_backoff_duration = "10s"
  }

  http_target {
    http_method = "POST"
    uri         = google_cloudfunctions2_function.this["sweep"].service_config[0].uri
    headers     = { "Content-Type" = "application/json" }
    body        = base64encode("{}")

    oidc_token {
      service_account_email = google_service_account.this["scheduler"].email
      audience              = google_cloudfunctions2_function.this["sweep"].service_config[0].uri
    }
  }

  depends_on = [google_cloud_run_v2_service_iam_member.this]
}
