# What infra/settings/<env>.yaml has to say.

output "root" {
  description = "For `root`: the data bucket with a prefix."
  value       = "${google_storage_bucket.data.url}/runs"
}

output "catalog_uri" {
  description = "For `catalog.uri`."
  value       = "${google_storage_bucket.catalog.url}/current"
}

output "warehouse" {
  description = "For `warehouse`."
  value       = "bigquery://${var.project_id}/${google_bigquery_dataset.this["published"].dataset_id}?location=${var.bigquery_location}&as=${google_service_account.this["publisher"].email}"
}

output "service_accounts" {
  description = "For `beam.dataflow.service_account` and `training.vertex.service_account`."
  value       = { for name, account in google_service_account.this : name => account.email }
}

output "subnetwork" {
  description = "For `beam.dataflow.subnetwork`."
  value       = "regions/${var.region}/subnetworks/${google_compute_subnetwork.workers.name}"
}

output "images" {
  description = "Where `make deploy` pushes images."
  value       = "${var.region}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.images.repository_id}"
}

output "airflow_machine" {
  description = "Name and zone of Airflow's machine, for gcloud."
  value       = { name = google_compute_instance.airflow.name, zone = google_compute_instance.airflow.zone }
}

output "ci_provider" {
  description = "What CI names as its provider of identities; empty where there is none."
  value       = join("", google_iam_workload_identity_pool_provider.ci[*].name)
}
