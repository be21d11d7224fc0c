"""The change feed: no wall, no lost rows, no echo for ever (vendor sheet sections 3.3, 3.4 and 0)."""

from __future__ import annotations

import pytest

from dncsync.connector import FailureKind, VendorError
from dncsync.model import Flag
from dncsync.testing.faults import FaultKind
from dncsync_hubspot.sandbox_portal import Source
from dncsync_hubspot.sandbox_schema import REASON
from integration.hubspot.world import CLEAR, READ, SEARCH, SET, VOICE, World, key


def test_a_tick_in_hubspot_is_seen_with_who_and_when() -> None:
    world = World()
    world.poll()
    world.clock.advance(10)
    ticked = world.sandbox.opt_out(world.sandbox.numbers(9)[8], by="userId:123")
    (seen,) = world.poll()
    assert (seen.key, seen.flags[VOICE]) == (ticked, SET)
    who = seen.provenance[VOICE]
    assert (who.actor, who.source, who.ours) == ("userId:123", "CRM_UI", False)
    assert who.at == world.clock.now()


def test_a_tick_taken_out_is_seen_with_its_reason() -> None:
    world = World(companions=True)
    world.sandbox.opt_out(world.sandbox.numbers(9)[8])
    world.poll()
    world.clock.advance(10)
    cleared = world.sandbox.undo(world.sandbox.numbers(9)[8], by="userId:123", reason="Asked for a call")
    (seen,) = world.poll()
    assert (seen.key, seen.flags[VOICE], seen.reason) == (cleared, CLEAR, "Asked for a call")
    assert (seen.provenance[VOICE].actor, seen.provenance[VOICE].source) == ("userId:123", "CRM_UI")


def test_a_reason_written_afterwards_is_seen() -> None:
    world = World(companions=True)
    cleared = world.sandbox.undo(world.sandbox.numbers(9)[8])
    world.poll()
    world.clock.advance(10)
    world.sandbox.change(
        world.sandbox.living(int(cleared)), {REASON: "Asked for a call"}, Source.by("userId:123")
    )
    assert [(h.key, h.reason) for h in world.poll()] == [(cleared, "Asked for a call")]


def test_a_contact_born_opted_out_is_seen() -> None:
    world = World()
    world.poll()
    born = world.sandbox.opt_out("+15005550006")
    assert [(h.key, h.flags[VOICE], h.numbers) for h in world.poll()] == [(born, SET, ("+15005550006",))]


def test_ten_thousand_rows_with_one_timestamp_are_all_seen() -> None:
    """Bulk jobs give many contacts one timestamp, and a query shows no more than 10,000 rows."""
    world = World(contacts=10_450, opted_out_share=0.0, limits=False)
    world.poll()
    world.clock.advance(10)
    world.sandbox.touch(10_350)
    before = world.sandbox.calls.copy()
    cursor, keys, pages = world.cursor, set(), 0
    while True:
        try:
            for page in world.connector.changes(cursor):
                keys |= {holding.key for holding in page.holdings}
                cursor, pages = page.cursor, pages + 1
                assert len(page.holdings) <= 100
            break
        except VendorError as full:
            if full.failure.kind is not FailureKind.RATE_LIMITED:
                raise
            world.clock.advance(full.failure.retry_after or 1)  # our own budget; the cursor stands
    assert len(keys) == 10_350
    calls = world.sandbox.calls - before
    assert calls[SEARCH] <= 10_350 / 200 + 2
    assert calls[READ] <= 10_350 / 100 + 60  # some pages are read 50 at a time
    assert calls["status 400"] == calls["status 429"] == 0


def test_rows_in_the_overlap_are_not_read_for_ever() -> None:
    world = World(config={"sweep_seconds": 0})
    world.poll()
    world.sandbox.opt_out(world.sandbox.numbers(1)[0])
    assert len(world.poll()) == 1
    before = world.sandbox.calls[READ]
    for _ in range(20):
        world.clock.advance(10)
        assert world.poll() == []
    assert world.sandbox.calls[READ] == before


def test_an_uncommitted_page_comes_again() -> None:
    """What is remembered of the overlap is true only for who comes back with the last cursor."""
    world = World()
    world.poll()
    ticked = world.sandbox.opt_out(world.sandbox.numbers(1)[0])
    for _ in range(3):
        page = next(world.connector.changes(world.cursor))  # never committed
        assert [holding.key for holding in page.holdings] == [ticked]
    page = next(world.connector.changes(page.cursor))
    assert page.holdings == ()


def test_a_restart_reads_the_overlap_again() -> None:
    world = World()
    world.poll()
    ticked = world.sandbox.opt_out(world.sandbox.numbers(1)[0])
    world.poll()
    world.connector = world.connect()
    assert [holding.key for holding in world.poll()] == [ticked]


