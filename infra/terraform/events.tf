# One CloudEvent for each finished run. The subscription keeps them for whoever wants to follow runs; what
# a subscriber fails to process five times lies with the dead letters. The topic of arrivals carries the
# messages that have a source's arrivals looked at.

resource "google_pubsub_topic" "this" {
  for_each = { events = "run-events", dead = "run-events-dead", arrivals = "arrivals" }

  name         = "${var.name}-${each.value}"
  project      = var.project
  labels       = local.labels
  kms_key_name = var.kms_key

  message_retention_duration = "604800s"

  depends_on = [google_project_service.this, google_kms_crypto_key_iam_member.agent]
}

locals {
  subscriptions = {
    events   = google_pubsub_subscription.events.name
    arrivals = google_pubsub_subscription.arrivals.name
  }
}

resource "google_pubsub_subscription" "events" {
  name    = google_pubsub_topic.this["events"].name
  project = var.project
  topic   = google_pubsub_topic.this["events"].id
  labels  = local.labels

  ack_deadline_seconds       = 60
  message_retention_duration = "604800s"

  # An empty ttl: it never expires.
  expiration_policy {
    ttl = ""
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.this["dead"].id
    max_delivery_attempts = 5
  }
}

# What has a source's arrivals looked at again; pushed to file_arrival, which loads them.
resource "google_pubsub_subscription" "arrivals" {
  name    = google_pubsub_topic.this["arrivals"].name
  project = var.project
  topic   = google_pubsub_topic.this["arrivals"].id
  labels  = local.labels

  # As long as the function may work on it; at most 600.
  ack_deadline_seconds       = 600
  message_retention_duration = "604800s"

  expiration_policy {
    ttl = ""
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.this["dead"].id
    max_delivery_attempts = 100
  }

  push_config {
    push_endpoint = google_cloudfunctions2_function.this["file-arrival"].service_config[0].uri

    oidc_token {
      service_account_email = google_service_account.this["events"].email
      audience              = google_cloudfunctions2_function.this["file-arrival"].service_config[0].uri
    }
  }
}

resource "google_pubsub_subscription" "dead" {
  name    = google_pubsub_topic.this["dead"].name
  project = var.project
  topic   = google_pubsub_topic.this["dead"].id
  labels  = local.labels

  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = ""
  }
}
