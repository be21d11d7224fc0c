-- Reconciliations and what they found in each system. Projections: rebuilt from `reconciliation.*` events.

CREATE TABLE reconciliations (
  run TEXT PRIMARY KEY,
  period TEXT NOT NULL,           -- its name, e.g. 2026Q3
  first_day TEXT NOT NULL,        -- ISO dates, inclusive
  last_day TEXT NOT NULL,
  zone TEXT NOT NULL,
  seed INTEGER NOT NULL,
  actor TEXT NOT NULL,            -- who asked for it; the schedule is one of them
  inputs TEXT NOT NULL,           -- JSON: what is not in the ledger otherwise (configuration, policy, version)
  begun_at INTEGER NOT NULL,
  completed_at INTEGER,           -- NULL: it is under way, or waits to be resumed
  as_of INTEGER,                  -- when its facts were gathered ...
  head_seq INTEGER,               -- ... and the last event that they take in
  head_hash TEXT,                 -- hexadecimal
  files TEXT,                     -- JSON: file name -> SHA-256 (hexadecimal)
  event_seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX reconciliations_by_period ON reconciliations (period, begun_at);

CREATE TABLE comparisons (
  run TEXT NOT NULL,
  system TEXT NOT NULL,
  at INTEGER NOT NULL,
  reason TEXT,                    -- why the system could not be read, or not afresh; NULL: it was
  result TEXT,                    -- JSON: counts, causes, samples, coverage; NULL: nothing to compare
  event_seq INTEGER NOT NULL,
  PRIMARY KEY (run, system)
) STRICT, WITHOUT ROWID;

-- Not a projection: how far today's slice of a system's rolling comparison has come.
CREATE TABLE slices (
  system TEXT PRIMARY KEY,
  begun_at INTEGER NOT NULL,
  wanted INTEGER NOT NULL,        -- holdings to be read by key in this slice
  queued INTEGER NOT NULL         -- of them, those that the loop was asked to read
) STRICT, WITHOUT ROWID;
