"""A flag whose meaning was turned round: within an hour a large share of a system's holdings flipped one way.

A form that stores "may be called" where "do not call" was, an import with the column inverted, a workflow.
Not one of the changes is wrong by itself; that there are so many is. Each system's busiest ordinary hour is
its baseline.
"""

from __future__ import annotations

from collections.abc import Iterable

from dncsync.drift.hours import LOOK_BACK, Hour, began, hours
from dncsync.drift.ledger_detector import Seen, opened, recorded, roughly, step_below
from dncsync.drift.sighting import Sighting
from dncsync.ledger.sqlite import Connection
from dncsync.sync.activity import HOUR
from dncsync.sync.topology import SystemFacts

DETECTOR = "inverted"
INVERTED = "inverted-flag"
FEWEST = 20
SHARE = 0.05
"""Of the holdings that are known."""
ABOVE = 3
"""Times the busiest ordinary hour."""
TURNED_BACK = 0.9
"""Share of the flips that must have been turned back before the finding heals."""
HISTORY = 14 * 24
"""Hours before a busiest hour is recorded."""

WAYS = {"clear": "set", "set": "clear"}
"""Each way in which a flag can flip, and the way back."""
_WORDS = {"clear": 'from "do not contact" to clear', "set": 'from clear to "do not contact"'}


class Inverted:
    """A sudden share of holdings flipped one way. What a person has closed is not seen again."""

    kinds = (INVERTED,)
    healed = "the flips were turned back"
    every = 0.0

    def __init__(self) -> None:
        self._learnt: dict[str, int] = {}

    def look(self, conn: Connection, at: int, facts: SystemFacts) -> Seen:
        now, seen = at // HOUR, Seen()
        last = list(hours(conn, facts.name, now - 1, now))
        before = {way: opened(conn, INVERTED, facts.name, way) for way in WAYS}
        is_open = {way: found is not None and found[1] is None for way, found in before.items()}
        # What was closed, by a person or since the flips were turned back, is not looked at again.
        closed = max((found[1] or 0 for found in before.values() if found), default=0)
        rows = [row for row in last if row.hour > closed // HOUR]
        for way, back in WAYS.items():
            ordinary, sighting = self._ordinary(conn, now, facts.name, way, seen), None
            if (found := before[way]) is not None and is_open[way]:
                sighting = _still(conn, now, facts.name, way, found[0])
            elif not is_open[back]:  # else this is the turning back
                sighting = _anew(conn, now, facts.name, way, rows, ordinary)
            if sighting is not None:
                seen.sightings.append(sighting)
        return seen

    def _ordinary(self, conn: Connection, now: int, system: str, way: str, seen: Seen) -> int:
        """The busiest ordinary hour, as recorded; learnt anew once a day."""
        known = recorded(conn, DETECTOR, system, way)
        busiest = int(known.value["hour"]) if known else 0
        if self._learnt.get(f"{system}/{way}") == now // 24:
            return busiest
        self._learnt[f"{system}/{way}"] = now // 24
        first = began(conn, system)
        since = known.at // HOUR + 1 if known and known.accepted else first
        if since is None or now - since < HISTORY:
            return busiest
        learnt = busiest_hour(conn, system, way, max(since, now - LOOK_BACK), now - 1)
        if known is None or abs(learnt - busiest) > max(5, busiest // 2):
            seen.baselines.append((DETECTOR, way, {"hour": learnt}))
            return learnt
        return busiest


def _anew(
    conn: Connection, now: int, system: str, way: str, last: Iterable[Hour], ordinary: int
) -> Sighting | None:
    """`last`: this hour and the one before."""
    flips = sum(_flips(row, way) for row in last)
    if flips <= max(FEWEST, ABOVE * ordinary) or flips <= SHARE * _known(conn, system):
        return None
    return _sighting(system, way, flips, now - 1)


def _still(conn: Connection, now: int, system: str, way: str, since: int) -> Sighting | None:
    """An open finding stands until as many were turned back, or a person closes it."""
    first = since // HOUR - 1
    rows = list(hours(conn, system, first, now))
    flips, back = (sum(_flips(row, w) for row in rows) for w in (way, WAYS[way]))
    return _sighting(system, way, flips, first) if back < TURNED_BACK * flips or not flips else None


def busiest_hour(conn: Connection, system: str, way: str, first: int, last: int) -> int:
    """The most flips of an hour from `first` to `last`, but for the one worst day."""
    rows = conn.execute(
        f"SELECT max(flipped_{way}) AS most FROM activity WHERE system = ? AND hour BETWEEN ? AND ? "  # noqa: S608
        "GROUP BY hour / 24 ORDER BY most DESC LIMIT 2",
        (system, first, last),
    ).fetchall()
    return int(rows[1][0]) if len(rows) > 1 else 0


def _flips(row: Hour, way: str) -> int:
    return row.flipped_clear if way == "clear" else row.flipped_set


def _known(conn: Connection, system: str) -> int:
    row = conn.execute("SELECT count(*) FROM holdings WHERE system = ? AND gone = 0", (system,)).fetchone()
    return int(row[0])


def _sighting(system: str, way: str, flips: int, first: int) -> Sighting:
    return Sighting(
        INVERTED,
        system,
        way,
        f"{flips} holdings of {system} turned {_WORDS[way]} within an hour or two, by other hands than ours",
        expected="single holdings change, each for a reason of its own",
        seen=f"{roughly(flips)} at once",
        mend=f"find out in {system} what wrote them (import, workflow, integration) and whether the field "
        'still means "do not contact"; mend it there, then release the freeze with `dncsync findings`',
        severity="page",
        since=first * HOUR,
        baseline=(DETECTOR, way, {"hour": 2 * step_below(flips)}),
    )
