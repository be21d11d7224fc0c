"""Deliveries: opened where the ledger's will and a holding differ, closed only by what was read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dncsync.clock import from_micros
from dncsync.connector import Change, Failure, FailureKind, Written
from dncsync.ledger.events import NewEvent
from dncsync.ledger.projections import record
from dncsync.ledger.writer import Tx
from dncsync.model import Channel, Flag, Role
from dncsync.numbers import mask_text
from dncsync.rules import must_write
from dncsync.sync import canary_marks, findings
from dncsync.sync.handover import Handover
from dncsync.sync.topology import SystemFacts, Topology
from dncsync.sync.will import anything_held, chunks, desired, marks, waits

SECOND = 1_000_000
"""The ledger counts microseconds."""
LONGEST_BACKOFF = 900.0
"""Seconds; there is no last attempt (law 5)."""
REJECTED_BACKOFF = 3600.0
"""Seconds; a person has a finding, and the vendor's mind may change."""
ANSWER_WITHIN = 90.0
"""Seconds after which a call that was begun and never recorded (a crash) is settled by reading."""

FIND = "?"
"""A look whose key begins so asks for the records of a number, where no snapshot has found them yet."""

Jitter = Callable[[], float]
"""A number in [0, 1)."""


def backoff(attempts: int, jitter: Jitter) -> float:
    """Seconds to wait after so many attempts: exponential, half of it random, at most 15 minutes."""
    full = min(LONGEST_BACKOFF, 2.0 ** min(attempts, 12))
    return full * (0.5 + 0.5 * jitter())


@dataclass(frozen=True, slots=True)
class Goals:
    """Internal goals in seconds by kind of system (REV-05, policy `sla_seconds`)."""

    seconds: Mapping[Role, float]

    def deadline(self, at: int, role: Role) -> int:
        """When a delivery that is known at `at` (microseconds) should be verified."""
        return at + int(self.seconds[role] * SECOND)


# --- opening and closing --------------------------------------------------------------------------------


def settle_numbers(
    tx: Tx, at: int, topology: Topology, goals: Goals, numbers: Iterable[str], *, backfill: bool = False
) -> None:
    """Compares the ledger's will for these numbers with every holding that has them, in every system."""
    numbers = list(dict.fromkeys(numbers))
    work: dict[str, dict[str, str]] = {}
    for chunk in chunks(numbers):
        rows = tx.execute(
            f"SELECT system, key, number FROM holding_numbers WHERE number IN ({marks(chunk)})",  # noqa: S608
            chunk,
        )
        for system, key, number in rows.fetchall():
            if system in topology:
                work.setdefault(system, {})[key] = number
    for facts in topology.values():
        if not facts.by_number:
            if not backfill and not _listed(tx, facts.name):
                look(tx, at, facts.name, [FIND + number for number in numbers])
            continue
        entries = [(number, facts.name, key) for number in numbers for key in facts.keys_for(number)]
        tx.executemany("INSERT OR IGNORE INTO holding_numbers VALUES (?,?,?)", entries)
        tx.executemany(
            "INSERT OR IGNORE INTO holdings (system, key, numbers, revision, gone, seen_at) "
            "VALUES (?, ?, '[]', '', 0, ?)",
            [(facts.name, key, at) for _, _, key in entries],
        )
        work.setdefault(facts.name, {}).update({key: number for number, _, key in entries})
    for system, keys in work.items():
        settle(tx, at, topology, goals, topology[system], keys, backfill=backfill)


