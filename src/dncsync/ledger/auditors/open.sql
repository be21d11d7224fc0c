-- Writes that are not finished
SELECT
  number,
  system,
  key,
  channel,
  want,
  state,
  ISO(known_at) AS known,
  ISO(due_at) AS due,
  ISO(deadline) AS deadline,
  attempts,
  last_error,
  request_id,
  id AS delivery_id
FROM ledger_deliveries
WHERE ledger_deliveries.open = 1
