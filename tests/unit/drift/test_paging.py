"""Which pages get nowhere, page by page."""

from __future__ import annotations

from dncsync.connector import Failure, FailureKind, Page
from dncsync.model import Holding
from dncsync.sync import bookmarks
from dncsync.sync.paging import REPEATED, STUCK, Paging


def page(keys: str, cursor: str, more: bool = True) -> Page:
    return Page(tuple(Holding(key, {}) for key in keys), cursor, more)


def changes() -> Paging:
    return Paging(bookmarks.CHANGES, "crm")


def listing(cursor: str | None = None) -> Paging:
    paging = Paging(bookmarks.SNAPSHOT, "crm")
    paging.begin(cursor)
    return paging


def test_pages_that_go_on_are_good() -> None:
    paging = changes()
    assert paging.judge(None, page("ab", "1")) is None
    assert paging.judge("1", page("bc", "2")) is None
    assert paging.judge("2", page("bc", "2", more=False)) is None, "all was read; the next poll begins there"
    assert paging.judge("2", page("", "2", more=False)) is None


def test_the_same_keys_behind_another_cursor_are_refused_once_and_then_believed() -> None:
    paging = changes()
    paging.judge(None, page("ab", "1"))
    assert paging.judge("1", page("ba", "2")) == REPEATED
    assert paging.asks_again
    assert paging.judge("1", page("ab", "2")) == REPEATED
    assert not paging.asks_again, "or a feed that really says so would never go on"
    assert paging.judge("2", page("cd", "3")) is None


def test_one_record_may_change_twice_in_a_row() -> None:
    paging = changes()
    paging.judge(None, page("a", "1"))
    assert paging.judge("1", page("a", "2")) is None


def test_the_last_page_may_show_what_the_one_before_showed() -> None:
    paging = changes()
    paging.judge(None, page("ab", "1"))
    assert paging.judge("1", page("ab", "2", more=False)) is None


def test_a_page_that_was_never_taken_in_is_asked_for_again_without_a_word() -> None:
    paging = changes()
    paging.judge(None, page("ab", "1"))
    assert paging.judge(None, page("ab", "1")) is None
    whole = listing()
    whole.judge(None, page("ab", "1"))
    whole.judge(None, page("cd", "2"))
    whole.begin("1")
    assert whole.judge(None, page("cd", "2")) is None


def test_the_same_place_with_more_behind_it_is_stuck() -> None:
    paging = changes()
    assert paging.judge("1", page("ab", "1")) == STUCK
    assert not paging.asks_again
    assert paging.judge("1", page("", "1")) == STUCK


def test_a_listing_may_wait_with_empty_pages_for_a_job() -> None:
    paging = listing()
    for _ in range(50):
        assert paging.judge(None, page("", "job 1")) is None
    assert paging.judge(None, page("ab", "job 1/1")) is None
    assert paging.judge(None, page("cd", "job 1/1")) == STUCK


def test_a_listing_that_repeats_is_refused_however_often() -> None:
    paging = listing()
    paging.judge(None, page("ab", "1"))
    for place in "234":
        assert paging.judge(None, page("ab", place)) == REPEATED
        assert paging.asks_again


def test_a_listing_begun_anew_may_show_the_same_first_page() -> None:
    paging = listing()
    paging.judge(None, page("ab", "1"))
    paging.begin(None)
    assert paging.judge(None, page("ab", "1")) is None


def test_only_a_failure_with_that_code_is_a_repeated_page() -> None:
    paging = changes()
    assert paging.judge("1", Failure(FailureKind.TRANSIENT, "again", "repeated-page")) == REPEATED
    assert paging.judge("1", Failure(FailureKind.TRANSIENT, "no route")) is None
    assert paging.judge("1", None) is None
