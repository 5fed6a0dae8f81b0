# What this configuration is written against, and where its state lies.

terraform {
  required_version = ">= 1.9, < 2"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
  }

  # The bucket is named in environments/<env>.backend.hcl, as it differs by environment.
  backend "gcs" {}
}

provider "google" {
  project        = var.project_id
  region         = var.region
  default_labels = local.labels

  # Budgets are billed to, and limited by, the project itself.
  user_project_override = true
  billing_project       = var.project_id
}
