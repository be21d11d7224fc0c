"""A source's opt-outs against its own week, on a real ledger; the numbers are those of `activity`."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from dncsync.drift.sighting import record_baseline
from dncsync.drift.volume import HIGH, LOW, Volume
from integration.drift.patrols import count, detail, patrol
from integration.sync.world import World

NOON = datetime(2026, 9, 16, 16, 0, tzinfo=UTC)
"""A Wednesday without holidays around it."""


def ordinary(world: World, weeks: int) -> None:
    """Working hours bring six opt-outs each, other hours none."""
    for hour in range(weeks * 168):
        weekday, of_day = divmod((world.at // 3_600_000_000 - hour) % 168, 24)
        if 13 <= of_day < 21 and weekday not in (2, 3):  # the epoch was a Thursday
            count(world, "crm", hour, opt_outs=6)


@pytest.fixture
def quiet(make_world: Callable[..., World]) -> World:
    return make_world(start=NOON)


def test_a_source_that_does_as_ever_is_left_alone(quiet: World) -> None:
    ordinary(quiet, 5)
    patrol(quiet, Volume()).run()
    assert quiet.findings() == []
    ((value,),) = quiet.query("SELECT value FROM baselines WHERE detector = 'volume'")
    assert round(sum(json.loads(value)["typical"])) == 5 * 8 * 6


def test_a_burst_is_found_within_its_hour(quiet: World) -> None:
    ordinary(quiet, 5)
    patrol(quiet, Volume()).run()
    count(quiet, "crm", 0, opt_outs=60)
    patrol(quiet, Volume()).run()
    told = detail(quiet, HIGH)
    assert told["seen"] == "more than 10 times as many"
    assert told["system"] == "crm"


def test_it_heals_when_the_rate_is_ordinary_again(quiet: World) -> None:
    ordinary(quiet, 5)
    watch = patrol(quiet, Volume())
    watch.run()
    count(quiet, "crm", 0, opt_outs=60)
    watch.run()
    assert quiet.findings(HIGH)
    for _ in range(48):
        quiet.clock.advance(3600)
        watch.run()
    assert quiet.findings(HIGH) == []


def test_one_free_day_is_no_drift_and_two_silent_working_days_are(quiet: World) -> None:
    ordinary(quiet, 5)
    watch = patrol(quiet, Volume())
    watch.run()
    quiet.clock.advance(22 * 3600)
    watch.run()
    assert quiet.findings(LOW) == []
    quiet.clock.advance(24 * 3600)
    watch.run()
    assert detail(quiet, LOW)["seen"] == "less than a quarter of that"
    assert quiet.findings(LOW)[0]["summary"].startswith("crm brought ")


def test_a_long_weekend_with_a_holiday_is_no_drift(make_world: Callable[..., World]) -> None:
    world = make_world(start=datetime(2026, 9, 4, 21, 0, tzinfo=UTC))  # Labor Day comes
    ordinary(world, 5)
    watch = patrol(world, Volume())
    for _ in range(4):
        watch.run()
        world.clock.advance(86_400)
    watch.run()
    assert world.findings(LOW) == []


@pytest.mark.parametrize("days", [6, 13])
def test_less_than_two_weeks_of_history_say_nothing(quiet: World, days: int) -> None:
    for hour in range(1, days * 24):
        count(quiet, "crm", hour, opt_outs=1)
    count(quiet, "crm", 0, opt_outs=500)
    patrol(quiet, Volume()).run()
    assert quiet.findings() == []
    assert quiet.query("SELECT * FROM baselines") == []


def test_what_a_person_accepted_is_the_new_measure(quiet: World) -> None:
    ordinary(quiet, 5)
    watch = patrol(quiet, Volume())
    watch.run()
    for hour in range(1, 24):
        count(quiet, "crm", hour, opt_outs=12)
    watch.run()
    offered = detail(quiet, HIGH)["baseline"]

    def accept(tx: object) -> None:
        record_baseline(
            tx, quiet.at, offered["detector"], "crm", offered["subject"], offered["value"], actor="ada"
        )  # type: ignore[arg-type]

    quiet.do(accept)
    watch.run()
    assert quiet.findings(HIGH) == []
    quiet.clock.advance(3 * 86_400)
    patrol(quiet, Volume()).run()
    ((value,),) = quiet.query("SELECT value FROM baselines WHERE detector = 'volume'")
    assert json.loads(value) == offered["value"], "the weeks before it do not take it back"
