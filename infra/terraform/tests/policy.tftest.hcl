# What a deployment must be, whatever its variables: nothing of it public, every grant on one thing, every
# schedule able to start its workflow. No cloud: providers are mocked.

mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789012" }
  }
  mock_data "google_storage_bucket" {
    defaults = { location = "EUROPE-WEST1" }
  }
  mock_resource "google_service_account" {
    defaults = { member = "serviceAccount:part@my-project.iam.gserviceaccount.com" }
  }
  mock_resource "google_workflows_workflow" {
    defaults = { id = "projects/my-project/locations/europe-west1/workflows/etl" }
  }
}

mock_provider "archive" {}

variables {
  project        = "my-project"
  region         = "europe-west1"
  dataset        = "warehouse"
  image          = "europe-west1-docker.pkg.dev/my-project/etl/runner:0123abc"
  sources_folder = "./example"
}

run "five_variables_are_enough" {
  command = apply

  # Functions.
  assert {
    condition     = alltrue([for f in google_cloudfunctions2_function.this : f.service_config[0].ingress_settings == "ALLOW_INTERNAL_ONLY"])
    error_message = "a function can be reached from outside: ingress_settings is not ALLOW_INTERNAL_ONLY"
  }
  assert {
    condition     = length(google_cloud_run_v2_service_iam_member.external) == 0 && !contains(keys(google_cloudfunctions2_function.this), "external")
    error_message = "there is a public function that nobody asked for"
  }
  assert {
    condition     = alltrue([for name, f in google_cloudfunctions2_function.this : f.service_config[0].service_account_email == google_service_account.this[name].email])
    error_message = "a function does not have the account of its own"
  }
  assert {
    condition     = alltrue([for name, f in google_cloudfunctions2_function.this : strcontains(f.build_config[0].source[0].storage_source[0].object, local.function_hashes[name])])
    error_message = "a function's archive does not have its content's hash in its name: a change would not be deployed"
  }
  assert {
    condition     = alltrue([for files in local.function_files : alltrue([for file in keys(files) : contains(["main.py", "requirements.txt"], file) || can(regex("^etl_runner/.*\\.(py|json|sql)$", file))])])
    error_message = "a function's archive holds more than its main.py, requirements.txt and etl_runner"
  }
  assert {
    condition     = alltrue([for files in local.function_files : !anytrue([for file in keys(files) : startswith(file, "etl_runner/cli/") || startswith(file, "etl_runner/doctor/") || startswith(file, "etl_runner/execution/beam/")])])
    error_message = "a function's archive holds the command, doctor or the Beam pipeline"
  }
  assert {
    condition     = alltrue([for files in local.function_files : contains(keys(files), "etl_runner/settings.py") && contains(keys(files), "etl_runner/history/tables/etl_runs.json") && contains(keys(files), "main.py") && contains(keys(files), "requirements.txt")])
    error_message = "a function's archive lacks main.py, requirements.txt or etl_runner"
  }

  # Buckets.
  assert {
    condition     = alltrue([for b in google_storage_bucket.this : b.uniform_bucket_level_access && b.public_access_prevention == "enforced"])
    error_message = "a bucket is not uniform, or could be made public"
  }
  assert {
    condition     = alltrue([for b in google_storage_bucket.this : !b.force_destroy])
    error_message = "destroying the deployment would delete a bucket's objects"
  }
  assert {
    condition     = google_storage_bucket.this["state"].versioning[0].enabled && google_storage_bucket.this["config"].versioning[0].enabled
    error_message = "state and config buckets keep old versions"
  }
  assert {
    condition     = alltrue([for rule in google_storage_bucket.this["state"].lifecycle_rule : tolist(rule.condition)[0].matches_suffix == tolist(["/state.json"]) && tolist(rule.condition)[0].with_state == "ARCHIVED"])
    error_message = "a lifecycle rule of the state bucket could delete more than old versions of state.json: commit records must outlive every rule"
  }
  assert {
    condition     = anytrue([for rule in google_storage_bucket.this["staging"].lifecycle_rule : tolist(rule.action)[0].type == "Delete" && tolist(rule.condition)[0].age >= 2])
    error_message = "staged files are never deleted, or before their run is over"
  }
  assert {
    condition     = google_storage_bucket.this["state"].soft_delete_policy[0].retention_duration_seconds >= 7 * 86400
    error_message = "deleted state cannot be had back for a week"
  }

  # The job.
  assert {
    condition     = google_cloud_run_v2_job.this.template[0].template[0].containers[0].resources[0].limits == tomap({ cpu = "4", memory = "8Gi" })
    error_message = "the runner's default is 4 CPU and 8 GiB"
  }
  assert {
    condition     = google_cloud_run_v2_job.this.template[0].template[0].timeout == "3600s" && google_cloud_run_v2_job.this.template[0].template[0].max_retries == 3
    error_message = "the runner's default is an hour and three retries"
  }
  assert {
    condition     = google_cloud_run_v2_job.this.template[0].template[0].service_account == google_service_account.this["runner"].email
    error_message = "the runner does not have the account of its own"
  }

  # The workflow.
  assert {
    condition     = google_workflows_workflow.this.service_account == google_service_account.this["workflow"].id
    error_message = "the workflow does not have the account of its own"
  }
  assert {
    condition     = toset(keys(google_workflows_workflow.this.user_env_vars)) == toset(["TRIGGER_URL", "PLAN_URL", "FINALIZE_URL", "JOB_NAME", "PROJECT", "LOCATION", "MAX_RUN_SECONDS"])
    error_message = "the workflow's variables are not those that workflows/etl.yaml reads"
  }

  # Schedules.
  assert {
    condition     = length(google_cloud_scheduler_job.this) == 2
    error_message = "each entry of schedules.yaml is a schedule"
  }
  assert {
    condition     = alltrue([for s in google_cloud_scheduler_job.this : s.http_target[0].uri == "https://workflowexecutions.googleapis.com/v1/projects/my-project/locations/europe-west1/workflows/etl/executions"])
    error_message = "a schedule's target is not the workflow"
  }
  assert {
    condition     = alltrue([for s in google_cloud_scheduler_job.this : try(length(s.http_target[0].oauth_token[0].service_account_email) > 0, false)])
    error_message = "a schedule calls its target without an identity"
  }
  assert {
    condition     = alltrue([for id, s in google_cloud_scheduler_job.this : jsondecode(jsondecode(base64decode(s.http_target[0].body)).argument) == { source_id = id }])
    error_message = "a schedule does not name its source in the execution's argument"
  }
  assert {
    condition     = alltrue([for s in google_cloud_scheduler_job.this : s.retry_config[0].retry_count > 0 && length(s.time_zone) > 0])
    error_message = "a schedule does not repeat an attempt that failed, or has no time zone"
  }

  # Grants.
  assert {
    condition     = alltrue([for g in local.permissions.grants : !contains(["roles/owner", "roles/editor", "roles/viewer"], g.role)])
    error_message = "permissions.yaml grants a primitive role"
  }
  assert {
    condition     = alltrue([for m in values(local.members) : startswith(m, "serviceAccount:")])
    error_message = "permissions.yaml grants something to others than service accounts"
  }
  assert {
    condition     = alltrue([for g in local.permissions.grants : g.target != "project" || try(length(g.narrower) > 0, false)])
    error_message = "permissions.yaml grants a role on the whole project and does not say why nothing narrower will do"
  }
  assert {
    condition     = length([for g in local.permissions.grants : g if !can(g.when)]) == sum([for kind in values(local.grants) : length(kind)])
    error_message = "permissions.yaml has a grant that iam.tf does not make: an unknown target, or one that is there twice"
  }
  assert {
    condition     = toset([for m in google_secret_manager_secret_iam_member.this : m.secret_id]) == toset(["shop-password"]) && length(google_secret_manager_secret_iam_member.this) == 4
    error_message = "each secret is granted by itself, to those who connect to sources only"
  }
  assert {
    condition     = !anytrue([for g in local.permissions.grants : startswith(g.role, "roles/secretmanager") && !contains(["secret", "key"], g.target)])
    error_message = "permissions.yaml grants all secrets at once"
  }

  # Events.
  assert {
    condition     = toset(keys(google_eventarc_trigger.this)) == toset(["my-sales-files"]) && alltrue([for bucket, t in google_eventarc_trigger.this : toset([for c in t.matching_criteria : c.value]) == toset(["google.cloud.storage.object.v1.finalized", bucket])])
    error_message = "each bucket that a source reads has a trigger for its finished objects"
  }
  assert {
    condition     = alltrue([for t in google_eventarc_trigger.this : length(t.retry_policy) == 0 && length(t.service_account) > 0 && t.location == "europe-west1"])
    error_message = "a trigger does not repeat deliveries, has no identity, or lies elsewhere than its bucket"
  }
  assert {
    condition     = try(google_pubsub_subscription.arrivals.push_config[0].oidc_token[0].service_account_email, "") == google_service_account.this["events"].email && google_pubsub_subscription.arrivals.ack_deadline_seconds == 600 && length(google_pubsub_subscription.arrivals.dead_letter_policy) == 1
    error_message = "arrivals are pushed without an identity, not repeated, or lost"
  }
  assert {
    condition     = try(length(google_cloud_scheduler_job.sweep.http_target[0].oidc_token[0].service_account_email) > 0, false) && google_cloud_scheduler_job.sweep.schedule == "*/5 * * * *"
    error_message = "the sweep is called without an identity, or not every few minutes"
  }
  assert {
    condition     = google_pubsub_subscription.events.dead_letter_policy[0].max_delivery_attempts == 5 && google_pubsub_subscription.events.retry_policy[0].minimum_backoff == "10s"
    error_message = "run events that cannot be processed go nowhere"
  }
  assert {
    condition     = alltrue([for t in google_pubsub_topic.this : t.message_retention_duration != null])
    error_message = "a topic keeps no messages"
  }

  # Configuration and alerts.
  assert {
    condition     = toset(keys(google_storage_bucket_object.document)) == toset(["connections/files.yaml", "connections/shop.yaml", "sources/customers.yaml", "sources/orders.yaml", "sources/sales.yaml"])
    error_message = "the folder's documents are uploaded under their names"
  }
  assert {
    condition     = toset(keys(google_monitoring_alert_policy.no_run)) == toset(["customers", "orders"]) && toset(keys(google_monitoring_alert_policy.this)) == toset(["run_failed", "rejects", "rejects_kept", "row_mismatch", "arrivals_backlog", "events_fail", "sweep_fails", "table_budget", "file_set_aside", "event_unreadable", "dead_letters"])
    error_message = "an alert is missing"
  }
  assert {
    condition     = can(jsondecode(google_monitoring_dashboard.this.dashboard_json))
    error_message = "the dashboard is not JSON"
  }
  assert {
    condition     = alltrue([for name in keys(local.functions) : strcontains(join("", concat([for m in google_logging_metric.this : m.filter], [for m in google_logging_metric.counter : m.filter])), name) if contains(["trigger", "finalize", "file-arrival", "sweep"], name)]) && alltrue([for m in google_logging_metric.counter : strcontains(m.filter, "external")])
    error_message = "what a function logs is counted by no metric"
  }
  assert {
    condition     = alltrue([for m in [google_logging_metric.this["runs_rejecting"], google_logging_metric.this["rejects_kept"], google_logging_metric.counter["table_budget_low"], google_logging_metric.counter["files_set_aside"], google_logging_metric.counter["event_unreadable"]] : strcontains(join(" ", flatten([for a in google_monitoring_alert_policy.this : [for c in a.conditions : c.condition_threshold[0].filter]])), "user/${m.name}\"")])
    error_message = "a metric of rejects, budget or files set aside raises no alert"
  }
  assert {
    condition     = google_logging_metric.this["runs_rejecting"].filter == trimspace("${local.run_ended}jsonPayload.reject_share>0.01")
    error_message = "rejects above a share of the rows are not counted, or above another share than the variable's"
  }
  assert {
    condition     = alltrue([for b in google_storage_bucket.this : b.soft_delete_policy != null]) && google_pubsub_subscription.dead.message_retention_duration == "2678400s" && alltrue([for s in [google_pubsub_subscription.events, google_pubsub_subscription.arrivals] : s.message_retention_duration == "604800s"])
    error_message = "a bucket or a subscription keeps what it holds for no stated time"
  }
}

