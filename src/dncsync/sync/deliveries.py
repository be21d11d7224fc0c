"""Deliveries: opened where the ledger's will and a holding differ, closed only by what was read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dncsync.ledger.events import NewEvent
from dncsync.ledger.projections import record
from dncsync.ledger.writer import Tx
from dncsync.model import Channel, Flag, Role
from dncsync.rules import must_write
from dncsync.sync import canary_marks, findings
from dncsync.sync.handover import Handover
from dncsync.sync.patience import SECOND
from dncsync.sync.topology import SystemFacts, Topology
from dncsync.sync.will import anything_held, chunks, desired, marks, unique, waits
from dncsync.sync.writing import Batch, begin_write

FIND = "?"
"""A look whose key begins so asks for the records of a number, where no snapshot has found them yet."""


@dataclass(frozen=True, slots=True)
class Goals:
    """Internal goals in seconds by kind of system (REV-05, policy `sla_seconds`)."""

    seconds: Mapping[Role, float]

    def deadline(self, at: int, role: Role) -> int:
        """When a delivery that is known at `at` (microseconds) should be verified."""
        return at + int(self.seconds[role] * SECOND)


def settle_numbers(
    tx: Tx,
    at: int,
    topology: Topology,
    goals: Goals,
    numbers: Iterable[str],
    *,
    backfill: bool = False,
    found_in: SystemFacts | None = None,
) -> None:
    """Compares the ledger's will for these numbers with every holding that has them, in every system.

    `found_in`: the system that was being read when they were found. They are not searched for there: its
    first full read brings its other records, and a search each would use up the vendor's lowest limit.
    """
    numbers = unique(numbers)
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
            listing = found_in is not None and facts.name == found_in.name and facts.capabilities.can_list
            if not (backfill or listing or _listed(tx, facts.name)):
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


def _flag(value: str | None) -> Flag | None:
    return None if value is None else Flag(value)
