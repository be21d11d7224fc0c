"""The write: what is about to be sent is recorded before the call, and what became of it after."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dncsync.clock import from_micros
from dncsync.connector import Change, Failure, FailureKind, Written
from dncsync.ledger.events import NewEvent
from dncsync.ledger.projections import record
from dncsync.ledger.writer import Tx
from dncsync.model import Channel, Flag
from dncsync.sync import findings
from dncsync.sync.patience import ANSWER_WITHIN, SECOND, Jitter, wait_after
from dncsync.sync.topology import SystemFacts, shown
from dncsync.sync.will import chunks, marks, unique


@dataclass(frozen=True, slots=True)
class Batch:
    """Changes about to be written, each with the deliveries that it carries out."""

    changes: tuple[Change, ...]
    ids: Mapping[str, tuple[int, ...]]
    """key -> delivery ids."""
    attempts: Mapping[int, int]


def begin_write(
    tx: Tx, at: int, facts: SystemFacts, want: Flag, *, backfill: bool, only: Sequence[str] | None = None
) -> Batch | None:
    """Takes the due deliveries whose deadline is nearest, and records that they are being sent (durable
    before the call, so that what comes back after a crash is known as ours). None: nothing is due."""
    extra = f" AND key IN ({marks(only)})" if only is not None else ""
    rows = tx.execute(
        "SELECT id, key, channel, attempts, request_id FROM deliveries WHERE system = ? AND open = 1 "  # noqa: S608
        # The plus keeps this on the index that is in this order: a whole backlog is not sorted for a batch.
        f"AND state = 'due' AND want = ? AND backfill = ? AND +due_at <= ?{extra} "
        "ORDER BY deadline, id LIMIT ?",
        (
            facts.name,
            want,
            int(backfill),
            at,
            *(only or ()),
            facts.capabilities.write_batch * len(facts.capabilities.channels),
        ),
    ).fetchall()
    if not rows:
        return None
    batch = batch_of(tx, facts, want, rows)
    note_sent(tx, at, [(facts, batch)])
    return batch


def batch_of(
    tx: Tx, facts: SystemFacts, want: Flag, rows: Sequence[tuple[int, str, str, int, str | None]]
) -> Batch:
    """Due deliveries as one call's changes, as many as one call takes. `rows`: id, key, channel, attempts so
    far, and request of each."""
    # A batch is so many holdings, each with all its channels.
    keys = set(unique([row[1] for row in rows])[: facts.capabilities.write_batch])
    by_key: dict[str, list[tuple[int, str, str | None]]] = {}
    for delivery_id, key, channel, _, request_id in rows:
        if key in keys:
            by_key.setdefault(key, []).append((delivery_id, channel, request_id))
    changes = []
    for key, parts in by_key.items():
        request_id = next((p[2] for p in parts if p[2]), None)
        source, asked = _evidence(tx, request_id)
        changes.append(
            Change(
                key=key,
                wants={Channel(p[1]): want for p in parts},
                request_id=request_id or "",
                source=source,
                requested_at=asked,
            )
        )
    return Batch(
        changes=tuple(changes),
        ids={key: tuple(p[0] for p in parts) for key, parts in by_key.items()},
        attempts={row[0]: row[3] + 1 for row in rows if row[1] in keys},
    )


def note_sent(tx: Tx, at: int, batches: Sequence[tuple[SystemFacts, Batch]]) -> None:
    """Records that these are being sent, in one event: an opt-out goes to several systems at once."""
    ids = [i for _, batch in batches for i in batch.attempts]
    due_at = at + int(ANSWER_WITHIN * SECOND)
    only = batches[0][0].name if len(batches) == 1 else None
    record(tx, NewEvent("deliveries.sent", at, {"ids": ids, "due_at": due_at}, system=only))
    for facts, batch in batches:
        for channel in facts.capabilities.channels:
            # What was accepted last says nothing of this write, but is all we have where nothing can be read.
            unanswered = f", told_{channel} = NULL" if facts.capabilities.can_read else ""
            tx.executemany(
                # Also where the cache was lost: else what comes back would be taken for somebody's request.
                "INSERT INTO holdings (system, key, numbers, revision, gone, seen_at, "  # noqa: S608
                f"written_{channel}) VALUES (?, ?, '[]', '', 0, ?, ?) ON CONFLICT (system, key) DO UPDATE "
                f"SET written_{channel} = excluded.written_{channel}{unanswered}",
                [
                    (facts.name, change.key, at, change.wants[channel])
                    for change in batch.changes
                    if channel in change.wants
                ],
            )


def _evidence(tx: Tx, request_id: str | None) -> tuple[str, datetime | None]:
    if request_id is None:
        return "", None
    row = tx.execute("SELECT source, occurred_at FROM requests WHERE id = ?", (request_id,)).fetchone()
    return (row[0], from_micros(row[1])) if row else ("", None)


def end_write(
    tx: Tx, at: int, facts: SystemFacts, batch: Batch, results: Sequence[Written], jitter: Jitter
) -> list[str]:
    """Records what became of each change: accepted, unknown (to be read), or failed (to be sent again).

    Returns the keys of which a delivery was closed while the call was on its way: the will changed meanwhile,
    and what was sent may have landed after the last look at them.
    """
    capabilities = facts.capabilities
    answered = {result.key: result for result in results}
    waiting = _still_open(tx, [i for ids in batch.ids.values() for i in ids])
    overtaken = [key for key, ids in batch.ids.items() if not waiting.issuperset(ids)]
    accepted: list[tuple[int, str]] = []
    failed: list[dict[str, Any]] = []
    good: list[str] = []
    for change in batch.changes:
        result = answered.get(change.key)
        if result is None:
            failure: Failure | None = Failure(FailureKind.UNKNOWN, "the answer did not name this item")
        else:
            failure = result.failure
        if failure is None:
            good.append(change.key)
            accepted += [(i, result.ref if result else "") for i in batch.ids[change.key] if i in waiting]
            for channel, flag in change.wants.items():
                tx.execute(
                    f"UPDATE holdings SET told_{channel} = ? WHERE system = ? AND key = ?",  # noqa: S608
                    (flag, facts.name, change.key),
                )
            continue
        for delivery_id in sorted(waiting.intersection(batch.ids[change.key])):
            wait = wait_after(failure, batch.attempts[delivery_id], jitter)
            to_read = failure.kind is FailureKind.UNKNOWN and capabilities.can_read
            if to_read:
                wait = max(1.0, capabilities.read_after)
            failed.append(
                {
                    "id": delivery_id,
                    "state": "sent" if to_read else "due",
                    "due_at": at + int(wait * SECOND),
                    "error": f"{failure.kind}: {failure.message}",
                }
            )
        if failure.kind is FailureKind.REJECTED:
            findings.open_finding(
                tx,
                at,
                "rejected",
                facts.name,
                change.key,
                f"{facts.name} refuses the change of {shown(facts, change.key)}: {failure.message}",
                detail={"code": failure.code},
            )
    if accepted:
        read_at = at + int(capabilities.read_after * SECOND) if capabilities.can_read else None
        record(
            tx,
            NewEvent("deliveries.accepted", at, {"accepted": accepted, "due_at": read_at}, system=facts.name),
        )
        if not capabilities.can_read:
            healed(tx, at, facts, good, "accepted there")
    if failed:
        record(tx, NewEvent("deliveries.failed", at, {"failed": failed}, system=facts.name))
    return overtaken


def _still_open(tx: Tx, ids: Sequence[int]) -> set[int]:
    open_now = "SELECT id FROM deliveries WHERE open = 1 AND id IN (SELECT value FROM json_each(?))"
    return {row[0] for row in tx.execute(open_now, (json.dumps(ids),))}


def healed(tx: Tx, at: int, facts: SystemFacts, keys: Iterable[str], by: str) -> None:
    """Closes what a person was told of writes that failed under these keys, where nothing is left to do."""
    for chunk in chunks([f"{kind}/{facts.name}/{key}" for key in keys for kind in ("rejected", "not-kept")]):
        rows = tx.execute(
            "SELECT kind, subject FROM findings WHERE closed_at IS NULL "  # noqa: S608
            f"AND id IN ({marks(chunk)}) AND NOT EXISTS (SELECT 1 FROM deliveries d "
            "WHERE d.system = findings.system AND d.key = findings.subject AND d.open = 1)",
            chunk,
        ).fetchall()
        for kind, key in rows:
            findings.close_finding(tx, at, kind, facts.name, key, by)
