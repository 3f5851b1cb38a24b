# Wrong variables and documents are refused with a sentence, before anything is made.

mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789012" }
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

run "wrong_variables" {
  command = plan

  variables {
    project         = "My Project"
    region          = "EU"
    dataset         = "ware-house"
    image           = "europe-west1-docker.pkg.dev/my-project/etl/runner:latest"
    staging_days    = 1
    kms_key         = "my-key"
    sweep_minutes   = 7
    external_events = { azure_tenant = "t" }
    control_plane   = { url = "http://control.example.com" }
    dataflow        = { template = "templates/runner.json" }
    name            = "E"
    runner          = { timeout_seconds = 5, max_retries = 11 }
    alerts          = { reject_share = 1 }
  }

  expect_failures = [var.project, var.region, var.dataset, var.image, var.staging_days, var.kms_key, var.sweep_minutes, var.external_events, var.control_plane, var.dataflow, var.name, var.runner, var.alerts]
}

run "a_key_elsewhere" {
  command = plan

  variables {
    bigquery_location = "EU"
    kms_key           = "projects/my-project/locations/europe-west1/keyRings/r/cryptoKeys/k"
  }

  expect_failures = [google_kms_crypto_key_iam_member.agent]
}

run "wrong_documents" {
  command = plan

  variables {
    sources_folder = "./tests/wrong"
  }

  expect_failures = [google_storage_bucket_object.document, google_cloud_scheduler_job.this]
}

run "a_source_without_a_bucket" {
  command = plan

  variables {
    sources_folder = "./tests/nowhere"
  }

  expect_failures = [google_storage_bucket_object.document]
}
