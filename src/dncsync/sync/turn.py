"""One system's loop: what is done in a turn, and in which order (design section 6).

Deliveries due first (opt-outs by deadline, then reversals, then backfill), then read-backs, then one page of
changes, then one page of a running snapshot; fresh opt-outs are looked for again before every vendor call, so
that they wait for at most one. The loop keeps nothing that the ledger does not hold but its timers.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from dncsync.budget import Lane
from dncsync.clock import Clock, to_micros
from dncsync.connector import Connector, Failure, FailureKind, Looked, Page, VendorError, Written
from dncsync.ledger.events import NewEvent
from dncsync.ledger.projections import record
from dncsync.ledger.writer import Tx, Writer
from dncsync.model import Flag, Holding
from dncsync.sync import bookmarks, findings
from dncsync.sync.breaker import Breaker, State
from dncsync.sync.deliveries import (
    FIND,
    SECOND,
    Batch,
    Jitter,
    Pending,
    begin_write,
    due_reads,
    end_write,
    look,
    next_due,
    pending,
    reads_failed,
)
from dncsync.sync.observe import Tally, observe
from dncsync.sync.requests import Intake
from dncsync.sync.topology import SystemFacts

log = logging.getLogger(__name__)

IDLE = 30.0
"""Seconds: the longest a loop sleeps without looking at the ledger."""
SNAPSHOT_PAUSE = 60.0
"""Seconds before a snapshot that broke off goes on."""


def no_lanes(lane: Lane) -> AbstractContextManager[None]:
    """For connectors without doors."""
    return contextlib.nullcontext()


@dataclass(frozen=True, slots=True)
class Pace:
    """How often, in seconds."""

    snapshot_every: float = 86_400.0
    """Full comparison of a system that can be listed (law 3: the scan interval)."""


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
        pace: Pace = Pace(),
    ) -> None:
        self.facts = facts
        self.connector = connector
        self.breaker = Breaker()
        self.tally = Tally()
        self._writer = writer
        self._intake = intake
        self._clock = clock
        self._jitter = jitter
        self._lanes = lanes
        self._pace = pace
        self._next_poll = 0.0
        self._background_after = 0.0
        self._snapshot_after = 0.0
        self._snapshot: Iterator[Page] | None = None
        self._begin_anew = threading.Event()

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
                self._note_state(tx, at)

        self._writer.call(begin)
        if not self.facts.capabilities.can_poll:
            # Hints that came while nobody listened are lost, and no feed brings them again.
            self.snapshot_now()

    def turn(self) -> float:
        """Does what is due, at most one vendor call of each kind beside opt-outs. Returns the seconds until
        the next turn is wanted; 0.0: there is more to do now."""
        wait = self.breaker.wait(self._clock.monotonic())
        if wait > 0:
            return wait
        probing = self.breaker.state is not State.UP
        busy = False
        due = self._pending()
        for stage in (self._clear, self._backfill, self._read, self._changes, self._snapshot_page):
            while due.opt_outs and self._write(Flag.SET, backfill=False):
                busy = True
                if self._stopped(probing):
                    return self.breaker.wait(self._clock.monotonic())
                due = self._pending()
            if stage(due):
                busy = True
                if self._stopped(probing):
                    return self.breaker.wait(self._clock.monotonic())
                due = self._pending()
        return 0.0 if busy else self._idle()

    def _pending(self) -> Pending:
        at = self._at()
        return self._writer.call(lambda tx: pending(tx, at, self.facts.name))

    def _stopped(self, probing: bool) -> bool:
        return self.breaker.state is not State.UP or probing

    def _idle(self) -> float:
        now = self._clock.monotonic()
        due = self._writer.call(lambda tx: next_due(tx, self.facts))
        waits = [IDLE]
        if due is not None:
            waits.append((due - self._at()) / SECOND)
        if self.facts.capabilities.can_poll:
            waits.append(max(self._next_poll, self._background_after) - now)
        if self.facts.capabilities.can_list:
            waits.append(max(self._snapshot_after, self._background_after) - now)
        return max(0.001, min(waits))

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
        results = self._send(batch)
        at = self._at()
        self._writer.call(lambda tx: end_write(tx, at, self.facts, batch, results, self._jitter))
        return True

    def _send(self, batch: Batch) -> list[Written]:
        lane = Lane.OPT_OUT if batch.urgent else Lane.BACKGROUND
        results: list[Written] = []
        try:
            with self._lanes(lane):
                results.extend(self.connector.write(batch.changes))
        except Exception as error:
            failure = self._failure(error)
            answered = {result.key for result in results}
            results += [Written(c.key, failure) for c in batch.changes if c.key not in answered]
            self._call_failed(failure, urgent=batch.urgent)
            return results
        self._judge_call([result.failure for result in results])
        return results

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
        if not keys:
            return False
        finds = [key for key in keys if key.startswith(FIND)]
        if finds:
            self._find(finds[0])
            return True
        if self.facts.capabilities.can_read:
            self._look_at(keys, Lane.OPT_OUT)
        else:
            self._send_again(keys)
        return True

    def _look_at(self, keys: list[str], lane: Lane) -> set[str]:
        """Reads keys afresh and takes in what they say. Returns those that were read."""
        results: list[Looked] = []
        failure: Failure | None = None
        try:
            with self._lanes(lane):
                results.extend(self.connector.read(keys))
        except Exception as error:
            failure = self._failure(error)
            self._call_failed(failure, urgent=True)
        else:
            self._judge_call([result.failure for result in results])
        found: dict[str, Holding] = {r.key: r.holding for r in results if r.holding is not None}
        failed = {r.key: r.failure for r in results if r.failure is not None}
        unread = [key for key in keys if key not in found]
        silent = failure or Failure(FailureKind.UNKNOWN, "the answer did not name this item")
        at = self._at()

        def take(tx: Tx) -> Tally:
            tally = observe(
                tx, at, self._intake, self.facts, list(found.values()), fresh=True, jitter=self._jitter
            )
            # A reading under another key (a merged record) answers for the key that was asked.
            tx.executemany(
                "DELETE FROM looks WHERE system = ? AND key = ?",
                [(self.facts.name, key) for key in found],
            )
            for key in unread:
                reads_failed(tx, at, self.facts, [key], failed.get(key) or silent, self._jitter)
            return tally

        self.tally.add(self._writer.call(take))
        return set(found)

    def _find(self, key: str) -> None:
        """The records of a number, for as long as no snapshot has been completed."""
        number = key.removeprefix(FIND)
        results: list[Looked] = []
        try:
            with self._lanes(Lane.OPT_OUT):
                results.extend(self.connector.find(number))
        except Exception as error:
            failure = self._failure(error)
            self._call_failed(failure, urgent=True)
            at = self._at()
            self._writer.call(lambda tx: reads_failed(tx, at, self.facts, [key], failure, self._jitter))
            return
        self._judge_call([])
        found = [r.holding for r in results if r.holding is not None]
        at = self._at()

        def take(tx: Tx) -> None:
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
        self._next_poll = 0.0

    def _changes(self, due: Pending) -> bool:
        now = self._clock.monotonic()
        if not self.facts.capabilities.can_poll or now < self._next_poll or not self._background():
            return False
        cursor = self._writer.call(lambda tx: bookmarks.cursor(tx, self.facts.name, bookmarks.CHANGES))
        try:
            with self._lanes(Lane.BACKGROUND):
                page = next(iter(self.connector.changes(cursor)), None)
        except Exception as error:
            self._next_poll = now + self.facts.capabilities.poll_every
            self._call_failed(self._failure(error), urgent=False)
            return True
        self._judge_call([])
        if page is None or not page.more:
            self._next_poll = self._clock.monotonic() + self.facts.capabilities.poll_every
        if page is not None:
            self._take_page(page, bookmarks.CHANGES)
        return page is not None and page.more

    def _snapshot_page(self, due: Pending) -> bool:
        if not self.facts.capabilities.can_list or not self._background():
            return False
        if self._begin_anew.is_set():
            self._begin_anew.clear()
            self._snapshot, self._snapshot_after = None, 0.0
            self._writer.call(lambda tx: bookmarks.forget(tx, self.facts.name, bookmarks.SNAPSHOT))
        if self._clock.monotonic() < self._snapshot_after:
            return False
        if self._snapshot is None and not self._begin_snapshot():
            return False
        assert self._snapshot is not None
        try:
            with self._lanes(Lane.BACKGROUND):
                page = next(self._snapshot, None)
        except Exception as error:
            failure = self._failure(error)
            self._snapshot = None
            self._snapshot_after = self._clock.monotonic() + (failure.retry_after or SNAPSHOT_PAUSE)
            self._call_failed(failure, urgent=False)
            self._snapshot_failed(failure)
            return True
        self._judge_call([])
        if page is None:
            # Ended without saying that everything was read: nothing may be concluded from it.
            self._snapshot = None
            self._snapshot_after = self._clock.monotonic() + SNAPSHOT_PAUSE
            return True
        self._take_page(page, bookmarks.SNAPSHOT)
        if not page.more:
            self._end_snapshot()
        return True

    def snapshot_now(self) -> None:
        """Begins a full comparison in the next turn, whatever the interval. Safe to call from any thread."""
        self._begin_anew.set()

    def _begin_snapshot(self) -> bool:
        at = self._at()
        every = int(self._pace.snapshot_every * SECOND)
        begun = self._writer.call(
            lambda tx: bookmarks.begin(tx, at, self.facts.name, bookmarks.SNAPSHOT, every)
        )
        if begun.wait > 0:
            self._snapshot_after = self._clock.monotonic() + begun.wait / SECOND
            return False
        self._snapshot = iter(self.connector.snapshot(begun.cursor))
        return True

    def _end_snapshot(self) -> None:
        self._snapshot = None
        at = self._at()

        def finish(tx: Tx) -> None:
            started = bookmarks.finish(tx, at, self.facts.name, bookmarks.SNAPSHOT)
            # A row that was not listed is no removal: it is looked at by its key (law 9).
            missing = tx.execute(
                "SELECT key FROM holdings WHERE system = ? AND seen_at < ? AND gone = 0 "
                "AND (base_voice = 'set' OR base_sms = 'set')",
                (self.facts.name, started),
            )
            if self.facts.capabilities.can_read:
                look(tx, at, self.facts.name, [row[0] for row in missing.fetchall()])
            payload = {"started_at": started}
            record(tx, NewEvent("snapshot.completed", at, payload, system=self.facts.name))
            findings.close_finding(
                tx, at, "snapshot-failed", self.facts.name, self.facts.name, "a complete snapshot"
            )

        self._writer.call(finish)

    def _snapshot_failed(self, failure: Failure) -> None:
        at = self._at()

        def note(tx: Tx) -> None:
            if failure.kind is FailureKind.REJECTED:
                bookmarks.forget(tx, self.facts.name, bookmarks.SNAPSHOT)  # its cursor is no good any more
            findings.open_finding(
                tx,
                at,
                "snapshot-failed",
                self.facts.name,
                self.facts.name,
                f"a snapshot of {self.facts.name} broke off: {failure.message}",
                quiet=True,
            )

        if failure.kind is not FailureKind.RATE_LIMITED:
            self._writer.call(note)

    def _take_page(self, page: Page, feed: str) -> None:
        """The page and its cursor in one transaction: the watermark never passes what was not taken in."""
        at = self._at()

        def take(tx: Tx) -> Tally:
            tally = observe(
                tx,
                at,
                self._intake,
                self.facts,
                page.holdings,
                fresh=False,
                jitter=self._jitter,
                backfill=feed == bookmarks.SNAPSHOT,
            )
            for said in page.statements:
                self._intake.hear(tx, at, self.facts, said)
            bookmarks.advance(tx, at, self.facts.name, feed, page.cursor, len(page.holdings))
            return tally

        self.tally.add(self._writer.call(take))

    # --- failures ---------------------------------------------------------------------------------------

    def _background(self) -> bool:
        return self._clock.monotonic() >= self._background_after

    def _failure(self, error: Exception) -> Failure:
        if isinstance(error, VendorError):
            return error.failure
        log.exception("the connector failed in a way it should not", extra={"system": self.facts.name})
        return Failure(FailureKind.UNKNOWN, f"the connector itself failed ({type(error).__name__})")

    def _judge_call(self, failures: Iterable[Failure | None]) -> None:
        """A call in which every single item failed for a reason that is not the item's is a failed call."""
        failures = list(failures)
        kinds = {failure.kind if failure else None for failure in failures}
        if failures and len(kinds) == 1 and None not in kinds and FailureKind.REJECTED not in kinds:
            assert failures[0] is not None
            self._call_failed(failures[0], urgent=False)
        elif self.breaker.succeeded():
            self._say_state()
        else:
            self.breaker.failures = 0

    def _call_failed(self, failure: Failure, *, urgent: bool) -> None:
        now = self._clock.monotonic()
        if failure.kind is FailureKind.RATE_LIMITED and not urgent:
            self._background_after = now + (failure.retry_after or 1.0)
        if self.breaker.failed(failure, now):
            self._say_state()

    def _say_state(self) -> None:
        at = self._at()
        log.warning(
            "system is %s",
            self.breaker.state,
            extra={"system": self.facts.name, "reason": self.breaker.reason},
        )
        self._writer.call(lambda tx: self._note_state(tx, at))

    def _note_state(self, tx: Tx, at: int) -> None:
        state, reason = self.breaker.state, self.breaker.reason
        payload = {"vendor": self.facts.vendor, "state": state, "reason": reason}
        record(tx, NewEvent("system.changed", at, payload, system=self.facts.name))
        for kind, bad, words in (
            ("system-down", State.DOWN, "does not answer"),
            ("system-unauthorised", State.UNAUTHORISED, "refuses our credentials or permissions"),
        ):
            if state is bad:
                findings.open_finding(
                    tx,
                    at,
                    kind,
                    self.facts.name,
                    self.facts.name,
                    f"{self.facts.name} {words}: {reason}",
                    severity="page",
                    quiet=True,
                )
            else:
                findings.close_finding(tx, at, kind, self.facts.name, self.facts.name, "it answers again")

    def _at(self) -> int:
        return to_micros(self._clock.now())
