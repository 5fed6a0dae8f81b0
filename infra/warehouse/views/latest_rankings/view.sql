SELECT
  run_date, domain, scene_id, category, rank, product_id, distance,
  model_version, dataset_version, catalog_version, run_id
FROM {{ rankings }}
WHERE run_date = {{ latest }}
