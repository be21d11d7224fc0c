-- Canary runs: a number of the tenant's own, opted out in one system, awaited in the others, then taken back.
-- Projections: rebuilt from `canary.*` events.

CREATE TABLE canary_runs (
  id TEXT PRIMARY KEY,
  number TEXT NOT NULL,
  origin TEXT NOT NULL,           -- the system in which it is opted out
  origin_key TEXT NOT NULL,
  channel TEXT NOT NULL,
  actor TEXT NOT NULL,            -- who asked for the run; the schedule is one of them
  hook_expected INTEGER NOT NULL, -- 1: the origin should tell of it by webhook
  seen_within INTEGER NOT NULL,   -- microseconds from the origin's write to the ledger
  begun_at INTEGER NOT NULL,
  writing_at INTEGER,             -- the origin's write was about to be sent
  written_at INTEGER,             -- the origin said yes
  refused TEXT,                   -- the stage at which the write ended: refused, absent, taken, gone
  kept TEXT,                      -- what the origin showed afterwards: set, clear, absent
  hinted_at INTEGER,              -- the first webhook about it
  seen_at INTEGER,                -- the feeds brought it, and it became a request
  requests TEXT,                  -- those requests, comma-separated
  reversed_at INTEGER,
  late TEXT,                      -- the stage at which the origin was late
  hook_late INTEGER NOT NULL,     -- 1: no webhook came in time
  ended_at INTEGER,
  outcome TEXT CHECK (outcome IN ('good', 'late', 'lost', 'kept', 'broken off')),
  note TEXT,                      -- in words
  event_seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX canary_runs_open ON canary_runs (origin, origin_key) WHERE ended_at IS NULL;
CREATE INDEX canary_runs_by_time ON canary_runs (origin, begun_at);

CREATE TABLE canary_legs (
  run_id TEXT NOT NULL,
  system TEXT NOT NULL,
  expects TEXT NOT NULL,          -- verified / accepted, cannot be read / standing / skipped / origin
  why TEXT NOT NULL,              -- why it is skipped, or what it cannot show
  within INTEGER NOT NULL,        -- microseconds, from the ledger's knowing
  set_at INTEGER,                 -- verified there (accepted, where nothing can be read)
  set_late TEXT,                  -- the stage at which it was late
  set_lost INTEGER NOT NULL,      -- 1: given up
  cleared_at INTEGER,             -- read back as taken away
  clear_late TEXT,
  PRIMARY KEY (run_id, system)
) STRICT, WITHOUT ROWID;