run "a_private_network_and_a_key_of_ones_own" {
  command = plan

  variables {
    vpc     = { network = "net", subnetwork = "sub" }
    kms_key = "projects/my-project/locations/europe-west1/keyRings/r/cryptoKeys/k"
    alerts  = { emails = ["data@example.com"] }
  }

  assert {
    condition     = google_cloud_run_v2_job.this.template[0].template[0].vpc_access[0].egress == "PRIVATE_RANGES_ONLY" && alltrue([for name in ["plan", "file-arrival", "sweep"] : length(google_cloudfunctions2_function.this[name].service_config[0].direct_vpc_network_interface) == 1])
    error_message = "what connects to sources does not reach the private network"
  }
  assert {
    condition     = alltrue([for name in ["trigger", "finalize"] : length(google_cloudfunctions2_function.this[name].service_config[0].direct_vpc_network_interface) == 0])
    error_message = "trigger and finalize have no business in the private network"
  }
  assert {
    condition     = alltrue([for b in google_storage_bucket.this : b.encryption[0].default_kms_key_name == var.kms_key]) && google_bigquery_dataset.this[0].default_encryption_configuration[0].kms_key_name == var.kms_key
    error_message = "a bucket or the dataset is not encrypted with the key"
  }
  assert {
    condition     = alltrue([for s in google_secret_manager_secret.this : length(s.replication[0].auto) == 0 && s.replication[0].user_managed[0].replicas[0].customer_managed_encryption[0].kms_key_name == var.kms_key])
    error_message = "a secret is not encrypted with the key"
  }
  assert {
    condition     = length(google_monitoring_alert_policy.this["run_failed"].notification_channels) == 1
    error_message = "nobody is told of a failed run"
  }
  assert {
    condition     = toset(keys(google_kms_crypto_key_iam_member.agent)) == toset(["storage", "bigquery", "pubsub", "secrets", "registry", "run", "functions", "workflows", "eventarc"]) && google_eventarc_google_channel_config.this["europe-west1"].crypto_key_name == var.kms_key
    error_message = "a service that holds data may not use the key, or events travel without it"
  }
  assert {
    condition     = alltrue([for t in google_pubsub_topic.this : t.kms_key_name == var.kms_key]) && alltrue([for f in google_cloudfunctions2_function.this : f.kms_key_name == var.kms_key]) && google_cloud_run_v2_job.this.template[0].template[0].encryption_key == var.kms_key && google_workflows_workflow.this.crypto_key_name == var.kms_key && google_artifact_registry_repository.this.kms_key_name == var.kms_key
    error_message = "a topic, a function, the job, the workflow or the registry is not encrypted with the key"
  }
}

