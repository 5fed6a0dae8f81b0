WITH now AS (
  SELECT domain, scene_id, category, product_id, rank, model_version, catalog_version
  FROM {{ rankings }}
  WHERE run_date = {{ latest }}
),
before AS (
  SELECT domain, scene_id, category, product_id, rank, model_version, catalog_version
  FROM {{ rankings }}
  WHERE run_date = {{ previous }}
),
versions AS (
  SELECT
    now_versions.model_version <> before_versions.model_version AS model_changed,
    now_versions.catalog_version <> before_versions.catalog_version AS catalog_changed
  FROM (
    SELECT MAX(model_version) AS model_version, MAX(catalog_version) AS catalog_version
    FROM now
  ) AS now_versions
  CROSS JOIN (
    SELECT MAX(model_version) AS model_version, MAX(catalog_version) AS catalog_version
    FROM before
  ) AS before_versions
)
SELECT
  {{ latest }} AS run_date,
  {{ previous }} AS previous_run_date,
  COALESCE(now.domain, before.domain) AS domain,
  COALESCE(now.scene_id, before.scene_id) AS scene_id,
  COALESCE(now.category, before.category) AS category,
  COALESCE(now.product_id, before.product_id) AS product_id,
  CASE
    WHEN before.product_id IS NULL THEN 'entered'
    WHEN now.product_id IS NULL THEN 'left'
    ELSE 'moved'
  END AS change,
  now.rank AS rank,
  before.rank AS previous_rank,
  versions.model_changed AS model_changed,
  versions.catalog_changed AS catalog_changed
FROM now
FULL OUTER JOIN before
  ON now.domain = before.domain
  AND now.scene_id = before.scene_id
  AND now.category = before.category
  AND now.product_id = before.product_id
CROSS JOIN versions
WHERE
  {{ previous }} > DATE '0001-01-01'
  AND (now.rank IS NULL OR before.rank IS NULL OR now.rank <> before.rank)
