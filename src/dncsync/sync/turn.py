"""One system's loop: what is done in a turn, and in which order (design section 6).

Deliveries due first (opt-outs by deadline, then reversals, then backfill), then read-backs, then one page of
changes, then one page of a running snapshot; fresh opt-outs are looked for again before every vendor call, so
that they wait for at most one. The loop keeps nothing that the ledger does not hold but its timers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from dncsync.budget import Lane
from dncsync.clock import Clock, to_micros
from dncsync.connector import Connector, Failure, Page, Statement
from dncsync.ledger.events import NewEvent
from dncsync.ledger.projections import record
from dncsync.ledger.sqlite import LedgerError
from dncsync.ledger.writer import Tx, Writer
from dncsync.model import Flag, OptOutKind
from dncsync.sync import activity
from dncsync.sync.breaker import Breaker, State
from dncsync.sync.calls import Calls, no_lanes
from dncsync.sync.deliveries import FIND, Pending, look, pending, settle
from dncsync.sync.following import Following, Pace
from dncsync.sync.handover import Handover
from dncsync.sync.observe import Tally, observe
from dncsync.sync.patience import SECOND, Jitter
from dncsync.sync.readback import due_reads, next_due, reads_failed
from dncsync.sync.requests import STRENGTH, Intake
from dncsync.sync.topology import SystemFacts
from dncsync.sync.writing import Batch, begin_write, end_write

log = logging.getLogger(__name__)

NOTHING = Pending(opt_outs=False, clears=False, backfill=False, reads=False)

DAILY = Pace()
"""A full comparison a day."""
IDLE = 30.0
"""Seconds: the longest a loop sleeps without looking at the ledger."""


class Chore(Protocol):
    """Something that a loop does for others between its own work, last in a turn and in the background lane:
    a look at the vendor's schema, a slice of a comparison. It makes at most a few vendor calls at a time."""

    def wait(self) -> float:
        """Seconds until it wants to run; 0.0: now."""

    def run(self, calls: Calls) -> None:
        """Does one piece. What it raises is logged and ends this piece only."""


@dataclass(frozen=True, slots=True)
class _Next:
    due: Pending
    opt_outs: Batch | None


