# Source and connection documents: files of the folder, uploaded as they are. Of their fields only those are
# looked at that a deployment depends on; `etl-runner validate` checks a document as a whole.

locals {
  documents_found = fileset(var.sources_folder, "{sources,connections}/*.{yaml,yml,json}")
  documents       = { for file in local.documents_found : file => try(yamldecode(file("${var.sources_folder}/${file}")), null) }
  document_ids    = { for file in local.documents_found : file => replace(basename(file), "/\\.(yaml|yml|json)$/", "") }

  source_ids     = [for file, id in local.document_ids : id if dirname(file) == "sources"]
  connection_ids = [for file, id in local.document_ids : id if dirname(file) == "connections"]

  source_types = [
    "postgresql", "postgres", "mysql", "mariadb", "bigquery", "bq",
    "gcs", "google_cloud_storage", "s3", "aws_s3", "azure", "azure_blob", "azure_blob_storage",
  ]
  load_types = ["transactional", "catalog", "upsert"]

  # Fields that hold a credential, in every accepted spelling (docs/configuration.md).
  credential_fields = [
    "password", "pass", "passwd", "credentials", "service_account", "credentials_json",
    "access_key_id", "aws_access_key_id", "secret_access_key", "aws_secret_access_key", "secret_key", "session_token", "aws_session_token",
    "account_key", "key", "access_key", "sas_token", "sas", "client_secret", "connection_string",
  ]

  # Text in such a field is the credential itself; an object with one of these keys says where it is.
  inline_credentials = {
    for file, document in local.documents : file => [
      for field, value in merge(try(document.connection_params, {}), try(document, {})) : field
      if contains(local.credential_fields, field) && !can(value.secret_manager) && !can(value.env) && !can(value.file) && try(length(value), 0) > 0
    ]
  }
}

resource "google_storage_bucket_object" "document" {
  for_each = local.documents_found

  name           = each.key
  bucket         = google_storage_bucket.this["config"].name
  source         = "${var.sources_folder}/${each.key}"
  source_md5hash = filemd5("${var.sources_folder}/${each.key}")
  content_type   = endswith(each.key, ".json") ? "application/json" : "application/yaml"

  lifecycle {
    precondition {
      condition     = can(keys(local.documents[each.key]))
      error_message = "${each.key} is not a YAML or JSON document with fields."
    }
    precondition {
      condition     = can(regex("^[A-Za-z0-9_-]{1,128}$", local.document_ids[each.key]))
      error_message = "${each.key}: the file's name is the id; 1 to 128 letters, digits, - and _."
    }
    precondition {
      condition     = length([for file, id in local.document_ids : id if dirname(file) == dirname(each.key) && id == local.document_ids[each.key]]) == 1
      error_message = "${each.key}: there is another document with this id and another ending; keep one."
    }
    precondition {
      condition     = contains(local.source_types, try(local.documents[each.key].source_type, ""))
      error_message = "${each.key}: source_type is one of ${join(", ", local.source_types)}."
    }
    precondition {
      condition     = dirname(each.key) != "sources" || contains(local.load_types, try(local.documents[each.key].load_type, ""))
      error_message = "${each.key}: load_type is one of ${join(", ", local.load_types)}."
    }
    precondition {
      condition     = dirname(each.key) != "sources" || try(length(local.documents[each.key].dest_table_name) > 0, false)
      error_message = "${each.key}: dest_table_name, the destination's table, is missing."
    }
    precondition {
      condition     = !can(local.documents[each.key].connection) || try(contains(local.connection_ids, local.documents[each.key].connection), false)
      error_message = "${each.key}: there is no connections/${try(local.documents[each.key].connection, "")}.yaml in ${var.sources_folder}."
    }
    precondition {
      condition     = try(local.source_buckets[each.key], "none is needed") != null
      error_message = "${each.key}: its connection names no bucket of Cloud Storage: bucket: my-bucket, or gs://my-bucket/folder."
    }
    precondition {
      condition     = length(local.inline_credentials[each.key]) == 0
      error_message = "${each.key}: ${join(", ", local.inline_credentials[each.key])} holds the credential itself. Put it into Secret Manager and write {secret_manager: <name>}; `etl-runner export-config` does that for you."
    }
  }
}
