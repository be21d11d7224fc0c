"""The projections of reconciliations: `reconciliations` and `comparisons`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from dncsync.ledger.events import Event
from dncsync.ledger.writer import Tx

TABLES = ("reconciliations", "comparisons")

Payload = Mapping[str, Any]


def _begun(tx: Tx, event: Event, payload: Payload) -> None:
    tx.execute(
        "INSERT INTO reconciliations (run, period, first_day, last_day, zone, seed, actor, inputs, begun_at, "
        "event_seq) VALUES (?,?,?,?,?,?,?,?,?,?)",
        (
            payload["run"],
            payload["period"],
            payload["first_day"],
            payload["last_day"],
            payload["zone"],
            payload["seed"],
            event.actor,
            json.dumps(payload["inputs"], sort_keys=True),
            event.at,
            event.seq,
        ),
    )


def _compared(tx: Tx, event: Event, payload: Payload) -> None:
    result = payload["result"]
    tx.execute(
        "INSERT OR REPLACE INTO comparisons VALUES (?,?,?,?,?,?)",
        (
            payload["run"],
            event.system,
            event.at,
            payload["reason"],
            None if result is None else json.dumps(result, sort_keys=True),
            event.seq,
        ),
    )


def _completed(tx: Tx, event: Event, payload: Payload) -> None:
    tx.execute(
        "UPDATE reconciliations SET completed_at = ?, as_of = ?, head_seq = ?, head_hash = ?, files = ? "
        "WHERE run = ?",
        (
            event.at,
            payload["as_of"],
            payload["head"]["seq"],
            payload["head"]["hash"],
            json.dumps(payload["files"], sort_keys=True),
            payload["run"],
        ),
    )


HANDLERS: Mapping[str, Callable[[Tx, Event, Payload], None]] = {
    "reconciliation.begun": _begun,
    "reconciliation.compared": _compared,
    "reconciliation.completed": _completed,
}
