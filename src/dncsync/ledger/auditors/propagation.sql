-- Every write to a system with its four stamps, and what proves it
SELECT
  number,
  system,
  key,
  channel,
  want,
  ISO(known_at) AS known,
  ISO(sent_at) AS sent,
  ISO(accepted_at) AS accepted,
  ISO(verified_at) AS verified,
  (verified_at - known_at) / 1000000.0 AS seconds_to_verified,
  CASE
    WHEN state = 'verified' THEN 'verified'
    WHEN state = 'accepted' AND open = 0 THEN 'accepted, cannot be read'
    ELSE 'not confirmed'
  END AS proof,
  state,
  attempts,
  ISO(deadline) AS deadline,
  last_error,
  request_id,
  id AS delivery_id
FROM ledger_deliveries
