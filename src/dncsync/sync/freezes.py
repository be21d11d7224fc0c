"""Freezes: a system whose clears and absences are not believed until a person says so (design section 7).

What that means for a reading is in `doubts`.
"""

from __future__ import annotations

from collections.abc import Sequence

from dncsync.ledger.events import NewEvent
from dncsync.ledger.projections import record
from dncsync.ledger.writer import Tx


def frozen(tx: Tx, system: str) -> bool:
    """Whether some freeze of the system is in force."""
    row = tx.execute("SELECT 1 FROM freezes WHERE system = ? AND ended_at IS NULL", (system,)).fetchone()
    return row is not None


def holders(tx: Tx, system: str) -> list[str]:
    """The findings that keep the system frozen."""
    rows = tx.execute(
        "SELECT finding_id FROM freezes WHERE system = ? AND ended_at IS NULL ORDER BY event_seq", (system,)
    )
    return [row[0] for row in rows.fetchall()]


def holds(tx: Tx, finding_id: str) -> bool:
    """Whether a freeze on this finding's account is in force."""
    row = tx.execute(
        "SELECT 1 FROM freezes WHERE finding_id = ? AND ended_at IS NULL", (finding_id,)
    ).fetchone()
    return row is not None


def freeze(tx: Tx, at: int, system: str, finding_id: str) -> None:
    """From now on. `at`: microseconds."""
    record(tx, NewEvent("system.frozen", at, {"finding_id": finding_id}, system=system))


def release(tx: Tx, at: int, system: str, finding_ids: Sequence[str], *, note: str, actor: str) -> None:
    """Ends the freezes of these findings, on the word of `actor`. `at`: microseconds."""
    payload = {"finding_ids": list(finding_ids), "note": note}
    record(tx, NewEvent("system.released", at, payload, system=system, actor=actor))
