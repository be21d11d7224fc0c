"""What was recorded while no daemon ran, and what a system that is new to us should already hold.

Every number that a request or reversal touched is settled in the transaction that recorded it, by a daemon
that knew its systems. A start therefore looks only at what came after the last look, unless the systems
themselves changed; then it looks at every number that was ever blocked. Twice does no harm.
"""

from __future__ import annotations

import hashlib

import orjson

from dncsync.clock import Clock, to_micros
from dncsync.ledger.writer import Tx, Writer
from dncsync.sync import bookmarks
from dncsync.sync.deliveries import settle
from dncsync.sync.requests import Intake
from dncsync.sync.topology import Topology
from dncsync.sync.will import survivor

HERE, FEED = "", "settled"
"""The bookmark: no system's name is empty."""
BATCH = 500
"""Numbers in one transaction: short enough for a webhook to wait for."""
_EXAMPLE = "+12025550100"


def fingerprint(topology: Topology) -> str:
    """Changes when a system is added or removed, or its lists change."""
    facts = [
        (name, system.vendor, sorted(system.capabilities.channels), system.keys_for(_EXAMPLE))
        for name, system in sorted(topology.items())
    ]
    return hashlib.sha256(orjson.dumps(facts)).hexdigest()[:16]


class CatchUp:
    """One pass; `step` is called until it returns False, from any one thread."""

    def __init__(self, writer: Writer, intake: Intake, clock: Clock) -> None:
        self._writer = writer
        self._intake = intake
        self._clock = clock
        self._systems = fingerprint(intake.topology)
        self._after = ""
        self._since, self._head = writer.call(self._where)

    def _where(self, tx: Tx) -> tuple[int, int]:
        cursor = bookmarks.cursor(tx, HERE, FEED)
        mark = orjson.loads(cursor) if cursor else {}
        since = mark.get("seq", 0) if mark.get("systems") == self._systems else 0
        return since, tx.head.seq

    def step(self) -> bool:
        """Settles the next numbers. False: there are no more, and that is written down."""
        at = to_micros(self._clock.now())
        return self._writer.call(lambda tx: self._settle(tx, at))

    def _settle(self, tx: Tx, at: int) -> bool:
        numbers = self._numbers(tx)
        self._intake.settle(tx, at, numbers, backfill=True)
        if len(numbers) == BATCH:
            self._after = numbers[-1]
            return True
        self._settle_records(tx, at)
        mark = orjson.dumps({"seq": self._head, "systems": self._systems}).decode()
        bookmarks.advance(tx, at, HERE, FEED, mark, 0)
        return False

    def _settle_records(self, tx: Tx, at: int) -> None:
        """Requests that ended may have been made on records that have none of their numbers any more."""
        topology = self._intake.topology
        ended = tx.execute(
            "SELECT record_system, record_key FROM requests WHERE record_key IS NOT NULL AND ended_seq > ?",
            (self._since,),
        )
        for system, key in ended.fetchall():
            if system in topology:
                keys = {key: None, survivor(tx, system, key): None}
                settle(tx, at, topology, self._intake.goals, topology[system], keys, backfill=True)

    def _numbers(self, tx: Tx) -> list[str]:
        if self._since == 0:
            rows = tx.execute(
                "SELECT DISTINCT number FROM blocks WHERE number > ? ORDER BY number LIMIT ?",
                (self._after, BATCH),
            )
        else:
            rows = tx.execute(
                "SELECT DISTINCT number FROM blocks WHERE number > ?1 AND (number IN (SELECT number FROM "
                "event_numbers WHERE seq > ?3) OR number IN (SELECT number FROM events WHERE seq > ?3 AND "
                "number IS NOT NULL)) ORDER BY number LIMIT ?2",
                (self._after, BATCH, self._since),
            )
        return [row[0] for row in rows]
