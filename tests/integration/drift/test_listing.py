"""A complete listing that shows markedly fewer holdings, in an engine that runs; nothing is removed by it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dncsync.drift.listing import SHRUNK, Listing, shrunk
from integration.drift.patrols import detail, patrol
from integration.sync.vendors import SET
from integration.sync.world import DAY, World

MANY = 40


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """A dialer alone: days pass, and nobody polls."""
    return make_world(without=("crm", "sms"))


def listed(world: World) -> None:
    for entry in range(MANY):
        number = f"+13125550{100 + entry}"
        world.dialer.put(f"DNC/{number}", number, voice=SET)
    world.settle()


def test_a_list_that_stays_or_grows_is_left_alone(world: World) -> None:
    listed(world)
    watch = patrol(world, Listing())
    for day in range(4):
        watch.run()
        number = f"+13125550{150 + day}"
        world.dialer.put(f"DNC/{number}", number, voice=SET)
        world.run(DAY)
    assert world.findings(SHRUNK) == []


def test_a_list_that_shows_half_is_named_and_nobody_is_cleared(world: World) -> None:
    listed(world)
    watch = patrol(world, Listing())
    watch.run()
    blocked = {f"+13125550{100 + entry}" for entry in range(MANY)}
    world.dialer.hidden = set(sorted(world.dialer.rows)[: MANY // 2])
    world.run(DAY + 600)
    watch.run()
    told = detail(world, SHRUNK)
    assert told["seen"] == "20 holdings"
    assert told["baseline"]["value"] == {"holdings": 20}
    assert {n for n in blocked if world.blocked(n)} == blocked, "law 9"
    assert world.open_work() == []


def test_it_heals_with_the_next_whole_listing(world: World) -> None:
    listed(world)
    watch = patrol(world, Listing())
    watch.run()
    world.dialer.hidden = set(world.dialer.rows)
    world.run(DAY + 600)
    watch.run()
    assert world.findings(SHRUNK)
    world.dialer.hidden = set()
    world.run(DAY)
    watch.run()
    assert world.findings(SHRUNK) == []


def test_while_a_listing_runs_nothing_is_concluded(world: World) -> None:
    listed(world)
    watch = patrol(world, Listing())
    watch.run()
    world.do(lambda tx: tx.execute("UPDATE bookmarks SET done = 0, holdings = 3") and None)
    watch.run()
    assert world.findings(SHRUNK) == []


def test_what_is_a_marked_loss() -> None:
    assert not shrunk(1000, 900)
    assert shrunk(1000, 899)
    assert not shrunk(12, 2), "ten entries may go from a short list"
    assert shrunk(12, 0), "all of them may not"
    assert not shrunk(2, 0)
