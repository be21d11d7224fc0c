-- What is due of one kind is found without walking all that is due: while a resync of hundreds of thousands
-- of records is on its way, each look at it would else hold up the opt-outs that overtake it.
DROP INDEX deliveries_due;
CREATE INDEX deliveries_due ON deliveries (system, state, want, backfill, due_at) WHERE open = 1;
