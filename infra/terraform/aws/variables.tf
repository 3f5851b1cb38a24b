variable "endpoint" {
  description = "Where events go: the output `external_events` of the deployment in Google Cloud."
  type        = string

  validation {
    condition     = can(regex("^https://[^/?#]+(/[^?#]*)?$", var.endpoint))
    error_message = "endpoint is an https URL without a query: terraform -chdir=infra/terraform output external_events."
  }
}

variable "buckets" {
  description = <<-EOT
    Bucket to what is told of it. prefix: only keys that begin so. through_event_bridge: for a bucket that has
    notifications of its own already, since a bucket has one notification configuration, which this module
    would replace; the bucket's owner switches EventBridge on in it.
  EOT
  type = map(object({
    prefix               = optional(string, "")
    through_event_bridge = optional(bool, false)
  }))

  validation {
    condition     = length(var.buckets) > 0
    error_message = "buckets is empty: name at least one."
  }
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
