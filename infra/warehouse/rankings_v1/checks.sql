-- Each query selects the rows that break its rule; a check without rows has passed.
-- BigQuery's dialect, transpiled for DuckDB; a comparison with NaN is wrapped in
-- NOT (… BETWEEN …), which is true for NaN in both.

-- #fail not_empty: a run that asks for lists has some
SELECT COUNT(*) AS queries
FROM {{ queries }}
WHERE NOT EXISTS (SELECT rank FROM {{ table }})
HAVING COUNT(*) > 0;

-- #fail product_unique: a list names a product once
SELECT run_date, domain, scene_id, category, product_id, COUNT(*) AS copies
FROM {{ table }}
GROUP BY run_date, domain, scene_id, category, product_id
HAVING COUNT(*) > 1;

-- #fail ranks_contiguous: the ranks of a list are 1, 2, 3, … without gaps
SELECT domain, scene_id, category, rank, expected_rank
FROM (
  SELECT
    domain, scene_id, category, rank,
    ROW_NUMBER() OVER (
      PARTITION BY run_date, domain, scene_id, category ORDER BY rank
    ) AS expected_rank
  FROM {{ table }}
) AS numbered
WHERE rank <> expected_rank;

-- #fail distance_ordered: within a list the distance never falls as the rank grows
SELECT domain, scene_id, category, rank, distance, distance_before
FROM (
  SELECT
    domain, scene_id, category, rank, distance,
    LAG(distance) OVER (
      PARTITION BY run_date, domain, scene_id, category ORDER BY rank
    ) AS distance_before
  FROM {{ table }}
) AS ordered
WHERE distance < distance_before;

-- #fail distance_range: the distance is a number in [0, 4]
-- Squared distance of unit vectors; the margin is what float32 rounding may add.
SELECT domain, scene_id, category, rank, product_id, distance
FROM {{ table }}
WHERE NOT (distance BETWEEN -0.00001 AND 4.00001);

-- #fail product_category: the product is in the catalogue, in the category asked for
SELECT ranked.domain, ranked.scene_id, ranked.category, ranked.rank, ranked.product_id
FROM {{ table }} AS ranked
LEFT JOIN (
  SELECT DISTINCT domain, product_id, category FROM {{ products }}
) AS product
  ON ranked.domain = product.domain
  AND ranked.product_id = product.product_id
  AND ranked.category = product.category
WHERE product.product_id IS NULL;

-- #fail query_known: every list answers a query of the run
SELECT DISTINCT ranked.domain, ranked.scene_id, ranked.category
FROM {{ table }} AS ranked
LEFT JOIN {{ queries }} AS query
  ON ranked.domain = query.domain
  AND ranked.scene_id = query.scene_id
  AND ranked.category = query.category
WHERE query.scene_id IS NULL;

-- #fail coverage: every query has top_k products, or all that it could have
-- What that is a query says itself; else it is all that its category has.
WITH query AS (
  SELECT DISTINCT domain, scene_id, category, available FROM {{ queries }}
),
in_category AS (
  SELECT domain, category, COUNT(DISTINCT product_id) AS products
  FROM {{ products }}
  GROUP BY domain, category
),
ranked AS (
  SELECT domain, scene_id, category, COUNT(*) AS products
  FROM {{ table }}
  GROUP BY domain, scene_id, category
)
SELECT
  query.domain, query.scene_id, query.category,
  LEAST(@top_k, COALESCE(query.available, in_category.products, 0)) AS expected_products,
  COALESCE(ranked.products, 0) AS ranked_products
FROM query
LEFT JOIN in_category
  ON query.domain = in_category.domain AND query.category = in_category.category
LEFT JOIN ranked
  ON query.domain = ranked.domain
  AND query.scene_id = ranked.scene_id
  AND query.category = ranked.category
WHERE
  COALESCE(ranked.products, 0)
  <> LEAST(@top_k, COALESCE(query.available, in_category.products, 0));
