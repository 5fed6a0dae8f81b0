-- Each query selects the rows that break its rule; a check without rows has passed.

-- #fail counts_not_negative: nothing is there less than zero times
SELECT split, statistic, subject, value
FROM {{ table }}
WHERE
  statistic IN ('records', 'records_of_category', 'rejections', 'missing')
  AND value < 0;

-- #fail categories_add_up: the categories of a split have all its records
SELECT counted.split, counted.records, summed.records AS records_of_categories
FROM (
  SELECT split, value AS records FROM {{ table }} WHERE statistic = 'records'
) AS counted
LEFT JOIN (
  SELECT split, SUM(value) AS records
  FROM {{ table }}
  WHERE statistic = 'records_of_category'
  GROUP BY split
) AS summed
  ON counted.split = summed.split
WHERE counted.records <> COALESCE(summed.records, 0);
