# Buckets. Versions of the system's own are never deleted by age here: what is published
# names them. `compact_features` and people remove what nothing needs any more.

resource "google_storage_bucket" "data" {
  #checkov:skip=CKV_GCP_62:Writes are in Cloud Audit Logs (audit.tf), which name the account; access logs do not.
  name                        = "${var.project_id}-data"
  location                    = var.region
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false

  versioning {
    enabled = true
  }

  soft_delete_policy {
    retention_duration_seconds = 604800
  }

  lifecycle_rule {
    condition {
      days_since_noncurrent_time = var.noncurrent_days
      with_state                 = "ARCHIVED"
    }
    action {
      type = "Delete"
    }
  }

  # As long as Airflow's database knows the runs (docs/runbook.md, database-disk).
  lifecycle_rule {
    condition {
      age            = 90
      matches_prefix = ["${local.task_logs_prefix}/"]
    }
    action {
      type = "Delete"
    }
  }

  # Files that Dataflow staged, and that Vertex AI left beside a training.
  lifecycle_rule {
    condition {
      age            = 14
      matches_prefix = ["dataflow/", "aiplatform-"]
    }
    action {
      type = "Delete"
    }
  }

  lifecycle_rule {
    condition {
      age = 7
    }
    action {
      type = "AbortIncompleteMultipartUpload"
    }
  }

  depends_on = [google_project_service.required]
}

# The retailer's tables; jobs only read here.
resource "google_storage_bucket" "catalog" {
  #checkov:skip=CKV_GCP_62:Writes are in Cloud Audit Logs (audit.tf), which name the account; access logs do not.
  name                        = "${var.project_id}-catalog"
  location                    = var.region
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false

  versioning {
    enabled = true
  }

  lifecycle_rule {
    condition {
      days_since_noncurrent_time = var.noncurrent_days
      with_state                 = "ARCHIVED"
    }
    action {
      type = "Delete"
    }
  }

  lifecycle_rule {
    condition {
      age = 7
    }
    action {
      type = "AbortIncompleteMultipartUpload"
    }
  }

  depends_on = [google_project_service.required]
}
