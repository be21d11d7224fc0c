"""The change feed: late rows, crowds, killed polls, and what became of a record (sheet 6, 12)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dncsync.connector import FailureKind, VendorError
from dncsync.model import Channel, Flag
from dncsync_salesforce.sandbox_people import REP

Make = Callable[..., Any]
NUMBER = "+12025550101"


def mark(cursor: str, kind: str = "Contact") -> datetime:
    return datetime.fromisoformat(json.loads(cursor)["m"][kind])


def test_a_tick_is_seen_with_who_and_when(org: Make) -> None:
    o = org(contacts=20)
    _, cursor = o.poll(None)
    key = o.sandbox.opt_out(NUMBER, by=REP)
    ticked_at = o.clock.now()
    o.clock.advance(7)
    (seen,), _ = o.poll(cursor)
    assert seen.key == key
    assert seen.flags == {Channel.VOICE: Flag.SET}
    told = seen.provenance[Channel.VOICE]
    assert (told.actor, told.source, told.ours) == (f"user:{REP}", "field-history", False)
    assert told.at == ticked_at.replace(microsecond=0)


def test_without_field_history_the_last_change_is_named_as_that(org: Make) -> None:
    o = org(history=False)
    _, cursor = o.poll(None)
    o.sandbox.opt_out(NUMBER)
    (seen,), cursor = o.poll(cursor)
    told = seen.provenance[Channel.VOICE]
    assert (told.actor, told.source, told.ours) == (f"user:{REP}", "last-modified", None)
    asked = o.calls("query")
    o.sandbox.opt_out("+12025550102")
    o.poll(cursor)
    assert o.calls("query") - asked == 2, "history that was refused is not asked for again at once"


def test_our_own_write_comes_back_as_ours(org: Make) -> None:
    from dncsync.connector import Change

    o = org()
    key = o.sandbox.add_contact([NUMBER])
    _, cursor = o.poll(None)
    list(o.connector.write([Change(key, {Channel.VOICE: Flag.SET})]))
    (seen,), _ = o.poll(cursor)
    assert seen.provenance[Channel.VOICE].ours is True


def test_a_quiet_org_costs_one_query_per_object_and_keeps_its_cursor(org: Make) -> None:
    o = org(contacts=500)
    _, cursor = o.poll(None)
    before, cursors = o.calls("query"), set()
    for _ in range(3):
        o.clock.advance(15)
        given, cursor = o.poll(cursor)
        assert given == []
        cursors.add(cursor)
    assert o.calls("query") - before == 3 * 2
    assert len(cursors) == 1


def test_rows_given_once_are_left_out_of_the_overlap(org: Make) -> None:
    o = org()
    _, cursor = o.poll(None)
    o.sandbox.opt_out(NUMBER)
    given, cursor = o.poll(cursor)
    assert len(given) == 1
    for _ in range(5):
        o.clock.advance(20)
        given, cursor = o.poll(cursor)
        assert given == []


def test_a_second_change_within_the_same_second_is_seen(org: Make) -> None:
    """SystemModstamp has whole seconds: two changes share one (sheet 6.2)."""
    o = org()
    _, cursor = o.poll(None)
    o.sandbox.opt_out(NUMBER)
    (first,), cursor = o.poll(cursor)
    o.clock.advance(0.4)
    o.sandbox.undo(NUMBER)
    (second,), _ = o.poll(cursor)
    assert (first.flags[Channel.VOICE], second.flags[Channel.VOICE]) == (Flag.SET, Flag.CLEAR)


def test_a_page_that_was_not_committed_is_given_again(org: Make) -> None:
    o = org()
    _, cursor = o.poll(None)
    o.sandbox.opt_out(NUMBER)
    assert len(o.poll(cursor)[0]) == 1
    assert len(o.poll(cursor)[0]) == 1, "the caller came back with the old cursor: it has nothing"


def test_a_restart_gives_the_overlap_again(org: Make) -> None:
    o = org()
    _, cursor = o.poll(None)
    o.sandbox.opt_out(NUMBER)
    _, cursor = o.poll(cursor)
    assert len(o.poll(cursor, o.again())[0]) == 1


def test_rows_that_show_up_late_and_out_of_order_are_seen(org: Make) -> None:
    """Rows appear with stamps below the highest one seen (sheet 0.8, 6.2)."""
    o = org(visibility_delay=(0.0, 200.0))
    _, cursor = o.poll(None)
    numbers = [f"+1202555{n:04d}" for n in range(100, 130)]
    seen: set[str] = set()
    keys = set()
    for number in numbers:
        keys.add(o.sandbox.opt_out(number))
        o.clock.advance(2)
        given, cursor = o.poll(cursor)
        seen |= {h.key for h in given}
    assert seen != keys, "the sandbox must really be late for this test to mean something"
    for _ in range(20):
        o.clock.advance(15)
        given, cursor = o.poll(cursor)
        seen |= {h.key for h in given if h.flags[Channel.VOICE] is Flag.SET}
    assert seen == keys


def test_the_mark_never_passes_the_vendors_clock_less_the_margin(org: Make) -> None:
    o = org()
    _, cursor = o.poll(None)
    for n in range(40):
        o.sandbox.opt_out(f"+1202555{n:04d}")
        o.clock.advance(29)
        _, cursor = o.poll(cursor)
        assert mark(cursor) <= o.clock.now() - timedelta(minutes=5)
    assert mark(cursor) > o.clock.now() - timedelta(minutes=7), "and it does follow"


def test_a_clock_of_ours_that_is_fast_does_not_move_the_mark(org: Make) -> None:
    """The vendor's Date header counts, not our clock."""
    from dncsync.clock import VirtualClock
    from dncsync.connector import Context
    from dncsync.http import HttpDoor
    from dncsync_salesforce import PLUGIN

    o = org()
    fast = VirtualClock(o.clock.now() + timedelta(hours=2))
    config, secrets = o.sandbox.settings("http://salesforce.test")

    def door(**options: Any) -> HttpDoor:
        opened = HttpDoor("sf", clock=fast, transport=o.sandbox.transport(), **options)
        o.doors.append(opened)
        return opened

    connector = PLUGIN.connect(PLUGIN.settings(**config, **secrets), Context("sf", fast, door))
    _, cursor = o.poll(None, connector)
    o.sandbox.opt_out(NUMBER)
    o.clock.advance(90)
    fast.advance(90)
    given, cursor = o.poll(cursor, connector)
    assert len(given) == 1
    assert mark(cursor) <= o.clock.now() - timedelta(minutes=5)


