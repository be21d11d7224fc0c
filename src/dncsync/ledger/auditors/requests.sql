-- Every instruction to stop, with what came of it
SELECT
  r.id,
  r.number,
  r.record_system,
  r.record_key,
  r.channels,
  r.origin_system,
  r.source,
  r.actor,
  (SELECT body FROM ledger_private p WHERE p.hash = r.words) AS words,
  ISO(r.occurred_at) AS occurred,
  ISO(r.received_at) AS received,
  ISO(r.recorded_at) AS recorded,
  ISO(r.deadline_strict) AS deadline_strict,
  ISO(r.deadline_federal) AS deadline_federal,
  ISO(r.ended_at) AS ended,
  (SELECT count(*) FROM ledger_deliveries d WHERE d.request_id = r.id) AS deliveries,
  (SELECT count(*) FROM ledger_deliveries d WHERE d.request_id = r.id AND d.state = 'verified') AS verified,
  r.event_seq
FROM ledger_requests r
