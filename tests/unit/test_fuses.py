"""How many is too many: the counting rule of fuses, without a ledger."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dncsync.sync.fuses import Limit, over

SYSTEM = Limit(count=500, percent=5.0, least=50, window=600)
FIRST = Limit(percent=25.0, least=50)
CLEARS = Limit(count=50, percent=1.0, least=10, window=3600)


@pytest.mark.parametrize(
    ("limit", "counted", "known", "trips"),
    [
        (SYSTEM, 500, 100_000, False),
        (SYSTEM, 501, 100_000, True),
        (SYSTEM, 49, 49, False),  # everything, and too few to matter
        (SYSTEM, 50, 50, True),
        (SYSTEM, 50, 1_000, False),  # exactly 5 %
        (SYSTEM, 51, 1_000, True),
        (FIRST, 20_000, 1_000_000, False),  # history: 2 %
        (FIRST, 24, 24, False),
        (FIRST, 90, 100, True),  # an inverted flag
        (FIRST, 25_000, 100_000, False),
        (FIRST, 25_001, 100_000, True),
        (CLEARS, 9, 9, False),
        (CLEARS, 10, 1_000, False),
        (CLEARS, 11, 1_000, True),
        (CLEARS, 50, 1_000_000, False),
        (CLEARS, 51, 1_000_000, True),
        (Limit(count=10_000), 10_000, 0, False),
        (Limit(count=10_000), 10_001, 0, True),
    ],
)
def test_more_than_the_count_or_more_than_the_share(
    limit: Limit, counted: int, known: int, trips: bool
) -> None:
    assert (over(limit, counted, known) is not None) is trips


@given(
    st.integers(1, 10_000),
    st.integers(0, 200_000),
    st.floats(0.1, 100.0),
    st.integers(0, 200),
)
def test_counting_the_known_may_stop_where_the_share_matters_no_more(
    counted: int, known: int, percent: float, least: int
) -> None:
    limit = Limit(percent=percent, least=least)
    whole = over(limit, counted, known) is not None
    capped = over(limit, counted, min(known, limit.enough(counted))) is not None
    assert whole is capped


@given(st.integers(0, 2_000), st.integers(0, 2_000), st.integers(0, 50_000))
def test_more_of_the_same_never_becomes_fewer(counted: int, more: int, known: int) -> None:
    if over(SYSTEM, counted, known):
        assert over(SYSTEM, counted + more, known)


def test_the_reason_tells_the_figures() -> None:
    assert over(SYSTEM, 612, 100_000) == "612 within 600 s, more than 500"
    assert over(SYSTEM, 60, 100) == "60 of 100 within 600 s, more than 5 %"