def test_a_mass_update_sharing_one_stamp_is_read_whole(org: Make) -> None:
    """A cursor on the stamp alone would skip rows or loop for ever (sheet 6.2)."""
    o = org(contacts=400, page_size=60)
    _, cursor = o.poll(None)
    o.sandbox.mass_update("Contact", 300, DoNotCall=True)
    o.clock.advance(2)
    given, cursor = o.poll(cursor)
    assert len({h.key for h in given}) == 300


def test_a_mass_update_is_not_read_whole_by_every_poll_of_the_margin(org: Make) -> None:
    o = org(contacts=5_000, page_size=100)
    _, cursor = o.poll(None)
    o.sandbox.mass_update("Contact", 4_000, Title="x")
    given, cursor = o.poll(cursor)
    assert len(given) == 4_000
    o.clock.advance(31)
    _, cursor = o.poll(cursor)
    o.sandbox.opt_out(NUMBER)
    before, seen = o.calls("query"), 0
    for _ in range(6):
        o.clock.advance(15)
        given, cursor = o.poll(cursor)
        seen += len(given)
    assert seen == 1, "the opt-out, and nothing of the crowd again"
    assert o.calls("query") - before == 6 * 2 + 1, "six whole reads would be 240 calls"
    for _ in range(40):
        o.clock.advance(15)
        given, cursor = o.poll(cursor)
    assert mark(cursor) > o.clock.now() - timedelta(minutes=9), "the mark follows in spite of the crowd"


