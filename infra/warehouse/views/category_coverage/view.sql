WITH lists AS (
  SELECT
    run_date, domain, category,
    COUNT(DISTINCT scene_id) AS scenes_ranked,
    COUNT(DISTINCT product_id) AS products_shown,
    COUNT(*) AS places,
    AVG(CASE WHEN rank = 1 THEN distance END) AS best_distance
  FROM {{ rankings }}
  WHERE run_date >= {{ first }}
  GROUP BY run_date, domain, category
),
-- A category that no list was made for is told by the data set alone.
categories AS (
  SELECT run_date, domain, category
  FROM lists
  UNION DISTINCT
  SELECT run_date, domain, subject AS category
  FROM {{ dataset_statistics }}
  WHERE run_date >= {{ first }} AND statistic = 'records_of_category'
),
-- Not of image_status, which of older dates has the pictures of all catalogues.
scenes AS (
  SELECT run_date, SUM(value) AS scenes_known
  FROM {{ pipeline_counts }}
  WHERE
    run_date >= {{ first }}
    AND stage = 'build_dataset' AND name IN ('scenes', 'scenes_without_image')
  GROUP BY run_date
)
SELECT
  categories.run_date AS run_date,
  categories.domain AS domain,
  categories.category AS category,
  COALESCE(lists.scenes_ranked, 0) AS scenes_ranked,
  COALESCE(scenes.scenes_known, 0) AS scenes_known,
  COALESCE(lists.scenes_ranked, 0) / NULLIF(scenes.scenes_known, 0) AS coverage,
  COALESCE(lists.products_shown, 0) AS products_shown,
  lists.places / lists.scenes_ranked AS products_per_list,
  lists.best_distance AS best_distance
FROM categories
LEFT JOIN lists
  ON categories.run_date = lists.run_date
  AND categories.domain = lists.domain
  AND categories.category = lists.category
LEFT JOIN scenes ON categories.run_date = scenes.run_date
