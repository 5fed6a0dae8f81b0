-- Each query selects the rows that break its rule; a check without rows has passed.

-- #fail run_date: every row is of the run's date
SELECT *
FROM {{ table }}
WHERE run_date <> @run_date;

-- #fail key_unique: a stage counts a thing once
SELECT run_date, stage, name, COUNT(*) AS copies
FROM {{ table }}
GROUP BY run_date, stage, name
HAVING COUNT(*) > 1;
