-- The ledger proper: what happened, in order, each row bound to the one before. See chain.py for the hash.

CREATE TABLE meta (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
  seq INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  number TEXT,
  system TEXT,
  actor TEXT,
  payload TEXT NOT NULL,
  prev BLOB NOT NULL,
  hash BLOB NOT NULL
) STRICT;

CREATE INDEX events_by_number ON events (number) WHERE number IS NOT NULL;

-- These keep honest programs honest; who can write the file can also drop them, and is found by the verifier.
-- No trigger on INSERT: with one, SQLite journals every statement inside the callers' savepoints, and a batch
-- of 10,000 rows took six times as long. (REPLACE deletes without these, unless recursive_triggers is on.)
CREATE TRIGGER events_never_change BEFORE UPDATE ON events
BEGIN
  SELECT RAISE(ABORT, 'events are never changed');
END;

CREATE TRIGGER events_never_vanish BEFORE DELETE ON events
BEGIN
  SELECT RAISE(ABORT, 'events are never deleted');
END;

-- From a number to the events that carry it in a batch (payload key "numbers").
CREATE TABLE event_numbers (
  number TEXT NOT NULL,
  seq INTEGER NOT NULL,
  PRIMARY KEY (number, seq)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER event_numbers_never_change BEFORE UPDATE ON event_numbers
BEGIN
  SELECT RAISE(ABORT, 'the index of numbers is never changed');
END;

CREATE TRIGGER event_numbers_never_vanish BEFORE DELETE ON event_numbers
BEGIN
  SELECT RAISE(ABORT, 'the index of numbers is never thinned');
END;

-- Erasable personal data. The event at `seq` keeps the hash (payload key "private"). A purge takes body and
-- salt, and the event at `purged_seq` says when and why.
CREATE TABLE private (
  hash BLOB PRIMARY KEY,
  seq INTEGER NOT NULL,
  salt BLOB,
  body TEXT,
  purged_at INTEGER,
  purge_reason TEXT,
  purged_seq INTEGER,
  CHECK ((body IS NULL) = (salt IS NULL)),
  CHECK ((body IS NULL) = (purged_seq IS NOT NULL)),
  CHECK ((purged_at IS NULL) = (purged_seq IS NULL)),
  CHECK ((purge_reason IS NULL) = (purged_seq IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TRIGGER private_only_purged BEFORE UPDATE ON private
WHEN OLD.body IS NULL OR NEW.body IS NOT NULL OR NEW.hash IS NOT OLD.hash OR NEW.seq IS NOT OLD.seq
BEGIN
  SELECT RAISE(ABORT, 'private data is purged once and never changed');
END;

CREATE TRIGGER private_keeps_tombstones BEFORE DELETE ON private
BEGIN
  SELECT RAISE(ABORT, 'private data is purged, its row stays');
END;

-- Signed statements of what the chain's head was. The proof is a copy kept elsewhere; these are the originals.
CREATE TABLE checkpoints (
  seq INTEGER NOT NULL,
  at INTEGER NOT NULL,
  root BLOB NOT NULL,
  public_key BLOB NOT NULL,
  signature BLOB NOT NULL,
  PRIMARY KEY (seq, at)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER checkpoints_never_change BEFORE UPDATE ON checkpoints
BEGIN
  SELECT RAISE(ABORT, 'checkpoints are never changed');
END;

CREATE TRIGGER checkpoints_never_vanish BEFORE DELETE ON checkpoints
BEGIN
  SELECT RAISE(ABORT, 'checkpoints are never deleted');
END;
