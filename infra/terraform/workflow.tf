locals {
  workflow_name = var.name
}

resource "google_workflows_workflow" "this" {
  name            = local.workflow_name
  project         = var.project
  region          = var.region
  description     = "One run of one source: trigger, plan, extract, finalize"
  labels          = local.labels
  service_account = google_service_account.this["workflow"].id
  crypto_key_name = var.kms_key
  call_log_level  = "LOG_ERRORS_ONLY"
  source_contents = file("${local.repository}/workflows/etl.yaml")

  user_env_vars = {
    TRIGGER_URL     = google_cloudfunctions2_function.this["trigger"].service_config[0].uri
    PLAN_URL        = google_cloudfunctions2_function.this["plan"].service_config[0].uri
    FINALIZE_URL    = google_cloudfunctions2_function.this["finalize"].service_config[0].uri
    JOB_NAME        = google_cloud_run_v2_job.this.name
    PROJECT         = var.project
    LOCATION        = var.region
    MAX_RUN_SECONDS = tostring(var.max_run_seconds)
  }

  # No state is in it, and `make destroy` removes it.
  deletion_protection = false

  depends_on = [google_project_service.this, google_kms_crypto_key_iam_member.agent]
}
