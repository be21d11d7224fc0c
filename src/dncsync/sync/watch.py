"""The watch over clocks: what is late becomes a finding, what is old housekeeping is swept."""

from __future__ import annotations

from dncsync.ledger.writer import Tx
from dncsync.sync import findings
from dncsync.sync.patience import SECOND

NONCE_KEPT = 86_400
"""Seconds; far longer than any vendor's signature is fresh."""


def late(tx: Tx, at: int) -> int:
    """Opens a finding per system with deliveries past their goal, and one per request past its legal alarm
    with a delivery still open; closes those that are in time again. Returns how many deliveries are late."""
    rows = tx.execute(
        "SELECT system, count(*), min(known_at) FROM deliveries WHERE open = 1 AND deadline < ? "
        "GROUP BY system",
        (at,),
    ).fetchall()
    for system, count, oldest in rows:
        findings.open_finding(
            tx,
            at,
            "late",
            system,
            system,
            f"{system}: {count} deliveries are past their goal; the oldest exposure is "
            f"{(at - oldest) // SECOND} s",
            severity="page",
            detail={"deliveries": count},
            quiet=True,
        )
    in_time = tx.execute(
        "SELECT system FROM findings WHERE kind = 'late' AND closed_at IS NULL AND NOT EXISTS (SELECT 1 FROM "
        "deliveries d WHERE d.system = findings.system AND d.open = 1 AND d.deadline < ?)",
        (at,),
    ).fetchall()
    for (system,) in in_time:
        findings.close_finding(tx, at, "late", system, system, "no delivery is late any more")
    overdue = tx.execute(
        "SELECT DISTINCT r.id FROM deliveries d JOIN requests r ON r.id = d.request_id "
        "WHERE d.open = 1 AND d.want = 'set' AND r.deadline_strict < ? AND r.ended_seq IS NULL LIMIT 100",
        (at,),
    ).fetchall()
    for (request_id,) in overdue:
        findings.open_finding(
            tx,
            at,
            "legal-deadline",
            None,
            request_id,
            f"request {request_id} is at its legal deadline and not confirmed everywhere (REV-05)",
            severity="page",
            quiet=True,
        )
    return sum(count for _, count, _ in rows)


def sweep(tx: Tx, at: int) -> None:
    """Forgets nonces that can no longer be replayed."""
    tx.execute("DELETE FROM nonces WHERE seen_at < ?", (at - NONCE_KEPT * SECOND,))
