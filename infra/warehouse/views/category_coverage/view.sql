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
scenes AS (
  SELECT run_date, COUNT(DISTINCT image_id) AS scenes_known
  FROM {{ image_status }}
  WHERE run_date >= {{ first }} AND kind = 'scene'
  GROUP BY run_date
)
SELECT
  lists.run_date AS run_date,
  lists.domain AS domain,
  lists.category AS category,
  lists.scenes_ranked AS scenes_ranked,
  COALESCE(scenes.scenes_known, 0) AS scenes_known,
  lists.scenes_ranked / NULLIF(scenes.scenes_known, 0) AS coverage,
  lists.products_shown AS products_shown,
  lists.places / lists.scenes_ranked AS products_per_list,
  lists.best_distance AS best_distance
FROM lists
LEFT JOIN scenes ON lists.run_date = scenes.run_date