class SystemLoop:
    """Everything that happens with one system; `turn` is called by one thread at a time."""

    def __init__(
        self,
        facts: SystemFacts,
        connector: Connector,
        writer: Writer,
        intake: Intake,
        clock: Clock,
        jitter: Jitter,
        *,
        lanes: Callable[[Lane], AbstractContextManager[None]] = no_lanes,
        pace: Pace = DAILY,
        chores: Sequence[Chore] = (),
    ) -> None:
        self.facts = facts
        self._chores = tuple(chores)
        self.tally = Tally()
        self._calls = Calls(facts, connector, writer, clock, lanes)
        self._following = Following(facts, self._calls, writer, clock, pace, self._take_page)
        self._handover: Handover[Batch] = Handover()
        intake.topology.handovers[facts.name] = self._handover
        self._writer = writer
        self._intake = intake
        self._clock = clock
        self._jitter = jitter

    @property
    def breaker(self) -> Breaker:
        """Whether the vendor is spared just now."""
        return self._calls.breaker

    # --- turns ------------------------------------------------------------------------------------

    def start(self) -> None:
        """To be called once before the first turn: what was in flight when the last process ended is read
        back at once, and the system is known to the ledger."""
        at = self._at()

        def begin(tx: Tx) -> None:
            ids = tx.execute(
                "SELECT id FROM deliveries WHERE system = ? AND open = 1 AND state = 'sent'",
                (self.facts.name,),
            ).fetchall()
            if ids:
                payload = {"ids": [row[0] for row in ids], "due_at": at, "error": "restarted"}
                record(tx, NewEvent("deliveries.delayed", at, payload, system=self.facts.name))
            known = tx.execute("SELECT state FROM systems WHERE system = ?", (self.facts.name,)).fetchone()
            if known is None or known[0] != State.UP:
                self._calls.note_state(tx, at)

        self._writer.call(begin)
        if not self.facts.capabilities.can_poll:
            # Hints that came while nobody listened are lost, and no feed brings them again.
            self.snapshot_now()

    def turn(self) -> float:
        """Does what is due, at most one vendor call of each kind beside opt-outs. Returns the seconds until
        the next turn is wanted; 0.0: there is more to do now."""
        if (wait := self._calls.wait()) > 0:
            return wait
        probing = self.breaker.state is not State.UP
        busy = False
        stages: tuple[Callable[[Pending], bool], ...] = (
            self._clear,
            self._backfill,
            self._read,
            lambda due: self._following.changes(),
            lambda due: self._following.snapshot_page(),
            lambda due: self._do_chore(),
            lambda due: False,  # opt-outs that came during the last of them
        )
        ready = self._next()
        for stage in stages:
            while ready.opt_outs is not None:
                busy = True
                end = self._send(ready.opt_outs, Lane.OPT_OUT)
                if probing or self._calls.wait() > 0:
                    self._writer.call(end)
                    return self._calls.wait()
                ready = self._next(end)
            if stage(ready.due):
                busy = True
                if probing or self._calls.wait() > 0:
                    return self._calls.wait()
                ready = self._next()
        if busy:
            return 0.0
        pause = self._idle()
        if not probing:
            self._handover.offer()
        return pause

    def _next(self, end: Callable[[Tx], None] | None = None) -> _Next:
        """What is due now, and fresh opt-outs as a batch that is recorded as being sent: it must be sent.
        `end`: records what became of the call before, in the same transaction: an opt-out waits for every
        commit in its way."""
        given = self._handover.take()
        if given is not None and end is None:
            return _Next(NOTHING, given)
        at = self._at()

        def look_up(tx: Tx) -> _Next:
            if end is not None:
                end(tx)
            due = pending(tx, at, self.facts.name)
            if given is None and due.opt_outs:
                return _Next(due, begin_write(tx, at, self.facts, Flag.SET, backfill=False))
            return _Next(due, given)

        return self._writer.call(look_up)

    def _idle(self) -> float:
        due = self._writer.call(lambda tx: next_due(tx, self.facts))
        waits = [IDLE, *self._following.waits()]
        waits += [max(chore.wait(), self._calls.background_wait()) for chore in self._chores]
        if due is not None:
            # What is due already and was not done now waits until the vendor takes background calls again.
            waits.append(max((due - self._at()) / SECOND, min(self._calls.background_wait(), 1.0)))
        return max(0.001, min(waits))

    def _do_chore(self) -> bool:
        chore = next((chore for chore in self._chores if chore.wait() <= 0), None)
        if chore is None or not self._background():
            return False
        try:
            chore.run(self._calls)
        except LedgerError:
            raise  # ours to mend: the loop rests
        except Exception:
            log.exception("a chore failed; it is tried again in its time", extra={"system": self.facts.name})
        return True

    def _background(self) -> bool:
        return self._calls.background_wait() <= 0

    # --- writing ------------------------------------------------------------------------------------

    def _backfill(self, due: Pending) -> bool:
        return due.backfill and self._background() and self._write(Flag.SET, backfill=True)

    def _write(self, want: Flag, *, backfill: bool, only: list[str] | None = None) -> bool:
        at = self._at()
        batch = self._writer.call(
            lambda tx: begin_write(tx, at, self.facts, want, backfill=backfill, only=only)
        )
        if batch is None:
            return False
        self._writer.call(self._send(batch, Lane.BACKGROUND))
        return True

    def _send(self, batch: Batch, lane: Lane) -> Callable[[Tx], None]:
        """Makes the call, and returns what records its outcome."""
        results = self._calls.write(batch.changes, lane)
        at = self._at()

        def end(tx: Tx) -> None:
            overtaken = end_write(tx, at, self.facts, batch, results, self._jitter)
            if overtaken and self.facts.capabilities.can_read:
                look(tx, at, self.facts.name, overtaken, delay=self.facts.capabilities.read_after)
            elif overtaken:
                topology, goals = self._intake.topology, self._intake.goals
                settle(tx, at, topology, goals, self.facts, dict.fromkeys(overtaken))

        return end

    def _clear(self, due: Pending) -> bool:
        """A clear is written only after a fresh read of that holding (design section 3)."""
        if not due.clears or not self.facts.capabilities.can_clear or not self._background():
            return False
        at = self._at()
        rows = self._writer.call(
            lambda tx: tx.execute(
                "SELECT key FROM deliveries WHERE system = ? AND open = 1 AND state = 'due' "
                "AND want = 'clear' AND due_at <= ? ORDER BY deadline LIMIT ?",
                (self.facts.name, at, self.facts.capabilities.read_batch),
            ).fetchall()
        )
        keys = [row[0] for row in rows]
        if not keys:
            return False
        if self.facts.capabilities.can_read:
            seen = self._look_at(keys, Lane.BACKGROUND)
            keys = [key for key in keys if key in seen]
            if not keys:
                return True
        for backfill in (False, True):
            self._write(Flag.CLEAR, backfill=backfill, only=keys)
        return True

    # --- reading ------------------------------------------------------------------------------------

    def _read(self, due: Pending) -> bool:
        if not due.reads:
            return False
        at = self._at()
        keys = self._writer.call(lambda tx: due_reads(tx, at, self.facts))
        behind = not keys
        if behind and self._background():
            keys = self._writer.call(lambda tx: due_reads(tx, at, self.facts, backfill=True))
        if not keys:
            return False
        finds = [key for key in keys if key.startswith(FIND)]
        if finds:
            self._find(finds[0])
            return True
        if self.facts.capabilities.can_read:
            self._look_at(keys, Lane.BACKGROUND if behind else Lane.OPT_OUT, backfill=behind)
        else:
            self._send_again(keys)
        return True

    def _look_at(self, keys: list[str], lane: Lane, *, backfill: bool = False) -> set[str]:
        """Reads keys afresh and takes in what they say. Returns those that were read."""
        asked = self._at()
        results = self._calls.read(keys, lane)
        found = {r.key: r.holding for r in results if r.holding is not None}
        failed = {r.key: r.failure for r in results if r.failure is not None}
        at = self._at()

        def take(tx: Tx) -> Tally:
            tally = observe(
                tx,
                at,
                self._intake,
                self.facts,
                list(found.values()),
                fresh=True,
                jitter=self._jitter,
                backfill=backfill,
                asked=asked,
            )
            # A reading under another key (a merged record) answers for the key that was asked.
            tx.executemany(
                "DELETE FROM looks WHERE system = ? AND key = ? AND due_at <= ?",
                [(self.facts.name, key, asked) for key in found],
            )
            for key, failure in failed.items():
                reads_failed(tx, at, self.facts, [key], failure, self._jitter)
            return tally

        self.tally.add(self._writer.call(take))
        return set(found)

    def _find(self, key: str) -> None:
        """The records of a number, for as long as no snapshot has been completed."""
        results = self._calls.find(key.removeprefix(FIND))
        at = self._at()

        def take(tx: Tx) -> None:
            if isinstance(results, Failure):
                reads_failed(tx, at, self.facts, [key], results, self._jitter)
                return
            found = [r.holding for r in results if r.holding is not None]
            observe(tx, at, self._intake, self.facts, found, fresh=False, jitter=self._jitter)
            tx.execute("DELETE FROM looks WHERE system = ? AND key = ?", (self.facts.name, key))

        self._writer.call(take)

    def _send_again(self, keys: list[str]) -> None:
        """Where nothing can be read, an unknown outcome is settled by saying it again (idempotent)."""
        at = self._at()

        def retry(tx: Tx) -> None:
            failed = [
                {"id": row[0], "state": "due", "due_at": at, "error": "outcome unknown"}
                for key in keys
                for row in tx.execute(
                    "SELECT id FROM deliveries WHERE system = ? AND key = ? AND open = 1 "
                    "AND state IN ('sent', 'accepted') AND due_at <= ?",
                    (self.facts.name, key, at),
                )
            ]
            if failed:
                record(tx, NewEvent("deliveries.failed", at, {"failed": failed}, system=self.facts.name))
            tx.executemany(
                "DELETE FROM looks WHERE system = ? AND key = ?", [(self.facts.name, key) for key in keys]
            )

        self._writer.call(retry)

    # --- following ------------------------------------------------------------------------------------

    def poll_soon(self) -> None:
        """Asks for a page of changes in the next turn."""
        self._following.poll_soon()

    def snapshot_now(self) -> None:
        """Begins a full comparison in the next turn, whatever the interval. Safe to call from any thread."""
        self._following.snapshot_now()

    def _take_page(self, tx: Tx, at: int, page: Page, backfill: bool, asked: int | None) -> None:
        tally = observe(
            tx,
            at,
            self._intake,
            self.facts,
            page.holdings,
            fresh=page.fresh,
            jitter=self._jitter,
            backfill=backfill,
            asked=asked,
            listing=backfill,
            unheard=self._following.unheard(listing=backfill),
        )
        heard = [(said, self._intake.hear(tx, at, self.facts, said)) for said in page.statements]
        self._count_heard(tx, at, heard)
        self.tally.add(tally)

    def _count_heard(self, tx: Tx, at: int, heard: Sequence[tuple[Statement, OptOutKind | None]]) -> None:
        """What only the log brings (evidence without words) no webhook could have announced."""
        new = [reading for said, reading in heard if reading is not None and not said.evidence_only]
        activity.count(
            tx,
            at,
            self.facts.name,
            polled_changes=len(new) if self._following.unheard(listing=False) else 0,
            opt_outs=sum(reading in STRENGTH for reading in new) if self._following.listening() else 0,
        )

    def _at(self) -> int:
        return to_micros(self._clock.now())


__all__ = ["Chore", "Pace", "SystemLoop", "no_lanes"]
