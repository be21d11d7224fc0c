"""Rows count as given when the cursor of their page comes back, and not before."""

from __future__ import annotations

from dncsync_salesforce.given import REMEMBERED, Given, mark_of

ROW = {"Id": "003a", "SystemModstamp": "2026-01-02T03:04:05.000+0000", "DoNotCall": True}
MARK = mark_of(ROW)


def test_a_row_is_known_only_after_its_cursor_came_back() -> None:
    given = Given()
    given.resume("c0")
    given.hand_out("c1", {"003a": MARK})
    assert not given.has("003a", MARK)
    given.resume("c0")
    assert not given.has("003a", MARK)
    given.hand_out("c1", {"003a": MARK})
    given.resume("c1")
    assert given.has("003a", MARK)


def test_pages_after_the_one_that_came_back_are_not_known() -> None:
    given = Given()
    given.hand_out("c1", {"003a": MARK})
    given.hand_out("c2", {"003b": MARK})
    given.resume("c1")
    assert given.has("003a", MARK)
    assert not given.has("003b", MARK)


def test_a_cursor_from_another_time_empties_the_memory() -> None:
    given = Given()
    given.hand_out("c1", {"003a": MARK})
    given.resume("c1")
    given.resume("c1")
    assert given.has("003a", MARK)
    given.resume("c-old")
    assert not given.has("003a", MARK)


def test_any_other_value_within_the_same_second_is_another_row() -> None:
    assert mark_of({**ROW, "DoNotCall": False}) != MARK
    assert mark_of({**ROW, "attributes": {"url": "x"}}) == MARK
    assert mark_of({**ROW, "Odd": {"nested": 1}}) != MARK


def test_memory_is_bounded_and_ends_behind_the_mark() -> None:
    given = Given()
    given.hand_out("c1", {f"003{n}": MARK for n in range(REMEMBERED + 500)})
    given.resume("c1")
    assert not given.has("0030", MARK)
    assert given.has(f"003{REMEMBERED}", MARK)
    given.forget_before("00Q", "2027-01-01T00:00:00Z")
    assert given.has(f"003{REMEMBERED}", MARK)
    given.forget_before("003", "2026-01-02T03:04:05Z")
    assert given.has(f"003{REMEMBERED}", MARK), "the mark's own second is read again"
    given.forget_before("003", "2026-01-02T03:04:06Z")
    assert not given.has(f"003{REMEMBERED}", MARK)
