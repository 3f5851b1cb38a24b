output "registry" {
  description = "Where the runner image goes."
  value       = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.this.repository_id}"
}

output "settings" {
  description = "The deployment for the etl-runner command: KEY=VALUE lines of a settings file."
  value       = join("\n", [for name, value in local.settings : "${name}=${value}"])
}

output "external_events" {
  description = "Where S3 and Azure send events: the endpoint of the modules aws and azure. Null without external_events."
  value       = try(google_cloudfunctions2_function.this["external"].service_config[0].uri, null)
}

output "workflow" {
  description = "The workflow that a run is started with."
  value       = google_workflows_workflow.this.id
}

output "secrets_without_value" {
  description = "The secrets whose values are set by hand, once: gcloud secrets versions add <name> --data-file=-"
  value       = sort(local.secret_names)
}

output "secrets_elsewhere" {
  description = "Secrets of other projects: grant roles/secretmanager.secretAccessor on them to these members there."
  value = {
    secrets = local.secret_foreign
    members = [for part in ["plan", "runner", "file-arrival", "sweep"] : local.members[part]]
  }
}

output "datasets_elsewhere" {
  description = "Datasets of other projects that sources read without a key: unless they are public, grant roles/bigquery.dataViewer on them to these members there."
  value = {
    datasets = sort(local.datasets_elsewhere)
    members  = [for grant in values(local.grants["source-dataset"]) : local.members[grant.who]]
  }
}

output "service_accounts" {
  description = "The identity of each part."
  value       = { for part, account in google_service_account.this : part => account.email }
}
