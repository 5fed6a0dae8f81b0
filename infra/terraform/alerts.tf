# One alert for each failure that docs/runbook.md has a section about, of the same name.
# Those in local.log_alerts are found by what the jobs say; tests hold the words against
# the lines of the code, those that say it and those that must not be taken for it. In
# place of a backslash, which is one of Terraform and of filters too, stand brackets.

locals {
  runbook = "docs/runbook.md"

  # What Airflow's processes write to their output: the scheduler, which runs the tasks, has
  # every line of theirs there too.
  airflow_logs = "log_id(\"cos_containers\")"

  scheduler_says = "Adopting or resetting orphaned tasks for active dag runs"

  log_alerts = {
    task-failed = {
      says     = "failed, try [0-9]+ of run"
      severity = "ERROR"
    }
    refused-input = {
      says     = "(exit|return) code 2([^0-9]|$)"
      severity = "ERROR"
    }
    too-few-pictures = {
      says     = "what was fetched is kept"
      severity = "ERROR"
    }
    dataset-refused = {
      says     = "is refused by [0-9]+ of [0-9]+ rules"
      severity = "ERROR"
    }
    coverage = {
      says     = "below --min_coverage"
      severity = "ERROR"
    }
    checks-failed = {
      says     = "check[(]s[)] failed for"
      severity = "CRITICAL"
    }
    late = {
      says     = "has not ended [0-9.]+ hours after it was queued"
      severity = "WARNING"
    }
    disk-full = {
      says     = "No space left on device|below preflight.min_free_gib"
      severity = "CRITICAL"
    }
    credential = {
      says     = "the credential of this process is missing, expired or revoked"
      severity = "CRITICAL"
    }
    clock = {
      says     = "clock and the store's differ by"
      severity = "CRITICAL"
    }
  }
}

resource "google_monitoring_notification_channel" "email" {
  for_each = var.alert_emails

  display_name = "Complete the look: ${each.key}"
  type         = "email"
  user_labels  = local.labels

  labels = {
    email_address = each.key
  }

  depends_on = [google_project_service.required]
}

resource "google_monitoring_alert_policy" "log" {
  for_each = local.log_alerts

  display_name          = "Complete the look: ${each.key}"
  combiner              = "OR"
  severity              = each.value.severity
  user_labels           = local.labels
  notification_channels = [for channel in google_monitoring_notification_channel.email : channel.id]

  conditions {
    display_name = each.key

    condition_matched_log {
      filter = "${local.airflow_logs} AND (jsonPayload.message=~\"${each.value.says}\" OR textPayload=~\"${each.value.says}\")"
    }
  }

  alert_strategy {
    auto_close = "86400s"

    notification_rate_limit {
      period = "3600s"
    }
  }

  documentation {
    subject   = "${each.key} (${var.environment})"
    content   = "What it means, how to look, what to do: ${local.runbook}, section ${each.key}."
    mime_type = "text/markdown"
  }
}

# A scheduler that hangs or is gone says nothing, and no night begins: what it says every
# five minutes is counted, and missed.
resource "google_logging_metric" "scheduler" {
  name        = "complete-the-look/scheduler"
  description = "Airflow's scheduler looks after tasks without a process, every five minutes"
  filter      = "${local.airflow_logs} AND \"${local.scheduler_says}\""

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
  }

  depends_on = [google_project_service.required]
}

resource "google_monitoring_alert_policy" "scheduler_silent" {
  display_name          = "Complete the look: scheduler-silent"
  combiner              = "OR"
  severity              = "CRITICAL"
  user_labels           = local.labels
  notification_channels = [for channel in google_monitoring_notification_channel.email : channel.id]

  conditions {
    display_name = "scheduler-silent"

    condition_absent {
      filter   = "resource.type = \"gce_instance\" AND metric.type = \"logging.googleapis.com/user/${google_logging_metric.scheduler.name}\""
      duration = "3600s"

      aggregations {
        alignment_period     = "600s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    subject   = "scheduler-silent (${var.environment})"
    content   = "What it means, how to look, what to do: ${local.runbook}, section scheduler-silent."
    mime_type = "text/markdown"
  }
}

# Of the machines, which cannot tell of their own end.
resource "google_monitoring_alert_policy" "dataflow_failed" {
  display_name          = "Complete the look: dataflow-failed"
  combiner              = "OR"
  severity              = "ERROR"
  user_labels           = local.labels
  notification_channels = [for channel in google_monitoring_notification_channel.email : channel.id]

  conditions {
    display_name = "dataflow-failed"

    condition_threshold {
      filter          = "resource.type = \"dataflow_job\" AND metric.type = \"dataflow.googleapis.com/job/is_failed\""
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"

      aggregations {
        alignment_period   = "300s"
        per_series_aligner = "ALIGN_MAX"
      }
    }
  }

  documentation {
    subject   = "dataflow-failed (${var.environment})"
    content   = "What it means, how to look, what to do: ${local.runbook}, section dataflow-failed."
    mime_type = "text/markdown"
  }
}

resource "google_monitoring_alert_policy" "airflow_down" {
  display_name          = "Complete the look: airflow-down"
  combiner              = "OR"
  severity              = "CRITICAL"
  user_labels           = local.labels
  notification_channels = [for channel in google_monitoring_notification_channel.email : channel.id]

  conditions {
    display_name = "airflow-down"

    condition_absent {
      filter   = "resource.type = \"gce_instance\" AND resource.labels.instance_id = \"${google_compute_instance.airflow.instance_id}\" AND metric.type = \"compute.googleapis.com/instance/uptime\""
      duration = "900s"

      aggregations {
        alignment_period   = "300s"
        per_series_aligner = "ALIGN_RATE"
      }
    }
  }

  documentation {
    subject   = "airflow-down (${var.environment})"
    content   = "What it means, how to look, what to do: ${local.runbook}, section airflow-down."
    mime_type = "text/markdown"
  }
}

resource "google_monitoring_alert_policy" "database_disk" {
  display_name          = "Complete the look: database-disk"
  combiner              = "OR"
  severity              = "WARNING"
  user_labels           = local.labels
  notification_channels = [for channel in google_monitoring_notification_channel.email : channel.id]

  conditions {
    display_name = "database-disk"

    condition_threshold {
      filter          = "resource.type = \"cloudsql_database\" AND resource.labels.database_id = \"${var.project_id}:${google_sql_database_instance.airflow.name}\" AND metric.type = \"cloudsql.googleapis.com/database/disk/utilization\""
      comparison      = "COMPARISON_GT"
      threshold_value = 0.8
      duration        = "900s"

      aggregations {
        alignment_period   = "300s"
        per_series_aligner = "ALIGN_MEAN"
      }
    }
  }

  documentation {
    subject   = "database-disk (${var.environment})"
    content   = "What it means, how to look, what to do: ${local.runbook}, section database-disk."
    mime_type = "text/markdown"
  }
}
