-- Each query selects the rows that break its rule; a check without rows has passed.

-- #fail not_empty: the run has rows
SELECT COUNT(*) AS row_count
FROM {{ table }}
HAVING COUNT(*) = 0;

-- #fail run_date: every row is of the run's date
SELECT *
FROM {{ table }}
WHERE run_date <> @run_date;

-- #fail key_unique: a stage ran once
SELECT run_date, stage, COUNT(*) AS copies
FROM {{ table }}
GROUP BY run_date, stage
HAVING COUNT(*) > 1;

-- #fail seconds: every stage took a number of seconds, 0 or more
SELECT stage, seconds
FROM {{ table }}
WHERE NOT (seconds BETWEEN 0 AND 1.79e308);
