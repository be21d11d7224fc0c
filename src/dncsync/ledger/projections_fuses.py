"""Projections of fuses: what counts towards their limits, what they hold, and what people decided (law 9)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from dncsync.ledger.events import Event
from dncsync.ledger.writer import Tx

TABLES = ("arrivals", "first_reads", "fuses", "held", "held_reversals")

Payload = Mapping[str, Any]


def arrived(tx: Tx, event: Event, payload: Payload) -> None:
    """Counts what an event brought, where it says so: `arrived`, as (kind, count)."""
    if "arrived" in payload:
        kind, count = payload["arrived"]
        tx.execute(
            "INSERT INTO arrivals VALUES (?,?,?,?,?)", (event.seq, kind, event.system, event.at, count)
        )


def read_in_full(tx: Tx, event: Event) -> None:
    """Keeps when a system was first read to its end."""
    tx.execute(
        "INSERT INTO first_reads VALUES (?,?,?) ON CONFLICT DO NOTHING", (event.system, event.at, event.seq)
    )


def _tripped(tx: Tx, event: Event, payload: Payload) -> None:
    tx.execute(
        "INSERT INTO fuses VALUES (?,?,?,'waiting',?,?,?,?,?,?,?,'[]',0,NULL,NULL,NULL,NULL,?)",
        (
            payload["id"],
            payload["direction"],
            event.system,
            event.at,
            payload["reason"],
            payload["counted"],
            payload["known"],
            _json(payload["policy"]),
            payload["needed"],
            _json(payload["systems"]),
            event.seq,
        ),
    )


def _held(tx: Tx, event: Event, payload: Payload) -> None:
    tx.executemany(
        "INSERT INTO held VALUES (?,?,?,?,NULL) ON CONFLICT DO NOTHING",
        [(number, request_id, payload["id"], event.seq) for request_id, number in payload.get("pairs", ())],
    )
    # What is held is decided upon with its fuse; it does not count towards another one.
    tx.execute("DELETE FROM arrivals WHERE event_seq = ?", (payload.get("batch"),))
    if "reversal" in payload:
        r = payload["reversal"]
        tx.execute(
            "INSERT INTO held_reversals VALUES (?,?,?,?,?,?,?,?,?,?,?,?,'waiting',NULL,NULL,?)",
            (
                r["id"],
                payload["id"],
                event.number,
                ",".join(r["channels"]),
                event.actor,
                r["reason"],
                r["basis"],
                r["evidence_name"],
                r["evidence_sha256"],
                r["evidence_date"],
                r.get("request"),
                event.at,
                event.seq,
            ),
        )


def _approved(tx: Tx, event: Event, payload: Payload) -> None:
    row = tx.execute("SELECT approvals FROM fuses WHERE id = ?", (payload["id"],)).fetchone()
    entry = {name: payload[name] for name in ("sha256", "after", "revision", "note")}
    approvals = [*json.loads(row[0]), {"by": event.actor, "at": event.at, **entry}]
    tx.execute("UPDATE fuses SET approvals = ? WHERE id = ?", (_json(approvals), payload["id"]))
    if payload["approved_to"] is not None:
        tx.execute(
            "UPDATE fuses SET state = 'approved', approved_to = ?, decided_at = ?, decided_by = ? "
            "WHERE id = ?",
            (payload["approved_to"], event.at, ", ".join(payload["approvers"]), payload["id"]),
        )


def _released(tx: Tx, event: Event, payload: Payload) -> None:
    tx.executemany(
        "UPDATE held SET released_seq = ? WHERE number = ? AND request_id = ?",
        [(event.seq, number, request_id) for request_id, number in payload.get("pairs", ())],
    )
    tx.executemany(
        "UPDATE held_reversals SET state = ?, reversal_id = ?, why = ? WHERE id = ?",
        [
            ("left-out" if why else "carried-out", reversal_id, why, held_id)
            for held_id, reversal_id, why in payload.get("reversals", ())
        ],
    )


def _applied(tx: Tx, event: Event, payload: Payload) -> None:
    tx.execute(
        "UPDATE fuses SET state = ?, decided_seq = ? WHERE id = ?",
        ("waiting" if payload["later"] else "applied", event.seq, payload["id"]),
    )


def _rejected(tx: Tx, event: Event, payload: Payload) -> None:
    tx.execute(
        "UPDATE fuses SET state = 'rejected', decided_at = ?, decided_by = ?, decided_seq = ?, why = ? "
        "WHERE id = ?",
        (event.at, event.actor, event.seq, payload["reason"], payload["id"]),
    )
    tx.execute(
        "UPDATE held_reversals SET state = 'rejected' WHERE fuse_id = ? AND state = 'waiting'",
        (payload["id"],),
    )


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


HANDLERS: Mapping[str, Callable[[Tx, Event, Payload], None]] = {
    "fuse.tripped": _tripped,
    "fuse.held": _held,
    "fuse.approved": _approved,
    "fuse.released": _released,
    "fuse.applied": _applied,
    "fuse.rejected": _rejected,
}
