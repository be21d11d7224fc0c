-- Writes that were done after their deadline, or were not done by then
WITH finished AS (
  SELECT
    *,
    CASE
      WHEN state = 'verified' THEN verified_at
      WHEN state = 'accepted' AND open = 0 THEN accepted_at
    END AS done_at,
    CASE
      WHEN state = 'verified' THEN 'verified'
      WHEN state = 'accepted' AND open = 0 THEN 'accepted, cannot be read'
      ELSE 'not confirmed'
    END AS proof,
    (SELECT CAST(value AS INTEGER) FROM about WHERE key = 'exported_at_microseconds') AS exported_at
  FROM ledger_deliveries
  WHERE state NOT IN ('superseded', 'moot')
)
SELECT
  number,
  system,
  key,
  channel,
  want,
  ISO(deadline) AS deadline,
  ISO(done_at) AS done,
  (ifnull(done_at, exported_at) - deadline) / 1000000.0 AS seconds_late,
  proof,
  last_error,
  request_id,
  id AS delivery_id
FROM finished
WHERE ifnull(done_at, exported_at) > finished.deadline
