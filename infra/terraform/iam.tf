# One service account for each part; who is granted what stands in
# src/etl_runner/doctor/permissions.yaml.

locals {
  parts = merge({
    trigger   = "Function trigger: opens a run"
    plan      = "Function plan: plans a run"
    finalize  = "Function finalize: commits or closes a run"
    runner    = "Cloud Run Job: reads the source, writes shards"
    workflow  = "Workflow: calls the functions and starts the job"
    scheduler = "Cloud Scheduler: starts the workflow and the sweep"
    build     = "Cloud Build: makes the functions' images"

    file-arrival = "Function file_arrival: notes and loads what arrives"
    sweep        = "Function sweep: takes up what was left"
    events       = "Eventarc and Pub/Sub: bring events to file_arrival"
    },
    var.dataflow == null || local.dataflow_named != null ? {} : { dataflow = "Dataflow's workers: read the source, write shards" },
    var.external_events == null ? {} : { external = "Function file_arrival for S3 and Azure: notes what arrives" },
  )

  # What grants with a "when" are made for.
  asked_for = concat(
    var.external_events == null ? [] : ["external"],
    var.dataflow == null ? [] : ["dataflow"],
    local.bigquery_billed ? ["bigquery"] : [],
  )

  permissions = yamldecode(file("${local.repository}/src/etl_runner/doctor/permissions.yaml"))

  members = merge(
    { for part in keys(local.parts) : part => google_service_account.this[part].member },
    local.dataflow_named == null ? {} : { dataflow = "serviceAccount:${local.dataflow_named}" },
    { "storage-agent" = "serviceAccount:service-${data.google_project.this.number}@gs-project-accounts.iam.gserviceaccount.com" },
    { "pubsub-agent" = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com" },
  )

  # Kind of thing, then "<who> <role> <name>" of each grant on one.
  grants = {
    for kind in ["bucket", "dataset", "topic", "subscription", "function", "job", "secret", "key", "account", "repository", "build-sources", "project", "source-dataset", "source-bucket"] : kind => {
      for grant in local.permissions.grants : "${grant.who} ${grant.role} ${grant.target}" => {
        who  = grant.who
        role = grant.role
        name = try(split(":", grant.target)[1], "")
      } if split(":", grant.target)[0] == kind && alltrue([for each in flatten([try(grant.when, [])]) : contains(local.asked_for, each)])
    }
  }
}

resource "google_service_account" "this" {
  for_each = local.parts

  account_id   = "${var.name}-${each.key}"
  project      = var.project
  display_name = each.value

  depends_on = [google_project_service.this]
}

resource "google_project_iam_custom_role" "this" {
  for_each = local.permissions.custom_roles

  role_id     = "${replace(var.name, "-", "_")}_${each.key}"
  project     = var.project
  title       = "${each.value.title} (${var.name})"
  permissions = each.value.permissions
}

resource "google_storage_bucket_iam_member" "this" {
  for_each = local.grants["bucket"]

  bucket = google_storage_bucket.this[each.value.name].name
  role   = each.value.role
  member = local.members[each.value.who]
}

resource "google_bigquery_dataset_iam_member" "this" {
  for_each = local.grants["dataset"]

  project    = var.project
  dataset_id = var.create_dataset ? google_bigquery_dataset.this[0].dataset_id : var.dataset
  role       = each.value.role
  member     = local.members[each.value.who]
}

resource "google_pubsub_topic_iam_member" "this" {
  for_each = local.grants["topic"]

  project = var.project
  topic   = google_pubsub_topic.this[each.value.name].name
  role    = each.value.role
  member  = local.members[each.value.who]
}

resource "google_pubsub_subscription_iam_member" "this" {
  for_each = local.grants["subscription"]

  project      = var.project
  subscription = local.subscriptions[each.value.name]
  role         = each.value.role
  member       = local.members[each.value.who]
}

# A function of the second generation is a Cloud Run service of the same name.
resource "google_cloud_run_v2_service_iam_member" "this" {
  for_each = local.grants["function"]

  project  = var.project
  location = var.region
  name     = google_cloudfunctions2_function.this[each.value.name].name
  role     = each.value.role
  member   = local.members[each.value.who]
}

# The one exception: S3 and Azure have no identity that Cloud Run knows. The function itself verifies every
# call (signature of SNS, token of Entra, shared key) and is there only when it is asked for.
resource "google_cloud_run_v2_service_iam_member" "external" {
  for_each = toset(var.external_events == null ? [] : ["external"])

  project  = var.project
  location = var.region
  name     = google_cloudfunctions2_function.this[each.key].name
  role     = "roles/run.invoker"
  member   = "allUsers"
}

resource "google_cloud_run_v2_job_iam_member" "this" {
  for_each = local.grants["job"]

  project  = var.project
  location = var.region
  name     = google_cloud_run_v2_job.this.name
  role     = each.value.role
  member   = local.members[each.value.who]
}

resource "google_artifact_registry_repository_iam_member" "this" {
  for_each = local.grants["repository"]

  project    = var.project
  location   = var.region
  repository = google_artifact_registry_repository.this.name
  role       = each.value.role
  member     = local.members[each.value.who]
}

resource "google_project_iam_member" "this" {
  for_each = local.grants["project"]

  project = var.project
  role = startswith(each.value.role, "custom:") ? (
    google_project_iam_custom_role.this[trimprefix(each.value.role, "custom:")].name
  ) : each.value.role
  member = local.members[each.value.who]
}

resource "google_project_iam_member" "build_source" {
  for_each = local.grants["build-sources"]

  project = var.project
  role    = each.value.role
  member  = local.members[each.value.who]

  condition {
    title      = "only the buckets of functions to be built"
    expression = "resource.name.startsWith(\"projects/_/buckets/gcf-v2-sources-${data.google_project.this.number}-\")"
  }
}

# Each secret by itself: no account may read the project's secrets as such.
resource "google_secret_manager_secret_iam_member" "this" {
  for_each = {
    for pair in concat(
      [for pair in setproduct(keys(local.grants["secret"]), local.document_secrets) : { grant = local.grants["secret"][pair[0]], secret = pair[1] }],
      [for pair in setproduct(keys(local.grants["key"]), local.key_secrets) : { grant = local.grants["key"][pair[0]], secret = pair[1] }],
    ) : "${pair.grant.who} ${pair.grant.role} ${pair.secret}" => pair
  }

  project   = var.project
  secret_id = google_secret_manager_secret.this[each.value.secret].secret_id
  role      = each.value.grant.role
  member    = local.members[each.value.grant.who]
}

# What sources read in the deployment's own name (reads.tf).
resource "google_bigquery_dataset_iam_member" "source" {
  for_each = {
    for pair in setproduct(keys(local.grants["source-dataset"]), local.datasets_read) :
    "${pair[0]} ${pair[1]}" => { grant = local.grants["source-dataset"][pair[0]], dataset = pair[1] }
  }

  project    = var.project
  dataset_id = each.value.dataset
  role       = each.value.grant.role
  member     = local.members[each.value.grant.who]

  # A source may be a table that another source loads.
  depends_on = [google_bigquery_dataset.this]
}

resource "google_storage_bucket_iam_member" "source" {
  for_each = {
    for pair in setproduct(keys(local.grants["source-bucket"]), local.buckets_read) :
    "${pair[0]} ${pair[1]}" => { grant = local.grants["source-bucket"][pair[0]], bucket = pair[1] }
  }

  bucket = each.value.bucket
  role   = each.value.grant.role
  member = local.members[each.value.grant.who]
}
