# The five that a deployment needs.

variable "project" {
  description = "Id of the project that everything is made in."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project is a project's id: 6 to 30 lower-case letters, digits and hyphens, e.g. my-project."
  }
}

variable "region" {
  description = "Region of functions, workflow, job and schedules, e.g. europe-west1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region is one region, e.g. europe-west1; a multi-region such as EU goes to bigquery_location."
  }
}

variable "dataset" {
  description = "BigQuery dataset that sources load into."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_]+$", var.dataset)) && length(var.dataset) <= 1024
    error_message = "dataset holds letters, digits and underscores only, at most 1,024."
  }
}

variable "image" {
  description = "The runner image with its tag or digest. `make deploy` builds it into this deployment's registry and fills this in."
  type        = string

  validation {
    condition     = can(regex("^[^:@/ ]+(:[0-9]+)?/[^ ]+(:[A-Za-z0-9_.-]+|@sha256:[0-9a-f]{64})$", var.image)) && !endswith(var.image, ":latest")
    error_message = "image names a registry and ends in a tag other than latest, or in a digest: what runs must not change by itself."
  }
}

variable "sources_folder" {
  description = "Folder with sources/<id>.yaml, connections/<id>.yaml and schedules.yaml."
  type        = string
}

# Everything below has a default.

variable "name" {
  description = "Prefix of what is made, so that a project can hold more than one deployment."
  type        = string
  default     = "etl"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,13}[a-z0-9]$", var.name))
    error_message = "name is 3 to 15 lower-case letters, digits and hyphens."
  }
}

variable "bigquery_location" {
  description = "Location of the dataset, of every BigQuery job and of the buckets, e.g. EU. The region when absent."
  type        = string
  default     = null
}

variable "create_dataset" {
  description = "Whether the dataset is made here; false when it exists already."
  type        = bool
  default     = true
}

variable "runner" {
  description = "The Cloud Run Job: what a task gets, and how many of them a run may have."
  type = object({
    cpu             = optional(string, "4")
    memory          = optional(string, "8Gi")
    timeout_seconds = optional(number, 3600)
    max_retries     = optional(number, 3)
    max_tasks       = optional(number, 10)
    task_slots      = optional(number, 2)
  })
  default = {}

  validation {
    condition     = var.runner.timeout_seconds >= 60 && var.runner.timeout_seconds <= 604800
    error_message = "runner.timeout_seconds is between 60 and 604800 (seven days)."
  }
  validation {
    condition     = var.runner.max_retries >= 0 && var.runner.max_retries <= 10 && var.runner.max_tasks >= 1
    error_message = "runner.max_retries is between 0 and 10, runner.max_tasks at least 1."
  }
}

variable "limits" {
  description = "Limits of planning; what is left out is the code's own default."
  type = object({
    row_threshold = optional(number)
    unit_rows     = optional(number)
  })
  default = {}
}

variable "dataflow" {
  description = "The distributed engine; {} will do. The flex template's spec (gs://...) and the workers' account are made here unless they are named; the workers' machines, subnetwork and temporary folder. Absent, the job takes plans of every size."
  type = object({
    template        = optional(string)
    machines        = optional(string, "n2-standard")
    max_workers     = optional(number, 10)
    temp            = optional(string)
    service_account = optional(string)
    subnetwork      = optional(string)
  })
  default = null

  validation {
    condition     = can(regex("^gs://[^/]+/.+", coalesce(try(var.dataflow.template, null), "gs://made/here")))
    error_message = "dataflow.template names an object, gs://<bucket>/<object>."
  }
}

variable "external_events" {
  description = "Events of S3 and Azure: whom they are believed. Makes the one function that can be reached from outside."
  type = object({
    sns_topics     = optional(list(string), [])
    azure_tenant   = optional(string)
    azure_audience = optional(string)
    key_secret     = optional(string)
  })
  default = null

  validation {
    condition     = var.external_events == null || try(length(var.external_events.sns_topics) > 0, false) || try(var.external_events.azure_tenant, null) != null || try(var.external_events.key_secret, null) != null
    error_message = "external_events names nobody to believe: sns_topics, azure_tenant with azure_audience, or key_secret."
  }
  validation {
    condition     = (try(var.external_events.azure_tenant, null) == null) == (try(var.external_events.azure_audience, null) == null)
    error_message = "external_events.azure_tenant goes with azure_audience."
  }
  validation {
    condition     = alltrue([for topic in try(var.external_events.sns_topics, []) : can(regex("^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+$", topic))])
    error_message = "external_events.sns_topics are ARNs: output topic_arn of infra/terraform/aws."
  }
}

variable "sweep_minutes" {
  description = "Minutes between two sweeps, which take up arrivals and slots whose holder died."
  type        = number
  default     = 5

  validation {
    condition     = contains([1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30], var.sweep_minutes)
    error_message = "sweep_minutes divides an hour: 1, 2, 3, 4, 5, 6, 10, 12, 15, 20 or 30."
  }
}

variable "control_plane" {
  description = "A control plane that serves source documents in the flat form and is told what became of their runs: its URL, and the audience of the tokens for it (its URL when absent)."
  type = object({
    url      = string
    audience = optional(string)
  })
  default = null

  validation {
    condition     = var.control_plane == null || can(regex("^https://", var.control_plane.url))
    error_message = "control_plane.url begins with https://."
  }
}

variable "max_run_seconds" {
  description = "Longest run, seconds. A load job takes up to six hours by itself."
  type        = number
  default     = 86400
}

variable "staging_days" {
  description = "Days after which staged files are deleted. Rejected rows lie there too."
  type        = number
  default     = 14

  validation {
    condition     = var.staging_days >= 2
    error_message = "staging_days is at least 2: a run may last a day, and its files are needed until its end."
  }
}

variable "vpc" {
  description = "Direct VPC egress of the parts that connect to databases (plan and the runner)."
  type = object({
    network    = string
    subnetwork = string
    all        = optional(bool, false)
  })
  default = null
}

variable "kms_key" {
  description = "A Cloud KMS key, projects/<p>/locations/<l>/keyRings/<r>/cryptoKeys/<k>, for data at rest; Google's own when absent."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key == null || can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", var.kms_key))
    error_message = "kms_key is projects/<project>/locations/<location>/keyRings/<ring>/cryptoKeys/<key>."
  }
}

variable "alerts" {
  description = "Who is told, and from when on. Channels are names of existing notification channels."
  type = object({
    emails       = optional(list(string), [])
    channels     = optional(list(string), [])
    reject_share = optional(number, 0.01)
  })
  default = {}

  validation {
    condition     = var.alerts.reject_share >= 0 && var.alerts.reject_share < 1
    error_message = "alerts.reject_share is a share of the rows that were read: 0.01 is one in a hundred."
  }
}

variable "destroy_data" {
  description = "Whether `terraform destroy` may delete buckets with objects in them and the dataset with its tables."
  type        = bool
  default     = false
}

variable "labels" {
  description = "Labels of everything that can bear them."
  type        = map(string)
  default     = {}
}