@pytest.mark.parametrize("killed_after", range(1, 6))
def test_a_walk_goes_on_where_it_was_killed(org: Make, killed_after: int) -> None:
    o = org(contacts=400, page_size=60)
    _, cursor = o.poll(None)
    o.sandbox.mass_update("Contact", 300, DoNotCall=True)
    o.clock.advance(2)
    seen = set()
    walk = o.connector.changes(cursor)
    for _ in range(killed_after):
        page = next(walk)
        seen |= {h.key for h in page.holdings}
        cursor = page.cursor
    given, _ = o.poll(cursor, o.again())
    assert len(seen | {h.key for h in given}) == 300
    if killed_after > 1:
        assert len(given) < 300, "it did go on, and not begin anew"


def test_a_dead_locator_is_replaced_by_the_keyset(org: Make) -> None:
    o = org(contacts=400, page_size=60)
    _, cursor = o.poll(None)
    o.sandbox.mass_update("Contact", 300, DoNotCall=True)
    o.clock.advance(2)
    seen = set()
    for page in o.connector.changes(cursor):
        seen |= {h.key for h in page.holdings}
        o.sandbox.reading.forget_locators()
    assert len(seen) == 300


def test_rows_changed_while_we_walk_do_not_hide_those_behind_them(org: Make) -> None:
    """Such a row shows its new stamp in its old place: a position taken from it would skip the rest."""
    o = org(contacts=400, page_size=60)
    _, cursor = o.poll(None)
    o.sandbox.mass_update("Contact", 300, DoNotCall=True)
    o.clock.advance(5)
    walk = o.connector.changes(cursor)
    page = next(walk)
    o.clock.advance(5)
    o.sandbox.people.edit("Contact/0035g0000000132AAA", Title="last row of the second page")
    seen = {h.key for h in page.holdings}
    page = next(walk)
    assert page.holdings[-1].key == "Contact/0035g0000000132AAA"
    seen |= {h.key for h in page.holdings}
    given, _ = o.poll(page.cursor, o.again())
    assert len(seen | {h.key for h in given}) == 300


@pytest.mark.parametrize("fault", ["short-list", "repeated-page"])
def test_a_list_that_lies_does_not_move_the_mark(org: Make, fault: str) -> None:
    o = org(contacts=400, page_size=60)
    _, cursor = o.poll(None)
    o.sandbox.mass_update("Contact", 300, DoNotCall=True)
    o.clock.advance(400)
    o.sandbox.faults.add(fault)
    pages, failure = o.until_it_breaks(o.connector.changes(cursor))
    assert failure.kind is FailureKind.TRANSIENT
    assert {mark(page.cursor) for page in pages} <= {mark(cursor)}
    o.sandbox.faults.clear()
    assert len({h.key for h in o.poll(cursor)[0]}) == 300


def test_a_deleted_record_is_gone_and_keeps_what_was_ticked(org: Make) -> None:
    o = org()
    plain, ticked = o.sandbox.add_contact([NUMBER]), o.sandbox.opt_out("+12025550102")
    _, cursor = o.poll(None)
    o.clock.advance(400)
    _, cursor = o.poll(cursor)
    o.sandbox.delete(plain)
    o.sandbox.delete(ticked)
    given, _ = o.poll(cursor)
    seen = {h.key: h for h in given}
    assert seen[plain].gone
    assert seen[plain].flags == {}
    assert seen[plain].became is None
    assert seen[ticked].flags == {Channel.VOICE: Flag.SET}, "a tick just before the deletion is a request"


