"""A source that brings far more or far fewer opt-outs than it ordinarily does (design section 7).

Its own ordinary week is the measure (`rhythm`), recorded as a baseline and learnt anew each day. What is far
more shows within the hour. What is far fewer shows only once two working days are missing: one day on which
nobody works is no drift, and feeds that fall silent at once have detectors of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from dncsync.drift import rhythm
from dncsync.drift.hours import LOOK_BACK, began, idle, local_day, opt_outs
from dncsync.drift.ledger_detector import Seen, opened, recorded, roughly
from dncsync.drift.rhythm import Rhythm
from dncsync.drift.sighting import Sighting
from dncsync.ledger.sqlite import Connection
from dncsync.sync.activity import HOUR
from dncsync.sync.topology import SystemFacts

DETECTOR = "volume"
SUBJECT = "opt-outs"
HIGH, LOW = "volume-high", "volume-low"


@dataclass(frozen=True, slots=True)
class Window:
    """Some hours in a row, and what is too many for them: all three bounds must be passed."""

    words: str
    first: int
    """Hours before the present one."""
    last: int
    deviations: float
    fewest: int
    multiple: float
    """Of what is ordinary."""


WINDOWS = (
    Window("this hour", 0, 0, 7.0, 15, 4.0),
    Window("the hour before", 1, 1, 7.0, 15, 4.0),
    Window("the last 24 hours", 23, 0, 6.0, 20, 2.0),
)
FAR_BELOW = -6.0
"""Deviations."""
FEW = 0.25
"""Share of the ordinary below which it is too few."""
WORKING_DAYS = 1.6
"""Of the fullest day's count: what must be expected of a time before its lack means anything."""
SHORTEST, LONGEST = 48, 14 * 24
"""Hours looked back for a lack."""


class Volume:
    """The rate of opt-outs of each source, against its own baseline."""

    kinds = (HIGH, LOW)
    healed = "the rate is within its ordinary range again"
    every = 0.0

    def __init__(self, zone: str = "America/New_York") -> None:
        """`zone`: of the calendar by which people work."""
        self._zone = zone
        self._learnt: dict[str, int] = {}

    def look(self, conn: Connection, at: int, facts: SystemFacts) -> Seen:
        now, seen = at // HOUR, Seen()
        week = self._ordinary(conn, now, facts.name, seen)
        if week is None:
            return seen
        day = opt_outs(conn, facts.name, now - 24, now)
        found = _too_many(facts.name, week, now, day)
        if found is None and sum(day[:-1]) <= 0.5 * week.expected(now - 24, now - 1):
            found = self._too_few(facts.name, week, now, opt_outs(conn, facts.name, now - LONGEST, now))
        if found is not None:
            seen.sightings.append(found)
        return seen

    def _ordinary(self, conn: Connection, now: int, system: str, seen: Seen) -> Rhythm | None:
        """The recorded week; learnt anew once a day, but not from days that are themselves in doubt."""
        known = recorded(conn, DETECTOR, system, SUBJECT)
        week = rhythm.from_json(known.value) if known else None
        if self._learnt.get(system) == now // 24 or self._in_doubt(conn, system):
            return week
        self._learnt[system] = now // 24
        first = began(conn, system)
        if first is None:
            return week
        since = known.at // HOUR if known and known.accepted else first
        start = max(since + 1, now - LOOK_BACK)
        learnt = rhythm.learn(opt_outs(conn, system, start, now - 1), start)
        if learnt is not None and (week is None or learnt.moved(week)):
            seen.baselines.append((DETECTOR, SUBJECT, learnt.as_json()))
            return learnt
        return week

    def _in_doubt(self, conn: Connection, system: str) -> bool:
        found = (opened(conn, kind, system, SUBJECT) for kind in self.kinds)
        return any(finding is not None and finding[1] is None for finding in found)

    def _too_few(self, system: str, week: Rhythm, now: int, counts: Sequence[int]) -> Sighting | None:
        enough = WORKING_DAYS * max(week.days())
        looked, expected, found = 0, 0.0, 0
        for back in range(1, LONGEST):
            if idle(local_day(now - back, self._zone)):
                continue
            looked += 1
            expected += week.typical[(now - back) % len(week.typical)]
            found += counts[-1 - back]
            if looked >= SHORTEST and expected >= enough:
                break
        if found >= FEW * expected or week.strays(found, expected) > FAR_BELOW:
            return None
        return Sighting(
            LOW,
            system,
            SUBJECT,
            f"{system} brought {found} opt-outs in {looked} working hours that ordinarily bring "
            f"{expected:.0f}",
            expected="about as many opt-outs as these weekdays and hours brought in the weeks before",
            seen="none at all" if found == 0 else "less than a quarter of that",
            mend=f"look whether opt-outs still reach {system}: make one there by hand and see whether it "
            "comes; if the programme has ended, accept the finding",
            since=(now - looked) * HOUR,
            keys=(),
            baseline=(DETECTOR, SUBJECT, week.scaled(_step(found / expected)).as_json()),
        )


def _too_many(system: str, week: Rhythm, now: int, counts: Sequence[int]) -> Sighting | None:
    """`counts`: of the hours up to `now`, which has just begun and is judged as if it were over."""
    end = len(counts)
    for window in WINDOWS:
        found = sum(counts[end - 1 - window.first : end - window.last])
        expected = week.expected(now - window.first, now - window.last)
        if found < window.fewest or found <= window.multiple * expected:
            continue
        if week.strays(found, expected) < window.deviations:
            continue
        day = week.expected(now - 23, now)
        factor = sum(counts[-24:]) / day if day else 1.0
        what = window.words
        return Sighting(
            HIGH,
            system,
            SUBJECT,
            f"{system} brought {found} opt-outs in {what}, which ordinarily brings {expected:.1f}",
            expected="about as many opt-outs as this weekday and hour brought in the weeks before",
            seen=f"{roughly(found)} opt-outs in {what}" if expected < 1 else _times(found / expected),
            mend=f"look at some of them in {system}: a campaign that people resent, an import, a form that "
            "robots fill in, or a field that means something else now; if it is ordinary, accept the finding",
            since=(now - window.first) * HOUR,
            keys=(),
            baseline=(DETECTOR, SUBJECT, week.scaled(_step(factor)).as_json()),
        )
    return None


def _step(factor: float) -> float:
    """In steps of half as much again: what may be accepted does not change with every patrol."""
    return round(1.5 ** round(log(max(factor, 0.01), 1.5)), 3)


def _times(multiple: float) -> str:
    return f"more than {max(step for step in (2, 4, 10, 30, 100) if step <= max(multiple, 2))} times as many"
