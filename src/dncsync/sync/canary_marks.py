"""What intake knows of a canary run: which change at a vendor is its own, and which webhook told of it.

A run writes its number's flag past the deliveries, so nothing in the cache says that the flag is ours; what
the feeds then bring is a request like anybody's. Here it gets its name.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dncsync.ledger.events import NewEvent
from dncsync.ledger.projections import record
from dncsync.ledger.writer import Tx

SOURCE = "canary"
"""Source of the requests that a run makes; every statistic of real requests leaves it out."""
ACTOR = "dncsync canary"
BASIS = "canary"
"""Basis of the reversals that end exactly those requests."""


def run_behind(tx: Tx, system: str, key: str, ours: bool | None) -> str | None:
    """The run that set this flag there: the open one, or one that was given up before its write was seen.
    None: it is somebody's request.

    `ours`: whether the vendor says that our integration set it. Where a vendor says that a person did, it
    is that person's request, run or no run.
    """
    if ours is False:
        return None
    row = tx.execute(
        "SELECT id FROM canary_runs WHERE origin = ? AND origin_key = ? AND writing_at IS NOT NULL "
        "AND reversed_at IS NULL AND (ended_at IS NULL OR (outcome = 'lost' AND kept = 'set' "
        "AND seen_at IS NULL)) ORDER BY event_seq DESC LIMIT 1",
        (system, key),
    ).fetchone()
    return None if row is None else str(row[0])


def note_seen(tx: Tx, at: int, system: str | None, run_id: str, requests: Sequence[str]) -> None:
    """The feeds brought a run's own change, and these requests were made of it."""
    payload = {"id": run_id, "requests": list(requests)}
    record(tx, NewEvent("canary.seen", at, payload, number=_number(tx, run_id), system=system, actor=ACTOR))


def note_hint(tx: Tx, at: int, system: str, keys: Collection[str]) -> None:
    """A webhook named these keys: if one is a run's, its vendor's webhooks are not silent."""
    row = tx.execute(
        "SELECT id, origin_key FROM canary_runs WHERE origin = ? AND ended_at IS NULL "
        "AND writing_at IS NOT NULL AND hinted_at IS NULL",
        (system,),
    ).fetchone()
    if row is not None and row[1] in keys:
        number = _number(tx, row[0])
        record(tx, NewEvent("canary.hinted", at, {"id": row[0]}, number=number, system=system, actor=ACTOR))


def is_canary(tx: Tx, number: str | None) -> bool:
    """Whether a run ever used this number."""
    return (
        number is not None
        and tx.execute("SELECT 1 FROM canary_runs WHERE number = ? LIMIT 1", (number,)).fetchone() is not None
    )


def _number(tx: Tx, run_id: str) -> str:
    return str(tx.execute("SELECT number FROM canary_runs WHERE id = ?", (run_id,)).fetchone()[0])
