# Airflow: its processes in containers on one machine without a public address, and its
# metadata in Cloud SQL. Why not Composer: README.md.

resource "google_sql_database_instance" "airflow" {
  #checkov:skip=CKV_GCP_6:Encryption is required; client certificates would be keys to keep, for one machine at a private address.
  name                = "complete-the-look-airflow"
  region              = var.region
  database_version    = "POSTGRES_18"
  deletion_protection = !contains(var.unprotected, "database")

  settings {
    tier              = var.database_tier
    edition           = "ENTERPRISE"
    availability_type = "ZONAL"
    disk_autoresize   = true
    user_labels       = local.labels

    ip_configuration {
      ipv4_enabled    = false
      private_network = google_compute_network.main.id
      ssl_mode        = "ENCRYPTED_ONLY"
    }

    backup_configuration {
      enabled                        = true
      point_in_time_recovery_enabled = true
      start_time                     = "12:00"
    }

    maintenance_window {
      day  = 7
      hour = 12
    }

    database_flags {
      name  = "log_checkpoints"
      value = "on"
    }

    database_flags {
      name  = "log_connections"
      value = "on"
    }

    database_flags {
      name  = "log_disconnections"
      value = "on"
    }

    database_flags {
      name  = "log_duration"
      value = "on"
    }

    database_flags {
      name  = "log_hostname"
      value = "on"
    }

    database_flags {
      name  = "log_lock_waits"
      value = "on"
    }

    database_flags {
      name  = "log_min_duration_statement"
      value = "-1"
    }

    database_flags {
      name  = "log_min_error_statement"
      value = "error"
    }

    database_flags {
      name  = "log_min_messages"
      value = "warning"
    }

    database_flags {
      name  = "log_statement"
      value = "ddl"
    }

    database_flags {
      name  = "log_temp_files"
      value = "0"
    }

    database_flags {
      name  = "cloudsql.enable_pgaudit"
      value = "on"
    }
  }

  depends_on = [google_service_networking_connection.database]
}

resource "google_sql_database" "airflow" {
  name     = "airflow"
  instance = google_sql_database_instance.airflow.name
}

# Secrets without values: a value would lie in Terraform's state. `make deploy` fills
# those that are empty.
resource "google_secret_manager_secret" "airflow" {
  for_each = local.airflow_secrets

  secret_id           = each.value
  version_destroy_ttl = "604800s"

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }

  depends_on = [google_project_service.required]
}

resource "google_secret_manager_secret_iam_member" "airflow" {
  for_each = local.airflow_secrets

  secret_id = google_secret_manager_secret.airflow[each.key].id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.this["airflow"].member
}

resource "google_compute_instance" "airflow" {
  #checkov:skip=CKV_GCP_38:Google's own keys encrypt the disk, which holds caches and no data of the system.
  name                      = "complete-the-look-airflow"
  description               = "Airflow's processes"
  machine_type              = var.airflow_machine_type
  zone                      = "${var.region}-${var.zone}"
  deletion_protection       = !contains(var.unprotected, "machine")
  allow_stopping_for_update = true

  boot_disk {
    initialize_params {
      image = "cos-cloud/cos-121-lts"
      size  = 200
      type  = "pd-balanced"
    }
  }

  network_interface {
    subnetwork = google_compute_subnetwork.airflow.id
  }

  service_account {
    email  = google_service_account.this["airflow"].email
    scopes = ["https://www.googleapis.com/auth/cloud-platform"]
  }

  shielded_instance_config {
    enable_secure_boot          = true
    enable_vtpm                 = true
    enable_integrity_monitoring = true
  }

  metadata = {
    block-project-ssh-keys = "true"
    enable-oslogin         = "TRUE"
    google-logging-enabled = "true"
    user-data = templatefile("${path.module}/airflow-machine.yaml.tftpl", {
      image        = var.airflow_image
      registry     = "${var.region}-docker.pkg.dev"
      project_id   = var.project_id
      settings     = var.environment
      users        = join(",", [for name, role in var.airflow_users : "${name}:${role}"])
      jobs_at_once = var.jobs_at_once
      logs         = "${google_storage_bucket.data.url}/${local.task_logs_prefix}"
    })
  }

  # The family's image of the day the machine was made: a newer one would replace the
  # machine, and with it the disk. docs/runbook.md renews both.
  lifecycle {
    ignore_changes = [boot_disk[0].initialize_params[0].image]
  }

  depends_on = [google_sql_database.airflow, google_secret_manager_secret_iam_member.airflow]
}