@pytest.mark.parametrize("lag", [0.0, 25.0, 240.0])
def test_rows_that_the_index_shows_late_are_not_passed_by(lag: float) -> None:
    world = World(index_lag=lag, index_jitter=50.0)
    world.poll()
    ticked, seen = set(), set()
    for number in world.sandbox.numbers(40):
        ticked.add(world.sandbox.opt_out(number))
        world.clock.advance(7)
        seen |= {holding.key for holding in world.poll()}
    for _ in range(50):
        world.clock.advance(10)
        seen |= {holding.key for holding in world.poll()}
    assert ticked <= seen


def test_a_stale_index_is_made_up_for_by_the_sweep() -> None:
    world = World()
    world.poll()
    world.sandbox.faults.add(FaultKind.STALE_INDEX, seconds=200)
    ticked = world.sandbox.opt_out(world.sandbox.numbers(1)[0])
    seen: list[str] = []
    for _ in range(30):
        world.clock.advance(10)
        seen += [holding.key for holding in world.poll()]
    assert seen == [ticked]


def test_the_index_is_never_believed() -> None:
    """The index still shows the contact unticked; the holding is read by id."""
    world = World()
    world.poll()
    contact = world.sandbox.add_contact(["+15005550006"])
    world.sandbox.portal.index.lag = 1000.0
    world.sandbox.opt_out("+15005550006")
    assert [(h.key, h.flags[VOICE]) for h in world.poll()] == [(contact, SET)]


def test_our_own_write_is_no_change() -> None:
    world = World()
    world.poll()
    world.clock.advance(10)
    world.write({key(3): SET})
    world.clock.advance(10)
    before = world.sandbox.calls[READ]
    assert world.poll() == []
    assert world.sandbox.calls[READ] == before


def test_a_change_after_our_own_write_is_one() -> None:
    world = World()
    world.poll()
    world.clock.advance(10)
    world.write({key(3): SET})
    world.clock.advance(1)
    world.sandbox.undo(world.sandbox.numbers(4)[3])
    assert [(h.key, h.flags[VOICE]) for h in world.poll()] == [(key(3), CLEAR)]


def test_a_write_that_changed_nothing_hides_nobodys_tick() -> None:
    """HubSpot answers such a write with the time of somebody else's change."""
    world = World()
    world.poll()
    world.sandbox.opt_out(world.sandbox.numbers(4)[3])
    world.clock.advance(5)
    world.write({key(3): SET})
    (seen,) = world.poll()
    assert seen.provenance[VOICE].source == "CRM_UI"


def test_a_merge_names_the_contact_that_was_swallowed() -> None:
    world = World()
    world.poll()
    world.sandbox.merge(key(7), key(6))
    seen = {holding.key: holding for holding in world.poll()}
    assert seen[key(7)].gone is False
    assert (seen[key(6)].gone, seen[key(6)].became) == (True, key(7))


def test_a_crowd_read_by_hundreds_has_provenance_where_it_is_set() -> None:
    world = World(contacts=180, opted_out_share=0.5)
    world.poll()
    world.clock.advance(10)
    world.sandbox.touch(180)
    seen = world.poll()
    assert len(seen) == 180
    assert all((VOICE in h.provenance) is (h.flags[VOICE] is SET) for h in seen)
    assert sum(h.flags[VOICE] is SET for h in seen) > 50


def test_a_clock_ahead_of_hubspots_loses_nothing() -> None:
    from datetime import datetime, timedelta

    from dncsync.clock import VirtualClock

    world = World()

    class Ahead(VirtualClock):
        """This machine's clock: ten minutes ahead."""

        def now(self) -> datetime:
            return world.clock.now() + timedelta(minutes=10)

    world.connector = world.connect(Ahead())
    world.poll()
    for index, number in enumerate(world.sandbox.numbers(5)):
        world.clock.advance(20)
        world.sandbox.opt_out(number)
        world.clock.advance(45)
        assert [holding.key for holding in world.poll()] == [key(index)]


def test_a_repeated_page_is_noticed() -> None:
    world = World(contacts=450)
    world.poll()
    world.clock.advance(10)
    world.sandbox.touch(450)
    world.sandbox.faults.add(FaultKind.REPEATED_PAGE, path="/search", after=1, times=1)
    with pytest.raises(VendorError, match="repeats a page"):
        world.poll()
    assert {key(i) for i in range(200, 450)} <= {holding.key for holding in world.poll()}


def test_the_feed_does_not_filter_on_the_name_that_silently_finds_nothing() -> None:
    """`hs_lastmodifieddate` is a known name on other objects (sheet section 0, item 7)."""
    world = World(unknown_filter="empty")
    world.poll()
    world.sandbox.opt_out(world.sandbox.numbers(1)[0])
    assert [h.flags[VOICE] for h in world.poll()] == [Flag.SET]


def test_a_contact_archived_after_it_was_indexed_is_gone_and_not_clear() -> None:
    world = World()
    world.poll()
    world.sandbox.opt_out(world.sandbox.numbers(1)[0])
    world.sandbox.portal.index.lag = 1000.0
    world.sandbox.archive(key(0))
    (seen,) = world.poll()
    assert (seen.key, seen.gone, dict(seen.flags)) == (key(0), True, {})
