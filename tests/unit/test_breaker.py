"""The circuit breaker: a pure thing of counts and times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dncsync.connector import Failure, FailureKind
from dncsync.sync.breaker import AUTH_PAUSE, FIRST_PAUSE, LONGEST_PAUSE, TRIP_AFTER, Breaker, State

DEAD = Failure(FailureKind.TRANSIENT, "cannot connect")
SILENT = Failure(FailureKind.UNKNOWN, "no answer")
LOCKED_OUT = Failure(FailureKind.UNAUTHORISED, "the token was revoked")


def tripped(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(TRIP_AFTER):
        breaker.failed(DEAD, now)
    return breaker


@pytest.mark.parametrize("failure", [DEAD, SILENT])
def test_three_failed_calls_in_a_row_open_it(failure: Failure) -> None:
    breaker = Breaker()

    assert [breaker.failed(failure, 10.0) for _ in range(3)] == [False, False, True]

    assert (breaker.state, breaker.reason) == (State.DOWN, failure.message)
    assert breaker.wait(10.0) == FIRST_PAUSE


def test_an_answer_between_begins_the_count_again() -> None:
    breaker = Breaker()
    for _ in range(5):
        breaker.failed(DEAD, 0.0)
        breaker.failed(DEAD, 0.0)
        assert breaker.succeeded() is False

    assert breaker.state is State.UP


def test_after_the_pause_one_probe_decides() -> None:
    breaker = tripped(now=0.0)
    assert breaker.wait(FIRST_PAUSE - 0.5) == pytest.approx(0.5)
    assert breaker.wait(FIRST_PAUSE) == 0.0

    assert breaker.failed(DEAD, FIRST_PAUSE) is False, "the outage goes on; it did not begin again"
    assert breaker.wait(FIRST_PAUSE) == 2 * FIRST_PAUSE

    assert breaker.succeeded() is True
    assert (breaker.state, breaker.failures, breaker.wait(0.0)) == (State.UP, 0, 0.0)


def test_pauses_double_up_to_two_minutes() -> None:
    breaker, pauses = tripped(), []
    for _ in range(9):
        pauses.append(breaker.wait(0.0))
        breaker.failed(DEAD, 0.0)

    assert pauses == [2, 4, 8, 16, 32, 64, 120, 120, 120]
    assert max(pauses) == LONGEST_PAUSE


def test_refused_credentials_pause_at_once_and_long() -> None:
    breaker = Breaker()

    assert breaker.failed(LOCKED_OUT, 0.0) is True
    assert (breaker.state, breaker.wait(0.0)) == (State.UNAUTHORISED, AUTH_PAUSE)


def test_an_outage_that_turns_into_refused_credentials_is_news() -> None:
    breaker = tripped()

    assert breaker.failed(LOCKED_OUT, 0.0) is True
    assert breaker.failed(LOCKED_OUT, 0.0) is False
    assert breaker.failed(DEAD, 0.0) is True
    assert breaker.state is State.DOWN


@pytest.mark.parametrize("kind", [FailureKind.RATE_LIMITED, FailureKind.REJECTED])
def test_a_vendor_that_answers_no_is_there(kind: FailureKind) -> None:
    breaker = Breaker()
    for _ in range(10):
        assert breaker.failed(Failure(kind, "no"), 0.0) is False

    assert (breaker.state, breaker.failures) == (State.UP, 0)


@given(st.lists(st.tuples(st.sampled_from([*FailureKind, None]), st.integers(0, 400)), max_size=60))
def test_it_never_waits_longer_than_its_longest_pause_and_always_lets_a_probe_through(
    calls: list[tuple[FailureKind | None, int]],
) -> None:
    """Law 5: a dead vendor is spared, and never given up."""
    breaker, now = Breaker(), 0.0
    for kind, passing in calls:
        if kind is None:
            breaker.succeeded()
        else:
            breaker.failed(Failure(kind, "no"), now)
        assert 0.0 <= breaker.wait(now) <= max(LONGEST_PAUSE, AUTH_PAUSE)
        assert breaker.wait(now + max(LONGEST_PAUSE, AUTH_PAUSE)) == 0.0
        assert (breaker.state is State.UP) or breaker.reason
        now += passing
