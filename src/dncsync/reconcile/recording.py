"""What a reconciliation leaves in the ledger: its beginning, what each system came to, its files' hashes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dncsync.ledger.events import NewEvent
from dncsync.ledger.projections import record
from dncsync.ledger.writer import Tx
from dncsync.reconcile.period import Span


def begin(
    tx: Tx, at: int, span: Span, seed: int, inputs: Mapping[str, Any], actor: str, *, anew: bool = False
) -> tuple[str, bool]:
    """(the run's id, whether it is one that was begun before and not finished). `anew`: leave that one."""
    row = tx.execute(
        "SELECT run FROM reconciliations WHERE period = ? AND zone = ? AND seed = ? AND completed_at IS NULL "
        "ORDER BY begun_at DESC LIMIT 1",
        (span.name, span.zone, seed),
    ).fetchone()
    if row is not None and not anew:
        return str(row[0]), True
    run = f"Q{tx.head.seq + 1}"
    payload = {
        "run": run,
        "period": span.name,
        "first_day": str(span.first),
        "last_day": str(span.last),
        "zone": span.zone,
        "seed": seed,
        "inputs": dict(inputs),
    }
    record(tx, NewEvent("reconciliation.begun", at, payload, actor=actor))
    return run, False


def compared(
    tx: Tx, at: int, run: str, system: str, reason: str | None, result: Mapping[str, Any] | None
) -> int:
    """What one system came to; returns the event. Raises `LookupError` for an unknown run."""
    _known(tx, run)
    payload = {"run": run, "reason": reason, "result": None if result is None else dict(result)}
    return record(tx, NewEvent("reconciliation.compared", at, payload, system=system)).seq


def completed(tx: Tx, at: int, run: str, as_of: int, head: tuple[int, str], files: Mapping[str, str]) -> int:
    """The report is written: `files` name -> SHA-256 (hexadecimal); `head`: the last event that its figures
    take in, with its hash (hexadecimal). Returns the event. Raises `LookupError`, `ValueError`."""
    _known(tx, run)
    found = tx.execute("SELECT hash FROM events WHERE seq = ?", (head[0],)).fetchone()
    if found is None or bytes(found[0]).hex() != head[1]:
        raise ValueError(f"event {head[0]} has another hash than the report was made with")
    payload = {
        "run": run,
        "as_of": as_of,
        "head": {"seq": head[0], "hash": head[1]},
        "files": dict(files),
    }
    return record(tx, NewEvent("reconciliation.completed", at, payload)).seq


def _known(tx: Tx, run: str) -> None:
    if tx.execute("SELECT 1 FROM reconciliations WHERE run = ?", (run,)).fetchone() is None:
        raise LookupError(f"there is no reconciliation {run!r}")
