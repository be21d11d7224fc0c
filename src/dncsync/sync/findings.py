"""Findings: something a person must know. The same thing again is the same finding, counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dncsync.ledger.events import NewEvent
from dncsync.ledger.projections import record
from dncsync.ledger.writer import Tx


def open_finding(
    tx: Tx,
    at: int,
    kind: str,
    system: str | None,
    subject: str,
    summary: str,
    *,
    severity: str = "warning",
    owner: str = "compliance",
    detail: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> None:
    """Opens a finding, or counts it once more. With `quiet`, one that is open already is left alone.

    `summary` and `detail` hold no phone numbers; `subject` is a key, a field or a system.
    """
    finding_id = "/".join((kind, system or "", subject))
    if quiet and is_open(tx, finding_id):
        return
    payload = {
        "id": finding_id,
        "kind": kind,
        "subject": subject,
        "severity": severity,
        "owner": owner,
        "summary": summary,
        "detail": dict(detail or {}),
    }
    record(tx, NewEvent("finding.opened", at, payload, system=system))


def close_finding(tx: Tx, at: int, kind: str, system: str | None, subject: str, by: str) -> None:
    """Closes it, if it is open; `by` says what healed it."""
    finding_id = "/".join((kind, system or "", subject))
    if is_open(tx, finding_id):
        record(tx, NewEvent("finding.closed", at, {"id": finding_id, "by": by}, system=system))


def is_open(tx: Tx, finding_id: str) -> bool:
    """Whether a finding with that id is open."""
    row = tx.execute("SELECT 1 FROM findings WHERE id = ? AND closed_at IS NULL", (finding_id,)).fetchone()
    return row is not None
