# Names and sets that several files use.

locals {
  labels = {
    app         = "complete-the-look"
    environment = var.environment
    managed-by  = "terraform"
  }

  # Google's front ends for its own proxy; they are the only way to Airflow's machine.
  proxy_ranges = ["35.235.240.0/20"]

  private_ranges = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
  workers_range  = "10.10.0.0/20"
  airflow_range  = "10.10.16.0/28"

  # As docs/publishing.md names them.
  datasets = {
    published = var.dataset
    staging   = "${var.dataset}_staging"
    backup    = "${var.dataset}_backup"
  }

  # What Airflow reads from Secret Manager, by the names that its backend asks for.
  airflow_secrets = {
    database       = "airflow-config-database-url"
    database_async = "airflow-config-database-url-async"
    fernet         = "airflow-config-fernet-key"
    session        = "airflow-config-session-key"
    token          = "airflow-config-token-key"
  }

  # Logs of tasks, in the data bucket and outside of the jobs' root.
  task_logs_prefix = "airflow-logs"
}
