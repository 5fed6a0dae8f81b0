-- Each query selects the rows that break its rule; a check without rows has passed.

-- #fail length: there is a weight for every region of the grid
SELECT domain, scene_id, category, grid, ARRAY_LENGTH(attention) AS weights
FROM {{ table }}
WHERE ARRAY_LENGTH(attention) <> grid * grid;

-- #fail weights: the weights are no less than 0 and sum to 1
-- The margin is what float32 rounding may add; NaN is not between anything.
SELECT domain, scene_id, category, total, least
FROM (
  SELECT
    domain, scene_id, category,
    (SELECT SUM(weight) FROM UNNEST(asked.attention) AS weight) AS total,
    (SELECT MIN(weight) FROM UNNEST(asked.attention) AS weight) AS least
  FROM {{ table }} AS asked
) AS summed
WHERE NOT (COALESCE(total, 0) BETWEEN 0.999 AND 1.001) OR NOT (least >= 0);

-- #fail query_known: every query is one of the run's
SELECT asked.domain, asked.scene_id, asked.category
FROM {{ table }} AS asked
LEFT JOIN {{ queries }} AS query
  ON asked.domain = query.domain
  AND asked.scene_id = query.scene_id
  AND asked.category = query.category
WHERE query.scene_id IS NULL;
