"""Writes that are accepted and not kept, across a whole system: one finding about the system, not thousands.

Read from the deliveries alone: those whose read-back contradicts what was written, against those that were
verified within the last hour. So it needs no baseline, and a restart changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from dncsync.drift.sighting import Sighting, settle
from dncsync.ledger.writer import Tx
from dncsync.sync.lost import OFTEN

HOUR = 3_600_000_000
"""Microseconds."""
LEAST = 5
"""Writes that must be contradicted at the same time; fewer are single cases."""
SHARE = 0.2
"""Of the hour's writes."""


def check(tx: Tx, at: int, systems: Iterable[str]) -> None:
    """Opens and heals the finding of each system. `at`: microseconds; for a job about every half minute."""
    for system in systems:
        lost = tx.execute(
            "SELECT count(*), min(sent_at) FROM deliveries WHERE system = ? AND open = 1 "
            "AND accepted_at IS NOT NULL AND last_error LIKE 'read back:%'",
            (system,),
        ).fetchone()
        kept = tx.execute(
            "SELECT count(*) FROM deliveries WHERE system = ? AND verified_at > ?", (system, at - HOUR)
        ).fetchone()[0]
        sightings = []
        if lost[0] >= LEAST and lost[0] >= SHARE * (lost[0] + kept):
            sightings.append(_sighting(tx, system, lost[0], kept, lost[1]))
        elif lost[0] and _is_open(tx, system):
            continue  # it ends when the last of them is verified
        settle(tx, at, system, (OFTEN,), sightings, "every write was read back as written")


def _sighting(tx: Tx, system: str, lost: int, kept: int, since: int) -> Sighting:
    keys = tx.execute(
        "SELECT DISTINCT key FROM deliveries WHERE system = ? AND open = 1 AND accepted_at IS NOT NULL "
        "AND last_error LIKE 'read back:%'",
        (system,),
    ).fetchall()
    share = round(100 * lost / (lost + kept))
    return Sighting(
        OFTEN,
        system,
        system,
        f"{system} accepts writes and does not keep them: {lost} now, {share} % of the hour's writes",
        "writes that are read back as they were written",
        "accepted, and read back as before",
        f"look at single records of {system} for what changes them back (a workflow, a trigger, another "
        "integration, a permission that was lost in silence); the writes are repeated until they stay",
        severity="page",
        since=since,
        keys=tuple(key for (key,) in keys),
    )


def _is_open(tx: Tx, system: str) -> bool:
    row = tx.execute(
        "SELECT 1 FROM findings WHERE id = ? AND closed_at IS NULL", (f"{OFTEN}/{system}/{system}",)
    ).fetchone()
    return row is not None
