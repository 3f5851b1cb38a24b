# What finished runs log (event "run_ended" of src/etl_runner/commit/close.py) as metrics, and whom to tell.

locals {
  metric_prefix = replace(var.name, "-", "_")
  run_ended     = <<-EOT
    resource.type="cloud_run_revision"
    resource.labels.service_name=~"^${var.name}-(trigger|finalize|file-arrival|sweep)$"
    jsonPayload.event="run_ended"
  EOT

  # What the functions that take events log (src/etl_runner/events); external notes, the others load.
  events_logged = <<-EOT
    resource.type="cloud_run_revision"
    resource.labels.service_name=~"^${var.name}-(file-arrival|sweep|external)$"
  EOT

  counters = {
    table_budget_low = { description = "Batches that waited because a table's operations of the day run short", filter = "jsonPayload.event=\"table_budget\"" }
    event_unreadable = { description = "Events that cannot be read and were kept aside", filter = "jsonPayload.event=\"event_unreadable\"" }
    files_set_aside  = { description = "Files that were set aside after several failed attempts", filter = "jsonPayload.event=\"file_set_aside\"" }
  }

  metrics = {
    runs_ended       = { description = "Runs that ended", filter = "", value = null }
    runs_rejecting   = { description = "Runs that rejected more than ${var.alerts.reject_share} of their rows", filter = "jsonPayload.reject_share>${var.alerts.reject_share}", value = null }
    rejects_kept     = { description = "Runs whose rejected rows could not be loaded into their table", filter = "jsonPayload.rejects_kept=true", value = null }
    runs_mismatching = { description = "Runs that loaded another number of rows than expected; the source is paused", filter = "jsonPayload.row_mismatch=true", value = null }
    rows_loaded      = { description = "Rows that runs loaded", filter = "", value = "EXTRACT(jsonPayload.rows_loaded)" }
  }

  channels = concat(var.alerts.channels, [for channel in google_monitoring_notification_channel.email : channel.name])

  alerts = {
    run_failed = {
      title    = "a run failed"
      severity = "ERROR"
      filters = [
        "metric.type=\"logging.googleapis.com/user/${google_logging_metric.this["runs_ended"].name}\" AND resource.type=\"cloud_run_revision\" AND metric.labels.outcome!=\"ok\"",
        "metric.type=\"workflows.googleapis.com/finished_execution_count\" AND resource.type=\"workflows.googleapis.com/Workflow\" AND resource.labels.workflow_id=\"${local.workflow_name}\" AND metric.labels.status=\"FAILED\"",
      ]
      what = "A run ended as failed or abandoned, or an execution of the workflow failed before there was a run. Nothing of the run is in the destination; the next run covers its window. `etl-runner runs <source>` shows the reason. An execution that ends at once usually means a wrong document (`etl-runner validate`) or a paused source (`etl-runner status`)."
    }
    rejects = {
      title    = "many rows were rejected"
      severity = "WARNING"
      filters  = ["metric.type=\"logging.googleapis.com/user/${google_logging_metric.this["runs_rejecting"].name}\" AND resource.type=\"cloud_run_revision\""]
      what     = "More than ${var.alerts.reject_share * 100} % of a run's rows could not be converted. The others are loaded. The receipt (`etl-runner runs <source> --json`) names the objects with the rejected rows, their columns and reasons; they are deleted after ${var.staging_days} days."
    }
    rejects_kept = {
      title    = "rejected rows are not in their table"
      severity = "ERROR"
      filters  = ["metric.type=\"logging.googleapis.com/user/${google_logging_metric.this["rejects_kept"].name}\" AND resource.type=\"cloud_run_revision\""]
      what     = "A run is committed, but its rejected rows could not be loaded into `<destination>__rejects`. They lie in the staging bucket and are deleted after ${var.staging_days} days. The receipt (`etl-runner show <run>`) has the reason; once it is mended, `etl-runner rejects load <source>`."
    }
    row_mismatch = {
      title    = "a run loaded another number of rows than expected; its source is paused"
      severity = "CRITICAL"
      filters  = ["metric.type=\"logging.googleapis.com/user/${google_logging_metric.this["runs_mismatching"].name}\" AND resource.type=\"cloud_run_revision\""]
      what     = "BigQuery reports other rows than the shards have. The run is committed, the source is paused. Compare source and destination, then `etl-runner resolve <source>`."
    }
    arrivals_backlog = {
      title    = "arrivals are not loaded"
      severity = "ERROR"
      above    = 1800
      filters = [
        "metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" AND resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=\"${google_pubsub_subscription.arrivals.name}\"",
      ]
      what = "What has arrived waits for more than half an hour. `etl-runner status` shows which source's slot is held and until when; the log of ${var.name}-file-arrival says why a batch fails. Nothing is lost: arrivals stay noted until they are committed."
    }
    events_fail = {
      title    = "events of objects are not taken"
      severity = "ERROR"
      above    = 20
      filters = [
        "metric.type=\"run.googleapis.com/request_count\" AND resource.type=\"cloud_run_revision\" AND resource.labels.service_name=monitoring.regex.full_match(\"${var.name}-(file-arrival|external)\") AND metric.labels.response_code_class=\"5xx\"",
      ]
      what = "The functions that take events answered more than 20 calls in five minutes with an error. Their senders repeat deliveries, Eventarc for a day; what is lost then is found by the source's next scheduled run. The log of ${var.name}-file-arrival, and of ${var.name}-external for S3 and Azure, has the reason."
    }
    sweep_fails = {
      title    = "the sweep fails"
      severity = "WARNING"
      filters = [
        "metric.type=\"run.googleapis.com/request_count\" AND resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${var.name}-sweep\" AND metric.labels.response_code_class=\"5xx\"",
      ]
      what = "A source could not be taken up, or the function could not be called. Its log names the source. The next sweep tries again in ${var.sweep_minutes} minutes."
    }
    table_budget = {
      title    = "a table's operations of the day run short"
      severity = "WARNING"
      filters = [
        "metric.type=\"logging.googleapis.com/user/${google_logging_metric.counter["table_budget_low"].name}\" AND resource.type=\"cloud_run_revision\"",
      ]
      what = "BigQuery allows 1,500 operations a day on a table. Batches of files into this one wait longer, so that the day's rest lasts. The log names the table. Fewer, larger files help, or a schedule instead of events."
    }
    file_set_aside = {
      title    = "a file was set aside"
      severity = "ERROR"
      filters = [
        "metric.type=\"logging.googleapis.com/user/${google_logging_metric.counter["files_set_aside"].name}\" AND resource.type=\"cloud_run_revision\"",
      ]
      what = "A file failed several times and is not tried again; those behind it go on. The log names the file and the reason. Replace the file, which is a new version and is loaded as such."
    }
    event_unreadable = {
      title    = "an event cannot be read"
      severity = "WARNING"
      filters = [
        "metric.type=\"logging.googleapis.com/user/${google_logging_metric.counter["event_unreadable"].name}\" AND resource.type=\"cloud_run_revision\"",
      ]
      what = "A sender that may send told something that is no event of an object. It was acknowledged and kept: `etl-runner files unreadable` shows reason and text. Its object is not loaded by it; the source's next scheduled run finds it."
    }
    dead_letters = {
      title    = "run events were not processed"
      severity = "WARNING"
      filters  = ["metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\" AND resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=\"${google_pubsub_subscription.dead.name}\""]
      what     = "A subscriber failed to process run events five times, or a source's arrivals could not be loaded a hundred times; each message tells which. The sweep goes on loading arrivals. They are kept for 31 days in the subscription ${google_pubsub_subscription.dead.name}."
    }
  }
}

