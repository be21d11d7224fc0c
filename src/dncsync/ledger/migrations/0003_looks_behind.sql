-- Looks that an approved plan asks for go, with all that follows from them, behind fresh opt-outs.
ALTER TABLE looks ADD COLUMN backfill INTEGER NOT NULL DEFAULT 0;
