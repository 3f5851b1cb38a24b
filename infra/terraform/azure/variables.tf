variable "endpoint" {
  description = "Where events go: the output `external_events` of the deployment in Google Cloud."
  type        = string

  validation {
    condition     = can(regex("^https://[^/?#]+(/[^?#]*)?$", var.endpoint))
    error_message = "endpoint is an https URL without a query: terraform -chdir=infra/terraform output external_events."
  }
}

variable "resource_group" {
  description = "Resource group of the system topic and of the dead letters."
  type        = string
}

variable "location" {
  description = "Location of the storage account, where its system topic has to be, e.g. westeurope."
  type        = string
}

variable "storage_account_id" {
  description = "Resource id of the storage account whose containers are loaded."
  type        = string

  validation {
    condition     = can(regex("^/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft.Storage/storageAccounts/[a-z0-9]{3,24}$", var.storage_account_id))
    error_message = "storage_account_id is /subscriptions/<id>/resourceGroups/<group>/providers/Microsoft.Storage/storageAccounts/<name>."
  }
}

variable "containers" {
  description = "Container to the prefix that names of its blobs begin with; empty: every blob."
  type        = map(string)

  validation {
    condition     = length(var.containers) > 0 && length(var.containers) <= 25
    error_message = "containers names 1 to 25 of them: a filter has at most 25 values."
  }
}

variable "tenant_id" {
  description = "Entra tenant that issues the tokens which deliveries carry."
  type        = string
}

variable "application_id" {
  description = "Entra application (client id or URI) that the tokens are issued for: external_events.azure_audience of the deployment."
  type        = string
}

variable "dead_letter_container" {
  description = "A container of the storage account for what could not be delivered; not one of those that are loaded."
  type        = string
  default     = null
}

variable "name" {
  description = "Name of what is made."
  type        = string
  default     = "etl"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}[a-z0-9]$", var.name))
    error_message = "name is 3 to 32 lower-case letters, digits and hyphens."
  }
}

variable "tags" {
  description = "Tags of everything that can bear them."
  type        = map(string)
  default     = {}
}
