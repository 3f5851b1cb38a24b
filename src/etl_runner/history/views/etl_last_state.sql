-- The last finished run of each source, and how long ago it last went well.
SELECT
  source_id,
  run_id,
  outcome,
  reason,
  finished,
  rows_loaded,
  rejects,
  destination,
  watermark_after,
  MAX(IF(outcome = 'ok', finished, NULL)) OVER (PARTITION BY source_id) AS last_ok
FROM `${project}.${dataset}.etl_runs`
QUALIFY ROW_NUMBER() OVER (PARTITION BY source_id ORDER BY epoch DESC) = 1
