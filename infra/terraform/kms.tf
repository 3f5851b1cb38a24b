# Optional: the customer's own key. Google's agents encrypt and decrypt with it; no account of ours may.

locals {
  # https://cloud.google.com/kms/docs/compatible-services, each service's own page.
  key_agents = var.kms_key == null ? {} : merge({
    storage   = "service-${data.google_project.this.number}@gs-project-accounts.iam.gserviceaccount.com"
    bigquery  = "bq-${data.google_project.this.number}@bigquery-encryption.iam.gserviceaccount.com"
    pubsub    = "service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
    secrets   = "service-${data.google_project.this.number}@gcp-sa-secretmanager.iam.gserviceaccount.com"
    registry  = "service-${data.google_project.this.number}@gcp-sa-artifactregistry.iam.gserviceaccount.com"
    run       = "service-${data.google_project.this.number}@serverless-robot-prod.iam.gserviceaccount.com"
    functions = "service-${data.google_project.this.number}@gcf-admin-robot.iam.gserviceaccount.com"
    workflows = "service-${data.google_project.this.number}@gcp-sa-workflows.iam.gserviceaccount.com"
    eventarc  = "service-${data.google_project.this.number}@gcp-sa-eventarc.iam.gserviceaccount.com"
    },
    # The state of a job, and the disks of its workers.
    var.dataflow == null ? {} : {
      dataflow = "service-${data.google_project.this.number}@dataflow-service-producer-prod.iam.gserviceaccount.com"
      compute  = "service-${data.google_project.this.number}@compute-system.iam.gserviceaccount.com"
    },
  )
}

resource "google_kms_crypto_key_iam_member" "agent" {
  for_each = local.key_agents

  crypto_key_id = var.kms_key
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:${each.value}"

  depends_on = [google_project_service.this]

  lifecycle {
    precondition {
      condition     = split("/", var.kms_key)[3] == var.region && lower(local.location) == var.region
      error_message = "kms_key lies in ${split("/", var.kms_key)[3]}: the key, region (${var.region}) and bigquery_location (${local.location}) have to be the same place."
    }
  }
}

# Events of Google's services on their way through Eventarc. There is one such setting a project and region; a
# trigger that lies elsewhere (a bucket in a multi-region) keeps to Google's key.
resource "google_eventarc_google_channel_config" "this" {
  for_each = var.kms_key == null || length(local.event_buckets) == 0 ? toset([]) : toset([var.region])

  project         = var.project
  location        = each.key
  name            = "googleChannelConfig"
  crypto_key_name = var.kms_key

  depends_on = [google_kms_crypto_key_iam_member.agent]
}
