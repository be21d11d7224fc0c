"""The projections of canary runs: `canary_runs` and `canary_legs`, computed from `canary.*` events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dncsync.ledger.events import Event
from dncsync.ledger.writer import Tx

TABLES = ("canary_runs", "canary_legs")

Payload = Mapping[str, Any]


def _begun(tx: Tx, event: Event, payload: Payload) -> None:
    tx.execute(
        "INSERT INTO canary_runs (id, number, origin, origin_key, channel, actor, hook_expected, "
        "seen_within, begun_at, hook_late, event_seq) VALUES (?,?,?,?,?,?,?,?,?,0,?)",
        (
            payload["id"],
            event.number,
            event.system,
            payload["key"],
            payload["channel"],
            event.actor,
            int(payload["hook_expected"]),
            payload["seen_within"],
            event.at,
            event.seq,
        ),
    )
    tx.executemany(
        "INSERT INTO canary_legs (run_id, system, expects, why, within, set_lost) VALUES (?,?,?,?,?,0)",
        [
            (payload["id"], leg["system"], leg["expects"], leg["why"], leg["within"])
            for leg in payload["legs"]
        ],
    )


def _writing(tx: Tx, event: Event, payload: Payload) -> None:
    tx.execute("UPDATE canary_runs SET writing_at = ? WHERE id = ?", (event.at, payload["id"]))


def _written(tx: Tx, event: Event, payload: Payload) -> None:
    refused = payload.get("refused")
    tx.execute(
        "UPDATE canary_runs SET written_at = ?, refused = ?, note = ? WHERE id = ?",
        (None if refused else event.at, refused, payload.get("words"), payload["id"]),
    )


def _kept(tx: Tx, event: Event, payload: Payload) -> None:
    tx.execute("UPDATE canary_runs SET kept = ? WHERE id = ?", (payload["shows"], payload["id"]))


def _hinted(tx: Tx, event: Event, payload: Payload) -> None:
    tx.execute("UPDATE canary_runs SET hinted_at = ? WHERE id = ?", (event.at, payload["id"]))


def _seen(tx: Tx, event: Event, payload: Payload) -> None:
    tx.execute(
        "UPDATE canary_runs SET seen_at = ifnull(seen_at, ?), "
        "requests = ifnull(requests || ',', '') || ? WHERE id = ?",
        (event.at, ",".join(payload["requests"]), payload["id"]),
    )


def _leg(tx: Tx, event: Event, payload: Payload) -> None:
    """What became of one leg; only the columns that the event names."""
    for column in ("set_at", "set_late", "set_lost", "cleared_at", "clear_late"):
        if column in payload:
            tx.execute(
                f"UPDATE canary_legs SET {column} = ? WHERE run_id = ? AND system = ?",  # noqa: S608
                (payload[column], payload["id"], event.system),
            )


def _late(tx: Tx, event: Event, payload: Payload) -> None:
    if payload["stage"] == "no webhook":
        tx.execute("UPDATE canary_runs SET hook_late = 1 WHERE id = ?", (payload["id"],))
    else:
        tx.execute("UPDATE canary_runs SET late = ? WHERE id = ?", (payload["stage"], payload["id"]))


def _reversed(tx: Tx, event: Event, payload: Payload) -> None:
    tx.execute("UPDATE canary_runs SET reversed_at = ? WHERE id = ?", (event.at, payload["id"]))


def _ended(tx: Tx, event: Event, payload: Payload) -> None:
    tx.execute(
        "UPDATE canary_runs SET ended_at = ?, outcome = ?, note = ? WHERE id = ?",
        (event.at, payload["outcome"], payload["note"], payload["id"]),
    )


HANDLERS: Mapping[str, Callable[[Tx, Event, Payload], None]] = {
    "canary.begun": _begun,
    "canary.writing": _writing,
    "canary.written": _written,
    "canary.kept": _kept,
    "canary.hinted": _hinted,
    "canary.seen": _seen,
    "canary.leg": _leg,
    "canary.late": _late,
    "canary.reversed": _reversed,
    "canary.ended": _ended,
}
