-- Runs with rejected rows: how many, what share of the rows read, and where the rows are.
SELECT
  source_id,
  run_id,
  finished,
  outcome,
  rejects,
  rows_read,
  SAFE_DIVIDE(rejects, rows_read) AS reject_share,
  destination,
  CONCAT(destination, '__rejects') AS rejects_table
FROM `${project}.${dataset}.etl_runs`
WHERE rejects > 0
