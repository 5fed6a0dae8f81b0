-- Each query selects the rows that break its rule; a check without rows has passed.

-- #fail seconds: every stage took a number of seconds, 0 or more
SELECT stage, seconds
FROM {{ table }}
WHERE NOT (seconds BETWEEN 0 AND 1.79e308);

-- #fail usage: CPU time and memory are numbers, 0 or more, or unknown
SELECT stage, cpu_seconds, peak_memory_bytes
FROM {{ table }}
WHERE NOT (
  COALESCE(cpu_seconds, 0) BETWEEN 0 AND 1.79e308
  AND COALESCE(peak_memory_bytes, 0) >= 0
);
