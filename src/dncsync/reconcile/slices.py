"""The rolling comparison: every holding is compared with its vendor within so many days, and how far that is
so can be said at any time.

A complete snapshot compares everything at once: what it does not list is known not to be there. Where a
system cannot be listed, or its snapshots do not come through, a slice of its known keys is read by key each
day, those that waited longest first, behind everything else that the loop has to do.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dncsync.clock import Clock, to_micros
from dncsync.ledger.sqlite import Connection, connect_reader
from dncsync.ledger.writer import Tx, Writer
from dncsync.sync.calls import Calls
from dncsync.sync.deliveries import look
from dncsync.sync.patience import SECOND
from dncsync.sync.topology import SystemFacts

DAY = 86_400
"""Seconds."""
WITHIN_DAYS = 3
SLICE_EVERY = 82_000
"""Seconds: a little less than a day, so that the promise holds although slices begin late and take time."""
PIECE = 1_000
"""Keys that the loop is asked to read at a time: what waits in `looks` stays short."""
LOOK_EVERY = 60.0
"""Seconds between two looks at whether more of a slice can be queued."""
REST = 900.0
"""Seconds between two looks at whether there is a slice to begin."""

_COMPARED_AT = """CASE
  WHEN h.base_voice IS NOT NULL OR h.base_sms IS NOT NULL THEN max(h.seen_at, :snapshot)
  WHEN h.seen_at < :snapshot THEN :snapshot END"""
"""When a holding was last compared: read itself, or left out by a listing that was complete. NULL: never."""

_ALIVE = "h.system = :system AND (h.gone = 0 OR :by_number)"


@dataclass(frozen=True, slots=True)
class Covered:
    """How recently the holdings of one system were compared; see `facts.Coverage`."""

    within_days: int
    holdings: int
    compared: int
    oldest_at: int | None
    never: int
    snapshot_at: int | None
    at: int
    kept: bool
    statement: str


def covered(
    conn: Connection, at: int, system: str, *, by_number: bool, can_read: bool, can_list: bool, within: int
) -> Covered:
    """What can be said of one system's coverage. `at`: microseconds; `within`: days."""
    snapshot = _snapshot_at(conn, system)
    values = {
        "system": system,
        "by_number": int(by_number),
        "snapshot": (snapshot or 0) if can_list else 0,
        "cutoff": at - within * DAY * SECOND,
    }
    holdings, compared, oldest, never = conn.execute(
        f"SELECT count(*), ifnull(sum(c >= :cutoff), 0), min(c), ifnull(sum(c IS NULL), 0) "  # noqa: S608
        f"FROM (SELECT {_COMPARED_AT} AS c FROM holdings h WHERE {_ALIVE} LIMIT -1)",
        values,
    ).fetchone()
    kept = can_read and compared == holdings and (holdings > 0 or snapshot is not None or not can_list)
    return Covered(
        within, holdings, compared, oldest if never == 0 else None, never, snapshot, at, kept,
        _statement(can_read, can_list, snapshot, within, holdings, compared, never),
    )  # fmt: skip


def _statement(
    can_read: bool,
    can_list: bool,
    snapshot: int | None,
    within: int,
    holdings: int,
    compared: int,
    never: int,
) -> str:
    if not can_read:
        return "nothing can be read there, so nothing was compared: its writes stay accepted, cannot be read"
    if holdings == 0:
        never_read = can_list and snapshot is None
        return "it was never read in full" if never_read else "it holds nothing that could be compared"
    if compared == holdings:
        return f"every holding compared within the last {within} days"
    late = holdings - compared
    text = f"{late:,} of {holdings:,} holdings not compared within the last {within} days"
    return f"{text}, {never:,} of them never" if never else text


def _snapshot_at(conn: Connection | Tx, system: str) -> int | None:
    row = conn.execute("SELECT snapshot_at FROM systems WHERE system = ?", (system,)).fetchone()
    return None if row is None else row[0]


