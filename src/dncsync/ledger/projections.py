"""Projections: what the ledger holds to be true now, computed from events and nothing else.

`apply` is the only code that writes these tables, when an event is recorded and when it is replayed; so a
rebuild gives the same bytes. Holdings, bookmarks, looks and activity are a cache beside them (design section
4).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dncsync.ledger import (
    projections_canary,
    projections_findings,
    projections_fuses,
    projections_reconcile,
)
from dncsync.ledger.events import Event, NewEvent
from dncsync.ledger.writer import Tx

TABLES = (
    "requests",
    "blocks",
    "reversals",
    "restorations",
    "statements",
    "deliveries",
    *projections_findings.TABLES,
    "systems",
    "baselines",
    *projections_canary.TABLES,
    *projections_fuses.TABLES,
    *projections_reconcile.TABLES,
)

Payload = Mapping[str, Any]


def record(tx: Tx, event: NewEvent) -> Event:
    """Appends one event and applies it: the way in which anything comes to be in the ledger."""
    (recorded,) = tx.record([event])
    apply(tx, recorded)
    return recorded


def apply(tx: Tx, event: Event) -> None:
    """Brings the projections up to this event. Kinds that only testify change no projection."""
    handler = _HANDLERS.get(event.kind)
    if handler is not None:
        handler(tx, event, event.payload)


def clear(tx: Tx) -> None:
    """Empties every projection, for a rebuild."""
    for table in TABLES:
        tx.execute(f"DELETE FROM {table}")  # noqa: S608  names from the tuple above


def _requests_recorded(tx: Tx, event: Event, payload: Payload) -> None:
    blocks = []
    for r in payload["requests"]:
        record_system, record_key = r.get("record") or (None, None)
        tx.execute(
            "INSERT INTO requests VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,NULL,NULL,?)",
            (
                r["id"],
                r.get("number"),
                record_system,
                record_key,
                r["channel"],
                ",".join(r["channels"]),
                event.system,
                r.get("scope", ""),
                r["source"],
                r.get("actor"),
                int(r.get("provisional", False)),
                r["occurred_at"],
                r["received_at"],
                event.at,
                r["deadline_strict"],
                r["deadline_federal"],
                r.get("words"),
                event.seq,
            ),
        )
        for number in r["numbers"]:
            own = number == r.get("number")
            blocks += [
                (number, channel, r["id"], int(not own or channel != r["channel"]), event.at, event.seq)
                for channel in r["channels"]
            ]
    _add_blocks(tx, blocks, event.seq)
    projections_fuses.arrived(tx, event, payload)


def _requests_covered(tx: Tx, event: Event, payload: Payload) -> None:
    blocks = []
    for request_id, number in payload["covers"]:
        (channels,) = tx.execute("SELECT channels FROM requests WHERE id = ?", (request_id,)).fetchone()
        blocks += [(number, c, request_id, 1, event.at, event.seq) for c in channels.split(",")]
    _add_blocks(tx, blocks, event.seq)
    projections_fuses.arrived(tx, event, payload)


def _add_blocks(tx: Tx, blocks: Iterable[tuple[Any, ...]], seq: int) -> None:
    blocks = list(blocks)
    tx.executemany(
        "INSERT INTO blocks VALUES (?,?,?,?,?,?,NULL,NULL) ON CONFLICT DO NOTHING",
        blocks,
    )
    # Anything newer than a START takes the programme back (design section 3).
    tx.executemany(
        "UPDATE restorations SET ended_seq = ? WHERE number = ? AND ended_seq IS NULL",
        [(seq, number) for number, channel, *_ in blocks if channel == "sms"],
    )


def _reversal_recorded(tx: Tx, event: Event, payload: Payload) -> None:
    channels = payload["channels"]
    tx.execute(
        "INSERT INTO reversals VALUES (?,?,?,?,?,?,?,?,?,?,?)",
        (
            payload["id"],
            event.number,
            ",".join(channels),
            event.actor,
            payload["reason"],
            payload["basis"],
            payload["evidence_name"],
            payload["evidence_sha256"],
            payload["evidence_date"],
            event.at,
            event.seq,
        ),
    )
    only = payload.get("request")  # a reviewed provisional request; whatever else blocks the number stands
    for channel in channels:
        tx.execute(
            "UPDATE blocks SET ended_at = ?, ended_seq = ? WHERE number = ? AND channel = ? "
            "AND ended_seq IS NULL AND (? IS NULL OR request_id = ?)",
            (event.at, event.seq, event.number, channel, only, only),
        )
    # A request ends with the last block it holds; one made on a record stands while another number has it.
    tx.execute(
        "UPDATE requests SET ended_at = ?, ended_seq = ? WHERE ended_seq IS NULL AND id IN "
        "(SELECT request_id FROM blocks WHERE number = ?) AND NOT EXISTS "
        "(SELECT 1 FROM blocks b WHERE b.request_id = requests.id AND b.ended_seq IS NULL)",
        (event.at, event.seq, event.number),
    )
    projections_fuses.arrived(tx, event, payload)


def _request_confirmed(tx: Tx, event: Event, payload: Payload) -> None:
    tx.execute("UPDATE requests SET provisional = 0 WHERE id = ?", (payload["id"],))


def _programme_restored(tx: Tx, event: Event, payload: Payload) -> None:
    tx.execute(
        "INSERT INTO restorations VALUES (?,?,?,?,?,NULL)",
        (event.number, event.system, payload["scope"], event.at, event.seq),
    )


def _statement_recorded(tx: Tx, event: Event, payload: Payload) -> None:
    tx.execute(
        "INSERT INTO statements VALUES (?,?,?,?,?,?,?,?,?,?,?)",
        (
            event.system,
            payload["ref"],
            event.number,
            payload["channel"],
            payload["scope"],
            payload["reading"],
            payload["source"],
            payload["at"],
            payload.get("request_id"),
            payload.get("words"),
            event.seq,
        ),
    )


def _deliveries_opened(tx: Tx, event: Event, payload: Payload) -> None:
    tx.executemany(
        "INSERT INTO deliveries VALUES (?,?,?,?,?,?,?,'due',1,?,?,NULL,NULL,NULL,0,?,?,NULL,NULL,?)",
        [
            (
                d["id"],
                d["system"],
                d["key"],
                d["channel"],
                d["want"],
                d.get("number"),
                d.get("request_id"),
                int(d.get("backfill", False)),
                d["known_at"],
                d["due_at"],
                d["deadline"],
                event.seq,
            )
            for d in payload["deliveries"]
        ],
    )


def _deliveries_sent(tx: Tx, event: Event, payload: Payload) -> None:
    tx.executemany(
        "UPDATE deliveries SET state = 'sent', sent_at = ifnull(sent_at, ?), attempts = attempts + 1, "
        "due_at = ? WHERE id = ?",
        [(event.at, payload["due_at"], i) for i in payload["ids"]],
    )


def _deliveries_accepted(tx: Tx, event: Event, payload: Payload) -> None:
    read_at = payload["due_at"]
    tx.executemany(
        "UPDATE deliveries SET state = 'accepted', open = ?, accepted_at = ?, due_at = ?, last_error = NULL, "
        "vendor_ref = ? WHERE id = ?",
        [(int(read_at is not None), event.at, read_at, ref, i) for i, ref in payload["accepted"]],
    )


def _deliveries_failed(tx: Tx, event: Event, payload: Payload) -> None:
    tx.executemany(
        "UPDATE deliveries SET state = ?, due_at = ?, last_error = ? WHERE id = ?",
        [(f["state"], f["due_at"], f["error"], f["id"]) for f in payload["failed"]],
    )


def _deliveries_verified(tx: Tx, event: Event, payload: Payload) -> None:
    tx.executemany(
        "UPDATE deliveries SET state = 'verified', open = 0, verified_at = ?, due_at = NULL, "
        "last_error = NULL WHERE id = ?",
        [(event.at, i) for i in payload["ids"]],
    )


def _deliveries_contradicted(tx: Tx, event: Event, payload: Payload) -> None:
    tx.executemany(
        "UPDATE deliveries SET state = 'due', due_at = ?, last_error = ? WHERE id = ?",
        [(c["due_at"], c["error"], c["id"]) for c in payload["contradicted"]],
    )


def _deliveries_closed(tx: Tx, event: Event, payload: Payload) -> None:
    tx.executemany(
        "UPDATE deliveries SET state = ?, open = 0, due_at = NULL WHERE id = ?",
        [(payload["state"], i) for i in payload["ids"]],
    )


def _deliveries_delayed(tx: Tx, event: Event, payload: Payload) -> None:
    tx.executemany(
        "UPDATE deliveries SET due_at = ? WHERE id = ?", [(payload["due_at"], i) for i in payload["ids"]]
    )


def _system_changed(tx: Tx, event: Event, payload: Payload) -> None:
    tx.execute(
        "INSERT INTO systems VALUES (?,?,?,?,?,NULL) ON CONFLICT (system) DO UPDATE SET "
        "vendor = excluded.vendor, state = excluded.state, since = excluded.since, reason = excluded.reason",
        (event.system, payload["vendor"], payload["state"], event.at, payload["reason"]),
    )


def _snapshot_completed(tx: Tx, event: Event, payload: Payload) -> None:
    tx.execute("UPDATE systems SET snapshot_at = ? WHERE system = ?", (payload["started_at"], event.system))
    projections_fuses.read_in_full(tx, event)


def _baseline_recorded(tx: Tx, event: Event, payload: Payload) -> None:
    tx.execute(
        "INSERT OR REPLACE INTO baselines VALUES (?,?,?,?,?,?,?)",
        (
            payload["detector"],
            event.system,
            payload["subject"],
            json.dumps(payload["value"], sort_keys=True),
            event.at,
            event.actor,
            event.seq,
        ),
    )


_HANDLERS: Mapping[str, Callable[[Tx, Event, Payload], None]] = {
    "requests.recorded": _requests_recorded,
    "requests.covered": _requests_covered,
    "reversal.recorded": _reversal_recorded,
    "request.confirmed": _request_confirmed,
    "programme.restored": _programme_restored,
    "statement.recorded": _statement_recorded,
    "deliveries.opened": _deliveries_opened,
    "deliveries.sent": _deliveries_sent,
    "deliveries.accepted": _deliveries_accepted,
    "deliveries.failed": _deliveries_failed,
    "deliveries.verified": _deliveries_verified,
    "deliveries.contradicted": _deliveries_contradicted,
    "deliveries.closed": _deliveries_closed,
    "deliveries.delayed": _deliveries_delayed,
    "system.changed": _system_changed,
    "snapshot.completed": _snapshot_completed,
    "baseline.recorded": _baseline_recorded,
    **projections_findings.HANDLERS,
    **projections_canary.HANDLERS,
    **projections_fuses.HANDLERS,
    **projections_reconcile.HANDLERS,
}
