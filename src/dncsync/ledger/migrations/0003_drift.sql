-- What is normal, as the drift detectors recorded it. A projection: rebuilt from `baseline.recorded` events.

CREATE TABLE baselines (
  detector TEXT NOT NULL,
  system TEXT NOT NULL,
  subject TEXT NOT NULL,
  value TEXT NOT NULL,            -- JSON
  at INTEGER NOT NULL,
  actor TEXT,                     -- who accepted it; NULL: as first seen
  event_seq INTEGER NOT NULL,
  PRIMARY KEY (detector, system, subject)
) STRICT, WITHOUT ROWID;
