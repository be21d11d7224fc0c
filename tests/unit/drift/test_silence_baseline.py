"""What a system ordinarily lets through unannounced, from its hours."""

from __future__ import annotations

import pytest

from dncsync.drift.hours import Hour
from dncsync.drift.ledger_detector import roughly, step_below
from dncsync.drift.silence import LEAST_SHARE, Normal, learn


def test_without_history_little_is_believed() -> None:
    learnt = learn([])
    assert learnt.share == pytest.approx(0.1)
    assert learnt.run == 0


def test_a_faithful_system_has_the_least_share() -> None:
    learnt = learn(Hour(h, webhooks=5, webhook_signals=5) for h in range(24 * 60))
    assert learnt == Normal(LEAST_SHARE, 0)


def test_the_share_is_that_of_its_changes() -> None:
    learnt = learn(Hour(h, webhooks=9, webhook_signals=9, polled_changes=1) for h in range(24 * 60))
    assert learnt.share == pytest.approx(0.1, abs=0.005)


def test_one_day_of_silence_does_not_become_ordinary() -> None:
    hours = [Hour(h, webhooks=5, webhook_signals=5) for h in range(24 * 30)]
    hours += [Hour(h, polled_changes=5, unannounced=5) for h in range(24 * 30, 24 * 31)]
    hours += [Hour(h, webhooks=5, webhook_signals=5) for h in range(24 * 31, 24 * 40)]
    assert learn(hours) == Normal(LEAST_SHARE, 0)


def test_runs_go_on_through_hours_without_webhooks() -> None:
    hours = [
        Hour(24 * day + h, webhooks=int(h == 0), polled_changes=int(h % 8 == 0), unannounced=int(h % 8 == 0))
        for day in range(20)
        for h in range(24)
    ]
    assert learn(hours).run == 3


@pytest.mark.parametrize(
    ("now", "before", "moved"),
    [
        (Normal(0.002, 0), Normal(0.004, 2), False),
        (Normal(0.05, 0), Normal(0.002, 0), True),
        (Normal(0.3, 5), Normal(0.25, 5), False),
        (Normal(0.002, 9), Normal(0.002, 2), True),
    ],
)
def test_noise_is_not_worth_an_event(now: Normal, before: Normal, moved: bool) -> None:
    assert now.moved(before) is moved


@pytest.mark.parametrize(
    ("count", "step"),
    [(0, 0), (1, 1), (4, 3), (9, 7), (10, 10), (29, 20), (30, 30), (699, 500), (1234, 1000)],
)
def test_what_lasts_is_told_in_coarse_steps(count: int, step: int) -> None:
    assert step_below(count) == step
    assert roughly(count) == f"at least {step:,}"
