# The secrets that the documents refer to. Their values are no business of Terraform, whose state would
# show them: `gcloud secrets versions add <name> --data-file=-` sets one.

locals {
  secret_references = distinct(flatten([
    for document in values(local.documents) : [
      for value in values(merge(try(document.connection_params, {}), try(document, {}))) : try([value.secret_manager], [])
    ]
  ]))
  secret_own   = "/^(projects/${var.project}/secrets/)?([A-Za-z0-9_-]+)(/versions/[A-Za-z0-9_-]+)?$/"
  key_secrets  = compact([try(var.external_events.key_secret, null)])
  secret_names = toset(concat(local.document_secrets, local.key_secrets))
  # Short names of those that lie in this project.
  document_secrets = distinct([for reference in local.secret_references : replace(reference, local.secret_own, "$2") if !strcontains(replace(reference, local.secret_own, "$2"), "/")])
  secret_foreign   = [for reference in local.secret_references : reference if strcontains(replace(reference, local.secret_own, "$2"), "/")]
}

resource "google_secret_manager_secret" "this" {
  for_each = local.secret_names

  secret_id = each.key
  project   = var.project
  labels    = local.labels

  replication {
    dynamic "auto" {
      for_each = var.kms_key == null ? [1] : []
      content {}
    }
    # A regional key encrypts a secret of that region only.
    dynamic "user_managed" {
      for_each = var.kms_key == null ? [] : [var.kms_key]
      content {
        replicas {
          location = var.region
          customer_managed_encryption {
            kms_key_name = user_managed.value
          }
        }
      }
    }
  }

  depends_on = [google_project_service.this, google_kms_crypto_key_iam_member.agent]
}
