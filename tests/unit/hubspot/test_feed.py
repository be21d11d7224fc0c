"""Cursors, and what is checked of a page."""

from __future__ import annotations

import pytest

from dncsync.connector import FailureKind, VendorError
from dncsync_hubspot.feed import FeedCursor, ListCursor, check_rows, window_query

LOW = 1_795_000_000_000


def row(contact_id: int, modified: int = LOW) -> dict[str, object]:
    return {"id": str(contact_id), "properties": {"lastmodifieddate": str(modified)}}


def test_cursors_survive_being_text() -> None:
    feed = FeedCursor(4, 10, 20, 5, 30, True, 99)
    listing = ListCursor("7", 6, 100, ("1", "2"), True, 200)
    assert FeedCursor.read(str(feed)) == feed
    assert ListCursor.read(str(listing)) == listing


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"v":2}', '{"v":1,"serial":1}', "57000"])
def test_a_cursor_that_is_none_is_refused_in_one_line(text: str) -> None:
    for kind in (FeedCursor, ListCursor):
        with pytest.raises(VendorError) as caught:
            kind.read(text)
        assert caught.value.failure.kind is FailureKind.REJECTED


def test_a_window_uses_the_contacts_own_date_property_and_milliseconds() -> None:
    """`hs_lastmodifieddate` silently finds nothing on contacts; ISO dates are refused (sheet 3.3)."""
    query = window_query(1, 2, 3)
    window, keyset = query["filterGroups"][0]["filters"]
    assert window == {
        "propertyName": "lastmodifieddate",
        "operator": "BETWEEN",
        "value": "1",
        "highValue": "2",
    }
    assert keyset == {"propertyName": "hs_object_id", "operator": "GT", "value": "3"}
    assert "after" not in query


def test_rows_that_ignore_the_filter_or_the_order_are_an_error() -> None:
    assert check_rows({"results": [row(4), row(9)]}, LOW, 3) == [(4, LOW), (9, LOW)]
    for rows in ([row(3)], [row(9), row(4)], [row(4, LOW - 1)]):
        with pytest.raises(VendorError):
            check_rows({"results": rows}, LOW, 3)
