# What several files need. Everything else lies in the file of its entity.

data "google_project" "this" {
  project_id = var.project
}

locals {
  location = coalesce(var.bigquery_location, var.region)
  labels   = merge({ app = "etl-runner", deployment = var.name }, var.labels)

  # The environment of functions and job: src/etl_runner/settings.py reads exactly these.
  settings = merge(
    {
      ETL_PROJECT           = var.project
      ETL_LOCATION          = var.region
      ETL_BIGQUERY_LOCATION = local.location
      ETL_DATASET           = var.dataset
      ETL_CONFIG_BUCKET     = google_storage_bucket.this["config"].name
      ETL_STATE_BUCKET      = google_storage_bucket.this["state"].name
      ETL_STAGING_BUCKET    = google_storage_bucket.this["staging"].name
      ETL_EVENTS_TOPIC      = google_pubsub_topic.this["events"].name
      ETL_WAKE_TOPIC        = google_pubsub_topic.this["arrivals"].name
      ETL_WORKFLOW          = local.workflow_name
      ETL_JOB               = local.job_name
      ETL_MAX_TASKS         = tostring(var.runner.max_tasks)
      ETL_TASK_SLOTS        = tostring(var.runner.task_slots)
    },
    var.limits.row_threshold == null ? {} : { ETL_ROW_THRESHOLD = tostring(var.limits.row_threshold) },
    var.limits.unit_rows == null ? {} : { ETL_UNIT_ROWS = tostring(var.limits.unit_rows) },
    var.control_plane == null ? {} : { ETL_CONTROL_PLANE_URL = var.control_plane.url },
    try(var.control_plane.audience, null) == null ? {} : { ETL_CONTROL_PLANE_AUDIENCE = var.control_plane.audience },
    var.dataflow == null ? {} : { for name, value in {
      ETL_DATAFLOW_TEMPLATE        = local.dataflow_template
      ETL_DATAFLOW_MACHINES        = var.dataflow.machines
      ETL_DATAFLOW_MAX_WORKERS     = tostring(var.dataflow.max_workers)
      ETL_DATAFLOW_TEMP            = var.dataflow.temp
      ETL_DATAFLOW_SERVICE_ACCOUNT = local.dataflow_account
      ETL_DATAFLOW_SUBNETWORK      = var.dataflow.subnetwork
      ETL_DATAFLOW_KMS_KEY         = var.kms_key
    } : name => value if value != null },
  )
}

resource "google_project_service" "this" {
  for_each = toset(concat(
    [
      "artifactregistry.googleapis.com",
      "bigquery.googleapis.com",
      "cloudbuild.googleapis.com",
      "cloudfunctions.googleapis.com",
      "cloudresourcemanager.googleapis.com",
      "cloudscheduler.googleapis.com",
      "eventarc.googleapis.com",
      "iam.googleapis.com",
      "logging.googleapis.com",
      "monitoring.googleapis.com",
      "pubsub.googleapis.com",
      "run.googleapis.com",
      "secretmanager.googleapis.com",
      "storage.googleapis.com",
      "workflowexecutions.googleapis.com",
      "workflows.googleapis.com",
    ],
    var.kms_key == null ? [] : ["cloudkms.googleapis.com"],
    var.vpc == null && var.dataflow == null ? [] : ["compute.googleapis.com"],
    var.dataflow == null ? [] : ["dataflow.googleapis.com"],
  ))

  project = var.project
  service = each.key
  # Other things in the project may use them.
  disable_on_destroy = false
}
