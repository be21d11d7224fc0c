"""What people ask of a ledger, answered from a read-only connection as plain JSON values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dncsync.clock import from_micros
from dncsync.ledger import events
from dncsync.ledger.sqlite import Connection
from dncsync.model import ProofLevel

_INSTANTS = frozenset(
    {
        "at", "accepted_at", "acked_at", "closed_at", "deadline", "deadline_federal", "deadline_strict",
        "due_at", "ended_at", "healed_at", "known_at", "last_at", "occurred_at", "opened_at", "paged_at",
        "received_at", "recorded_at", "seen_at", "sent_at", "since", "snapshot_at", "verified_at",
    }
)  # fmt: skip
"""Columns that hold microseconds and are shown as ISO 8601, UTC."""


def number(conn: Connection, e164: str) -> dict[str, Any]:
    """A number's state: blocked channels, requests, reversals, statements, deliveries with their stamps."""
    requests = rows(
        conn,
        "SELECT DISTINCT r.id, r.channel, r.channels, r.origin_system, r.record_key, r.scope, r.source, "
        "r.actor, r.provisional, r.occurred_at, r.received_at, r.recorded_at, r.deadline_strict, "
        "r.deadline_federal, r.ended_at FROM requests r JOIN blocks b ON b.request_id = r.id "
        "WHERE b.number = ? ORDER BY r.event_seq",
        e164,
    )
    deliveries = rows(
        conn,
        "SELECT d.id, d.system, d.key, d.channel, d.want, d.state, d.open, d.known_at, d.sent_at, "
        "d.accepted_at, d.verified_at, d.attempts, d.due_at, d.deadline, d.last_error, d.vendor_ref "
        "FROM deliveries d WHERE d.number = ? ORDER BY d.id",
        e164,
    )
    for delivery in deliveries:
        delivery["proof"] = str(proof(delivery))
    blocked = conn.execute(
        "SELECT DISTINCT channel FROM blocks WHERE number = ? AND ended_seq IS NULL ORDER BY channel", (e164,)
    )
    return {
        "number": e164,
        "blocked": [row[0] for row in blocked],
        "requests": requests,
        "reversals": rows(conn, "SELECT * FROM reversals WHERE number = ? ORDER BY event_seq", e164),
        "programmes_restored": rows(
            conn, "SELECT system, scope, since FROM restorations WHERE number = ? AND ended_seq IS NULL", e164
        ),
        "statements": rows(
            conn,
            "SELECT system, ref, channel, scope, reading, source, at, request_id FROM statements "
            "WHERE number = ? ORDER BY event_seq",
            e164,
        ),
        "waits_for": waits_for(conn, e164),
        "deliveries": deliveries,
        "holdings": rows(
            conn,
            "SELECT h.system, h.key, h.base_voice, h.base_sms, h.gone, h.seen_at FROM holding_numbers n "
            "JOIN holdings h ON h.system = n.system AND h.key = n.key WHERE n.number = ? "
            "ORDER BY h.system, h.key",
            e164,
        ),
    }


def waits_for(conn: Connection, e164: str) -> list[dict[str, Any]]:
    """What a tripped fuse holds of this number: its spread, or its reversal. Each with the fuse (`plan`)."""
    return rows(
        conn,
        "SELECT 'spread' AS what, h.request_id AS id, h.fuse_id AS plan, f.state FROM held h "
        "JOIN fuses f ON f.id = h.fuse_id WHERE h.number = ?1 AND h.released_seq IS NULL UNION ALL "
        "SELECT 'unblock', r.id, r.fuse_id, f.state FROM held_reversals r JOIN fuses f ON f.id = r.fuse_id "
        "WHERE r.number = ?1 AND r.state = 'waiting' ORDER BY 3, 2",
        e164,
    )


def proof(delivery: dict[str, Any]) -> ProofLevel:
    """What may be claimed of a delivery (law 4)."""
    if delivery["verified_at"] is not None:
        return ProofLevel.VERIFIED
    if delivery["accepted_at"] is not None and not delivery["open"] and delivery["state"] == "accepted":
        return ProofLevel.ACCEPTED
    return ProofLevel.UNCONFIRMED


def history(conn: Connection, e164: str) -> Iterator[dict[str, Any]]:
    """Every event that carries the number, in the ledger's order."""
    for event in events.of_number(conn, e164):
        yield {
            "seq": event.seq,
            "at": instant(event.at),
            "kind": event.kind,
            "system": event.system,
            "actor": event.actor,
            "payload": event.payload,
        }


