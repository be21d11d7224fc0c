"""Fuses: mass changes ask first (law 9).

New blocks that are found by reading, or imported, are counted as they are recorded; so are reversals. Beyond
a limit the fuse trips, in the same transaction: the blocks stand here, and their spread waits for a person.
What people say one by one is never counted and never held.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dncsync.ledger.events import Event, NewEvent
from dncsync.ledger.projections import record
from dncsync.ledger.writer import Tx
from dncsync.model import Channel
from dncsync.policy import Fuses
from dncsync.sync import findings
from dncsync.sync.topology import Topology

SECOND = 1_000_000
FIRST_READ_TAIL = 600
"""Seconds after the end of the first full read in which what it found is still being looked at by key."""

BLOCKS, CLEARS = "blocks", "clears"
FINDING = "fuse-tripped"

Pair = tuple[str, str]
"""(request id, number it blocks in E.164; "" for the record that it was made on)."""


class How(StrEnum):
    """How requests come to the ledger."""

    SAID = "said"
    """One by one, by people: a text, a disposition, a request taken by hand. Never counted."""
    READ = "read"
    """Found on a record or a list."""
    IMPORTED = "imported"
    APPROVED = "approved"
    """Foreseen by a plan that a person approved."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What may pass: no more than `count`, and no more than `percent` where there are at least `least`."""

    count: int | None = None
    percent: float | None = None
    least: int = 0
    window: int | None = None
    """Seconds; None: since the beginning."""
    approvals: int = 1

    def enough(self, counted: int) -> int:
        """From so many known on, `counted` is no share that matters."""
        return 0 if self.percent is None or counted < self.least else int(counted * 100 / self.percent) + 1

    def as_json(self) -> dict[str, Any]:
        """For the ledger and for people."""
        return {
            "count": self.count,
            "percent": self.percent,
            "least": self.least,
            "window_seconds": self.window,
        }


def over(limit: Limit, counted: int, known: int) -> str | None:
    """Why `counted` changes are too many, where `known` is what the share is taken of; None: they are not."""
    within = "" if limit.window is None else f" within {limit.window} s"
    if limit.count is not None and counted > limit.count:
        return f"{counted:,}{within}, more than {limit.count:,}"
    if limit.percent is not None and counted >= limit.least and counted * 100 > limit.percent * known:
        return f"{counted:,} of {known:,}{within}, more than {limit.percent:g} %"
    return None


def waiting(tx: Tx, direction: str, system: str | None) -> str | None:
    """The fuse that holds what comes from this system (None: from nowhere in particular) just now."""
    row = tx.execute(
        "SELECT id FROM fuses WHERE direction = ? AND state IN ('waiting', 'approved') "
        "AND (system IS NULL OR system = ?) ORDER BY system IS NULL, event_seq LIMIT 1",
        (direction, system),
    ).fetchone()
    return str(row[0]) if row else None


def holding(tx: Tx, request_ids: Iterable[str]) -> dict[str, str]:
    """Those of the requests that a fuse holds -> its id."""
    found: dict[str, str] = {}
    for request_id in set(request_ids):
        row = tx.execute(
            "SELECT fuse_id FROM held WHERE request_id = ? AND released_seq IS NULL LIMIT 1", (request_id,)
        ).fetchone()
        if row:
            found[request_id] = str(row[0])
    return found


def arrival(
    tx: Tx, at: int, topology: Topology, system: str | None, how: How, count: int
) -> list[Any] | None:
    """What an event about to be recorded says of itself, as (kind, count); None: it is not counted."""
    if count == 0 or how not in (How.READ, How.IMPORTED):
        return None
    if how is How.IMPORTED or system is None:
        return ["import", count]
    facts = topology.get(system)
    if facts is not None and facts.capabilities.can_list and _first_read(tx, at, system):
        return ["list" if facts.by_number else "first", count]
    return ["read", count]


def guard_blocks(
    tx: Tx,
    event: Event,
    policy: Fuses,
    topology: Topology,
    arrived: Sequence[Any] | None,
    pairs: Sequence[Pair],
) -> str | None:
    """Holds what this event recorded, if a fuse waits already or trips by it. Returns that fuse."""
    if arrived is None or not pairs:
        return None
    at, system = event.at, event.system
    fuse = waiting(tx, BLOCKS, system) or _trip_blocks(tx, at, policy, topology, system, arrived[0])
    if fuse is not None:
        hold(tx, at, fuse, system, pairs, event.seq)
    return fuse


def hold(
    tx: Tx, at: int, fuse: str, system: str | None, pairs: Sequence[Pair], batch: int | None = None
) -> None:
    """`batch`: the event that recorded them, whose count goes with them."""
    payload: dict[str, Any] = {"id": fuse, "pairs": [list(pair) for pair in pairs]}
    if batch is not None:
        payload["batch"] = batch
    numbers = sorted({number for _, number in pairs if number})
    record(tx, NewEvent("fuse.held", at, payload, system=system, numbers=numbers))


def guard_clear(tx: Tx, at: int, policy: Fuses, topology: Topology, actor: str) -> str | None:
    """The fuse that one more reversal would have to wait for; trips it, if this one is too many."""
    if fuse := waiting(tx, CLEARS, None):
        return fuse
    clears = policy.clears
    limit = Limit(clears.count, clears.percent, clears.least, clears.window_seconds, clears.approvals)
    counted = 1 + _counted(tx, ("clear",), (), _since(at, limit), _decided(tx, CLEARS, None))
    sql = "SELECT DISTINCT number FROM blocks WHERE ended_seq IS NULL"
    return _trip(tx, at, topology, CLEARS, None, limit, counted, sql, (), "numbers to unblock", actor)