resource "google_logging_metric" "this" {
  for_each = local.metrics

  name        = "${local.metric_prefix}_${each.key}"
  project     = var.project
  description = each.value.description
  filter      = trimspace("${local.run_ended}${each.value.filter}")

  label_extractors = {
    source_id = "EXTRACT(jsonPayload.source_id)"
    outcome   = "EXTRACT(jsonPayload.outcome)"
  }
  value_extractor = each.value.value

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = each.value.value == null ? "INT64" : "DISTRIBUTION"

    labels {
      key         = "source_id"
      value_type  = "STRING"
      description = "The source"
    }
    labels {
      key         = "outcome"
      value_type  = "STRING"
      description = "ok, failed or abandoned"
    }
  }

  depends_on = [google_project_service.this]
}

resource "google_logging_metric" "counter" {
  for_each = local.counters

  name        = "${local.metric_prefix}_${each.key}"
  project     = var.project
  description = each.value.description
  filter      = trimspace("${local.events_logged}${each.value.filter}")

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
  }

  depends_on = [google_project_service.this]
}

resource "google_monitoring_notification_channel" "email" {
  for_each = toset(var.alerts.emails)

  project      = var.project
  type         = "email"
  display_name = "${var.name}: ${each.key}"
  labels       = { email_address = each.key }

  depends_on = [google_project_service.this]
}

