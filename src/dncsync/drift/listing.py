"""A complete listing that shows markedly fewer holdings than the one before (design section 7, law 9).

Nothing is removed because of it: what was not listed is looked at by its key. But an account whose rights
were narrowed, or a list that was emptied, looks just like this.
"""

from __future__ import annotations

from dncsync.drift.ledger_detector import Seen, recorded
from dncsync.drift.sighting import Blind, Sighting
from dncsync.ledger.sqlite import Connection
from dncsync.sync import bookmarks
from dncsync.sync.topology import SystemFacts

DETECTOR = "listing"
SUBJECT = "snapshot"
SHRUNK = "list-shrunk"
SHARE = 0.1
"""Of the holdings listed before; a loss of no more is ordinary."""
SMALLEST = 10
"""Holdings; a loss of no more is ordinary, unless everything is gone."""
WORTH_AN_EVENT = 0.01
"""Share by which the count must move to be recorded as the new baseline."""


class Listing:
    """Compares each complete snapshot with the one before it that was in order."""

    kinds = (SHRUNK,)
    healed = "a complete listing shows as many again"
    every = 0.0

    def look(self, conn: Connection, at: int, facts: SystemFacts) -> Seen:
        """Raises `Blind` while a listing is under way."""
        seen = Seen()
        row = conn.execute(
            "SELECT holdings, done FROM bookmarks WHERE system = ? AND feed = ?",
            (facts.name, bookmarks.SNAPSHOT),
        ).fetchone()
        if row is None:
            return seen
        listed, done = int(row[0]), bool(row[1])
        if not done:
            raise Blind(f"a listing of {facts.name} is under way")
        known = recorded(conn, DETECTOR, facts.name, SUBJECT)
        if known is not None and shrunk(before := int(known.value["holdings"]), listed):
            seen.sightings.append(_sighting(facts.name, before, listed, known.at))
        elif known is None or abs(listed - before) > WORTH_AN_EVENT * before:
            seen.baselines.append((DETECTOR, SUBJECT, {"holdings": listed}))
        return seen


def shrunk(before: int, listed: int) -> bool:
    """Whether a listing of `listed` holdings after one of `before` is markedly shorter."""
    lost = before - listed
    return lost > max(SMALLEST, SHARE * before) or (listed == 0 and before > 2)


def _sighting(system: str, before: int, listed: int, since: int) -> Sighting:
    return Sighting(
        SHRUNK,
        system,
        SUBJECT,
        f"a complete listing of {system} shows {listed:,} holdings; it was {before:,}",
        expected=f"about {before:,} holdings, {SHARE:.0%} less at most",
        seen=f"{listed:,} holdings",
        mend=f"look in {system} whether records were deleted or moved, or whether our user may no longer see "
        "all of them (team, owner, territory, list permissions); if they are really gone, accept the finding",
        severity="page",
        since=since,
        baseline=(DETECTOR, SUBJECT, {"holdings": listed}),
    )
