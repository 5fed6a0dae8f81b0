-- Each query selects the rows that break its rule; a check without rows has passed.

-- #fail interval: low <= value <= high
SELECT run_id, model, metric, slice, value, low, high
FROM {{ table }}
WHERE NOT (value BETWEEN low AND high);

-- #fail observations: a value rests on at least one observation
SELECT run_id, model, metric, slice, value, n
FROM {{ table }}
WHERE n <= 0;
