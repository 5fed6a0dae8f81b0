# Images of infra/docker. Settings name them by digest.

resource "google_artifact_registry_repository" "images" {
  #checkov:skip=CKV_GCP_84:Google's own keys encrypt it; the images hold no secret.
  repository_id = "images"
  location      = var.region
  format        = "DOCKER"
  description   = "Complete the look: beam-worker, trainer, airflow"

  docker_config {
    immutable_tags = true
  }

  cleanup_policies {
    id     = "keep-recent"
    action = "KEEP"

    most_recent_versions {
      keep_count = 20
    }
  }

  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"

    condition {
      older_than = "15552000s"
    }
  }

  depends_on = [google_project_service.required]
}

resource "google_artifact_registry_repository_iam_member" "readers" {
  for_each = toset(["airflow", "dataflow-worker", "trainer"])

  repository = google_artifact_registry_repository.images.name
  location   = var.region
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.this[each.key].member
}
