"""A source's ordinary week: learnt robustly, and judged without being fooled by few counts."""

from __future__ import annotations

import json
import random
from datetime import date

import pytest

from dncsync.drift import rhythm
from dncsync.drift.hours import WEEK, idle, local_day
from dncsync.drift.rhythm import LEAST_SPREAD, SHORT_SPREAD, Rhythm, learn, robust_mean

FIRST = 496_320
"""An hour since the epoch in August 2026."""


def weeks(count: int, rate: float, seed: int = 1) -> list[int]:
    """Poisson-like counts with a busy and a quiet half of each day."""
    rng = random.Random(seed)
    return [
        sum(rng.random() < rate / 40 for _ in range(80 if hour % 24 < 12 else 8))
        for hour in range(count * WEEK)
    ]


@pytest.mark.parametrize("count", [0, 1])
def test_a_week_says_nothing(count: int) -> None:
    assert learn(weeks(count, 5), FIRST) is None
    assert learn([3] * (2 * WEEK - 1), FIRST) is None


def test_what_is_typical_stands_at_its_hour_of_the_week_wherever_history_begins() -> None:
    for begin in range(0, WEEK, 31):
        counts = [7 if (FIRST + begin + hour) % WEEK == 50 else 0 for hour in range(5 * WEEK + 11)]
        learnt = learn(counts, FIRST + begin)
        assert learnt is not None
        assert learnt.weeks == 5
        assert learnt.typical[50] == 7
        assert sum(learnt.typical) == 7


def test_few_opt_outs_are_not_rounded_away() -> None:
    counts = weeks(8, 0.1)
    learnt = learn(counts, FIRST)
    assert learnt is not None
    assert learnt.expected(FIRST, FIRST + WEEK - 1) == pytest.approx(sum(counts) / 8, rel=0.1)


def test_one_mad_week_does_not_become_ordinary() -> None:
    counts = weeks(8, 5)
    calm = learn(counts, FIRST)
    mad = learn(counts[: 7 * WEEK] + [count * 20 + 40 for count in counts[7 * WEEK :]], FIRST)
    assert calm is not None
    assert mad is not None
    assert sum(mad.typical) < 1.4 * sum(calm.typical)


def test_while_history_is_short_neighbouring_hours_count_too_and_little_is_sure() -> None:
    counts = [6 if (FIRST + hour) % WEEK == 50 else 0 for hour in range(2 * WEEK)]
    learnt = learn(counts, FIRST)
    assert learnt is not None
    assert learnt.typical[50] < 6
    assert learnt.typical[51] > 0
    assert learnt.spread >= SHORT_SPREAD


def test_ordinary_days_lie_within_three_deviations() -> None:
    learnt = learn(weeks(8, 5), FIRST)
    assert learnt is not None
    assert learnt.spread == LEAST_SPREAD
    fresh = weeks(8, 5, seed=2)
    for start in range(0, len(fresh), 24):
        expected = learnt.expected(FIRST + start, FIRST + start + 23)
        assert abs(learnt.strays(sum(fresh[start : start + 24]), expected)) < 3


def test_days_that_stray_by_themselves_are_allowed_to() -> None:
    rng = random.Random(3)
    counts: list[int] = []
    for _ in range(8 * 7):
        mood = rng.choice([0.4, 0.7, 1.0, 1.5])
        counts += [round(8 * mood)] * 24
    learnt = learn(counts, FIRST)
    assert learnt is not None
    assert learnt.spread > 0.25


def test_an_event_is_worth_a_change_and_not_noise() -> None:
    before, same = learn(weeks(8, 5), FIRST), learn(weeks(8, 5, seed=9), FIRST)
    double = learn(weeks(8, 10), FIRST)
    young = learn(weeks(3, 5), FIRST)
    assert before
    assert same
    assert double
    assert young
    assert not same.moved(before)
    assert double.moved(before)
    assert young.moved(before), "history has come further"


def test_a_baseline_is_read_as_it_was_recorded() -> None:
    learnt = learn(weeks(4, 5), FIRST)
    assert learnt is not None
    assert rhythm.from_json(json.loads(json.dumps(learnt.as_json()))) == learnt


def test_what_is_scaled_is_known_as_little_as_after_a_fortnight() -> None:
    week = Rhythm((2.0,) * WEEK, 0.15, 8).scaled(1.5)
    assert week.typical == (3.0,) * WEEK
    assert (week.weeks, week.spread) == (2, SHORT_SPREAD)


def test_the_robust_mean_draws_outliers_in() -> None:
    assert robust_mean([4, 4, 4, 4, 4, 400]) == pytest.approx((5 * 4 + 10) / 6)
    assert robust_mean([0, 0, 0, 0, 1, 0, 0, 0]) == pytest.approx(1 / 8)


@pytest.mark.parametrize(
    ("day", "away"),
    [
        (date(2026, 11, 26), True),  # Thanksgiving
        (date(2026, 11, 27), True),  # the bridge after it
        (date(2026, 11, 25), False),
        (date(2026, 12, 24), True),
        (date(2026, 12, 30), True),
        (date(2027, 1, 1), True),
        (date(2027, 1, 4), False),
        (date(2026, 11, 11), True),  # Veterans Day, a Wednesday
        (date(2026, 11, 12), False),
        (date(2026, 11, 23), False),  # an ordinary Monday
    ],
)
def test_days_on_which_people_are_away(day: date, away: bool) -> None:
    assert idle(day) is away


def test_a_day_begins_where_people_work() -> None:
    assert local_day(0, "UTC") == date(1970, 1, 1)
    assert local_day(3, "America/New_York") == date(1969, 12, 31)
