"""Ids, keys, columns and rows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dncsync.model import Channel, Flag
from dncsync_salesforce.fields import (
    Columns,
    Kind,
    MalformedRow,
    Reader,
    flag_of,
    full_id,
    history_of,
    instant,
    literal,
    parse_key,
)
from dncsync_salesforce.settings import FlagField

VOICE = FlagField(field="DoNotCall")
SMS = FlagField(field="HasSMSPermission__c", opted_out_when=False)
ID = "0035g0000000001AAA"


def kind(*, reason: str = "", **flags: FlagField) -> Kind:
    given = {Channel(c): f for c, f in (flags or {"voice": VOICE}).items()}
    return Kind("Contact", "Contact", "003", given, None, reason)


def fields(*names: str, **types: str) -> dict[str, dict[str, str]]:
    phones = {name: {"type": "phone"} for name in names}
    return phones | {name: {"type": type_} for name, type_ in ({"DoNotCall": "boolean"} | types).items()}


def reader(*, as_text: bool = False, reason: str = "", **flags: FlagField) -> Reader:
    described = fields("MobilePhone", "Phone", HasSMSPermission__c="boolean", Why__c="string")
    return Reader(Columns.of(kind(reason=reason, **flags), described), "005ours", as_text=as_text)


@pytest.mark.parametrize(
    ("short", "full"), [("00570000001ZwTi", "00570000001ZwTiAAK"), ("001A0000006Vm9r", "001A0000006Vm9rIAC")]
)
def test_ids_get_their_guard(short: str, full: str) -> None:
    assert full_id(short) == full_id(full) == full


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "003",
        "0035g0000000001AAB",
        "0035g0000000001aa",
        "0035g0000000001AA'",
        "0035g000000000\u0661AAA",
        "x" * 30,
    ],
)
def test_what_is_no_id_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="not a Salesforce record id"):
        full_id(wrong)


def test_a_key_must_have_the_prefix_of_its_object() -> None:
    assert parse_key(f"Contact/{ID}") == ("Contact", ID)
    for wrong in (f"Lead/{ID}", f"Opportunity/{ID}", ID, f"/{ID}"):
        with pytest.raises(ValueError, match="not"):
            parse_key(wrong)


def test_datetimes_of_rest_and_bulk_are_read() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert instant("2026-01-02T03:04:05.000+0000") == instant("2026-01-02T03:04:05.000Z") == moment
    assert literal(moment) == "2026-01-02T03:04:05Z"
    assert instant(None) is None
    assert instant("yesterday") is None


@pytest.mark.parametrize(
    ("value", "as_text", "flag"),
    [
        (True, False, Flag.SET),
        (False, False, Flag.CLEAR),
        ("true", True, Flag.SET),
        ("false", True, Flag.CLEAR),
        ("true", False, Flag.ABSENT),
        ("false", False, Flag.ABSENT),
        (None, False, Flag.ABSENT),
        ("", True, Flag.ABSENT),
        (0, False, Flag.ABSENT),
        (1, False, Flag.ABSENT),
        ("No", False, Flag.ABSENT),
        ([], False, Flag.ABSENT),
    ],
)
def test_only_a_boolean_says_anything(value: Any, as_text: bool, flag: Flag) -> None:
    assert flag_of(value, VOICE, as_text=as_text) is flag
    read = reader(as_text=as_text).holding({"Id": ID, "DoNotCall": value})
    assert read.flags == {Channel.VOICE: flag}


def test_a_column_that_is_not_in_the_answer_is_absent() -> None:
    assert reader().holding({"Id": ID}).flags == {Channel.VOICE: Flag.ABSENT}


def test_a_permission_is_read_upside_down() -> None:
    read = reader(voice=VOICE, sms=SMS)
    row = {"Id": ID, "DoNotCall": False, "HasSMSPermission__c": False}
    assert read.holding(row).flags == {Channel.VOICE: Flag.CLEAR, Channel.SMS: Flag.SET}


@pytest.mark.parametrize("record_id", [None, "", 7, ["x"], "short", {"a": 1}])
def test_a_row_without_an_id_is_malformed(record_id: Any) -> None:
    for row in ({"Id": record_id, "DoNotCall": True}, {"DoNotCall": True}):
        with pytest.raises(MalformedRow):
            reader().holding(row)


def test_only_visible_checkboxes_are_asked_for_and_fax_is_no_phone() -> None:
    columns = Columns.of(kind(), fields("Phone", "Fax", "Custom__c", DoNotCall="picklist"))
    assert columns.phones == ("Phone", "Custom__c")
    assert "DoNotCall" not in columns.listing
    assert columns.condition == ""
    with_persons = Columns.of(kind(), fields("Phone", IsPersonAccount="boolean"))
    assert with_persons.condition == "IsPersonAccount = false"


@pytest.mark.parametrize(
    ("type_", "asked"),
    [
        ("string", True),
        ("textarea", True),
        ("picklist", True),
        ("multipicklist", True),
        ("combobox", True),
        ("boolean", False),
        ("double", False),
        ("reference", False),
    ],
)
def test_only_a_visible_field_that_holds_text_is_asked_for_reasons(type_: str, asked: bool) -> None:
    for why in ("Why__c", ""):
        columns = Columns.of(kind(reason=why), fields("Phone", Why__c=type_))
        assert "Why__c" not in columns.listing, "a full read makes no reversal"
        assert ("Why__c" in columns.watching.split(", ")) is (asked and bool(why))
    assert "Why__c" not in Columns.of(kind(reason="Why__c"), fields("Phone")).watching


@pytest.mark.parametrize(
    ("value", "reason"),
    [(" asked again\n", "asked again"), ("  ", ""), ("", ""), (None, ""), (7, ""), (["x"], ""), (True, "")],
)
def test_a_reason_is_stripped_text_or_nothing(value: Any, reason: str) -> None:
    for ticked in (True, False):
        row = {"Id": ID, "DoNotCall": ticked, "Why__c": value}
        assert reader(reason="Why__c").holding(row).reason == reason
        assert reader().holding(row).reason is None, "it is not configured"


def test_a_reason_is_no_flag() -> None:
    """Neither its column nor the lack of it says anything about the flag."""
    for row in ({"Why__c": "asked again"}, {"Why__c": None}, {}):
        read = reader(reason="Why__c").holding({"Id": ID, "DoNotCall": True, **row})
        assert read.flags == {Channel.VOICE: Flag.SET}


PHONES = st.none() | st.sampled_from(["", "+12025550101", "N/A", "(202) 555-0101 x12"])
ROWS = st.fixed_dictionaries(
    {
        "Id": st.integers(0, 9_999_999).map(lambda n: f"0035g000{n:07d}AAA"),
        "DoNotCall": st.booleans(),
        "MobilePhone": PHONES,
        "Phone": PHONES,
        "LastModifiedById": st.sampled_from(["005ours", "005theirs"]),
        "LastModifiedDate": st.just("2026-01-02T03:04:05.000+0000"),
    }
)


@given(st.lists(ROWS, max_size=20), st.booleans())
def test_the_short_ways_of_a_full_read_read_the_same(rows: list[dict[str, Any]], upside_down: bool) -> None:
    flag = FlagField(field="DoNotCall", opted_out_when=not upside_down)
    slow = tuple(reader(voice=flag).holding(row, listed=True) for row in rows)
    assert reader(voice=flag).listed(rows) == slow
    header = ["Id", "DoNotCall", "MobilePhone", "Phone", "LastModifiedById", "LastModifiedDate"]
    words = {True: "true", False: "false", None: ""}
    lines = [[words.get(row[name], row[name]) for name in header] for row in rows]
    assert reader(as_text=True, voice=flag).lines(header, lines) == slow


def test_lines_of_another_length_than_the_header_are_malformed() -> None:
    with pytest.raises(MalformedRow):
        reader(as_text=True).lines(["Id", "DoNotCall"], [[ID]])


def test_a_number_where_text_should_be_becomes_text() -> None:
    (holding,) = reader().listed([{"Id": ID, "DoNotCall": False, "Phone": 12025550101}])
    assert holding.numbers == ("12025550101",)


def test_the_newest_history_entry_counts_if_it_is_a_setting() -> None:
    def entry(at: int, new: Any, by: str, field: str = "DoNotCall") -> dict[str, Any]:
        date = f"2026-01-02T03:04:{at:02d}.000+0000"
        return {"ContactId": ID, "Field": field, "NewValue": new, "CreatedById": by, "CreatedDate": date}

    flags = {Channel.VOICE: VOICE}
    told = history_of(
        [entry(1, True, "005a"), entry(9, "true", "005ours"), entry(5, False, "005b")],
        "ContactId",
        flags,
        "005ours",
    )
    assert told[ID][Channel.VOICE].ours is True
    assert told[ID][Channel.VOICE].at == datetime(2026, 1, 2, 3, 4, 9, tzinfo=UTC)
    assert history_of([entry(1, True, "005a"), entry(2, False, "005b")], "ContactId", flags, "") == {}
    assert history_of([entry(1, True, "005a", field="Phone"), {}], "ContactId", flags, "") == {}


def test_whoever_cleared_a_box_is_told_when_the_record_is_read() -> None:
    row = {"Id": ID, "DoNotCall": False, "LastModifiedById": "005theirs"}
    assert reader().holding(row).provenance[Channel.VOICE].actor == "user:005theirs"
