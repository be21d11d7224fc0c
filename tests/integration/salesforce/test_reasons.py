"""Why a flag was taken away: read wherever the flag is read, and never written."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from dncsync.connector import Change, FieldStatus
from dncsync.model import Channel, Flag, Holding
from dncsync_salesforce.sandbox_people import REP

Make = Callable[..., Any]
NUMBERS = {"Contact": "+12025550101", "Lead": "+12025550102", "Account": "+12025550103"}
FLAG = {"Contact": "DoNotCall", "Lead": "DoNotCall", "Account": "PersonDoNotCall"}
WHY = {"Contact": "DNC_Reason__c", "Lead": "DNC_Reason__c", "Account": "DNC_Reason__pc"}
WORDS = "asked again, in writing"
BY_KEYSET = {"bulk_threshold": 10_000_000}
BY_BULK = {"bulk_threshold": 1}
SMS = "smagicinteract__SMSOptOut__c"


def reversed_org(org: Make, settings: dict[str, Any] | None = None, **options: Any) -> tuple[Any, list[str]]:
    """An org in which a person un-ticked one record of each object, and said why in the same save; their
    keys."""
    o = org(
        settings=settings, person_accounts=True, page_size=2, **{"reason_field": WHY["Contact"], **options}
    )
    for sobject, number in NUMBERS.items():
        for _ in range(3):  # so that it lies beyond the first page, which is never read by Bulk
            o.sandbox.add_contact(["see notes"], object=sobject)
        o.sandbox.add_contact([number], object=sobject, **{FLAG[sobject]: True})
    return o, [o.sandbox.undo(number, reason=f"  {WORDS}\n") for number in NUMBERS.values()]


def by_feed(o: Any) -> dict[str, Holding]:
    cursor = {
        "v": 1,
        "n": 0,
        "m": dict.fromkeys(("Contact", "Lead", "PersonAccount"), "2020-01-01T00:00:00Z"),
    }
    given, _ = o.poll(json.dumps({**cursor, "w": []}))
    return {h.key: h for h in given}


def by_id(o: Any) -> dict[str, Holding]:
    keys = [t.key for number in NUMBERS.values() for t in o.sandbox.truth(number)]
    return {looked.key: looked.holding for looked in o.connector.read(keys)}


def by_number(o: Any) -> dict[str, Holding]:
    found = [looked for number in NUMBERS.values() for looked in o.connector.find(number)]
    return {looked.key: looked.holding for looked in found}


READS = pytest.mark.parametrize("read", [by_feed, by_id, by_number])
Read = Callable[[Any], dict[str, Holding]]


@READS
@pytest.mark.parametrize("sms_field", ["", SMS])
def test_a_reason_is_read_with_the_flag_on_every_object(org: Make, read: Read, sms_field: str) -> None:
    o, keys = reversed_org(org, sms_field=sms_field, search_lag=0)
    found = read(o)
    assert {key.partition("/")[0] for key in keys} == set(NUMBERS)
    for key in keys:
        assert (found[key].flags[Channel.VOICE], found[key].reason) == (Flag.CLEAR, WORDS)
    assert {h.reason for key, h in found.items() if key not in keys} <= {""}, "null reads as no reason"


@READS
def test_a_reason_on_a_record_that_is_still_ticked_is_read_too(org: Make, read: Read) -> None:
    """It may be written first, and the box un-ticked in another save."""
    o, keys = reversed_org(org, search_lag=0)
    for key in keys:
        o.sandbox.people.edit(key, **{FLAG[key.partition("/")[0]]: True})
    found = read(o)
    for key in keys:
        assert (found[key].flags[Channel.VOICE], found[key].reason) == (Flag.SET, WORDS)


@READS
def test_a_field_that_is_not_configured_is_not_asked_for(org: Make, read: Read) -> None:
    o, keys = reversed_org(org, {"reasons": {}}, search_lag=0)
    honest, asked = o.sandbox.reading.listing, list[str]()

    def listing(soql: str, *, deleted: bool) -> Any:
        asked.append(soql)
        return honest(soql, deleted=deleted)

    o.sandbox.reading.listing = listing
    found = read(o)
    assert {found[key].reason for key in keys} == {None}
    assert asked
    assert not [soql for soql in asked if "Reason" in soql]


@READS
@pytest.mark.parametrize("how", ["hidden", "missing"])
def test_without_the_field_everything_else_is_read_and_doctor_says_so(
    org: Make, read: Read, how: str
) -> None:
    o, keys = reversed_org(org, search_lag=0)
    o.connector.describe()
    for sobject, name in WHY.items():  # after it was described: the first query fails with INVALID_FIELD
        if how == "hidden":
            o.sandbox.schema.hidden.add((sobject, name))
        else:
            del o.sandbox.schema.fields[sobject][name]
    found = read(o)
    for key in keys:
        assert (found[key].flags, found[key].reason) == ({Channel.VOICE: Flag.CLEAR}, None)
        assert found[key].numbers
    ill = {c.name: c.status for c in o.connector.describe() if c.status is not FieldStatus.OK}
    assert ill == dict.fromkeys((f"{s}.{n}" for s, n in WHY.items()), FieldStatus[how.upper()])


def test_a_field_that_can_be_seen_again_is_read_within_a_minute(org: Make) -> None:
    o, keys = reversed_org(org)
    o.sandbox.schema.hidden |= set(WHY.items())
    assert o.look(keys[0]).reason is None, "not seen is not empty"
    o.sandbox.schema.hidden.clear()
    o.clock.advance(61)
    assert o.look(keys[0]).reason == WORDS


def test_the_flag_and_its_reason_come_in_one_row_of_the_feed_with_who_did_it(org: Make) -> None:
    o, _ = reversed_org(org)
    ticked = o.sandbox.opt_out(NUMBERS["Contact"])
    _, cursor = o.poll(None)
    o.clock.advance(30)
    key = o.sandbox.undo(NUMBERS["Contact"], reason="a new reason")
    (seen,), _ = o.poll(cursor)
    assert (seen.key, seen.flags, seen.reason) == (ticked, {Channel.VOICE: Flag.CLEAR}, "a new reason")
    assert seen.provenance[Channel.VOICE].actor == f"user:{REP}"
    assert seen.provenance[Channel.VOICE].at == o.clock.now().replace(microsecond=0)
    assert key == ticked


@pytest.mark.parametrize("settings", [BY_KEYSET, BY_BULK])
def test_a_full_read_makes_no_reversal_and_asks_for_no_reasons(org: Make, settings: dict[str, Any]) -> None:
    o, keys = reversed_org(org, settings)
    found = {h.key: h for page in o.connector.snapshot(None) for h in page.holdings}
    assert {(found[key].flags[Channel.VOICE], found[key].reason) for key in keys} == {(Flag.CLEAR, None)}
    assert bool(o.sandbox.bulk.jobs) is (settings == BY_BULK)


def test_a_reason_alone_is_a_change_that_the_feed_gives(org: Make) -> None:
    o, keys = reversed_org(org)
    _, cursor = o.poll(None)
    o.sandbox.people.edit(keys[0], DNC_Reason__c="another text")  # within the same second
    (seen,), _ = o.poll(cursor)
    assert (seen.key, seen.reason) == (keys[0], "another text")


@pytest.mark.parametrize("flag", [Flag.SET, Flag.CLEAR])
def test_a_reason_is_never_written(org: Make, flag: Flag) -> None:
    o, keys = reversed_org(org)
    o.sandbox.schema.read_only |= set(WHY.items())
    wants = {Channel.VOICE: flag, Channel.SMS: flag}
    written = list(o.connector.write([Change(key, wants) for key in keys]))
    assert {w.failure for w in written} == {None}
    for key in keys:
        assert o.look(key).flags == {Channel.VOICE: flag}
        assert o.sandbox.record(key)[WHY[key.partition("/")[0]]].strip() == WORDS


def test_a_person_says_why_in_one_save_and_only_where_there_is_a_field_for_it(org: Make) -> None:
    o, (contact, _, account) = reversed_org(org)
    row = o.sandbox.record(contact)
    assert (row["DoNotCall"], row["LastModifiedById"]) == (0, REP)
    entries = o.sandbox.store.db.execute(
        "SELECT Field, NewValue, CreatedById FROM ContactHistory WHERE ContactId = ?", (row["Id"],)
    )
    assert list(entries) == [("DoNotCall", "false", REP)]
    hidden = o.sandbox.record(f"Contact/{o.sandbox.record(account)['PersonContactId']}")
    assert hidden["DNC_Reason__c"].strip() == WORDS, "a person account and its contact are one person"
    plain = org()
    plain.sandbox.opt_out(NUMBERS["Contact"])
    with pytest.raises(LookupError, match="reason_field"):
        plain.sandbox.undo(NUMBERS["Contact"], reason=WORDS)
