"""What is to be read back, and when: sent and accepted deliveries, and keys that somebody hinted at."""

from __future__ import annotations

from collections.abc import Sequence

from dncsync.connector import Failure
from dncsync.ledger.events import NewEvent
from dncsync.ledger.projections import record
from dncsync.ledger.writer import Tx
from dncsync.sync.deliveries import UNDER_WAY
from dncsync.sync.patience import SECOND, Jitter, wait_after
from dncsync.sync.topology import SystemFacts
from dncsync.sync.will import chunks, marks, unique


def due_reads(tx: Tx, at: int, facts: SystemFacts, *, backfill: bool = False) -> list[str]:
    """Keys to read now: sent or accepted deliveries whose time has come, then looks; with `backfill`, the
    looks that go behind everything else. At most `read_batch`."""
    limit = facts.capabilities.read_batch
    looks = "SELECT key FROM looks WHERE system = ? AND due_at <= ? AND backfill = ? ORDER BY due_at LIMIT ?"
    if backfill:
        return [row[0] for row in tx.execute(looks, (facts.name, at, 1, limit))]
    rows = tx.execute(
        f"SELECT DISTINCT key FROM deliveries WHERE system = ? AND open = 1 AND {UNDER_WAY} "  # noqa: S608
        # Those of one second by key: a vendor that is asked for one kind of record at a time is asked less.
        "AND due_at <= ? ORDER BY deadline / 1000000, key LIMIT ?",
        (facts.name, at, limit),
    ).fetchall()
    keys = [row[0] for row in rows]
    if len(keys) < limit:
        rows = tx.execute(looks, (facts.name, at, 0, limit)).fetchall()
        keys = unique([*keys, *(row[0] for row in rows)])[:limit]
    return keys


def reads_failed(
    tx: Tx, at: int, facts: SystemFacts, keys: Sequence[str], failure: Failure, jitter: Jitter
) -> None:
    """Nothing was learnt of these keys; they are read again later, for ever."""
    for chunk in chunks(keys):
        ids = tx.execute(
            "SELECT id, attempts FROM deliveries WHERE system = ? AND open = 1 "  # noqa: S608
            f"AND state IN ('sent', 'accepted') AND key IN ({marks(chunk)})",
            (facts.name, *chunk),
        ).fetchall()
        if ids:
            wait = wait_after(failure, max(row[1] for row in ids), jitter)
            record(
                tx,
                NewEvent(
                    "deliveries.delayed",
                    at,
                    {
                        "ids": [row[0] for row in ids],
                        "due_at": at + int(wait * SECOND),
                        "error": f"{failure.kind}: {failure.message}",
                    },
                    system=facts.name,
                ),
            )
        for key in chunk:
            row = tx.execute(
                "SELECT attempts FROM looks WHERE system = ? AND key = ?", (facts.name, key)
            ).fetchone()
            if row:
                wait = wait_after(failure, row[0] + 1, jitter)
                tx.execute(
                    "UPDATE looks SET attempts = attempts + 1, due_at = ? WHERE system = ? AND key = ?",
                    (at + int(wait * SECOND), facts.name, key),
                )


def next_due(tx: Tx, facts: SystemFacts) -> int | None:
    """When the next delivery or look of this system is due (microseconds); None: nothing is open."""
    row = tx.execute(
        # The smallest of each part of the index: of all of them together SQLite would read every one.
        "WITH states (state) AS (VALUES ('due'), ('sent'), ('accepted')), "
        "wants (want) AS (VALUES ('set'), ('clear')), lanes (backfill) AS (VALUES (0), (1)) "
        "SELECT min(due_at) FROM (SELECT (SELECT min(d.due_at) FROM deliveries d WHERE d.system = :s AND "
        "d.open = 1 AND d.state = states.state AND d.want = wants.want AND d.backfill = lanes.backfill) "
        "AS due_at FROM states, wants, lanes UNION ALL SELECT min(due_at) FROM looks WHERE system = :s)",
        {"s": facts.name},
    ).fetchone()
    return None if row[0] is None else int(row[0])
