"""Reading by key and finding by number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dncsync.connector import FailureKind
from dncsync.model import Channel, Flag

Make = Callable[..., Any]
NUMBER = "+12025550101"


def test_reading_is_by_key_and_sees_what_queries_by_stamp_do_not_see_yet(org: Make) -> None:
    o = org(visibility_delay=60)
    key = o.sandbox.opt_out(NUMBER)
    assert o.look(key).flags == {Channel.VOICE: Flag.SET}


def test_two_hundred_keys_of_both_objects_are_two_queries(org: Make) -> None:
    o = org(contacts=400, opted_out_share=0)
    keys = [f"Contact/0035g000{i:07d}AAA" for i in range(110) if i % 10 != 9]
    keys += [f"Lead/00Q5g000{i:07d}EAA" for i in range(9, 400, 10)]
    looked = list(o.connector.read(keys))
    assert {x.key for x in looked} == set(keys)
    assert all(x.holding is not None and not x.holding.gone for x in looked)
    assert o.calls("queryAll") == 2


def test_a_full_batch_stays_below_the_uri_limit(org: Make) -> None:
    """Queries are GETs of at most 16,384 bytes (sheet 0.9)."""
    o = org(contacts=300, lead_share=0)
    keys = [f"Contact/0035g000{i:07d}AAA" for i in range(o.connector.capabilities.read_batch)]
    assert all(x.failure is None for x in o.connector.read(keys))


def test_an_id_that_is_not_there_is_gone_and_clears_nobody(org: Make) -> None:
    o = org()
    holding = o.look("Contact/0035g0000999999AAA")
    assert holding.gone
    assert holding.flags == {}
    assert holding.numbers == ()


def test_a_short_answer_is_a_failure_and_never_reads_as_gone(org: Make) -> None:
    o = org(contacts=50)
    keys = [f"Contact/0035g000{i:07d}AAA" for i in range(5)]
    honest = o.sandbox.reading.values
    o.sandbox.reading.values = lambda *given: honest(*given)[:-1]
    assert all(x.failure.kind is FailureKind.TRANSIENT for x in o.connector.read(keys))


def test_the_15_character_form_of_an_id_is_understood(org: Make) -> None:
    o = org()
    key = o.sandbox.opt_out(NUMBER)
    (looked,) = o.connector.read([key[:-3]])
    assert looked.key == key[:-3]
    assert looked.holding.flags == {Channel.VOICE: Flag.SET}


def test_provenance_is_asked_for_in_one_query_and_only_for_others_ticks(org: Make) -> None:
    from dncsync.connector import Change

    o = org()
    theirs = [o.sandbox.opt_out(f"+120255502{n:02d}") for n in range(5)]
    ours = [o.sandbox.add_contact([f"+120255503{n:02d}"]) for n in range(5)]
    list(o.connector.write([Change(key, {Channel.VOICE: Flag.SET}) for key in ours]))
    o.look(ours[0])
    before = o.calls("query")
    looked = {x.key: x.holding for x in o.connector.read([*theirs, *ours])}
    assert o.calls("query") - before == 2
    assert {looked[key].provenance[Channel.VOICE].source for key in theirs} == {"field-history"}
    assert {looked[key].provenance[Channel.VOICE].ours for key in ours} == {True}
    before = o.calls("query")
    list(o.connector.read(ours))
    assert o.calls("query") - before == 1


def test_history_older_than_the_tick_does_not_name_the_wrong_person(org: Make) -> None:
    """Ticked while tracking was off: the newest entry is an un-tick, and says nothing of this tick."""
    o = org()
    key = o.sandbox.opt_out(NUMBER)
    o.clock.advance(5)
    o.sandbox.undo(NUMBER)
    o.clock.advance(5)
    o.sandbox.schema.history = False
    o.sandbox.opt_out(NUMBER, by="0055g00000OtherQAE")
    o.sandbox.schema.history = True
    told = o.look(key).provenance[Channel.VOICE]
    assert (told.actor, told.source) == ("user:0055g00000OtherQAE", "last-modified")


def test_a_failing_object_fails_its_own_keys_only(org: Make) -> None:
    o = org(contacts=20)
    o.sandbox.schema.no_object.add("Lead")
    looked = {x.key: x for x in o.connector.read(["Contact/0035g0000000001AAA", "Lead/00Q5g0000000009EAA"])}
    assert looked["Contact/0035g0000000001AAA"].holding is not None
    assert looked["Lead/00Q5g0000000009EAA"].failure is not None


@pytest.mark.parametrize("match", ["digits", "words"])
@pytest.mark.parametrize("spelling", ["+12025550101", "2025550101", "(202) 555-0101", "202.555.0101"])
def test_find_finds_the_usual_spellings_after_the_index_has_caught_up(
    org: Make, match: str, spelling: str
) -> None:
    o = org(sosl_match=match)
    key = o.sandbox.add_contact([spelling])
    assert list(o.connector.find(NUMBER)) == [], "the index lags by a quarter of an hour (sheet 11)"
    o.clock.advance(1_000)
    assert [x.key for x in o.connector.find(NUMBER)] == [key]


def test_find_leaves_converted_leads_and_hidden_contacts_out(org: Make) -> None:
    o = org(person_accounts=True, search_lag=0)
    person = o.sandbox.add_contact([NUMBER], object="Account")
    lead = o.sandbox.add_contact([NUMBER], object="Lead")
    contact = o.sandbox.add_contact([NUMBER])
    o.sandbox.convert_lead(lead, contact)
    assert {x.key for x in o.connector.find(NUMBER)} == {person, contact}


def test_find_leaves_out_what_the_search_found_by_a_stale_index(org: Make) -> None:
    o = org(search_lag=0)
    key = o.sandbox.add_contact([NUMBER])
    honest = o.sandbox.reading._indexed
    o.sandbox.reading._indexed = lambda *given: ["0035gNew0000001ABA"] if given[0] == "Contact" else []
    o.sandbox.people.edit(key, MobilePhone="+12025550199")
    assert list(o.connector.find(NUMBER)) == []
    o.sandbox.reading._indexed = honest


def test_webhooks_are_refused(org: Make) -> None:
    from dncsync.connector import WebhookRefused, WebhookRequest

    o = org()
    request = WebhookRequest("POST", "https://x.test/", {}, b"\xff{", o.clock.now())
    with pytest.raises(WebhookRefused) as caught:
        o.connector.parse_webhook(request)
    assert caught.value.status == 404
    assert o.connector.capabilities.has_webhooks is False
