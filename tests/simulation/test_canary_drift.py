"""A share of the canary's hundred worlds (`make bench` has all), and the laws with a canary among them."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from simulation import canary_drift, canary_laws
from simulation.world import LawBroken


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("seed", [3, 5, 8, 10, 15])
def test_planted_drift_is_named_within_two_intervals(seed: int) -> None:
    """Webhooks silent, a field hidden, a field renamed, a write dropped in a CRM and in a dialer."""
    found = canary_drift.hunt(seed)
    assert found.false_alarms == ()
    assert found.runs >= 2, "the rounds before were not good ones: this proves nothing"
    assert found.intervals is not None, found
    assert found.intervals <= 2.0


def test_a_seed_replays_to_the_same_end() -> None:
    assert canary_drift.hunt(6) == canary_drift.hunt(6)


def test_the_laws_hold_with_a_canary_in_the_world() -> None:
    """Deaths, drops, lost webhooks and lags, and people who ask for the canary's own number."""
    outcomes: set[str] = set()
    for seed in (1, 2, 4, 8):
        try:
            outcomes |= canary_laws.simulate(seed)
        except LawBroken as broken:
            pytest.fail(f"seed {seed}: {broken}\n" + "\n".join(broken.trace[-40:]))
    assert {"good", "late", "lost", "kept"} <= outcomes, "the canary hardly flew: this proves nothing"
