-- Fuses: mass changes ask first (law 9). Projections, rebuilt from events.

-- What the limits count: blocks that were found by reading or imported, and reversals that were carried out.
CREATE TABLE arrivals (
  event_seq INTEGER PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('read', 'first', 'list', 'import', 'clear')),
  system TEXT,
  at INTEGER NOT NULL,
  count INTEGER NOT NULL
) STRICT;
CREATE INDEX arrivals_in_window ON arrivals (kind, system, at);

CREATE TABLE first_reads (
  system TEXT PRIMARY KEY,
  completed_at INTEGER NOT NULL,
  event_seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE fuses (
  id TEXT PRIMARY KEY,            -- F and the event that tripped it
  direction TEXT NOT NULL CHECK (direction IN ('blocks', 'clears')),
  system TEXT,                    -- NULL: the whole ledger
  state TEXT NOT NULL CHECK (state IN ('waiting', 'approved', 'applied', 'rejected')),
  tripped_at INTEGER NOT NULL,
  reason TEXT NOT NULL,
  counted INTEGER NOT NULL,
  known INTEGER,                  -- what the share was taken of
  policy TEXT NOT NULL,           -- JSON: the limit that was passed
  needed INTEGER NOT NULL,        -- approvals
  systems TEXT NOT NULL,          -- JSON: the systems that it would spread to, with their channels
  approvals TEXT NOT NULL,        -- JSON
  approved_to INTEGER NOT NULL,   -- event up to which the held changes are approved; 0: none
  decided_at INTEGER,
  decided_by TEXT,
  decided_seq INTEGER,
  why TEXT,                       -- of a rejection
  event_seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX fuses_open ON fuses (direction, system) WHERE state IN ('waiting', 'approved');

INSERT INTO first_reads
  SELECT system, at, seq FROM events WHERE seq IN
    (SELECT min(seq) FROM events WHERE kind = 'snapshot.completed' GROUP BY system);

-- Blocks that stand here and do not spread: a request's effect on one number ('': on the record it was made on).
CREATE TABLE held (
  number TEXT NOT NULL,
  request_id TEXT NOT NULL,
  fuse_id TEXT NOT NULL,
  event_seq INTEGER NOT NULL,
  released_seq INTEGER,           -- the approved plan was applied; it spreads
  PRIMARY KEY (number, request_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX held_by_fuse ON held (fuse_id, event_seq, request_id, number);
CREATE INDEX held_back ON held (request_id, number) WHERE released_seq IS NULL;

-- Reversals that are not carried out until they are approved; the blocks stand.
CREATE TABLE held_reversals (
  id TEXT PRIMARY KEY,
  fuse_id TEXT NOT NULL,
  number TEXT NOT NULL,
  channels TEXT NOT NULL,
  actor TEXT NOT NULL,
  reason TEXT NOT NULL,
  basis TEXT NOT NULL,
  evidence_name TEXT NOT NULL,
  evidence_sha256 TEXT NOT NULL,
  evidence_date TEXT NOT NULL,
  request_id TEXT,                -- the one provisional request that it ends
  at INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('waiting', 'carried-out', 'left-out', 'rejected')),
  reversal_id TEXT,
  why TEXT,                       -- it was left out
  event_seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX held_reversals_by_fuse ON held_reversals (fuse_id, event_seq);
CREATE INDEX held_reversals_waiting ON held_reversals (number) WHERE state = 'waiting';

-- A look that an approved plan asks for: what it finds was approved already.
ALTER TABLE looks ADD COLUMN approved INTEGER NOT NULL DEFAULT 0;
