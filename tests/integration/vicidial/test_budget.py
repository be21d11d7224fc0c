"""How many calls things cost, and how fast they are made."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dncsync.connector import Change
from integration.vicidial.world import STOP, World, failures, is_set

Make = Callable[..., World]


def burst(world: World, count: int) -> float:
    """Calls against the fewest possible: one add and one check for each number."""
    numbers = world.sandbox.numbers(count)
    keys = [key for number in numbers for key in world.connector.keys_for(number)]
    size = world.connector.capabilities.write_batch
    assert size == world.connector.capabilities.read_batch
    batches = [keys[at : at + size] for at in range(0, len(keys), size)]
    for some in batches:
        assert failures(world.connector.write([Change(key, STOP) for key in some])) == []
    for some in batches:
        assert all(is_set(looked) for looked in world.connector.read(some))
    return world.calls() / (2 * len(keys))


def test_a_burst_of_opt_outs_costs_little_more_than_its_adds_and_checks(world: World) -> None:
    assert burst(world, 800) <= 1.1


def test_a_burst_on_two_lists_costs_little_more(make_world: Make) -> None:
    world = make_world(lists=("SYSTEM_INTERNAL", "SALES"))

    assert burst(world, 400) <= 1.1


@pytest.mark.slow
def test_ten_thousand_opt_outs_cost_little_more_than_their_adds_and_checks(world: World) -> None:
    assert burst(world, 10_000) <= 1.1


def test_the_throttle_is_ours_and_kept(make_world: Make) -> None:
    world = make_world(calls_per_second=10)
    started = world.clock.monotonic()

    burst(world, 100)

    seconds = world.clock.monotonic() - started
    allowed = 10 * 0.8 * 0.75  # what we use of it, less the share that is kept for opt-outs
    assert seconds >= world.calls() / allowed - 1
    assert seconds <= world.calls() / allowed + 2


def test_a_full_read_is_one_call_for_each_list(make_world: Make) -> None:
    world = make_world(contacts=20_000)

    assert len(world.snapshot()) == 404
    assert world.calls() == 1