run "the_distributed_engine" {
  command = apply

  variables {
    dataflow = {}
  }

  assert {
    condition     = local.settings["ETL_DATAFLOW_SERVICE_ACCOUNT"] == google_service_account.this["dataflow"].email && can(regex("^gs://my-project-etl-code/templates/runner-[0-9a-f]{16}\\.json$", local.settings["ETL_DATAFLOW_TEMPLATE"]))
    error_message = "the engine is not told its template, or its workers have no account of their own"
  }
  assert {
    condition     = jsondecode(google_storage_bucket_object.template["spec"].content).image == var.image && jsondecode(google_storage_bucket_object.template["spec"].content).sdkInfo.language == "PYTHON"
    error_message = "the template starts another image than the job"
  }
  assert {
    condition     = [for g in google_service_account_iam_member.this : g.role] == ["roles/iam.serviceAccountUser"]
    error_message = "the workflow may not have jobs run as the workers, or as more than them"
  }
  assert {
    condition     = toset([for m in values(local.grants["bucket"]) : m.who if m.name == "code"]) == toset(["build", "workflow", "plan", "file-arrival", "sweep"])
    error_message = "who plans cannot read the template, so that no plan would ever choose the engine"
  }
  assert {
    condition     = alltrue([for g in values(local.grants["project"]) : startswith(g.role, "roles/dataflow.") if g.who == "dataflow"]) && length([for g in values(local.grants["dataset"]) : g if g.who == "dataflow"]) == 0
    error_message = "the workers may more in the project than to be workers, or write to BigQuery"
  }
  assert {
    condition     = !contains(keys(local.settings), "ETL_DATAFLOW_KMS_KEY") && contains(keys(google_project_service.this), "dataflow.googleapis.com")
    error_message = "the engine is given a key that nobody named, or its API is not enabled"
  }
}

