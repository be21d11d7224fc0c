-- How much came from each system in each hour, for the detectors of silence, of volume and of an inverted flag.
-- No projection: counted beside the holdings, in the transaction that took the page or the webhook in. Where
-- it is lost, the detectors know nothing for two weeks and say nothing.

CREATE TABLE activity (
  system TEXT NOT NULL,
  hour INTEGER NOT NULL,                -- hours since 1970-01-01 UTC
  webhooks INTEGER NOT NULL,            -- authentic webhooks
  webhook_signals INTEGER NOT NULL,     -- hints and new statements in them
  polled_changes INTEGER NOT NULL,      -- changes and statements that no webhook had announced
  unannounced INTEGER NOT NULL,         -- of these, those since the last webhook of the hour
  listed INTEGER NOT NULL,              -- holdings on pages of a snapshot
  opt_outs INTEGER NOT NULL,            -- new requests, but for those on pages of a full reading
  flipped_set INTEGER NOT NULL,         -- holdings that somebody else turned to "do not contact"
  flipped_clear INTEGER NOT NULL,       -- holdings that somebody else turned back
  PRIMARY KEY (system, hour)
) STRICT, WITHOUT ROWID;
