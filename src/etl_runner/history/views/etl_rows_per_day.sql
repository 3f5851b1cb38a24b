-- Runs, rows and bytes of each source and day (UTC).
SELECT
  DATE(finished) AS day,
  source_id,
  COUNT(*) AS runs,
  COUNTIF(outcome = 'ok') AS ok,
  COUNTIF(outcome <> 'ok') AS not_ok,
  SUM(rows_loaded) AS rows_loaded,
  SUM(rejects) AS rejects,
  SUM(bytes) AS bytes,
  SUM(seconds) AS seconds
FROM `${project}.${dataset}.etl_runs`
GROUP BY day, source_id