run "workers_with_an_account_made_elsewhere_and_a_key" {
  command = plan

  variables {
    dataflow = { service_account = "workers@other-project.iam.gserviceaccount.com" }
    kms_key  = "projects/my-project/locations/europe-west1/keyRings/r/cryptoKeys/k"
  }

  assert {
    condition     = !contains(keys(google_service_account.this), "dataflow") && local.members["dataflow"] == "serviceAccount:workers@other-project.iam.gserviceaccount.com" && [for g in google_service_account_iam_member.this : g.service_account_id] == ["projects/-/serviceAccounts/workers@other-project.iam.gserviceaccount.com"]
    error_message = "the workers' account is not the one that is named"
  }
  assert {
    condition     = contains(keys(google_kms_crypto_key_iam_member.agent), "dataflow") && contains(keys(google_kms_crypto_key_iam_member.agent), "compute") && try(local.settings["ETL_DATAFLOW_KMS_KEY"], null) == var.kms_key
    error_message = "Dataflow does not encrypt with the key, or may not"
  }
}

run "a_control_plane" {
  command = plan

  variables {
    control_plane = { url = "https://control.example.com", audience = "control" }
  }

  assert {
    condition     = alltrue([for f in google_cloudfunctions2_function.this : f.service_config[0].environment_variables["ETL_CONTROL_PLANE_URL"] == "https://control.example.com" && f.service_config[0].environment_variables["ETL_CONTROL_PLANE_AUDIENCE"] == "control"])
    error_message = "a function is not told the control plane, or the audience of the tokens for it"
  }
  assert {
    condition     = anytrue([for e in google_cloud_run_v2_job.this.template[0].template[0].containers[0].env : e.name == "ETL_CONTROL_PLANE_URL" && e.value == "https://control.example.com"])
    error_message = "the job is not told the control plane, which has documents that the config bucket has not"
  }
}