def settle(
    tx: Tx,
    at: int,
    topology: Topology,
    goals: Goals,
    facts: SystemFacts,
    keys: Mapping[str, str | None],
    *,
    backfill: bool = False,
) -> None:
    """Opens what is due for these holdings and closes what is not wanted any more. `keys`: key -> the number
    on whose account, where one is known."""
    opened: list[dict[str, Any]] = []
    superseded: list[int] = []
    held = anything_held(tx)
    next_id = tx.execute("SELECT ifnull(max(id), 0) + 1 FROM deliveries").fetchone()[0]
    for key, number in keys.items():
        row = tx.execute(
            "SELECT gone, base_voice, base_sms, written_voice, written_sms, told_voice, told_sms "
            "FROM holdings WHERE system = ? AND key = ?",
            (facts.name, key),
        ).fetchone()
        if row is None:
            continue
        for channel in sorted(facts.capabilities.channels):
            column = 1 if channel is Channel.VOICE else 2
            base, written, told = (_flag(row[column + i]) for i in (0, 2, 4))
            nowhere = base is Flag.ABSENT or (row[0] and not facts.by_number)
            want = desired(tx, facts, key, channel)
            open_row = tx.execute(
                "SELECT id, want, sent_at FROM deliveries WHERE system = ? AND key = ? AND channel = ? "
                "AND open = 1",
                (facts.name, key, channel),
            ).fetchone()
            if open_row is not None and (open_row[1] != want or nowhere):
                superseded.append(open_row[0])
                if open_row[2] is not None:
                    look(tx, at, facts.name, [key])  # what was sent may have landed, or may yet
                open_row = None
            if open_row is not None or nowhere:
                continue
            if not _due(facts, want, base, written, told):
                continue
            if held and want is Flag.SET and waits(tx, facts, key, channel):
                continue  # law 9: it stands here, and spreads when its fuse is approved
            if want is Flag.CLEAR and not facts.capabilities.can_clear:
                if canary_marks.is_canary(tx, number):
                    continue  # a run says so itself, each time
                findings.open_finding(
                    tx,
                    at,
                    "cannot-clear",
                    facts.name,
                    facts.name,
                    f"{facts.name} cannot take a block away by API; the consumer must do it there",
                    severity="info",
                )
                continue
            opened.append(
                {
                    "id": next_id + len(opened),
                    "system": facts.name,
                    "key": key,
                    "channel": channel,
                    "want": want,
                    "number": number,
                    "request_id": _cause(tx, facts, key, number, channel) if want is Flag.SET else None,
                    "backfill": backfill,
                    "known_at": at,
                    "due_at": at,
                    "deadline": goals.deadline(at, facts.capabilities.role),
                }
            )
    if superseded:
        close(tx, at, superseded, "superseded")
    if opened:
        numbers = [d["number"] for d in opened if d["number"]]
        record(
            tx,
            NewEvent(
                "deliveries.opened", at, {"deliveries": opened}, system=facts.name, numbers=unique(numbers)
            ),
        )
        if not backfill:
            _hand_over(tx, at, topology, facts)
        tx.after_commit(lambda: topology.wake([facts.name]))


def _hand_over(tx: Tx, at: int, topology: Topology, facts: SystemFacts) -> None:
    handover: Handover[Batch] | None = topology.handovers.get(facts.name)
    if handover is None or not handover.claim():
        return
    batch = begin_write(tx, at, facts, Flag.SET, backfill=False)
    if batch is not None:
        tx.after_commit(lambda: handover.give(batch))


def _listed(tx: Tx, system: str) -> bool:
    row = tx.execute("SELECT snapshot_at FROM systems WHERE system = ?", (system,)).fetchone()
    return row is not None and row[0] is not None


def _due(facts: SystemFacts, want: Flag, base: Flag | None, written: Flag | None, told: Flag | None) -> bool:
    readable = facts.capabilities.can_read
    if readable and written is Flag.CLEAR:
        return want is Flag.SET  # a clear of ours may have landed; setting again is safe
    return must_write(base, want, readable=readable, told=told)


def _cause(tx: Tx, facts: SystemFacts, key: str, number: str | None, channel: Channel) -> str | None:
    if number is not None:
        row = tx.execute(
            "SELECT request_id FROM blocks WHERE number = ? AND channel = ? AND ended_seq IS NULL "
            # One that waits for approval is nobody's reason to write.
            "ORDER BY EXISTS (SELECT 1 FROM held w WHERE w.number = blocks.number AND w.request_id = "
            "blocks.request_id AND w.released_seq IS NULL), since_seq DESC LIMIT 1",
            (number, channel),
        ).fetchone()
        if row:
            return str(row[0])
    row = tx.execute(
        "SELECT id FROM requests WHERE record_system = ? AND record_key = ? AND ended_seq IS NULL LIMIT 1",
        (facts.name, key),
    ).fetchone()
    return str(row[0]) if row else None


