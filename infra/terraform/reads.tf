# What sources read in the deployment's own name: those whose connection has no key of its own. A deployment
# grants that to its accounts in its own project; src/etl_runner/doctor/reads.py tells the same for doctor.

locals {
  # A source's fields and its connection's, what is written in the source first.
  source_fields = {
    for file, document in local.documents : file => merge(
      try(local.connection_documents[document.connection].connection_params, {}),
      try(local.connection_documents[document.connection], {}),
      document,
      try(document.connection_params, {}),
    ) if dirname(file) == "sources" && can(keys(document))
  }

  # Sources that are read by accounts of ours.
  own_reads = {
    for file, fields in local.source_fields : file => fields if !anytrue([
      for field in ["credentials", "service_account", "credentials_json"] : try(length(fields[field]) > 0, false)
    ])
  }

  buckets_read = distinct(compact([for file, bucket in local.source_buckets : bucket if contains(keys(local.own_reads), file)]))

  bigquery_reads = {
    for file, fields in local.own_reads : file => {
      table   = replace(coalesce(try(fields.source_table_name, null), try(fields.table_name, null), try(fields.source_table, null), "-"), "`", "")
      dataset = coalesce(try(fields.schema_name, null), try(fields.source_schema, null), try(fields.dataset, null), try(fields.dataset_id, null), "-")
      project = coalesce(try(fields.project, null), try(fields.project_id, null), "-")
      billed  = coalesce(try(fields.billing_project, null), var.project)
    } if contains(["bigquery", "bq"], try(fields.source_type, ""))
  }
  bigquery_billed = anytrue([for read in values(local.bigquery_reads) : read.billed == var.project])

  # table, dataset.table and project.dataset.table are all accepted. A query names its tables itself.
  datasets_named = [
    for read in values(local.bigquery_reads) : merge({ project = null }, {
      for name, value in try(regex("^(?:(?P<project>.+)\\.)?(?P<dataset>[^.]+)\\.[^.]+$", strcontains(read.table, ".") ? read.table : "${read.dataset}.${read.table}"), {}) :
      name => name == "project" ? coalesce(value, read.project) : value
    }) if read.table != "-"
  ]
  datasets_read = distinct([for named in local.datasets_named : named.dataset if named.project == var.project && try(named.dataset, "-") != "-"])
  datasets_elsewhere = distinct([
    for named in local.datasets_named : "${named.project}.${named.dataset}" if named.project != null && named.project != var.project
  ])
}
