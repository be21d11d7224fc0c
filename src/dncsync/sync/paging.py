"""Whether a feed gets anywhere: a page that comes again, a cursor that stands still (design section 7).

A connector that notices it itself says so with the code `repeated-page`. Here is the net under all of them:
the loop may not spin for ever on a vendor that gives the same page again, and what such a listing leaves out
must not pass for absent.
"""

from __future__ import annotations

from dncsync.connector import Failure, Page
from dncsync.ledger.writer import Tx
from dncsync.sync import bookmarks, findings

REPEATED = "page-repeated"
STUCK = "cursor-stuck"
KINDS = (REPEATED, STUCK)
FEWEST = 2
"""Keys that make a page known again: one record alone may well change twice in a row."""

_EXPECTED = {
    REPEATED: "each page shows what comes after the one before",
    STUCK: "the place to go on from moves with each page that has more behind it",
}
_MEND = {
    REPEATED: "ask the vendor's support about paging of this endpoint, with the time of the finding; a proxy "
    "or cache in between that ignores the query string does the same",
    STUCK: "ask the vendor's support about the cursor (offset, token) of this endpoint, with the time of the "
    "finding; what lies behind it is not read by this feed until it moves",
}


class Paging:
    """What was seen of one feed's pages; memory of the process alone."""

    def __init__(self, feed: str, system: str) -> None:
        self._feed = feed
        self._system = system
        self._keys: frozenset[str] = frozenset()
        self._place: str | None = None
        self._refused_at: tuple[str | None] | None = None
        self._seen: str | None = None
        self.asks_again = False
        """Whether the page last judged is to be asked for once more."""
        self._to_close = set(KINDS)
        """Kinds of which an open finding may stand in the ledger."""

    def begin(self, cursor: str | None) -> None:
        """A listing is begun at `cursor`, or goes on there; None: at its first page."""
        if cursor is None or cursor != self._place:
            self._keys = frozenset()  # the page seen last was never taken in
        self._place = cursor

    def judge(self, asked: str | None, page: Page | Failure | None) -> str | None:
        """The kind of finding that this page is; None: it is a good one, or none at all.

        `asked`: the cursor it was asked for with; of a listing, which goes on by itself, None.
        """
        self._seen = None
        if isinstance(page, Failure) and page.code == "repeated-page":
            self._seen = REPEATED
        if not isinstance(page, Page):
            return self._seen
        listing = self._feed == bookmarks.SNAPSHOT
        place = self._place if listing else asked
        if asked != self._place and not listing:
            self._keys = frozenset()
        keys = frozenset(h.key for h in page.holdings) | {s.ref for s in page.statements}
        # A listing may wait for a job to be done; it says so with empty pages.
        if page.more and page.cursor == place and (keys or not listing):
            self._seen = STUCK
        elif page.more and len(keys) >= FEWEST and keys == self._keys:
            self._seen = REPEATED
        self.asks_again = self._seen == REPEATED and (listing or self._refused_at != (asked,))
        if self.asks_again:
            self._refused_at = (asked,)
        elif self._seen is None or not listing:
            self._keys, self._place = keys, page.cursor
        return self._seen

    def note(self, tx: Tx, at: int) -> None:
        """Opens the finding of the page last judged, or closes what a good page has healed."""
        if self._seen is not None:
            self._open(tx, at, self._seen)
            self._to_close.add(self._seen)
        elif self._to_close:
            for kind in self._to_close:
                findings.close_finding(tx, at, kind, self._system, self._feed, "a page that goes on")
            tx.after_commit(self._to_close.clear)

    def _open(self, tx: Tx, at: int, kind: str) -> None:
        what = (
            "gives the same page again" if kind == REPEATED else "says that there is more, at the same place"
        )
        waits = (
            "a listing is not whole until it goes on" if self._feed == bookmarks.SNAPSHOT else "it is slow"
        )
        findings.open_finding(
            tx,
            at,
            kind,
            self._system,
            self._feed,
            f"the feed {self._feed!r} of {self._system} {what}; {waits}",
            detail={"expected": _EXPECTED[kind], "seen": what, "since": None, "mend": _MEND[kind]},
            quiet=True,
        )
