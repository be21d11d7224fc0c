"""Following a system: pages of its change feed, and pages of a running snapshot, one at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dncsync.clock import Clock, to_micros
from dncsync.connector import Failure, FailureKind, Page
from dncsync.ledger.events import NewEvent
from dncsync.ledger.projections import record
from dncsync.ledger.writer import Tx, Writer
from dncsync.sync import bookmarks, findings
from dncsync.sync.calls import Calls
from dncsync.sync.deliveries import look
from dncsync.sync.paging import Paging
from dncsync.sync.patience import SECOND
from dncsync.sync.topology import SystemFacts

SNAPSHOT_PAUSE = 60.0
"""Seconds before a snapshot that broke off goes on."""
LISTENING = 600.0
"""Seconds without a page of changes after which the next ones bring what webhooks may have told to nobody."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often, in seconds."""

    snapshot_every: float = 86_400.0
    """Full comparison of a system that can be listed (law 3: the scan interval)."""
    feeds: bool = True
    """False: what is due is done, and nothing new is looked for: no changes, no snapshot."""


TakePage = Callable[[Tx, int, Page, bool, int | None], None]
"""`take(tx, at, page, backfill, asked)`: brings a page into the ledger that was asked for at `asked`; None:
some time before, since a listing may fetch more than it shows."""


