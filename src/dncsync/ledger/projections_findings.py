"""Projections of findings: their life, what they freeze, and the policy that decides it.

Instants are microseconds, UTC. See `projections`; events of older ledgers lack what came later.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from dncsync.ledger.events import Event
from dncsync.ledger.writer import Tx

TABLES = ("findings", "finding_events", "freezes", "policies")

Payload = Mapping[str, Any]

_OPEN = (
    "INSERT INTO findings (id, kind, system, subject, severity, owner, summary, detail, opened_at, last_at, "
    "count, due_at, flaps, flapping, paged_at, event_seq) VALUES (?,?,?,?,?,?,?,?,?,?,1,?,0,0,?,?) "
    "ON CONFLICT (id) DO UPDATE SET summary = excluded.summary, detail = excluded.detail, "
    "last_at = excluded.last_at, severity = excluded.severity, count = count + 1, closed_at = NULL, "
    "closed_by = NULL, healed_at = NULL, healed_by = NULL, paged_at = ifnull(excluded.paged_at, paged_at)"
)
_FORGET_THE_LAST_TIME = (
    "UPDATE findings SET owner = ?, due_at = ?, note = NULL, acked_at = NULL, acked_by = NULL WHERE id = ?"
)


def _opened(tx: Tx, event: Event, payload: Payload) -> None:
    tx.execute(
        _OPEN,
        (
            payload["id"],
            payload["kind"],
            event.system,
            payload["subject"],
            payload["severity"],
            payload["owner"],
            payload["summary"],
            json.dumps(payload["detail"], sort_keys=True),
            event.at,
            event.at,
            payload["due_at"],
            event.at if payload.get("pages") else None,
            event.seq,
        ),
    )
    returned = payload.get("returned")
    if returned is not None:
        tx.execute(
            "UPDATE findings SET flaps = flaps + 1, flapping = ? WHERE id = ?",
            (int(returned == "soon"), payload["id"]),
        )
    if returned == "late":
        tx.execute(_FORGET_THE_LAST_TIME, (payload["owner"], payload["due_at"], payload["id"]))
    _remember(tx, event, payload["id"])


def _acked(tx: Tx, event: Event, payload: Payload) -> None:
    tx.execute(
        "UPDATE findings SET owner = ?, note = ifnull(?, note), due_at = ?, acked_at = ?, acked_by = ? "
        "WHERE id = ?",
        (
            payload["owner"],
            payload["note"] or None,
            payload["due_at"],
            event.at,
            event.actor,
            payload["id"],
        ),
    )
    _remember(tx, event, payload["id"])


def _closed(tx: Tx, event: Event, payload: Payload) -> None:
    tx.execute(
        "UPDATE findings SET closed_at = ?, closed_by = ?, note = ifnull(?, note) WHERE id = ?",
        (event.at, payload["by"], payload.get("note"), payload["id"]),
    )
    _remember(tx, event, payload["id"])


def _healed(tx: Tx, event: Event, payload: Payload) -> None:
    tx.execute(
        "UPDATE findings SET healed_at = ?, healed_by = ? WHERE id = ?",
        (event.at, payload["by"], payload["id"]),
    )
    _remember(tx, event, payload["id"])


def _frozen(tx: Tx, event: Event, payload: Payload) -> None:
    tx.execute(
        "INSERT INTO freezes (system, finding_id, since, by, event_seq) VALUES (?,?,?,?,?)",
        (event.system, payload["finding_id"], event.at, event.actor or "policy", event.seq),
    )
    _remember(tx, event, payload["finding_id"])


def _released(tx: Tx, event: Event, payload: Payload) -> None:
    for finding_id in payload["finding_ids"]:
        tx.execute(
            "UPDATE freezes SET ended_at = ?, ended_by = ?, note = ? WHERE system = ? AND finding_id = ? "
            "AND ended_at IS NULL",
            (event.at, event.actor, payload["note"], event.system, finding_id),
        )
        _remember(tx, event, finding_id)


def _policy_adopted(tx: Tx, event: Event, payload: Payload) -> None:
    tx.execute(
        "INSERT OR REPLACE INTO policies VALUES (?,?,?,?)",
        (payload["name"], json.dumps(payload["value"], sort_keys=True), event.at, event.seq),
    )


def _remember(tx: Tx, event: Event, finding_id: str) -> None:
    tx.execute("INSERT OR IGNORE INTO finding_events VALUES (?,?)", (finding_id, event.seq))


HANDLERS: Mapping[str, Callable[[Tx, Event, Payload], None]] = {
    "finding.opened": _opened,
    "finding.acked": _acked,
    "finding.closed": _closed,
    "finding.healed": _healed,
    "system.frozen": _frozen,
    "system.released": _released,
    "policy.adopted": _policy_adopted,
}
