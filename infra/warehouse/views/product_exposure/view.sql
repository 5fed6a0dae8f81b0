WITH shown AS (
  SELECT
    run_date, domain, category, product_id,
    COUNT(*) AS lists,
    COUNT(CASE WHEN rank = 1 THEN product_id END) AS lists_led,
    AVG(rank) AS mean_rank
  FROM {{ rankings }}
  WHERE run_date >= {{ first }}
  GROUP BY run_date, domain, category, product_id
),
asked AS (
  SELECT run_date, domain, category, COUNT(DISTINCT scene_id) AS lists
  FROM {{ rankings }}
  WHERE run_date >= {{ first }}
  GROUP BY run_date, domain, category
),
ordered AS (
  SELECT
    run_date, domain, category, product_id, lists, lists_led, mean_rank,
    ROW_NUMBER() OVER (
      PARTITION BY run_date, domain, category ORDER BY lists DESC, product_id
    ) AS exposure_rank,
    SUM(lists) OVER (
      PARTITION BY run_date, domain, category ORDER BY lists DESC, product_id
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS places_so_far,
    SUM(lists) OVER (PARTITION BY run_date, domain, category) AS places,
    COUNT(*) OVER (PARTITION BY run_date, domain, category) AS products
  FROM shown
),
-- Of n products with x_1 <= … <= x_n lists: sum of (2 i - n - 1) x_i over n sum of x_i;
-- the exposure rank counts from the other end, i = n + 1 - exposure_rank.
concentrated AS (
  SELECT
    run_date, domain, category,
    SUM((products + 1 - 2 * exposure_rank) * lists) / (MAX(products) * MAX(places))
      AS category_gini
  FROM ordered
  GROUP BY run_date, domain, category
)
SELECT
  ordered.run_date AS run_date,
  ordered.domain AS domain,
  ordered.category AS category,
  ordered.product_id AS product_id,
  ordered.lists AS lists,
  ordered.lists / asked.lists AS share_of_lists,
  ordered.lists_led AS lists_led,
  ordered.mean_rank AS mean_rank,
  ordered.exposure_rank AS exposure_rank,
  ordered.places_so_far / ordered.places AS cumulative_share,
  concentrated.category_gini AS category_gini
FROM ordered
INNER JOIN asked
  ON ordered.run_date = asked.run_date
  AND ordered.domain = asked.domain
  AND ordered.category = asked.category
INNER JOIN concentrated
  ON ordered.run_date = concentrated.run_date
  AND ordered.domain = concentrated.domain
  AND ordered.category = concentrated.category
