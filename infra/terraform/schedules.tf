# schedules.yaml of the folder: <source id>: {cron, time_zone, paused, alert_after_minutes}. A source that is
# not in it is started by hand.

locals {
  schedules_file = "${var.sources_folder}/schedules.yaml"
  schedules_read = fileexists(local.schedules_file) ? yamldecode(file(local.schedules_file)) : {}
  schedules = { for source_id, given in try(coalesce(local.schedules_read, {}), {}) : source_id => {
    cron                = try(given.cron, "")
    time_zone           = try(given.time_zone, "Etc/UTC")
    paused              = try(given.paused, false)
    alert_after_minutes = try(given.alert_after_minutes, null)
    unknown             = [for field in try(keys(given), []) : field if !contains(["cron", "time_zone", "paused", "alert_after_minutes"], field)]
  } }
}

# What `etl-runner doctor` compares the schedules with.
resource "google_storage_bucket_object" "schedules" {
  for_each = fileexists(local.schedules_file) ? { "schedules.yaml" = local.schedules_file } : {}

  name           = each.key
  bucket         = google_storage_bucket.this["config"].name
  source         = each.value
  source_md5hash = filemd5(each.value)
  content_type   = "application/yaml"
}

resource "google_cloud_scheduler_job" "this" {
  for_each = local.schedules

  name        = "${var.name}-${each.key}"
  project     = var.project
  region      = var.region
  description = "Loads the source ${each.key}"
  schedule    = each.value.cron
  time_zone   = each.value.time_zone
  paused      = each.value.paused

  # Starting an execution takes seconds; the run itself is not waited for.
  attempt_deadline = "60s"

  # An execution that is started twice is harmless: the second one is skipped.
  retry_config {
    retry_count          = 3
    min_backoff_duration = "10s"
    max_backoff_duration = "300s"
    max_retry_duration   = "900s"
    max_doublings        = 4
  }

  http_target {
    http_method = "POST"
    uri         = "https://workflowexecutions.googleapis.com/v1/${google_workflows_workflow.this.id}/executions"
    headers     = { "Content-Type" = "application/json" }
    body        = base64encode(jsonencode({ argument = jsonencode({ source_id = each.key }) }))

    oauth_token {
      service_account_email = google_service_account.this["scheduler"].email
      scope                 = "https://www.googleapis.com/auth/cloud-platform"
    }
  }

  depends_on = [google_project_iam_member.this]

  lifecycle {
    precondition {
      condition     = contains(local.source_ids, each.key)
      error_message = "schedules.yaml: there is no sources/${each.key}.yaml in ${var.sources_folder}."
    }
    precondition {
      condition     = can(regex("^\\S+( +\\S+){4}$", trimspace(each.value.cron)))
      error_message = "schedules.yaml: cron of ${each.key} has five fields, e.g. \"15 * * * *\"; it is \"${each.value.cron}\"."
    }
    precondition {
      condition     = can(regex("^[A-Za-z]+/[A-Za-z_/+-]+[0-9]*$", each.value.time_zone))
      error_message = "schedules.yaml: time_zone of ${each.key} is a name such as Europe/Berlin or Etc/UTC; it is \"${each.value.time_zone}\"."
    }
    precondition {
      condition     = length(each.value.unknown) == 0
      error_message = "schedules.yaml: ${each.key} has unknown fields: ${join(", ", each.value.unknown)}; known are cron, time_zone, paused and alert_after_minutes."
    }
  }
}
