locals {
  job_name = "${var.name}-runner"
}

resource "google_cloud_run_v2_job" "this" {
  name                = local.job_name
  project             = var.project
  location            = var.region
  labels              = local.labels
  deletion_protection = false

  template {
    # The number of tasks is the plan's: an override of each execution.
    task_count = 1

    template {
      service_account = google_service_account.this["runner"].email
      timeout         = "${var.runner.timeout_seconds}s"
      max_retries     = var.runner.max_retries
      encryption_key  = var.kms_key

      containers {
        image = var.image
        # The image starts as a Dataflow worker unless told otherwise; this role needs no root.
        command = ["setpriv", "--reuid=10001", "--regid=10001", "--clear-groups", "python", "runner_image/job.py"]

        resources {
          limits = {
            cpu    = var.runner.cpu
            memory = var.runner.memory
          }
        }

        dynamic "env" {
          for_each = local.settings
          content {
            name  = env.key
            value = env.value
          }
        }
      }

      dynamic "vpc_access" {
        for_each = var.vpc == null ? [] : [var.vpc]
        content {
          egress = vpc_access.value.all ? "ALL_TRAFFIC" : "PRIVATE_RANGES_ONLY"
          network_interfaces {
            network    = vpc_access.value.network
            subnetwork = vpc_access.value.subnetwork
          }
        }
      }
    }
  }

  depends_on = [google_project_service.this, google_kms_crypto_key_iam_member.agent]
}
