# Workload Identity: accounts for what runs outside of Google's machines, without keys.

resource "google_iam_workload_identity_pool" "ci" {
  count = var.ci_repository == "" ? 0 : 1

  workload_identity_pool_id = "complete-the-look-ci"
  display_name              = "Complete the look: CI"

  depends_on = [google_project_service.required]
}

resource "google_iam_workload_identity_pool_provider" "ci" {
  #checkov:skip=CKV_GCP_118:The condition names one repository and one branch; both are variables, which the check cannot see.
  #checkov:skip=CKV_GCP_125:The condition names one repository and one branch; both are variables, which the check cannot see.
  count = var.ci_repository == "" ? 0 : 1

  workload_identity_pool_id          = google_iam_workload_identity_pool.ci[0].workload_identity_pool_id
  workload_identity_pool_provider_id = "github"
  display_name                       = "GitHub Actions"
  attribute_condition                = "assertion.repository == '${var.ci_repository}' && assertion.ref == 'refs/heads/${var.ci_branch}'"

  attribute_mapping = {
    "google.subject"       = "assertion.sub"
    "attribute.repository" = "assertion.repository"
  }

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

resource "google_service_account_iam_member" "ci" {
  count = var.ci_repository == "" ? 0 : 1

  service_account_id = google_service_account.this["image-pusher"].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principalSet://iam.googleapis.com/${google_iam_workload_identity_pool.ci[0].name}/attribute.repository/${var.ci_repository}"
}

resource "google_artifact_registry_repository_iam_member" "pusher" {
  repository = google_artifact_registry_repository.images.name
  location   = var.region
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.this["image-pusher"].member
}

resource "google_service_account_iam_member" "kubernetes_trainer" {
  count = var.kubernetes_trainer == "" ? 0 : 1

  service_account_id = google_service_account.this["trainer"].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.project_id}.svc.id.goog[${var.kubernetes_trainer}]"
}
