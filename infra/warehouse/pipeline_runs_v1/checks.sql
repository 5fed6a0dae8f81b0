-- Each query selects the rows that break its rule; a check without rows has passed.

-- #fail seconds: every stage took a number of seconds, 0 or more
SELECT stage, seconds
FROM {{ table }}
WHERE NOT (seconds BETWEEN 0 AND 1.79e308);
