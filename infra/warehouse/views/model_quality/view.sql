WITH metrics AS (
  SELECT
    run_date, run_id, model, slice,
    MAX(CASE WHEN metric = 'binary_accuracy' THEN n END) AS pairs,
    MAX(CASE WHEN metric = 'binary_accuracy' THEN value END) AS binary_accuracy,
    MAX(CASE WHEN metric = 'binary_accuracy' THEN low END) AS binary_accuracy_low,
    MAX(CASE WHEN metric = 'binary_accuracy' THEN high END) AS binary_accuracy_high,
    MAX(CASE WHEN metric = 'recall_at_10' THEN value END) AS recall_at_10,
    MAX(CASE WHEN metric = 'mrr' THEN value END) AS mrr
  FROM {{ model_evaluations }}
  WHERE run_date >= {{ first }}
  GROUP BY run_date, run_id, model, slice
),
champions AS (
  SELECT run_date, MAX(model_version) AS model_version
  FROM {{ rankings }}
  WHERE run_date >= {{ first }}
  GROUP BY run_date
)
SELECT
  metrics.run_date AS run_date,
  metrics.run_id AS run_id,
  metrics.model AS model,
  metrics.slice AS slice,
  metrics.pairs AS pairs,
  metrics.binary_accuracy AS binary_accuracy,
  metrics.binary_accuracy_low AS binary_accuracy_low,
  metrics.binary_accuracy_high AS binary_accuracy_high,
  metrics.recall_at_10 AS recall_at_10,
  metrics.mrr AS mrr,
  COALESCE(metrics.run_id = champions.model_version, FALSE) AS in_force
FROM metrics
LEFT JOIN champions ON metrics.run_date = champions.run_date
WHERE metrics.binary_accuracy IS NOT NULL
