-- What happens to findings: their history, what freezes a system's reads, and the policy that decides it.

CREATE TABLE finding_events (
  finding_id TEXT NOT NULL,
  event_seq INTEGER NOT NULL,
  PRIMARY KEY (finding_id, event_seq)
) STRICT, WITHOUT ROWID;

-- While one of these has not ended, clears and absences that the system shows are not believed.
CREATE TABLE freezes (
  system TEXT NOT NULL,
  finding_id TEXT NOT NULL,
  since INTEGER NOT NULL,
  by TEXT NOT NULL,               -- policy, or the person who asked for it
  ended_at INTEGER,
  ended_by TEXT,                  -- the person who released it
  note TEXT,                      -- why it was released
  event_seq INTEGER NOT NULL,
  PRIMARY KEY (system, event_seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX freezes_in_force ON freezes (system) WHERE ended_at IS NULL;

-- Tables of the policy that this ledger was kept under, where they are not the built-in ones.
CREATE TABLE policies (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL,            -- JSON
  at INTEGER NOT NULL,
  event_seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Not a projection: holdings whose clear or absence was not believed, to be read again after the release.
CREATE TABLE doubts (
  system TEXT NOT NULL,
  key TEXT NOT NULL,
  seen_at INTEGER NOT NULL,
  PRIMARY KEY (system, key)
) STRICT, WITHOUT ROWID;
