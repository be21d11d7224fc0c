"""Feeds that get nowhere: the loop does not spin, says so, and goes on when the vendor does."""

from __future__ import annotations

from collections.abc import Iterator
from types import MethodType

from dncsync.connector import Failure, FailureKind, Page
from integration.drift.patrols import detail
from integration.sync.vendors import SET, Vendor
from integration.sync.world import World

RECORDS = 7


def filled(world: World) -> None:
    for record in range(RECORDS):
        world.crm.put(f"r{record}", f"+13125550{100 + record}")


def replaced(vendor: Vendor, feed: str, broken: object) -> None:
    """The vendor's `changes` or `snapshot` does something else from now on."""
    setattr(vendor, feed, MethodType(broken, vendor))  # type: ignore[arg-type]


def restored(vendor: Vendor, feed: str) -> None:
    delattr(vendor, feed)


def repeating(vendor: Vendor, cursor: str | None) -> Iterator[Page]:
    """Whatever is asked for, the first page is given, with a cursor that moves."""
    at = int(cursor or 0)
    while True:
        vendor._call("page", str(at))
        at += 2
        yield Page(tuple(vendor._listed(key) for key in ("r0", "r1")), str(at), more=True)


def standing(vendor: Vendor, cursor: str | None) -> Iterator[Page]:
    """There is always more, at the same place."""
    while True:
        vendor._call("page", cursor or "")
        yield Page(tuple(vendor._listed(key) for key in ("r0", "r1")), "5", more=True)


def pages(world: World) -> int:
    return world.crm.ops().count("page")


def test_a_feed_that_repeats_a_page_is_named_and_does_not_spin(world: World) -> None:
    filled(world)
    world.settle()
    replaced(world.crm, "changes", repeating)
    world.run(100.0)
    assert pages(world) < 30
    assert detail(world, "page-repeated")["subject"] == "changes"


def test_what_a_repeated_page_shows_is_believed_all_the_same(world: World) -> None:
    filled(world)
    world.settle()
    replaced(world.crm, "changes", repeating)
    world.run(60.0)
    world.crm.person("r1", SET)
    world.run(60.0)
    assert world.blocked("+13125550101")


def test_a_page_that_came_twice_is_asked_for_once_more_before_the_feed_goes_on(world: World) -> None:
    filled(world)
    world.settle()
    asked = []

    def broken(vendor: Vendor, cursor: str | None) -> Iterator[Page]:
        asked.append(cursor)
        to = {None: "a", "a": "b"}.get(cursor, "end")
        yield Page(tuple(vendor._listed(key) for key in ("r0", "r1")), to, more=to != "end")

    world.do(lambda tx: tx.execute("DELETE FROM bookmarks WHERE feed = 'changes'") and None)
    replaced(world.crm, "changes", broken)
    world.run(35.0)
    assert asked[:4] == [None, "a", "a", "b"], "the page at a came twice: refused once, then believed"


def test_a_cursor_that_stands_still_is_named_and_does_not_spin(world: World) -> None:
    filled(world)
    world.settle()
    replaced(world.crm, "changes", standing)
    world.run(100.0)
    assert pages(world) < 30
    assert detail(world, "cursor-stuck")["subject"] == "changes"


def test_a_good_page_heals_both(world: World) -> None:
    filled(world)
    world.settle()
    replaced(world.crm, "changes", standing)
    world.run(100.0)
    restored(world.crm, "changes")
    world.run(60.0)
    assert world.findings("cursor-stuck") == []
    assert world.findings("page-repeated") == []


def test_a_listing_that_repeats_a_page_is_never_complete(world: World) -> None:
    filled(world)
    replaced(world.crm, "snapshot", repeating)
    world.run(600.0)
    assert pages(world) < 30
    assert detail(world, "page-repeated")["subject"] == "snapshot"
    assert world.query("SELECT snapshot_at FROM systems WHERE system = 'crm'") == [(None,)]
    restored(world.crm, "snapshot")
    world.run(300.0)
    assert world.findings("page-repeated") == []
    assert world.query("SELECT snapshot_at FROM systems WHERE system = 'crm'") != [(None,)]
    assert world.query("SELECT count(*) FROM holdings WHERE system = 'crm'") == [(RECORDS,)]


def test_a_listing_whose_cursor_stands_still_is_never_complete(world: World) -> None:
    filled(world)
    replaced(world.crm, "snapshot", standing)
    world.run(600.0)
    assert pages(world) < 40
    assert detail(world, "cursor-stuck")["subject"] == "snapshot"
    assert world.query("SELECT snapshot_at FROM systems WHERE system = 'crm'") == [(None,)]


def test_what_a_connector_notices_itself_is_the_same_finding(world: World) -> None:
    filled(world)
    world.settle()
    world.crm.calls_fail("changes", Failure(FailureKind.TRANSIENT, "a page came twice", "repeated-page"))
    world.run(11.0)
    kinds = [row[0] for row in world.query("SELECT kind FROM findings")]
    assert "page-repeated" in kinds
    world.run(30.0)
    assert world.findings("page-repeated") == []


def test_a_page_that_was_not_committed_is_not_taken_for_a_repeated_one(world: World) -> None:
    filled(world)
    world.crm.feed += [f"r{record}" for record in range(RECORDS)]
    taken = world.loops["crm"]._following._take
    failed = []

    def fails_once(*args: object) -> None:
        if not failed:
            failed.append(1)
            raise OSError("the disk is full")
        taken(*args)  # type: ignore[arg-type]

    world.loops["crm"]._following._take = fails_once
    for _ in range(40):
        try:
            world.work("crm")
            break
        except OSError:
            continue
    world.settle()
    assert failed
    assert world.query("SELECT 1 FROM findings WHERE kind IN ('page-repeated', 'cursor-stuck')") == []
