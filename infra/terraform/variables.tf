# What differs between environments; values are in environments/<env>.tfvars.

variable "project_id" {
  description = "Project of Google Cloud that everything is made in; it must exist and have billing."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id must have 6 to 30 lower-case letters, digits and hyphens, as the console shows it."
  }
}

variable "region" {
  description = "Region of machines, buckets and images, and of Vertex AI."
  type        = string
  default     = "europe-west1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region must be one such as europe-west1, not a zone."
  }
}

variable "zone" {
  description = "Letter of the zone within the region that Airflow's machine is in."
  type        = string
  default     = "b"

  validation {
    condition     = can(regex("^[a-f]$", var.zone))
    error_message = "zone must be one letter from a to f."
  }
}

variable "bigquery_location" {
  description = "Where the published tables are; it cannot be changed later."
  type        = string
  default     = "EU"

  validation {
    condition     = can(regex("^[A-Za-z0-9-]+$", var.bigquery_location))
    error_message = "bigquery_location must be EU, US or a region."
  }
}

variable "environment" {
  description = "Name of the environment: of its settings file, and the label of everything."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,30}$", var.environment))
    error_message = "environment must begin with a lower-case letter and hold letters, digits and hyphens only."
  }
}

variable "dataset" {
  description = "BigQuery data set of the published tables; two more lie beside it."
  type        = string
  default     = "complete_the_look"

  validation {
    condition     = can(regex("^[A-Za-z0-9_]{1,1000}$", var.dataset))
    error_message = "dataset must hold letters, digits and underscores only."
  }
}

variable "report_readers" {
  description = "People who read the published tables, in IAM's form (group:analysts@example.com)."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.report_readers : can(regex("^(user|group|serviceAccount):[^@\\s]+@[^@\\s]+$", member))])
    error_message = "each of report_readers must be user:, group: or serviceAccount: and an address; allUsers and allAuthenticatedUsers are refused."
  }
}

variable "operators" {
  description = "People who may open Airflow's page and its machine, through Google's proxy, in IAM's form."
  type        = set(string)

  validation {
    condition     = length(var.operators) > 0 && alltrue([for member in var.operators : can(regex("^(user|group):[^@\\s]+@[^@\\s]+$", member))])
    error_message = "operators must name at least one user: or group:, or nobody can look at Airflow."
  }
}

variable "airflow_users" {
  description = "Names of Airflow's users and the role of each: viewer, user, op or admin."
  type        = map(string)

  validation {
    condition     = alltrue([for name, role in var.airflow_users : can(regex("^[a-z][a-z0-9_-]*$", name)) && contains(["viewer", "user", "op", "admin"], role)])
    error_message = "each of airflow_users must be a lower-case name with the role viewer, user, op or admin."
  }
}

variable "airflow_image" {
  description = "Airflow's image with its digest, as `make deploy` prints it after pushing."
  type        = string

  validation {
    condition     = can(regex("^[\\w.-]+-docker\\.pkg\\.dev/[\\w./-]+@sha256:[0-9a-f]{64}$", var.airflow_image))
    error_message = "airflow_image must be an image of Artifact Registry with its digest (…@sha256:…), so that a restart cannot bring other code."
  }
}

variable "airflow_machine_type" {
  description = "Airflow's machine; jobs plan, publish and write reports on it."
  type        = string
  default     = "e2-standard-8"

  validation {
    condition     = can(regex("^[a-z0-9]+-[a-z]+-[0-9]+$", var.airflow_machine_type))
    error_message = "airflow_machine_type must be a machine type such as e2-standard-8."
  }
}

variable "unprotected" {
  description = "Which of machine and database may be deleted or replaced; they are named here for one apply, and never by habit."
  type        = set(string)
  default     = []

  validation {
    condition     = length(setsubtract(var.unprotected, ["machine", "database"])) == 0
    error_message = "unprotected may hold machine and database, and nothing else."
  }
}

variable "database_tier" {
  description = "Machine of Airflow's metadata database."
  type        = string
  default     = "db-custom-1-3840"

  validation {
    condition     = can(regex("^db-custom-[0-9]+-[0-9]+$", var.database_tier))
    error_message = "database_tier must be a tier of Cloud SQL such as db-custom-1-3840 (shared cores have no service level)."
  }
}

variable "jobs_at_once" {
  description = "Size of Airflow's pool of tasks that compute."
  type        = number
  default     = 4

  validation {
    condition     = var.jobs_at_once >= 1 && var.jobs_at_once <= 64 && floor(var.jobs_at_once) == var.jobs_at_once
    error_message = "jobs_at_once must be a whole number from 1 to 64."
  }
}

variable "noncurrent_days" {
  description = "How long replaced and deleted objects can still be brought back."
  type        = number
  default     = 30

  validation {
    condition     = var.noncurrent_days >= 7 && var.noncurrent_days <= 365
    error_message = "noncurrent_days must lie in 7..365: a fault that is found after a week-end must still be undone."
  }
}

variable "alert_emails" {
  description = "Addresses that every alert and budget notice goes to."
  type        = set(string)

  validation {
    condition     = length(var.alert_emails) > 0 && alltrue([for address in var.alert_emails : can(regex("^[^@\\s]+@[^@\\s]+$", address))])
    error_message = "alert_emails must hold at least one address, or failures are heard by nobody."
  }
}

variable "billing_account" {
  description = "Billing account of the budget; empty for no budget (you then need another guard)."
  type        = string
  default     = ""

  validation {
    condition     = var.billing_account == "" || can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.billing_account))
    error_message = "billing_account must have the form 012345-6789AB-CDEF01, or be empty."
  }
}

variable "monthly_budget" {
  description = "What a month may cost before somebody is told, in the account's currency."
  type        = number
  default     = 1000

  validation {
    condition     = var.monthly_budget >= 1 && floor(var.monthly_budget) == var.monthly_budget
    error_message = "monthly_budget must be a whole number of at least 1."
  }
}

variable "ci_repository" {
  description = "Repository (owner/name) whose CI may push images without a key; empty for none."
  type        = string
  default     = ""

  validation {
    condition     = var.ci_repository == "" || can(regex("^[\\w.-]+/[\\w.-]+$", var.ci_repository))
    error_message = "ci_repository must have the form owner/name, or be empty."
  }
}

variable "ci_branch" {
  description = "The only branch of that repository that may push images."
  type        = string
  default     = "main"

  validation {
    condition     = can(regex("^[\\w./-]+$", var.ci_branch))
    error_message = "ci_branch must be the name of a branch."
  }
}

variable "kubernetes_trainer" {
  description = "Kubernetes service account (namespace/name) that trains as `trainer`, where settings have training.engine kubernetes; empty for none."
  type        = string
  default     = ""

  validation {
    condition     = var.kubernetes_trainer == "" || can(regex("^[a-z0-9-]+/[a-z0-9-]+$", var.kubernetes_trainer))
    error_message = "kubernetes_trainer must have the form namespace/name, or be empty."
  }
}
