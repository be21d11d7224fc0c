-- Projections: kept in the same transaction as the events, and rebuilt from them byte for byte.
-- Instants are microseconds since the epoch, UTC.

CREATE TABLE requests (
  id TEXT PRIMARY KEY,
  number TEXT,                    -- the number it was made on; NULL for a request made on a record
  record_system TEXT,             -- the record it was made on; NULL for a request made on a number
  record_key TEXT,
  channel TEXT NOT NULL,          -- where it was made
  channels TEXT NOT NULL,         -- what it blocks, comma-separated (policy at the time)
  origin_system TEXT,             -- NULL: made here, on the command line
  scope TEXT NOT NULL,            -- the programme it was made to: messaging service, campaign, list
  source TEXT NOT NULL,
  actor TEXT,
  provisional INTEGER NOT NULL,   -- 1: an ambiguous text, blocked until a person has read it
  occurred_at INTEGER NOT NULL,
  received_at INTEGER NOT NULL,
  recorded_at INTEGER NOT NULL,
  deadline_strict INTEGER NOT NULL,
  deadline_federal INTEGER NOT NULL,
  words TEXT,                     -- hash (hex) of the words in `private`
  ended_at INTEGER,
  ended_seq INTEGER,
  event_seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_record ON requests (record_system, record_key) WHERE record_key IS NOT NULL;
CREATE INDEX requests_by_number ON requests (number) WHERE number IS NOT NULL;
CREATE INDEX requests_by_time ON requests (recorded_at);

CREATE TABLE blocks (
  number TEXT NOT NULL,
  channel TEXT NOT NULL,
  request_id TEXT NOT NULL,
  derived INTEGER NOT NULL,       -- 1: reached through a record or through policy, not asked for on this number
  since INTEGER NOT NULL,
  since_seq INTEGER NOT NULL,
  ended_at INTEGER,
  ended_seq INTEGER,
  PRIMARY KEY (number, channel, request_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX blocks_by_request ON blocks (request_id);

CREATE TABLE reversals (
  id TEXT PRIMARY KEY,
  number TEXT NOT NULL,
  channels TEXT NOT NULL,
  actor TEXT NOT NULL,
  reason TEXT NOT NULL,
  basis TEXT NOT NULL,
  evidence_name TEXT NOT NULL,
  evidence_sha256 TEXT NOT NULL,
  evidence_date TEXT NOT NULL,    -- ISO 8601: the document's date, or its instant with a zone
  at INTEGER NOT NULL,
  event_seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX reversals_by_number ON reversals (number);

-- START: the consumer takes back one text programme, and nothing else (SEED-15).
CREATE TABLE restorations (
  number TEXT NOT NULL,
  system TEXT NOT NULL,
  scope TEXT NOT NULL,
  since INTEGER NOT NULL,
  since_seq INTEGER NOT NULL,
  ended_seq INTEGER,
  PRIMARY KEY (number, system, scope, since_seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE statements (
  system TEXT NOT NULL,
  ref TEXT NOT NULL,
  number TEXT,
  channel TEXT NOT NULL,
  scope TEXT NOT NULL,
  reading TEXT NOT NULL,          -- how it was read: conclusive, phrase, ambiguous, start, help, not, evidence
  source TEXT NOT NULL,
  at INTEGER NOT NULL,
  request_id TEXT,
  words TEXT,
  event_seq INTEGER NOT NULL,
  PRIMARY KEY (system, ref)
) STRICT, WITHOUT ROWID;
CREATE INDEX statements_by_number ON statements (number);

CREATE TABLE deliveries (
  id INTEGER PRIMARY KEY,
  system TEXT NOT NULL,
  key TEXT NOT NULL,
  channel TEXT NOT NULL,
  want TEXT NOT NULL CHECK (want IN ('set', 'clear')),
  number TEXT,                    -- the number that caused it; NULL: a number of the record that cannot be read
  request_id TEXT,
  state TEXT NOT NULL CHECK (state IN ('due', 'sent', 'accepted', 'verified', 'superseded', 'moot')),
  open INTEGER NOT NULL,          -- 1: there is something left to do, at due_at
  backfill INTEGER NOT NULL,      -- 1: catching up, behind fresh opt-outs
  known_at INTEGER NOT NULL,
  sent_at INTEGER,                -- the first call
  accepted_at INTEGER,            -- the vendor said yes (the latest)
  verified_at INTEGER,            -- read back after the write
  attempts INTEGER NOT NULL,
  due_at INTEGER,
  deadline INTEGER NOT NULL,
  last_error TEXT,
  vendor_ref TEXT,
  event_seq INTEGER NOT NULL,
  CHECK (open = 0 OR due_at IS NOT NULL)
) STRICT;
CREATE UNIQUE INDEX deliveries_open ON deliveries (system, key, channel) WHERE open = 1;
CREATE INDEX deliveries_to_write ON deliveries (system, state, want, backfill, deadline) WHERE open = 1;
CREATE INDEX deliveries_due ON deliveries (system, due_at) WHERE open = 1;
CREATE INDEX deliveries_by_number ON deliveries (number);
CREATE INDEX deliveries_by_holding ON deliveries (system, key);

CREATE TABLE findings (
  id TEXT PRIMARY KEY,            -- kind/system/subject: the same thing again is the same finding
  kind TEXT NOT NULL,
  system TEXT,
  subject TEXT NOT NULL,
  severity TEXT NOT NULL,
  owner TEXT NOT NULL,
  summary TEXT NOT NULL,
  detail TEXT NOT NULL,           -- JSON
  opened_at INTEGER NOT NULL,
  last_at INTEGER NOT NULL,
  count INTEGER NOT NULL,
  closed_at INTEGER,
  closed_by TEXT,
  note TEXT,                      -- what a person wrote last
  due_at INTEGER NOT NULL,        -- when a person must have dealt with it
  acked_at INTEGER,
  acked_by TEXT,
  flaps INTEGER NOT NULL,         -- how often it came back after it had closed
  flapping INTEGER NOT NULL,      -- 1: it came back so soon that it is one trouble with the time before
  paged_at INTEGER,               -- when people were last to be called on its account
  healed_at INTEGER,              -- not seen any more, and open only because its freeze waits for a person
  healed_by TEXT,
  event_seq INTEGER NOT NULL      -- of its first opening; people call it f<event_seq>
) STRICT, WITHOUT ROWID;
CREATE INDEX findings_open ON findings (opened_at) WHERE closed_at IS NULL;
CREATE INDEX findings_by_number ON findings (event_seq);

CREATE TABLE systems (
  system TEXT PRIMARY KEY,
  vendor TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('up', 'down', 'unauthorised')),
  since INTEGER NOT NULL,
  reason TEXT NOT NULL,
  snapshot_at INTEGER             -- when the latest complete snapshot was begun
) STRICT, WITHOUT ROWID;

-- Not projections: a cache of the vendors, refilled by a snapshot, and the loops' bookmarks.

CREATE TABLE holdings (
  system TEXT NOT NULL,
  key TEXT NOT NULL,
  numbers TEXT NOT NULL,          -- as received, JSON array
  base_voice TEXT,                -- last read back; NULL: never read
  base_sms TEXT,
  written_voice TEXT,             -- sent since the base was read, whatever became of it
  written_sms TEXT,
  told_voice TEXT,                -- last accepted; the nearest to a base where nothing can be read
  told_sms TEXT,
  revision TEXT NOT NULL,
  gone INTEGER NOT NULL,
  became TEXT,
  seen_at INTEGER NOT NULL,
  PRIMARY KEY (system, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX holdings_by_survivor ON holdings (system, became) WHERE became IS NOT NULL;

CREATE TABLE holding_numbers (
  number TEXT NOT NULL,
  system TEXT NOT NULL,
  key TEXT NOT NULL,
  PRIMARY KEY (number, system, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX holding_numbers_by_holding ON holding_numbers (system, key);

-- Phone values that are no number: never guessed, never dropped.
CREATE TABLE quarantine (
  system TEXT NOT NULL,
  key TEXT NOT NULL,
  raw TEXT NOT NULL,
  problem TEXT NOT NULL,
  seen_at INTEGER NOT NULL,
  PRIMARY KEY (system, key, raw)
) STRICT, WITHOUT ROWID;

CREATE TABLE bookmarks (
  system TEXT NOT NULL,
  feed TEXT NOT NULL,             -- changes, snapshot
  cursor TEXT,
  started_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  pages INTEGER NOT NULL,
  holdings INTEGER NOT NULL,
  done INTEGER NOT NULL,
  PRIMARY KEY (system, feed)
) STRICT, WITHOUT ROWID;

CREATE TABLE looks (
  system TEXT NOT NULL,
  key TEXT NOT NULL,
  due_at INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  backfill INTEGER NOT NULL,      -- 1: an approved plan asks for it; it goes behind fresh opt-outs
  PRIMARY KEY (system, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX looks_due ON looks (system, due_at);

CREATE TABLE nonces (
  system TEXT NOT NULL,
  nonce TEXT NOT NULL,
  seen_at INTEGER NOT NULL,
  PRIMARY KEY (system, nonce)
) STRICT, WITHOUT ROWID;
CREATE INDEX nonces_by_time ON nonces (seen_at);
