"""A source's ordinary week: what is typical of each hour of the week, and how far it ordinarily strays.

Robust, since history holds what it holds: the typical count of an hour is Huber's mean around the median of
the same weekday and hour over the last eight weeks, with the neighbouring hours while history is short.
Counts are judged on the scale 2*sqrt(x + 3/8) (Anscombe 1948), on which a Poisson count has the spread 1;
that is the least spread that is ever assumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import median
from typing import Any

from dncsync.drift.hours import WEEK

FEWEST_WEEKS = 2
"""Of history, before anything may be said."""
ENOUGH_WEEKS = 4
"""From here on each hour of the week stands for itself."""
LEAST_SPREAD = 0.15
"""Share by which the ordinary day strays beyond Poisson; real traffic is never better behaved."""
SHORT_SPREAD = 0.30
"""The same while history is short."""
_MAD = 1.4826
"""From the median absolute deviation to the standard deviation of a normal variable."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """An ordinary week."""

    typical: tuple[float, ...]
    """Counts of the 168 hours of the week, from Thursday 00:00 UTC on."""
    spread: float
    """Share by which a day strays beyond Poisson."""
    weeks: int

    def expected(self, first: int, last: int) -> float:
        """What the hours from `first` to `last` (since the epoch, inclusive) ordinarily bring."""
        return sum(self.typical[hour % WEEK] for hour in range(first, last + 1))

    def strays(self, seen: float, expected: float) -> float:
        """How many ordinary deviations `seen` lies above `expected`; negative: below. Good and bad days come
        one by one, so over several they cancel out."""
        days = max(1.0, expected / max(max(self.days()), 1.0))
        spread = sqrt((1 + self.spread**2 * expected / days) * (1 + 1 / self.weeks))
        return (anscombe(seen) - anscombe(expected)) / spread

    def scaled(self, factor: float) -> Rhythm:
        """The same week with `factor` times the traffic, known as little as after a fortnight."""
        typical = tuple(round(x * factor, 3) for x in self.typical)
        return Rhythm(typical, max(self.spread, SHORT_SPREAD), FEWEST_WEEKS)

    def days(self) -> list[float]:
        """The typical counts of its seven days."""
        return [sum(self.typical[day : day + 24]) for day in range(0, WEEK, 24)]

    def moved(self, before: Rhythm) -> bool:
        """Whether it differs so much from what was recorded `before` that this is worth an event."""
        if grown(self.weeks) != grown(before.weeks) or abs(self.spread - before.spread) > 0.1:
            return True
        days = zip(self.days(), before.days(), strict=True)
        return any(abs(anscombe(now) - anscombe(then)) > 1.5 + 0.1 * sqrt(then) for now, then in days)

    def as_json(self) -> dict[str, Any]:
        """As a baseline is recorded."""
        return {"typical": list(self.typical), "spread": self.spread, "weeks": self.weeks}


def from_json(value: Mapping[str, Any]) -> Rhythm:
    """The inverse of `as_json`."""
    return Rhythm(tuple(value["typical"]), value["spread"], value["weeks"])


def grown(weeks: int) -> int:
    """0 to 2: how far history has come."""
    return (weeks >= ENOUGH_WEEKS) + (weeks >= 2 * ENOUGH_WEEKS)


def learn(counts: Sequence[int], first: int) -> Rhythm | None:
    """The rhythm of whole weeks of hourly counts, the oldest first; `first`: the hour since the epoch of the
    first one. None: too short to say anything."""
    weeks = len(counts) // WEEK
    if weeks < FEWEST_WEEKS:
        return None
    left_out = len(counts) - weeks * WEEK
    counts, shift = counts[left_out:], first + left_out
    near = (0,) if weeks >= ENOUGH_WEEKS else (-1, 0, 1)
    typical = [0.0] * WEEK
    for place in range(WEEK):
        around = [counts[week * WEEK + (place + step) % WEEK] for week in range(weeks) for step in near]
        typical[(shift + place) % WEEK] = round(robust_mean(around), 3)
    return Rhythm(tuple(typical), _spread(counts, shift, typical, weeks), weeks)


def robust_mean(counts: Sequence[int]) -> float:
    """The mean, with what lies further than three deviations from the median drawn in to there. A median
    alone would call every hour that brings less than one opt-out empty."""
    middle = median(counts)
    deviation = max(sqrt(max(middle, 1.0)), _MAD * median(abs(x - middle) for x in counts))
    low, high = middle - 3 * deviation, middle + 3 * deviation
    return sum(min(max(x, low), high) for x in counts) / len(counts)


def _spread(counts: Sequence[int], shift: int, typical: Sequence[float], weeks: int) -> float:
    """From the days of history: how far they stray beyond what Poisson allows."""
    strays, levels = [], []
    for start in range(0, len(counts), 24):
        expected = sum(typical[(shift + start + hour) % WEEK] for hour in range(24))
        strays.append(anscombe(sum(counts[start : start + 24])) - anscombe(expected))
        levels.append(expected)
    middle = median(strays)
    deviation = _MAD * median(abs(x - middle) for x in strays)
    beyond = sqrt(max(deviation**2 - 1, 0.0) / max(median(levels), 1.0))
    return round(max(beyond, LEAST_SPREAD if weeks >= ENOUGH_WEEKS else SHORT_SPREAD), 3)


def anscombe(count: float) -> float:
    """The scale on which a Poisson count has the spread 1."""
    return 2 * sqrt(max(count, 0.0) + 0.375)
