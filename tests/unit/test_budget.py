"""Call budgets: no window of a limit is ever overdrawn, and opt-outs always have their share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dncsync.budget import CallBudget, Lane
from dncsync.clock import VirtualClock
from dncsync.connector import Limit

PACE = st.floats(0, 3, allow_nan=False).map(lambda seconds: round(seconds, 3))
LANES = st.sampled_from(Lane)


@dataclass
class Ledger:
    """The calls that a budget let through, against a clock of its own."""

    budget: CallBudget
    clock: VirtualClock
    calls: list[tuple[float, Lane]] = field(default_factory=list)

    def attempt(self, lane: Lane, names: Sequence[str] = ("x",)) -> float:
        wait = self.budget.acquire(names, lane)
        if wait == 0:
            self.calls.append((self.clock.monotonic(), lane))
        return wait

    def most_in(self, seconds: float, lanes: Sequence[Lane] = tuple(Lane)) -> int:
        """The most calls in any half-open window of that length."""
        times = [at for at, lane in self.calls if lane in lanes]
        return max((sum(start <= t < start + seconds for t in times) for start in times), default=0)


def ledger(*limits: Limit, use: float = 0.8, reserve: float = 0.25) -> Ledger:
    clock = VirtualClock()
    return Ledger(CallBudget(limits, clock, use=use, reserve=reserve), clock)


@given(st.integers(1, 30), st.floats(0.5, 10), st.lists(st.tuples(PACE, LANES), max_size=120))
def test_no_window_is_overdrawn(calls: int, seconds: float, attempts: list[tuple[float, Lane]]) -> None:
    book = ledger(Limit("x", calls, seconds))
    for pace, lane in attempts:
        book.clock.advance(pace)
        book.attempt(lane)
    assert book.most_in(round(seconds, 3)) <= max(1, int(0.8 * calls))
    assert book.most_in(round(seconds, 3), [Lane.BACKGROUND]) <= max(1, int(0.6 * calls))


@given(st.integers(5, 40), st.integers(0, 60))
def test_background_never_eats_the_share_of_opt_outs(calls: int, greed: int) -> None:
    book = ledger(Limit("x", calls, 10))
    for _ in range(greed):
        book.attempt(Lane.BACKGROUND)
    free = int(0.8 * calls) - int(0.6 * calls)
    assert [book.attempt(Lane.OPT_OUT) for _ in range(free)] == [0.0] * free


@given(st.integers(1, 20), st.floats(0.5, 10), st.lists(st.tuples(PACE, LANES), min_size=1, max_size=60))
def test_a_wait_is_enough_and_not_idle(
    calls: int, seconds: float, attempts: list[tuple[float, Lane]]
) -> None:
    book = ledger(Limit("x", calls, seconds))
    for pace, lane in attempts:
        book.clock.advance(pace)
        wait = book.attempt(lane)
        assert 0 <= wait <= seconds + 0.003
        if wait > 0:
            book.clock.advance(wait + 0.001)  # the budget counts whole milliseconds
            assert book.attempt(lane) == 0.0


@given(st.lists(st.one_of(st.tuples(PACE.map(lambda s: s / 10), LANES), st.integers(1, 60)), max_size=150))
@settings(max_examples=300)
def test_a_learned_limit_holds_from_the_next_call_on(steps: list[tuple[float, Lane] | int]) -> None:
    """In each stretch between two lessons, no window that lies in it and before it is overdrawn."""
    book = ledger(Limit("x", 20, 5))
    allowed = 20
    for step in steps:
        if isinstance(step, int):
            book.budget.learn("x", step)
            allowed = step
            continue
        book.clock.advance(step[0])
        before = len([at for at, _ in book.calls if at > book.clock.monotonic() - 5])
        if book.attempt(step[1]) == 0:
            assert before < max(1, int(0.8 * allowed))


def test_learning_down_and_up_again_changes_nothing() -> None:
    """A limit read as 3 for a moment must not shrink the budget for good through rounding."""
    book = ledger(Limit("x", 100, 10))
    book.budget.learn("x", 3)
    book.budget.learn("x", 100)
    assert [book.attempt(Lane.OPT_OUT) for _ in range(80)] == [0.0] * 80
    assert book.attempt(Lane.OPT_OUT) > 0


def test_learning_down_and_up_again_forgets_no_call() -> None:
    book = ledger(Limit("x", 100, 10))
    for _ in range(80):
        book.attempt(Lane.OPT_OUT)
    book.budget.learn("x", 10)
    book.budget.learn("x", 100)
    assert book.attempt(Lane.OPT_OUT) > 0
    assert book.budget.usage() == {"x": (80, 100)}


@pytest.mark.parametrize("lesson", [("x", 0), ("x", -5), ("y", 7), ("x", 100)])
def test_lessons_that_teach_nothing(lesson: tuple[str, int]) -> None:
    book = ledger(Limit("x", 100, 10))
    book.attempt(Lane.OPT_OUT)
    book.budget.learn(*lesson)
    assert book.budget.usage() == {"x": (1, 100)}


def test_a_call_takes_from_all_its_limits_or_from_none() -> None:
    book = ledger(Limit("burst", 2, 1), Limit("day", 10, 86_400), use=1.0)
    assert [book.attempt(Lane.OPT_OUT, ("burst", "day")) for _ in range(2)] == [0.0, 0.0]
    assert book.attempt(Lane.OPT_OUT, ("burst", "day")) > 0
    assert book.budget.usage() == {"burst": (2, 2), "day": (2, 10)}


def test_limits_that_a_call_does_not_count_against_are_left_alone() -> None:
    book = ledger(Limit("search", 1, 1), Limit("all", 10, 1), use=1.0)
    book.attempt(Lane.OPT_OUT, ("search", "all"))
    assert book.attempt(Lane.OPT_OUT, ("all",)) == 0.0
    assert book.attempt(Lane.OPT_OUT, ()) == 0.0


def test_hold_stops_every_lane_for_that_long() -> None:
    book = ledger(Limit("x", 100, 10))
    book.budget.hold(7)
    book.budget.hold(2)
    for lane in Lane:
        assert book.attempt(lane) == pytest.approx(7)
    book.clock.advance(7)
    assert book.attempt(Lane.BACKGROUND) == 0.0


def test_a_window_rolls_and_does_not_jump() -> None:
    """A leaky bucket or a fixed window would let twice the limit through around its edge."""
    book = ledger(Limit("x", 10, 10), use=1.0)
    book.clock.advance(9.9)
    for _ in range(10):
        assert book.attempt(Lane.OPT_OUT) == 0.0
    book.clock.advance(0.2)
    assert book.attempt(Lane.OPT_OUT) == pytest.approx(9.8, abs=0.01)


def test_the_smallest_limit_still_lets_one_call_through() -> None:
    book = ledger(Limit("x", 1, 60))
    assert book.attempt(Lane.BACKGROUND) == 0.0
    assert book.attempt(Lane.OPT_OUT) > 59


def test_no_limits_no_waiting() -> None:
    assert [ledger().budget.acquire((), Lane.BACKGROUND) for _ in range(1000)] == [0.0] * 1000