# --- limits ---------------------------------------------------------------------------------------------


def _trip_blocks(
    tx: Tx, at: int, policy: Fuses, topology: Topology, system: str | None, kind: str
) -> str | None:
    held = "SELECT 1 FROM holdings WHERE system = ?"
    if system is not None and kind in ("read", "first"):
        if kind == "read":
            own = policy.systems.get(system, policy.new_blocks)
            limit = Limit(own.count, own.percent, own.least, own.window_seconds, own.approvals)
            what = f"new blocks found in {system}"
        else:
            first = policy.first_read
            limit = Limit(None, first.percent, first.least, None, first.approvals)
            what = f"blocks found in the first full read of {system}"
        counted = _counted(tx, (kind,), (system,), _since(at, limit), _decided(tx, BLOCKS, system))
        fuse = _trip(tx, at, topology, BLOCKS, system, limit, counted, held, (system,), what, None)
        if fuse is not None:
            return fuse
    if kind == "first":
        return None  # history has no number that would be too high
    limit = Limit(policy.ledger.count, window=policy.ledger.window_seconds, approvals=policy.ledger.approvals)
    since, decided = _since(at, limit), _decided(tx, BLOCKS, None)
    counted = _counted(tx, ("read", "list", "import"), (), since, decided)
    return _trip(tx, at, topology, BLOCKS, None, limit, counted, held, ("",), "new blocks in all", None)


def _trip(
    tx: Tx,
    at: int,
    topology: Topology,
    direction: str,
    system: str | None,
    limit: Limit,
    counted: int,
    population: str,
    params: tuple[str, ...],
    what: str,
    actor: str | None,
) -> str | None:
    """`population`: a query with a row for each of what the share is taken of."""
    most = limit.enough(counted)
    known_sql = f"SELECT count(*) FROM ({population}"  # noqa: S608  own words
    known = _count(tx, f"{known_sql} LIMIT ?)", (*params, most)) if most else 0
    if over(limit, counted, known) is None:
        return None
    if limit.percent is not None:
        known = _count(tx, f"{known_sql})", params)
    reason = f"{what}: {over(limit, counted, known)}"
    fuse = f"F{tx.head.seq + 1}"
    payload = {
        "id": fuse,
        "direction": direction,
        "reason": reason,
        "counted": counted,
        "known": known if limit.percent is not None else None,
        "policy": limit.as_json(),
        "needed": limit.approvals,
        "systems": _reachable(tx, topology),
    }
    record(tx, NewEvent("fuse.tripped", at, payload, system=system, actor=actor))
    note(tx, at, fuse, direction, system, reason)
    return fuse


def _reachable(tx: Tx, topology: Topology) -> dict[str, Any]:
    """The systems it would spread to: those that are connected, and those that the ledger knows."""
    known = tx.execute("SELECT system FROM systems").fetchall()
    unknown: dict[str, Any] = {"unit": None, "channels": sorted(Channel)}
    connected = {
        name: {"unit": str(facts.capabilities.unit), "channels": sorted(facts.capabilities.channels)}
        for name, facts in topology.items()
    }
    return dict(sorted(({row[0]: unknown for row in known} | connected).items()))


def note(tx: Tx, at: int, fuse: str, direction: str, system: str | None, reason: str) -> None:
    """The finding on which all that waits hangs (law 5)."""
    consequence = (
        "they are blocked here, and spread no further until somebody approves it"
        if direction == BLOCKS
        else "the blocks stand until somebody approves it"
    )
    findings.open_finding(
        tx,
        at,
        FINDING,
        system,
        fuse,
        f"{fuse}: {reason}; {consequence}: dncsync plan show {fuse}",
        severity="page",
        detail={"fuse": fuse, "reason": reason},
    )


def _since(at: int, limit: Limit) -> int:
    return 0 if limit.window is None else at - limit.window * SECOND


def _counted(tx: Tx, kinds: Sequence[str], systems: Sequence[str | None], since: int, decided: int) -> int:
    """What arrived since then, after the last decision of a person. No `systems`: from everywhere."""
    total = 0
    for kind in kinds:
        for system in systems or (None,):
            total += _count(
                tx,
                "SELECT ifnull(sum(count), 0) FROM arrivals WHERE kind = ? AND (? OR system IS ?) AND at > ? "
                "AND event_seq > ?",
                (kind, not systems, system, since, decided),
            )
    return total


def _decided(tx: Tx, direction: str, system: str | None) -> int:
    sql = "SELECT ifnull(max(decided_seq), 0) FROM fuses WHERE direction = ? AND system IS ?"
    return _count(tx, sql, (direction, system))


def _first_read(tx: Tx, at: int, system: str) -> bool:
    row = tx.execute("SELECT completed_at FROM first_reads WHERE system = ?", (system,)).fetchone()
    return row is None or at < row[0] + FIRST_READ_TAIL * SECOND


def _count(tx: Tx, sql: str, params: tuple[Any, ...]) -> int:
    return int(tx.execute(sql, params).fetchone()[0])
