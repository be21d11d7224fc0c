"""Deliveries: opened where the ledger's will and a holding differ, closed only by what was read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
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
from dncsync.sync.writing import Batch, batch_of, note_sent

UNDER_WAY = "state IN ('sent', 'accepted') AND want IN ('set', 'clear') AND backfill IN (0, 1)"
"""SQL: deliveries that were sent; each column of `deliveries_due`, so that their times are found by it."""
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
    origin: SystemFacts | None = None,
) -> None:
    """Compares the ledger's will for these numbers with every holding that has them, in every system.

    `origin`: the system in which they were read or said. They are not searched for there: its first full
    read brings its other records, and a search each would use up the vendor's lowest limit. And it knows
    already, so the others are told first.
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
            listing = origin is not None and facts.name == origin.name and facts.capabilities.can_list
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
    opening = _Opening(tx, at, topology, goals, backfill)
    for system, keys in work.items():
        opening.compare(topology[system], keys)
    opening.record(after=origin)


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
    opening = _Opening(tx, at, topology, goals, backfill)
    opening.compare(facts, keys)
    opening.record()


class _Opening:
    """The deliveries that one change of the ledger makes due, in all systems, recorded in one event."""

    def __init__(self, tx: Tx, at: int, topology: Topology, goals: Goals, backfill: bool) -> None:
        self._tx = tx
        self._at = at
        self._topology = topology
        self._goals = goals
        self._backfill = backfill
        self._held = anything_held(tx)
        self._next_id = tx.execute("SELECT ifnull(max(id), 0) + 1 FROM deliveries").fetchone()[0]
        self._opened: list[dict[str, Any]] = []
        self._superseded: list[int] = []
        self._causes: dict[tuple[str, Channel], str | None] = {}

    def compare(self, facts: SystemFacts, keys: Mapping[str, str | None]) -> None:
        """Finds what is due for these holdings of one system."""
        for key, number in keys.items():
            row = self._tx.execute(
                "SELECT gone, base_voice, base_sms, written_voice, written_sms, told_voice, told_sms "
                "FROM holdings WHERE system = ? AND key = ?",
                (facts.name, key),
            ).fetchone()
            if row is None:
                continue
            for channel in sorted(facts.capabilities.channels):
                column = 1 if channel is Channel.VOICE else 2
                base, written, told = (_flag(row[column + i]) for i in (0, 2, 4))
                nowhere = base is Flag.ABSENT or bool(row[0] and not facts.by_number)
                want = desired(self._tx, facts, key, channel)
                if not self._stands(facts, key, channel, want, nowhere) and _due(
                    facts, want, base, written, told
                ):
                    self._open(facts, key, number, channel, want)

    def _stands(self, facts: SystemFacts, key: str, channel: Channel, want: Flag, nowhere: bool) -> bool:
        """Whether there is nothing to open: the same is open already, or there is nowhere to write it."""
        row = self._tx.execute(
            "SELECT id, want, sent_at FROM deliveries WHERE system = ? AND key = ? AND channel = ? "
            "AND open = 1",
            (facts.name, key, channel),
        ).fetchone()
        if row is not None and (row[1] != want or nowhere):
            self._superseded.append(row[0])
            if row[2] is not None:
                look(self._tx, self._at, facts.name, [key])  # what was sent may have landed, or may yet
            row = None
        return row is not None or nowhere

    def _open(self, facts: SystemFacts, key: str, number: str | None, channel: Channel, want: Flag) -> None:
        tx, at = self._tx, self._at
        if self._held and want is Flag.SET and waits(tx, facts, key, channel):
            return  # law 9: it stands here, and spreads when its fuse is approved
        if want is Flag.CLEAR and not facts.capabilities.can_clear:
            if not canary_marks.is_canary(tx, number):  # a run says so itself, each time
                findings.open_finding(
                    tx,
                    at,
                    "cannot-clear",
                    facts.name,
                    facts.name,
                    f"{facts.name} cannot take a block away by API; the consumer must do it there",
                    severity="info",
                )
            return
        self._opened.append(
            {
                "id": self._next_id + len(self._opened),
                "system": facts.name,
                "key": key,
                "channel": channel,
                "want": want,
                "number": number,
                "request_id": self._cause(facts, key, number, channel) if want is Flag.SET else None,
                "backfill": self._backfill,
                "known_at": at,
                "due_at": at,
                "deadline": self._goals.deadline(at, facts.capabilities.role),
            }
        )

    def _cause(self, facts: SystemFacts, key: str, number: str | None, channel: Channel) -> str | None:
        found = None
        if number is not None:
            if (number, channel) not in self._causes:
                self._causes[number, channel] = _blocking(self._tx, number, channel)
            found = self._causes[number, channel]
        return found or _asking(self._tx, facts.name, key)

    def record(self, *, after: SystemFacts | None = None) -> None:
        """Records what was found, and hands it to the loops that wait. `after`: a system that knows already;
        its loop comes to it in its own time."""
        tx, at = self._tx, self._at
        close(tx, at, self._superseded, "superseded")
        if not self._opened:
            return
        systems = unique([d["system"] for d in self._opened])
        only = systems[0] if len(systems) == 1 else None
        numbers = unique([d["number"] for d in self._opened if d["number"]])
        payload = {"deliveries": self._opened}
        record(tx, NewEvent("deliveries.opened", at, payload, system=only, numbers=numbers))
        if not self._backfill:
            at_once = [s for s in systems if after is None or s != after.name]
            self._hand_over({name: handover for name in at_once if (handover := self._waiting(name))})
        tx.after_commit(lambda: self._topology.wake(systems))

    def _waiting(self, system: str) -> Handover[Batch] | None:
        if not any(d["system"] == system and d["want"] is Flag.SET for d in self._opened):
            return None
        handover: Handover[Batch] | None = self._topology.handovers.get(system)
        return handover if handover is not None and handover.claim() else None

    def _hand_over(self, waiting: Mapping[str, Handover[Batch]]) -> None:
        batches = []
        for name, handover in waiting.items():
            facts = self._topology[name]
            rows = [
                (d["id"], d["key"], d["channel"], 0, d["request_id"])
                for d in self._opened
                if d["system"] == name and d["want"] is Flag.SET
            ]
            batch = batch_of(self._tx, facts, Flag.SET, rows)
            batches.append((facts, batch))
            self._tx.after_commit(partial(handover.give, batch))
        if batches:
            note_sent(self._tx, self._at, batches)