def test_a_merged_record_names_its_winner(org: Make) -> None:
    o = org()
    winner, loser = o.sandbox.add_contact([NUMBER]), o.sandbox.add_contact([NUMBER])
    _, cursor = o.poll(None)
    o.clock.advance(400)
    _, cursor = o.poll(cursor)
    o.sandbox.merge(winner, loser)
    seen = {h.key: h for h in o.poll(cursor)[0]}
    assert (seen[loser].gone, seen[loser].became) == (True, winner)
    assert (seen[winner].gone, seen[winner].became) == (False, None)


@pytest.mark.parametrize("existing", [True, False])
def test_a_converted_lead_names_its_contact_and_keeps_its_flag(org: Make, existing: bool) -> None:
    """Converting into an existing contact loses DoNotCall (sheet 0.1, 12)."""
    o = org()
    lead = o.sandbox.add_contact([NUMBER], object="Lead", DoNotCall=True)
    contact = o.sandbox.add_contact([NUMBER]) if existing else None
    _, cursor = o.poll(None)
    became = o.sandbox.convert_lead(lead, contact)
    seen = {h.key: h for h in o.poll(cursor)[0]}
    assert (seen[lead].gone, seen[lead].became) == (True, became)
    assert seen[lead].flags == {Channel.VOICE: Flag.SET}
    assert o.look(became).flags == {Channel.VOICE: Flag.CLEAR if existing else Flag.SET}


def test_a_lead_converted_to_a_person_account_names_the_account(org: Make) -> None:
    o = org(person_accounts=True)
    lead = o.sandbox.add_contact([NUMBER], object="Lead")
    _, cursor = o.poll(None)
    became = o.sandbox.convert_lead(lead, person=True)
    assert became.startswith("Account/")
    seen = {h.key: h for h in o.poll(cursor)[0]}
    assert seen[lead].became == became
    assert {key.partition("/")[0] for key in seen} == {"Lead", "Account"}, "the hidden contact is not shown"


def test_a_field_that_gets_hidden_reads_as_absent_at_once(org: Make) -> None:
    """INVALID_FIELD for the whole query is answered by describing anew (sheet 0.7)."""
    o = org()
    _, cursor = o.poll(None)
    o.sandbox.opt_out(NUMBER)
    o.sandbox.schema.hidden.add(("Contact", "DoNotCall"))
    (seen,), cursor = o.poll(cursor)
    assert seen.flags == {Channel.VOICE: Flag.ABSENT}
    o.sandbox.schema.hidden.clear()
    o.clock.advance(61)
    assert o.look(seen.key).flags == {Channel.VOICE: Flag.SET}


def test_a_checkbox_turned_into_a_picklist_reads_as_absent(org: Make) -> None:
    o = org()
    _, cursor = o.poll(None)
    o.sandbox.opt_out(NUMBER)
    o.sandbox.schema.retyped["Contact", "DoNotCall"] = "picklist"
    (seen,), _ = o.poll(cursor)
    assert seen.flags == {Channel.VOICE: Flag.ABSENT}


def test_an_org_that_gets_person_accounts_is_read_from_then_on(org: Make) -> None:
    o = org(person_accounts=True)
    key = o.sandbox.add_contact([NUMBER], object="Account")
    o.clock.advance(600)
    contacts_only = o.again(objects=("Contact", "Lead"))
    _, cursor = o.poll(None, contacts_only)
    o.sandbox.opt_out(NUMBER)
    given, _ = o.poll(cursor)
    assert [h.key for h in given] == [key]


@pytest.mark.parametrize(
    "cursor", ["x", "{}", "[]", '{"v":2}', '{"v":1,"n":0,"m":{"Contact":"yesterday"},"w":[]}']
)
def test_a_cursor_that_is_none_of_ours_is_refused(org: Make, cursor: str) -> None:
    o = org()
    with pytest.raises(VendorError) as caught:
        o.poll(cursor)
    assert caught.value.failure.kind is FailureKind.REJECTED


def test_times_are_utc(org: Make) -> None:
    o = org()
    _, cursor = o.poll(None)
    assert mark(cursor).tzinfo == UTC
