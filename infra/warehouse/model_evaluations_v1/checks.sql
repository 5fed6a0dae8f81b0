-- Each query selects the rows that break its rule; a check without rows has passed.

-- #fail not_empty: the run has rows
SELECT COUNT(*) AS row_count
FROM {{ table }}
HAVING COUNT(*) = 0;

-- #fail run_date: every row is of the run's date
SELECT *
FROM {{ table }}
WHERE run_date <> @run_date;

-- #fail key_unique: a model has one value per metric and slice
SELECT run_date, run_id, model, metric, slice, COUNT(*) AS copies
FROM {{ table }}
GROUP BY run_date, run_id, model, metric, slice
HAVING COUNT(*) > 1;

-- #fail finite: value and interval are numbers, not NaN or infinite
-- 1.79e308 is just under the largest FLOAT64; NaN is not between anything.
SELECT run_id, model, metric, slice, value, low, high
FROM {{ table }}
WHERE
  NOT (value BETWEEN -1.79e308 AND 1.79e308)
  OR NOT (low BETWEEN -1.79e308 AND 1.79e308)
  OR NOT (high BETWEEN -1.79e308 AND 1.79e308);

-- #fail interval: low <= value <= high
SELECT run_id, model, metric, slice, value, low, high
FROM {{ table }}
WHERE NOT (value BETWEEN low AND high);

-- #fail observations: a value rests on at least one observation
SELECT run_id, model, metric, slice, value, n
FROM {{ table }}
WHERE n <= 0;