class Following:
    """The feeds of one system. Keeps nothing that the ledger does not hold but timers and an open listing."""

    def __init__(
        self, facts: SystemFacts, calls: Calls, writer: Writer, clock: Clock, pace: Pace, take: TakePage
    ) -> None:
        self._facts = facts
        self._calls = calls
        self._writer = writer
        self._clock = clock
        self._pace = pace
        self._take = take
        self._next_poll = 0.0
        self._snapshot_after = 0.0
        self._snapshot: Iterator[Page] | None = None
        self._begin_anew = threading.Event()
        self._paging = {feed: Paging(feed, facts.name) for feed in (bookmarks.CHANGES, bookmarks.SNAPSHOT)}
        self._followed_at: float | None = None
        self._caught_up = False
        self._listed_whole = False

    def waits(self) -> list[float]:
        """Seconds until each feed wants its next page."""
        now, capabilities = self._clock.monotonic(), self._facts.capabilities
        wants = [self._next_poll] if capabilities.can_poll else []
        wants += [self._snapshot_after] if capabilities.can_list else []
        return [max(want - now, self._calls.background_wait()) for want in wants if self._pace.feeds]

    def poll_soon(self) -> None:
        """See `SystemLoop.poll_soon`."""
        self._next_poll = 0.0

    def snapshot_now(self) -> None:
        """See `SystemLoop.snapshot_now`."""
        self._begin_anew.set()

    # --- changes --------------------------------------------------------------------------------------

    def changes(self) -> bool:
        """One page of changes, if it is time. Whether there is more to do at once."""
        capabilities = self._facts.capabilities
        if not self._pace.feeds or not capabilities.can_poll or self._calls.background_wait() > 0:
            return False
        if self._clock.monotonic() < self._next_poll:
            return False
        cursor = self._writer.call(lambda tx: bookmarks.cursor(tx, self._facts.name, bookmarks.CHANGES))
        asked = self._at()
        page = self._calls.page(iter(self._calls.connector.changes(cursor)))
        paging = self._paging[bookmarks.CHANGES]
        wrong = paging.judge(cursor, page)
        if wrong or not isinstance(page, Page) or not page.more:
            self._next_poll = self._clock.monotonic() + capabilities.poll_every
        if isinstance(page, Page):
            # What it shows is believed in any case. A page that came twice is asked for once more, since
            # another one should have stood there; then the feed goes on.
            self._take_in(page, bookmarks.CHANGES, to=None if paging.asks_again else page.cursor, asked=asked)
            self._follow(page)
            return page.more
        if wrong:
            self._note_paging(bookmarks.CHANGES)
        return page is not None

    def _follow(self, page: Page) -> None:
        self._followed_at = self._clock.monotonic()
        self._caught_up = self._caught_up or not page.more

    def unheard(self, *, listing: bool) -> bool:
        """Whether a webhook should have announced what differs on the next page: not while we catch up with
        what happened when nobody listened, and on a listing only where there is no feed of changes."""
        if not self._facts.capabilities.has_webhooks:
            return False
        if listing:
            return self._listed_whole and not self._facts.capabilities.can_poll
        return self.listening()

    def listening(self) -> bool:
        """Whether the feed of changes was read to its end lately, so that its next page is the present."""
        patience = max(LISTENING, 5 * self._facts.capabilities.poll_every)
        if self._followed_at is None or self._clock.monotonic() - self._followed_at > patience:
            self._caught_up = False
        return self._caught_up

    # --- snapshots --------------------------------------------------------------------------------------

    def snapshot_page(self) -> bool:
        """One page of the snapshot that runs or is due. Whether there was one."""
        if not self._pace.feeds or not self._facts.capabilities.can_list:
            return False
        if self._calls.background_wait() > 0:
            return False
        if self._begin_anew.is_set():
            self._begin_anew.clear()
            self._snapshot, self._snapshot_after = None, 0.0
            self._writer.call(lambda tx: bookmarks.forget(tx, self._facts.name, bookmarks.SNAPSHOT))
        if self._clock.monotonic() < self._snapshot_after:
            return False
        if self._snapshot is None and not self._begin():
            return False
        assert self._snapshot is not None
        # Let go of until the page is committed: after a full disk the listing goes on from where it stood.
        listing, self._snapshot = self._snapshot, None
        page = self._calls.page(listing)
        wrong = self._paging[bookmarks.SNAPSHOT].judge(None, page)
        if isinstance(page, Page) and not wrong:
            self._take_in(page, bookmarks.SNAPSHOT, to=page.cursor)
            if page.more:
                self._snapshot = listing
            else:
                self._end()
            return True
        if isinstance(page, Page):
            # What it shows is believed in any case, but not the place: the listing begins anew.
            self._take_in(page, bookmarks.SNAPSHOT, to=None)
            self._writer.call(lambda tx: bookmarks.forget(tx, self._facts.name, bookmarks.SNAPSHOT))
        elif wrong:
            self._note_paging(bookmarks.SNAPSHOT)
        # Broken off, or ended without saying that everything was read: nothing may be concluded from it.
        pause = page.retry_after if isinstance(page, Failure) else None
        self._snapshot_after = self._clock.monotonic() + (pause or SNAPSHOT_PAUSE)
        if isinstance(page, Failure) and page.kind is not FailureKind.RATE_LIMITED:
            self._note_failure(page)
        return True

    def _begin(self) -> bool:
        at, every = self._at(), int(self._pace.snapshot_every * SECOND)
        begun = self._writer.call(
            lambda tx: bookmarks.begin(tx, at, self._facts.name, bookmarks.SNAPSHOT, every)
        )
        if begun.wait > 0:
            self._snapshot_after = self._clock.monotonic() + begun.wait / SECOND
            return False
        self._paging[bookmarks.SNAPSHOT].begin(begun.cursor)
        self._snapshot = iter(self._calls.connector.snapshot(begun.cursor))
        return True

    def _end(self) -> None:
        at, system = self._at(), self._facts.name

        def finish(tx: Tx) -> None:
            started = bookmarks.finish(tx, at, system, bookmarks.SNAPSHOT)
            # A row that was not listed is no removal: it is looked at by its key (law 9).
            missing = tx.execute(
                "SELECT key FROM holdings WHERE system = ? AND seen_at < ? AND gone = 0 "
                "AND (base_voice = 'set' OR base_sms = 'set')",
                (system, started),
            )
            if self._facts.capabilities.can_read:
                look(tx, at, system, [row[0] for row in missing.fetchall()])
            record(tx, NewEvent("snapshot.completed", at, {"started_at": started}, system=system))
            findings.close_finding(tx, at, "snapshot-failed", system, system, "a complete snapshot")

        self._writer.call(finish)
        self._listed_whole = True

    def _note_failure(self, failure: Failure) -> None:
        at, system = self._at(), self._facts.name

        def note(tx: Tx) -> None:
            if failure.kind is FailureKind.REJECTED:
                bookmarks.forget(tx, system, bookmarks.SNAPSHOT)  # its cursor is no good any more
            summary = f"a snapshot of {system} broke off: {failure.message}"
            findings.open_finding(tx, at, "snapshot-failed", system, system, summary, quiet=True)

        self._writer.call(note)

    # --- both -------------------------------------------------------------------------------------------

    def _take_in(self, page: Page, feed: str, *, to: str | None, asked: int | None = None) -> None:
        """The page and its cursor in one transaction: the watermark never passes what was not taken in. `to`:
        where the feed goes on; None: where it stood."""
        at = self._at()

        def take(tx: Tx) -> None:
            self._take(tx, at, page, feed == bookmarks.SNAPSHOT, asked)
            if to is not None:
                bookmarks.advance(tx, at, self._facts.name, feed, to, len(page.holdings))
            self._paging[feed].note(tx, at)

        self._writer.call(take)

    def _note_paging(self, feed: str) -> None:
        at = self._at()
        self._writer.call(lambda tx: self._paging[feed].note(tx, at))

    def _at(self) -> int:
        return to_micros(self._clock.now())
