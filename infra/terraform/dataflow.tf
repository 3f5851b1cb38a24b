# The distributed engine, when it is asked for: the flex template's spec, and the workers' account.

locals {
  dataflow_template = var.dataflow == null ? null : coalesce(var.dataflow.template, try("gs://${google_storage_bucket_object.template["spec"].bucket}/${google_storage_bucket_object.template["spec"].name}", null))
  dataflow_named    = try(var.dataflow.service_account, null)
  dataflow_account  = var.dataflow == null ? null : coalesce(local.dataflow_named, try(google_service_account.this["dataflow"].email, null))

  # A ContainerSpec, as tools/template.py writes it.
  dataflow_spec = jsonencode({
    image    = var.image
    sdkInfo  = { language = "PYTHON" }
    metadata = jsondecode(file("${local.repository}/runner_image/template.json"))
  })
}

resource "google_storage_bucket_object" "template" {
  for_each = try(var.dataflow.template, "none") == null ? { spec = local.dataflow_spec } : {}

  name         = "templates/runner-${substr(sha256(each.value), 0, 16)}.json"
  bucket       = google_storage_bucket.this["code"].name
  content      = each.value
  content_type = "application/json"
}

# Whoever starts a job has it run as the workers' account.
resource "google_service_account_iam_member" "this" {
  for_each = local.grants["account"]

  service_account_id = try(google_service_account.this[each.value.name].name, "projects/-/serviceAccounts/${local.dataflow_named}")
  role               = each.value.role
  member             = local.members[each.value.who]
}
