"""Nothing drifts, so nothing is told; and what drifts is found (design section 7)."""

from __future__ import annotations

import pytest

from simulation.quiet_quarter import DRIFTS, checks_until_found, false_alarms

SEEDS = (1, 2, 3)


def test_a_quiet_quarter_has_at_most_one_false_alarm() -> None:
    found = false_alarms(SEEDS)
    print({seed: len(opened) for seed, opened in found.items()})
    assert max(len(opened) for opened in found.values()) <= 1, found


@pytest.mark.parametrize("drift", ["webhooks silent (busy CRM)", "8 % of holdings cleared"])
def test_a_drift_in_an_otherwise_quiet_quarter_is_found_within_two_checks(drift: str) -> None:
    found = checks_until_found(drift, 1)
    assert found is not None
    assert found <= 2


@pytest.mark.slow
@pytest.mark.parametrize("drift", DRIFTS)
def test_every_drift_is_found(drift: str) -> None:
    assert [seed for seed in SEEDS if checks_until_found(drift, seed) is None] == []
