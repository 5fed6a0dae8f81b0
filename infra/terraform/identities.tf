# One account for each thing that runs, and what each may do. There are no keys: Google
# gives machines and jobs short-lived tokens of their account.

locals {
  accounts = {
    airflow         = "Runs the DAGs: starts jobs, waits for them, plans and reports"
    dataflow-worker = "Machines of Beam jobs"
    trainer         = "Machines of the training"
    publisher       = "Writes the published tables; used by the DAGs' publishing tasks"
    report-reader   = "Reads the published tables, for dashboards"
    image-pusher    = "CI that pushes images"
  }

  # What cannot be granted on one bucket, data set or account.
  project_roles = {
    airflow         = ["roles/dataflow.developer", "roles/logging.logWriter", "roles/monitoring.metricWriter"]
    dataflow-worker = ["roles/dataflow.worker"]
    trainer         = ["roles/logging.logWriter"]
    publisher       = ["roles/bigquery.jobUser"]
    report-reader   = ["roles/bigquery.jobUser"]
  }

  project_grants = merge([
    for account, roles in local.project_roles : {
      for role in roles : "${account} ${role}" => { account = account, role = role }
    }
  ]...)
}

resource "google_service_account" "this" {
  for_each = local.accounts

  account_id   = each.key
  display_name = "Complete the look: ${each.key}"
  description  = each.value

  depends_on = [google_project_service.required]
}

resource "google_project_iam_member" "this" {
  #checkov:skip=CKV_GCP_41:The roles are of local.project_roles, and none lets an account act as another.
  #checkov:skip=CKV_GCP_46:No default service account is granted anything.
  #checkov:skip=CKV_GCP_49:The roles are of local.project_roles, and none manages accounts.
  #checkov:skip=CKV_GCP_117:The roles are of local.project_roles, and none is a basic role.
  for_each = local.project_grants

  project = var.project_id
  role    = each.value.role
  member  = google_service_account.this[each.value.account].member
}

# Vertex AI's own roles let an account use every model and endpoint of the project.
resource "google_project_iam_custom_role" "launcher" {
  role_id     = "completeTheLookLauncher"
  title       = "Complete the look: launcher"
  description = "Starts trainings and watches them; reads quotas"
  permissions = [
    "aiplatform.customJobs.cancel",
    "aiplatform.customJobs.get",
    "aiplatform.customJobs.list",
    "aiplatform.trainingPipelines.cancel",
    "aiplatform.trainingPipelines.create",
    "aiplatform.trainingPipelines.get",
    "aiplatform.trainingPipelines.list",
    "compute.regions.get",
  ]

  depends_on = [google_project_service.required]
}

resource "google_project_iam_member" "launcher" {
  project = var.project_id
  role    = google_project_iam_custom_role.launcher.id
  member  = google_service_account.this["airflow"].member
}

# Airflow starts jobs that run as these accounts.
resource "google_service_account_iam_member" "airflow_starts" {
  for_each = toset(["dataflow-worker", "trainer"])

  service_account_id = google_service_account.this[each.key].name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.this["airflow"].member
}

# Publishing tasks take a token of `publisher`, so that nothing else of Airflow's writes
# a published table, and audit logs say that it was publishing.
resource "google_service_account_iam_member" "airflow_publishes" {
  service_account_id = google_service_account.this["publisher"].name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = google_service_account.this["airflow"].member
}

resource "google_storage_bucket_iam_member" "data_writers" {
  for_each = toset(["airflow", "dataflow-worker", "trainer"])

  bucket = google_storage_bucket.data.name
  role   = "roles/storage.objectUser"
  member = google_service_account.this[each.key].member
}

# Load jobs read the Parquet files as the account that submits them.
resource "google_storage_bucket_iam_member" "data_readers" {
  bucket = google_storage_bucket.data.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.this["publisher"].member
}

resource "google_storage_bucket_iam_member" "catalog_readers" {
  for_each = toset(["airflow", "dataflow-worker"])

  bucket = google_storage_bucket.catalog.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.this[each.key].member
}

# People: analysts run queries at the project's cost, operators reach Airflow's page.
resource "google_project_iam_member" "readers" {
  #checkov:skip=CKV_GCP_41:The role is a constant that lets nobody act as an account.
  #checkov:skip=CKV_GCP_46:The variable takes people and groups; its validation refuses the rest.
  for_each = var.report_readers

  project = var.project_id
  role    = "roles/bigquery.jobUser"
  member  = each.key

  depends_on = [google_project_service.required]
}

resource "google_iap_tunnel_instance_iam_member" "operators" {
  for_each = var.operators

  instance = google_compute_instance.airflow.name
  zone     = google_compute_instance.airflow.zone
  role     = "roles/iap.tunnelResourceAccessor"
  member   = each.key
}

resource "google_compute_instance_iam_member" "operators" {
  for_each = var.operators

  instance_name = google_compute_instance.airflow.name
  zone          = google_compute_instance.airflow.zone
  role          = "roles/compute.osAdminLogin"
  member        = each.key
}

# OS Login asks for this of everybody who opens a shell on a machine with an account.
resource "google_service_account_iam_member" "operators" {
  for_each = var.operators

  service_account_id = google_service_account.this["airflow"].name
  role               = "roles/iam.serviceAccountUser"
  member             = each.key
}
