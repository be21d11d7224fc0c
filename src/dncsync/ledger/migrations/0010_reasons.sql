-- Not a projection: what stood as a reason beside the flags of an authority for reversals when it was last
-- read, and when it was last read otherwise. Lost, it is known from the next reading on.
CREATE TABLE reasons (
  system TEXT NOT NULL,
  key TEXT NOT NULL,
  reason BLOB NOT NULL,           -- SHA-256 of the text: people's words stay in the vendor
  asked_at INTEGER NOT NULL,      -- of the latest reading: begun, and taken in
  taken_at INTEGER NOT NULL,
  other_asked_at INTEGER,         -- of the latest reading that showed another text; NULL: none did
  other_taken_at INTEGER,
  PRIMARY KEY (system, key)
) STRICT, WITHOUT ROWID;