def verdict(conn: Connection, e164: str, channel: str) -> dict[str, Any]:
    """Whether the number may be contacted on the channel, as far as internal requests go."""
    row = conn.execute(
        "SELECT b.request_id, r.source, r.origin_system, r.recorded_at, r.provisional FROM blocks b "
        "JOIN requests r ON r.id = b.request_id WHERE b.number = ? AND b.channel = ? AND b.ended_seq IS NULL "
        "ORDER BY b.since_seq LIMIT 1",
        (e164, channel),
    ).fetchone()
    if row is None:
        why = "no internal block; registries are not consulted"
        return {"number": e164, "channel": channel, "contact": True, "why": why}
    why = "pending review" if row[4] else "internal block"
    return {
        "number": e164,
        "channel": channel,
        "contact": False,
        "why": why,
        "request": row[0],
        "source": row[1],
        "system": row[2],
        "since": instant(row[3]),
    }


def quarantined(conn: Connection, system: str | None, limit: int) -> list[dict[str, Any]]:
    """Phone values that are no number, with the holding that has each."""
    return rows(
        conn,
        "SELECT system, key, raw, problem, seen_at FROM quarantine WHERE ?1 IS NULL OR system = ?1 "
        "ORDER BY system, key LIMIT ?2",
        system,
        limit,
    )


def systems(conn: Connection, now: int) -> list[dict[str, Any]]:
    """One row a system: state, open and late deliveries, oldest exposure in seconds, bookmarks."""
    found = rows(
        conn,
        "SELECT s.system, s.vendor, s.state, s.since, s.reason, s.snapshot_at, "
        "(SELECT count(*) FROM holdings h WHERE h.system = s.system) AS holdings, "
        "(SELECT updated_at FROM bookmarks b WHERE b.system = s.system AND b.feed = 'changes') AS polled_at, "
        "(SELECT holdings FROM bookmarks b WHERE b.system = s.system AND b.feed = 'snapshot' AND NOT b.done) "
        "AS snapshot_running, "
        "(SELECT count(*) FROM deliveries d WHERE d.system = s.system AND d.open = 1) AS open, "
        "(SELECT count(*) FROM deliveries d WHERE d.system = s.system AND d.open = 1 AND d.deadline < ?1) "
        "AS late, "
        "(SELECT (?1 - min(known_at)) / 1000000 FROM deliveries d WHERE d.system = s.system AND d.open = 1 "
        "AND d.want = 'set') AS oldest_exposure_seconds, "
        "(SELECT count(*) FROM looks l WHERE l.system = s.system) AS looks, "
        "EXISTS (SELECT 1 FROM freezes f WHERE f.system = s.system AND f.ended_at IS NULL) AS frozen "
        "FROM systems s ORDER BY s.system",
        now,
    )
    for row in found:
        row["polled_at"] = instant(row["polled_at"])
        row["frozen"] = bool(row["frozen"])
    return found


def open_findings(conn: Connection, limit: int = 100) -> list[dict[str, Any]]:
    """Findings that nobody and nothing closed yet, the gravest first."""
    return rows(
        conn,
        "SELECT id, kind, system, subject, severity, owner, summary, opened_at, last_at, count, due_at "
        "FROM findings WHERE closed_at IS NULL ORDER BY severity <> 'page', opened_at LIMIT ?",
        limit,
    )


def totals(conn: Connection) -> dict[str, int]:
    """Blocked numbers, requests, events and open findings."""
    row = conn.execute(
        "SELECT (SELECT count(*) FROM (SELECT DISTINCT number FROM blocks WHERE ended_seq IS NULL)), "
        "(SELECT count(*) FROM requests), (SELECT ifnull(max(seq), 0) FROM events), "
        "(SELECT count(*) FROM findings WHERE closed_at IS NULL)"
    ).fetchone()
    return dict(zip(("blocked_numbers", "requests", "events", "open_findings"), row, strict=True))


def rows(conn: Connection, sql: str, *params: Any) -> list[dict[str, Any]]:
    """The rows of a query by column name, with instants as ISO 8601, UTC."""
    cursor = conn.execute(sql, params)
    names = [column[0] for column in cursor.description]
    return [
        {name: instant(value) if name in _INSTANTS else value for name, value in zip(names, row, strict=True)}
        for row in cursor
    ]


def instant(micros: int | None) -> str | None:
    """Microseconds as ISO 8601, UTC."""
    return None if micros is None else from_micros(micros).isoformat(timespec="milliseconds")
