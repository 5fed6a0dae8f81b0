-- Checks that tables name in `shared_checks` of their metadata.yaml. Beside the staged
-- table there are {{ partition_by }}, {{ key }} (the columns that identify a row) and
-- {{ numbers }} (a list of the FLOAT64 columns).

-- #fail not_empty: the run has rows
SELECT COUNT(*) AS row_count
FROM {{ table }}
HAVING COUNT(*) = 0;

-- #fail run_date: every row is of the run's date
SELECT *
FROM {{ table }}
WHERE {{ partition_by }} <> @run_date;

-- #fail key_unique: no two rows have the same {{ key }}
SELECT {{ key }}, COUNT(*) AS copies
FROM {{ table }}
GROUP BY {{ key }}
HAVING COUNT(*) > 1;

-- #fail finite: {{ numbers | join(', ') }}: numbers, not NaN or infinite
-- 1.79e308 is just under the largest FLOAT64; NaN is not between anything.
SELECT {{ key }}, {{ numbers | join(', ') }}
FROM {{ table }}
WHERE
  FALSE
  {% for number in numbers -%}
  OR NOT ({{ number }} BETWEEN -1.79e308 AND 1.79e308)
  {% endfor %};