resource "google_monitoring_alert_policy" "this" {
  for_each = local.alerts

  project               = var.project
  display_name          = "${var.name}: ${each.value.title}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = local.channels
  user_labels           = local.labels

  dynamic "conditions" {
    for_each = each.value.filters
    content {
      display_name = each.value.title
      condition_threshold {
        filter          = conditions.value
        comparison      = "COMPARISON_GT"
        threshold_value = try(each.value.above, 0)
        duration        = "0s"

        # Gauges have no delta.
        aggregations {
          alignment_period   = "300s"
          per_series_aligner = contains(["dead_letters", "arrivals_backlog"], each.key) ? "ALIGN_MAX" : "ALIGN_DELTA"
        }
      }
    }
  }

  alert_strategy {
    auto_close = "604800s"
  }

  documentation {
    mime_type = "text/markdown"
    content   = each.value.what
  }
}

# A schedule that says how long a source may go without a good run.
resource "google_monitoring_alert_policy" "no_run" {
  for_each = { for source_id, schedule in local.schedules : source_id => schedule if schedule.alert_after_minutes != null && !schedule.paused }

  project               = var.project
  display_name          = "${var.name}: no run of ${each.key} in time"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.channels
  user_labels           = local.labels

  conditions {
    display_name = "no run of ${each.key} ended well for ${each.value.alert_after_minutes} minutes"
    condition_prometheus_query_language {
      query = join(" or ", [
        "absent_over_time(${local.ended_well[each.key]})",
        "sum(increase(${local.ended_well[each.key]})) < 1",
      ])
      duration            = "0s"
      evaluation_interval = "60s"
    }
  }

  alert_strategy {
    auto_close = "604800s"
  }

  documentation {
    mime_type = "text/markdown"
    content   = "No run of ${each.key} ended well for ${each.value.alert_after_minutes} minutes. `etl-runner status ${each.key}` shows who holds the slot and until when, `gcloud scheduler jobs describe ${var.name}-${each.key} --location ${var.region}` the schedule's last attempt."
  }
}

locals {
  ended_well = {
    for source_id, schedule in local.schedules : source_id =>
    "logging_googleapis_com:user_${google_logging_metric.this["runs_ended"].name}{monitored_resource=\"cloud_run_revision\",source_id=\"${source_id}\",outcome=\"ok\"}[${coalesce(schedule.alert_after_minutes, 60)}m]"
  }
}

resource "google_monitoring_dashboard" "this" {
  project = var.project
  dashboard_json = templatefile("${path.module}/dashboard.json", {
    name     = var.name
    workflow = local.workflow_name
    job      = local.job_name
    ended    = google_logging_metric.this["runs_ended"].name
    rows     = google_logging_metric.this["rows_loaded"].name
    rejects  = google_logging_metric.this["runs_rejecting"].name
    dead     = google_pubsub_subscription.dead.name
    arrivals = google_pubsub_subscription.arrivals.name
    budget   = google_logging_metric.counter["table_budget_low"].name
    aside    = google_logging_metric.counter["files_set_aside"].name
  })
}
