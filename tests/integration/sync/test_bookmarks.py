"""Where a feed was read to: never past what was taken in, never lost, never begun twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dncsync.ledger.writer import NotCommitted, Tx
from dncsync.sync import bookmarks
from dncsync.sync.bookmarks import CHANGES, SNAPSHOT
from integration.sync.vendors import ANN, BOB
from integration.sync.world import World

HOUR = 3_600_000_000


@pytest.fixture
def empty(world: World) -> World:
    """Nothing was read yet."""
    return world


def test_a_feed_that_was_never_read_has_no_cursor(empty: World) -> None:
    assert empty.do(lambda tx: bookmarks.cursor(tx, "crm", CHANGES)) is None


def test_the_cursor_is_where_the_last_page_ended(empty: World) -> None:
    def read_three_pages(tx: Tx) -> None:
        for to in ("a", "b", "c"):
            bookmarks.advance(tx, empty.at, "crm", CHANGES, to, 5)

    empty.do(read_three_pages)

    assert empty.do(lambda tx: bookmarks.cursor(tx, "crm", CHANGES)) == "c"
    assert empty.query("SELECT pages, holdings FROM bookmarks") == [(3, 15)]
    assert empty.do(lambda tx: bookmarks.cursor(tx, "crm", SNAPSHOT)) is None
    assert empty.do(lambda tx: bookmarks.cursor(tx, "dialer", CHANGES)) is None


def test_a_snapshot_goes_on_until_it_is_done_and_then_waits_for_its_interval(empty: World) -> None:
    def begin(after: int) -> bookmarks.Begun:
        begun: bookmarks.Begun = empty.do(
            lambda tx: bookmarks.begin(tx, empty.at + after, "crm", SNAPSHOT, HOUR)
        )
        return begun

    assert begin(0) == bookmarks.Begun(None, 0)
    empty.do(lambda tx: bookmarks.advance(tx, empty.at, "crm", SNAPSHOT, "page 1", 2))
    assert begin(9 * HOUR) == bookmarks.Begun("page 1", 0), "unfinished: it goes on, however late"

    assert empty.do(lambda tx: bookmarks.finish(tx, empty.at + 60, "crm", SNAPSHOT)) == empty.at
    assert begin(HOUR - 1) == bookmarks.Begun(None, 1), "counted from when the last one began"
    assert begin(HOUR) == bookmarks.Begun(None, 0)


def test_a_forgotten_feed_begins_at_the_beginning(empty: World) -> None:
    empty.do(lambda tx: bookmarks.advance(tx, empty.at, "crm", CHANGES, "a", 1))
    empty.do(lambda tx: bookmarks.forget(tx, "crm", CHANGES))

    assert empty.do(lambda tx: bookmarks.cursor(tx, "crm", CHANGES)) is None


def test_law_3_the_cursor_moves_only_with_the_page_that_it_ends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails while a page is taken in leaves the cursor where it was, and the page comes again."""

    def full_disk(*args: object, **kwargs: object) -> None:
        raise OSError("no space left on device")

    world.settle()
    world.sms.feed += [world.statement(BOB, "what is this"), world.statement(ANN, "STOP")]
    where = "SELECT cursor FROM bookmarks WHERE system = 'sms' AND feed = 'changes'"
    before = world.query(where)

    monkeypatch.setattr(world.intake, "record", full_disk)
    with pytest.raises(OSError, match="no space"):
        world.run(30.0)

    assert world.query(where) == before
    assert world.query("SELECT * FROM statements") == [], "nothing of the page, or all of it"

    world.restart()
    world.settle()

    assert world.blocked(ANN) == {"voice", "sms"}
    assert world.query(where) == [("2",)]


def test_a_snapshot_survives_a_restart_in_its_middle(world: World) -> None:
    for key in "1234567":
        world.crm.put(key, f"+1312555020{key}")
    world.turn("crm")
    world.restart()
    world.crm.calls.clear()
    world.settle()

    cursors = [call.keys[0] for call in world.crm.calls if call.op == "snapshot"]
    assert cursors == ["2", "4", "6"]
    assert world.query("SELECT count(*) FROM holdings WHERE system = 'crm'") == [(7,)]


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_page_that_could_not_be_committed_is_read_again(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """A full disk: the listing goes on from where the ledger stands, not from where the vendor does."""
    world = make_world(without=("dialer", "sms"))
    for key in "123456":
        world.crm.put(key, f"+1312555010{key}")
    advance, calls = bookmarks.advance, iter(range(1, 100))

    def full(tx: Tx, at: int, system: str, feed: str, cursor: str | None, holdings: int) -> None:
        if feed == SNAPSHOT and next(calls) == lost:
            raise NotCommitted("the disk is full")
        advance(tx, at, system, feed, cursor, holdings)

    monkeypatch.setattr(bookmarks, "advance", full)
    with pytest.raises(NotCommitted):
        world.work("crm")
    world.settle()

    assert [key for (key,) in world.query("SELECT key FROM holdings ORDER BY key")] == list("123456")
    assert world.query("SELECT snapshot_at IS NOT NULL FROM systems WHERE system = 'crm'") == [(1,)]