run "events_of_other_clouds" {
  command = apply

  variables {
    external_events = {
      sns_topics = ["arn:aws:sns:eu-west-1:111122223333:etl-object-events"]
      key_secret = "event-key"
    }
  }

  assert {
    condition     = [for name, f in google_cloudfunctions2_function.this : name if f.service_config[0].ingress_settings != "ALLOW_INTERNAL_ONLY"] == ["external"] && keys(google_cloud_run_v2_service_iam_member.external) == ["external"]
    error_message = "more than the one verified endpoint can be reached from outside"
  }
  assert {
    condition     = google_cloudfunctions2_function.this["external"].service_config[0].environment_variables["ETL_SNS_TOPICS"] == "arn:aws:sns:eu-west-1:111122223333:etl-object-events" && google_cloudfunctions2_function.this["external"].service_config[0].secret_environment_variables[0].key == "ETL_EVENT_KEYS"
    error_message = "the public endpoint is not told whom to believe"
  }
  assert {
    condition     = toset([for key, m in google_secret_manager_secret_iam_member.this : m.secret_id if startswith(key, "external ")]) == toset(["event-key"]) && length([for key, grant in local.grants["dataset"] : key if grant.who == "external"]) == 0
    error_message = "the public endpoint may read a source's secret, or write to BigQuery"
  }
}

run "sources_that_are_read_in_its_own_name" {
  command = apply

  variables {
    sources_folder = "./tests/reads"
    dataflow       = {}
  }

  assert {
    condition     = toset([for m in google_bigquery_dataset_iam_member.source : m.dataset_id]) == toset(["sales", "crm"]) && toset([for key in keys(google_bigquery_dataset_iam_member.source) : split(" ", key)[0]]) == toset(["plan", "runner", "finalize", "trigger", "sweep", "dataflow"])
    error_message = "a dataset that is read in the deployment's name is not granted, or one that is not read so, or to others"
  }
  assert {
    condition     = alltrue([for m in google_bigquery_dataset_iam_member.source : m.role == "roles/bigquery.dataViewer"]) && alltrue([for m in google_storage_bucket_iam_member.source : m.role == "roles/storage.objectViewer"])
    error_message = "a source may be more than read"
  }
  assert {
    condition     = toset([for g in values(local.grants["project"]) : g.who if g.role == "roles/bigquery.readSessionUser"]) == toset(["runner", "dataflow"]) && length(setsubtract(["plan", "runner", "dataflow", "finalize"], [for g in values(local.grants["project"]) : g.who if g.role == "roles/bigquery.jobUser"])) == 0
    error_message = "who reads BigQuery may open no read session or run no query"
  }
  assert {
    condition     = toset([for m in google_storage_bucket_iam_member.source : m.bucket]) == toset(["my-sales-files", "spelt-files"]) && contains(keys(google_storage_bucket_iam_member.source), "finalize roles/storage.objectViewer source-bucket my-sales-files")
    error_message = "a bucket that is read in the deployment's name is not granted to who loads from it, or one with a key of its own is"
  }
  assert {
    condition     = toset([for t in google_eventarc_trigger.this : one([for c in t.matching_criteria : c.value if c.attribute == "bucket"])]) == toset(["my-sales-files", "other-files", "spelt-files"])
    error_message = "a bucket that a source reads has no trigger, however it is spelt"
  }
  assert {
    condition     = toset(output.datasets_elsewhere.datasets) == toset(["bigquery-public-data.noaa_gsod", "partner-project.shared"]) && length(output.datasets_elsewhere.members) == 6
    error_message = "nobody is told which datasets of other projects are read"
  }
}

run "sources_that_are_read_with_keys_or_at_others_cost" {
  command = plan

  assert {
    condition     = length(google_bigquery_dataset_iam_member.source) == 0 && length(google_storage_bucket_iam_member.source) == 0 && length([for g in values(local.grants["project"]) : g if contains(["plan", "runner"], g.who)]) == 0
    error_message = "something is granted on sources or on the project that no source needs"
  }
}
