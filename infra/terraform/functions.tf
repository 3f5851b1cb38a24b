# One archive a function: its folder's main.py and requirements.txt, and src/etl_runner. The content's hash is in the object's name, so
# that a function is built anew exactly when something in its archive has changed.

locals {
  repository = abspath("${path.module}/../..")

  # Timeouts are those that workflows/etl.yaml waits for.
  functions = merge(
    {
      trigger  = { timeout = 300, memory = "1Gi" }
      plan     = { timeout = 600, memory = "1Gi" }
      finalize = { timeout = 900, memory = "2Gi" }
      # What takes events lives nine minutes, and loads small batches itself.
      file-arrival = { timeout = 540, memory = "4Gi" }
      sweep        = { timeout = 540, memory = "4Gi" }
    },
    # The same code as file-arrival under another account: the one address that can be reached from outside.
    # It notes what S3 and Azure tell, once it has verified who tells it, and loads nothing.
    var.external_events == null ? {} : { external = { timeout = 60, memory = "512Mi" } },
  )

  # Several of them connect to sources.
  connecting = ["plan", "file-arrival", "sweep"]

  folders = { for name in keys(local.functions) : name => name == "external" ? "file_arrival" : replace(name, "-", "_") }

  # What no function imports: a change there builds none anew.
  left_out = "^etl_runner/(cli/|doctor/|execution/beam/|gcp/admin[.]py)"

  package_files = {
    for file in fileset("${local.repository}/src", "etl_runner/**/*.{py,json,sql}") : file => "${local.repository}/src/${file}"
    if !can(regex(local.left_out, file))
  }

  function_files = {
    for name in keys(local.functions) : name => merge(local.package_files, {
      "main.py"          = "${local.repository}/functions/${local.folders[name]}/main.py"
      "requirements.txt" = "${local.repository}/functions/${local.folders[name]}/requirements.txt"
    })
  }

  function_hashes = {
    for name, files in local.function_files :
    name => sha256(join("\n", [for file, path in files : "${file} ${filesha256(path)}"]))
  }
}

data "archive_file" "function" {
  for_each = local.functions

  type        = "zip"
  output_path = "${path.module}/.build/${each.key}-${substr(local.function_hashes[each.key], 0, 16)}.zip"

  dynamic "source" {
    for_each = local.function_files[each.key]
    content {
      filename = source.key
      content  = file(source.value)
    }
  }
}

resource "google_storage_bucket_object" "function" {
  for_each = local.functions

  name   = "functions/${each.key}-${local.function_hashes[each.key]}.zip"
  bucket = google_storage_bucket.this["code"].name
  source = data.archive_file.function[each.key].output_path
}

resource "google_cloudfunctions2_function" "this" {
  for_each = local.functions

  name         = "${var.name}-${each.key}"
  project      = var.project
  location     = var.region
  description  = local.parts[each.key]
  labels       = local.labels
  kms_key_name = var.kms_key

  build_config {
    runtime           = "python311"
    entry_point       = "main"
    service_account   = google_service_account.this["build"].id
    docker_repository = google_artifact_registry_repository.this.id

    source {
      storage_source {
        bucket = google_storage_bucket.this["code"].name
        object = google_storage_bucket_object.function[each.key].name
      }
    }
  }

  service_config {
    service_account_email = google_service_account.this[each.key].email
    # Workflows, Eventarc, Pub/Sub and Scheduler of the project count as internal; nobody else can reach the
    # address.
    ingress_settings                 = each.key == "external" ? "ALLOW_ALL" : "ALLOW_INTERNAL_ONLY"
    timeout_seconds                  = each.value.timeout
    available_memory                 = each.value.memory
    available_cpu                    = "1"
    max_instance_count               = 20
    max_instance_request_concurrency = 4
    environment_variables            = merge(local.settings, local.event_settings[each.key])

    dynamic "secret_environment_variables" {
      for_each = each.key == "external" && try(var.external_events.key_secret, null) != null ? [var.external_events.key_secret] : []
      content {
        key        = "ETL_EVENT_KEYS"
        project_id = var.project
        secret     = google_secret_manager_secret.this[secret_environment_variables.value].secret_id
        version    = "latest"
      }
    }

    # Only what connects to sources has business in the private network.
    direct_vpc_egress = var.vpc == null || !contains(local.connecting, each.key) ? null : (
      var.vpc.all ? "VPC_EGRESS_ALL_TRAFFIC" : "VPC_EGRESS_PRIVATE_RANGES_ONLY"
    )
    dynamic "direct_vpc_network_interface" {
      for_each = var.vpc == null || !contains(local.connecting, each.key) ? [] : [var.vpc]
      content {
        network    = direct_vpc_network_interface.value.network
        subnetwork = direct_vpc_network_interface.value.subnetwork
      }
    }
  }

  # A build fails without its account's roles; a secret is read at the first request.
  depends_on = [
    google_project_iam_member.this,
    google_project_iam_member.build_source,
    google_artifact_registry_repository_iam_member.this,
    google_storage_bucket_iam_member.this,
  ]
}