def _listed(tx: Tx, system: str) -> bool:
    row = tx.execute("SELECT snapshot_at FROM systems WHERE system = ?", (system,)).fetchone()
    return row is not None and row[0] is not None


def _due(facts: SystemFacts, want: Flag, base: Flag | None, written: Flag | None, told: Flag | None) -> bool:
    readable = facts.capabilities.can_read
    if readable and written is Flag.CLEAR:
        return want is Flag.SET  # a clear of ours may have landed; setting again is safe
    return must_write(base, want, readable=readable, told=told)


def _blocking(tx: Tx, number: str, channel: Channel) -> str | None:
    """The newest request that blocks the number."""
    row = tx.execute(
        "SELECT request_id FROM blocks WHERE number = ? AND channel = ? AND ended_seq IS NULL "
        # One that waits for approval is nobody's reason to write.
        "ORDER BY EXISTS (SELECT 1 FROM held w WHERE w.number = blocks.number AND w.request_id = "
        "blocks.request_id AND w.released_seq IS NULL), since_seq DESC LIMIT 1",
        (number, channel),
    ).fetchone()
    return str(row[0]) if row else None


def _asking(tx: Tx, system: str, key: str) -> str | None:
    """A request that was made on the record itself."""
    row = tx.execute(
        "SELECT id FROM requests WHERE record_system = ? AND record_key = ? AND ended_seq IS NULL LIMIT 1",
        (system, key),
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
    due = "SELECT 1 FROM deliveries WHERE system = :s AND open = 1 AND due_at <= :at AND"
    row = tx.execute(
        # Every column of the index is named, or a backlog of hundreds of thousands is walked each turn.
        f"SELECT EXISTS ({due} state = 'due' AND want = 'set' AND backfill = 0), "  # noqa: S608
        f"EXISTS ({due} state = 'due' AND want = 'clear' AND backfill IN (0, 1)), "
        f"EXISTS ({due} state = 'due' AND want = 'set' AND backfill = 1), "
        f"EXISTS ({due} {UNDER_WAY}) OR "
        "EXISTS (SELECT 1 FROM looks WHERE system = :s AND due_at <= :at)",
        {"s": system, "at": at},
    ).fetchone()
    return Pending(*map(bool, row))


def _flag(value: str | None) -> Flag | None:
    return None if value is None else Flag(value)