def close(tx: Tx, at: int, ids: Sequence[int], state: str) -> None:
    """Ends deliveries without a claim: `superseded` (the will changed) or `moot` (nothing to do there)."""
    if ids:
        record(tx, NewEvent("deliveries.closed", at, {"ids": list(ids), "state": state}))


def look(
    tx: Tx,
    at: int,
    system: str,
    keys: Iterable[str],
    *,
    delay: float = 0.0,
    backfill: bool = False,
    approved: bool = False,
) -> None:
    """Has these keys read afresh soon. A hint that comes twice is one look; with `backfill` it goes, with all
    that follows from it, behind fresh opt-outs, unless somebody else is waiting for it too. `approved`: a
    person approved what it will find, so that no fuse asks again."""
    due = at + int(delay * SECOND)
    tx.executemany(
        "INSERT INTO looks (system, key, due_at, attempts, backfill, approved) VALUES (?,?,?,0,?,?) "
        "ON CONFLICT (system, key) DO UPDATE SET due_at = min(due_at, excluded.due_at), "
        "backfill = min(backfill, excluded.backfill), approved = max(approved, excluded.approved)",
        [(system, key, due, int(backfill), int(approved)) for key in keys],
    )


@dataclass(frozen=True, slots=True)
class Pending:
    """What is due for one system now."""

    opt_outs: bool
    clears: bool
    backfill: bool
    reads: bool


def pending(tx: Tx, at: int, system: str) -> Pending:
    """A cheap look before a turn, so that a quiet turn costs one statement."""
    due = "SELECT 1 FROM deliveries WHERE system = :s AND open = 1 AND due_at <= :at AND state"
    row = tx.execute(
        f"SELECT EXISTS ({due} = 'due' AND want = 'set' AND backfill = 0), "  # noqa: S608
        f"EXISTS ({due} = 'due' AND want = 'clear'), "
        f"EXISTS ({due} = 'due' AND want = 'set' AND backfill = 1), "
        f"EXISTS ({due} IN ('sent', 'accepted')) OR "
        "EXISTS (SELECT 1 FROM looks WHERE system = :s AND due_at <= :at)",
        {"s": system, "at": at},
    ).fetchone()
    return Pending(*map(bool, row))


# --- the write ------------------------------------------------------------------------------------------


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
        f"AND state = 'due' AND want = ? AND backfill = ? AND due_at <= ?{extra} "
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
    # A batch is so many holdings, each with all its channels.
    keys = set(unique([row[1] for row in rows])[: facts.capabilities.write_batch])
    rows = [row for row in rows if row[1] in keys]
    by_key: dict[str, list[tuple[int, str, int, str | None]]] = {}
    for delivery_id, key, channel, attempts, request_id in rows:
        by_key.setdefault(key, []).append((delivery_id, channel, attempts, request_id))
    ids = [row[0] for row in rows]
    due_at = at + int(ANSWER_WITHIN * SECOND)
    record(tx, NewEvent("deliveries.sent", at, {"ids": ids, "due_at": due_at}, system=facts.name))
    for channel in facts.capabilities.channels:
        tx.executemany(
            # Also where the cache was lost: else what comes back would be taken for somebody's request.
            f"INSERT INTO holdings (system, key, numbers, revision, gone, seen_at, written_{channel}) "  # noqa: S608
            "VALUES (?, ?, '[]', '', 0, ?, ?) ON CONFLICT (system, key) DO UPDATE "
            f"SET written_{channel} = excluded.written_{channel}",
            [(facts.name, row[1], at, want) for row in rows if row[2] == channel],
        )
    changes = []
    for key, parts in by_key.items():
        request_id = next((p[3] for p in parts if p[3]), None)
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
        attempts={row[0]: row[3] + 1 for row in rows},
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


def wait_after(failure: Failure, attempts: int, jitter: Jitter) -> float:
    if failure.retry_after is not None:
        return min(max(failure.retry_after, 0.1), 86_400.0)
    if failure.kind is FailureKind.REJECTED:
        return REJECTED_BACKOFF * (0.5 + 0.5 * jitter())
    return backoff(attempts, jitter)


def shown(facts: SystemFacts, key: str) -> str:
    """A key as a finding may show it: a list entry's is a phone number."""
    return mask_text(key) if facts.by_number else key


def _flag(value: str | None) -> Flag | None:
    return None if value is None else Flag(value)


def unique(values: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(values))
