# The three data sets of docs/publishing.md. Tables and views are made by
# `beam_jobs.publish` from infra/warehouse, so that they have one definition.

resource "google_bigquery_dataset" "this" {
  #checkov:skip=CKV_GCP_81:Google's own keys encrypt it; a key of one's own adds a way to lose every table.
  for_each = local.datasets

  dataset_id                 = each.value
  location                   = var.bigquery_location
  description                = "Complete the look: ${each.key} tables"
  delete_contents_on_destroy = false
  max_time_travel_hours      = "168"

  # What is staged expires by itself; the rest by the tables' own definitions.
  default_table_expiration_ms = each.key == "staging" ? 604800000 : null

  depends_on = [google_project_service.required]
}

resource "google_bigquery_dataset_iam_member" "publisher" {
  for_each = local.datasets

  dataset_id = google_bigquery_dataset.this[each.key].dataset_id
  role       = "roles/bigquery.dataEditor"
  member     = google_service_account.this["publisher"].member
}

resource "google_bigquery_dataset_iam_member" "readers" {
  for_each = setunion(var.report_readers, [google_service_account.this["report-reader"].member])

  dataset_id = google_bigquery_dataset.this["published"].dataset_id
  role       = "roles/bigquery.dataViewer"
  member     = each.key
}