class Slices:
    """The chore of one system's loop that reads a slice of its known keys each day, where that is needed.

    It makes no call itself: it queues keys, which the loop reads in the background lane when it has nothing
    better to do. What it did survives in `slices`; what is due is read from the holdings themselves.
    """

    def __init__(
        self,
        facts: SystemFacts,
        ledger: Path,
        writer: Writer,
        clock: Clock,
        *,
        within_days: int = WITHIN_DAYS,
    ) -> None:
        """`within_days`: every holding is to be compared within so many days."""
        self._facts = facts
        self._ledger = ledger
        self._writer = writer
        self._clock = clock
        self._within = within_days
        self._next = 0.0
        self._readable = facts.capabilities.can_read

    def wait(self) -> float:
        """See `Chore.wait`. A system that shows nothing never wants to run."""
        if not self._readable:
            return REST
        return max(0.0, self._next - self._clock.monotonic())

    def run(self, calls: Calls) -> None:
        """Begins today's slice if it is time, and queues the next piece of it if the last one was read."""
        more = self._step(to_micros(self._clock.now()))
        self._next = self._clock.monotonic() + (LOOK_EVERY if more else REST)

    def _step(self, at: int) -> bool:
        """Whether the slice goes on."""
        system = self._facts.name
        if self._waiting() > 0:
            return True
        begun, wanted, queued = self._writer.call(lambda tx: _slice(tx, system)) or (0, 0, 0)
        if at - begun >= SLICE_EVERY * SECOND:
            wanted, queued = self._due(at), 0
            if wanted == 0:
                return False
            self._writer.call(lambda tx: _begin(tx, at, system, wanted))
        if queued >= wanted:
            return False
        keys = self._oldest(min(PIECE, wanted - queued))
        self._writer.call(lambda tx: _queue(tx, at, system, keys, wanted))
        return bool(keys)

    def _due(self, at: int) -> int:
        """How many to read today: what would be too old tomorrow, and at least an even share of all."""
        if self._listed_lately(at):
            return 0
        horizon = at - (self._within - 1) * DAY * SECOND
        old, every = self._ask(
            f"SELECT ifnull(sum(c IS NULL OR c < :horizon), 0), count(*) FROM ({self._ages()})",  # noqa: S608
            horizon=horizon,
        )[0]
        return max(int(old), -(-int(every) // self._within)) if every else 0

    def _oldest(self, count: int) -> list[str]:
        rows = self._ask(
            f"SELECT key FROM ({self._ages()}) ORDER BY c IS NOT NULL, c, key LIMIT :count",  # noqa: S608
            count=count,
        )
        return [row[0] for row in rows]

    def _listed_lately(self, at: int) -> bool:
        """A listing came through a day or two ago, and the next follows: nothing need be read twice."""
        if not self._facts.capabilities.can_list:
            return False
        snapshot = self._writer.call(lambda tx: _snapshot_at(tx, self._facts.name))
        return snapshot is not None and at - snapshot < max(1, self._within - 1) * DAY * SECOND

    def _waiting(self) -> int:
        with closing(connect_reader(self._ledger)) as conn:
            row = conn.execute(
                "SELECT count(*) FROM looks WHERE system = ? AND backfill = 1", (self._facts.name,)
            ).fetchone()
        return int(row[0])

    def _ages(self) -> str:
        return f"SELECT h.key, {_COMPARED_AT} AS c FROM holdings h WHERE {_ALIVE} LIMIT -1"  # noqa: S608

    def _ask(self, sql: str, **values: int) -> list[Any]:
        with closing(connect_reader(self._ledger)) as conn:
            snapshot = _snapshot_at(conn, self._facts.name) if self._facts.capabilities.can_list else None
            common = {
                "system": self._facts.name,
                "by_number": int(self._facts.by_number),
                "snapshot": snapshot or 0,
            }
            return conn.execute(sql, {**common, **values}).fetchall()


def _slice(tx: Tx, system: str) -> tuple[int, int, int] | None:
    row = tx.execute("SELECT begun_at, wanted, queued FROM slices WHERE system = ?", (system,)).fetchone()
    return None if row is None else (row[0], row[1], row[2])


def _begin(tx: Tx, at: int, system: str, wanted: int) -> None:
    tx.execute("INSERT OR REPLACE INTO slices VALUES (?, ?, ?, 0)", (system, at, wanted))


def _queue(tx: Tx, at: int, system: str, keys: list[str], wanted: int) -> None:
    look(tx, at, system, keys, backfill=True)
    queued = len(keys) if keys else wanted  # nothing left to read: the slice is done
    tx.execute("UPDATE slices SET queued = min(wanted, queued + ?) WHERE system = ?", (queued, system))
