"""What contact properties mean, and what a change writes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dncsync.connector import Change
from dncsync.model import Channel, Flag
from dncsync_hubspot.fields import Fields, instant, milliseconds, newest_entry
from dncsync_hubspot.settings import HubSpotSettings

NOW = datetime(2026, 11, 21, 9, 30, 0, 123456, UTC)
DATES = {"property": "out", "shape": "date", "opted_in_property": "back"}
STATUS = {"property": "hs_lead_status", "shape": "enumeration", "true_values": ["DNC", "Do not call"]}
MULTI = {
    "voice": {"property": "stop", "shape": "multi-checkbox", "true_values": ["call"]},
    "sms": {"property": "stop", "shape": "multi-checkbox", "true_values": ["sms"]},
}


def fields(**config: Any) -> Fields:
    return Fields(HubSpotSettings.model_validate({"access_token": "t", **config}))


def flag(properties: dict[str, str | None], **mapping: Any) -> Flag:
    built = fields(flags={"voice": mapping or {"property": "do_not_call"}})
    return built.flag_of(built.flags[Channel.VOICE], properties)


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("true", Flag.SET),
        ("TRUE", Flag.SET),
        ("yes", Flag.SET),
        ("false", Flag.CLEAR),
        ("no", Flag.CLEAR),
        ("", Flag.CLEAR),
        (None, Flag.CLEAR),
        ("Yes, please", Flag.ABSENT),
    ],
)
def test_a_checkbox_is_read_leniently_and_never_guessed(value: str | None, meant: Flag) -> None:
    assert flag({"do_not_call": value}) is meant


def test_a_missing_key_is_absent_and_not_clear() -> None:
    assert flag({"phone": "1"}) is Flag.ABSENT


def test_a_missing_key_is_empty_where_answers_leave_empty_ones_out() -> None:
    built = fields()
    assert built.flag_of(built.flags[Channel.VOICE], {}, ["do_not_call"]) is Flag.CLEAR
    assert built.flag_of(built.flags[Channel.VOICE], {}, ["phone"]) is Flag.ABSENT


def test_own_values_of_a_checkbox_replace_the_usual_ones() -> None:
    said = {"property": "ok_to_call", "true_values": ["No"], "false_values": ["Yes"], "clear_value": "Yes"}
    assert flag({"ok_to_call": "No"}, **said) is Flag.SET
    assert flag({"ok_to_call": "Yes"}, **said) is Flag.CLEAR


@pytest.mark.parametrize(
    ("value", "meant"),
    [("DNC", Flag.SET), ("dnc", Flag.CLEAR), ("OPEN", Flag.CLEAR), (None, Flag.CLEAR)],
)
def test_enumeration_values_are_case_sensitive(value: str | None, meant: Flag) -> None:
    assert flag({"hs_lead_status": value}, **STATUS) is meant


def test_an_enumeration_with_false_values_reads_others_as_drift() -> None:
    assert flag({"hs_lead_status": "ODD"}, **STATUS, false_values=["OPEN"]) is Flag.ABSENT


@pytest.mark.parametrize(
    ("out", "back", "meant"),
    [
        ("2026-11-20", None, Flag.SET),
        ("2026-11-20", "2026-11-20", Flag.SET),
        ("2026-11-20", "2026-11-21", Flag.CLEAR),
        ("2026-11-22", "2026-11-21", Flag.SET),
        ("1795219200000", "", Flag.SET),
        (None, "2026-11-21", Flag.CLEAR),
        ("soon", None, Flag.ABSENT),
    ],
)
def test_a_pair_of_dates_is_set_unless_the_opt_in_is_newer(
    out: str | None, back: str | None, meant: Flag
) -> None:
    assert flag({"out": out, "back": back}, **DATES) is meant


def test_one_option_of_a_multi_checkbox() -> None:
    built = fields(flags=MULTI)
    holding = built.holding({"id": "1", "properties": {"stop": "sms;fax", "phone": None, "mobilephone": ""}})
    assert holding.flags == {Channel.VOICE: Flag.CLEAR, Channel.SMS: Flag.SET}
    assert holding.numbers == ()


# --- the reason of a clear ----------------------------------------------------------------------------------

WHY = {"companions": {"reason": "why"}}


def reason(properties: dict[str, str | None], **config: Any) -> str | None:
    record = {
        "id": "7",
        "properties": {"do_not_call": "false", "phone": "1", "mobilephone": None} | properties,
    }
    holding = fields(**config).holding(record)
    assert holding.flags == {Channel.VOICE: Flag.CLEAR}
    return holding.reason


@pytest.mark.parametrize(
    ("value", "said"),
    [(" She asked us to call, see the note.\n", "She asked us to call, see the note."), ("", ""), (None, "")],
)
def test_a_reason_is_what_people_wrote(value: str | None, said: str) -> None:
    assert reason({"why": value}, **WHY) == said


def test_a_reason_that_an_answer_leaves_out_is_unknown_and_no_drift_of_the_flag() -> None:
    assert reason({}, **WHY) is None
    assert not fields(**WHY).absent({"do_not_call": None})


def test_a_reason_is_asked_for_and_watched_where_it_has_a_property() -> None:
    assert {"why"} == set(fields(**WHY).asked) - set(fields().asked)
    assert {"why"} == fields(**WHY).watched - fields().watched


def test_without_a_property_for_it_no_reason_is_asked_for_or_read() -> None:
    assert fields().asked == ("do_not_call", "phone", "mobilephone", "hs_merged_object_ids")
    assert reason({"why": "x", "dnc_reason": "y", "reason": "z"}) is None


# --- provenance -----------------------------------------------------------------------------------------


def holding_with(entry: dict[str, Any], **config: Any) -> Any:
    record = {
        "id": "7",
        "properties": {"do_not_call": "true", "phone": " 1 ", "mobilephone": None},
        "propertiesWithHistory": {"do_not_call": [{"value": "", "timestamp": "2020-01-01T00:00:00Z"}, entry]},
    }
    return fields(**config).holding(record)


def test_provenance_takes_the_newest_entry_wherever_it_stands() -> None:
    holding = holding_with(
        {
            "value": "true",
            "timestamp": "2022-11-07T21:54:03.930Z",
            "sourceType": "CRM_UI",
            "sourceId": "userId:28604240",
            "updatedByUserId": 28604240,
        }
    )
    said = holding.provenance[Channel.VOICE]
    assert (said.actor, said.source, said.ours) == ("userId:28604240", "CRM_UI", False)
    assert said.at == datetime(2022, 11, 7, 21, 54, 3, 930000, UTC)
    assert "21:54:03.930" in holding.revision
    assert holding.numbers == ("1",)


@pytest.mark.parametrize(
    ("entry", "config", "ours"),
    [
        ({"sourceType": "INTEGRATION", "sourceId": "1160452"}, {"app_id": "1160452"}, True),
        ({"sourceType": "API", "sourceId": "appId:1160452"}, {"app_id": "1160452"}, True),
        ({"sourceType": "INTEGRATION", "sourceId": "99"}, {"app_id": "1160452"}, False),
        ({"sourceType": "INTEGRATION", "sourceId": "1160452"}, {}, None),
        ({"sourceType": "API", "updatedByUserId": 5}, {"app_user_id": "5"}, True),
        ({"sourceType": "IMPORT", "sourceId": "1160452"}, {"app_id": "1160452"}, False),
        ({"sourceType": "NEW_KIND"}, {"app_id": "1160452"}, None),
        ({}, {}, None),
    ],
)
def test_our_own_writes_are_recognised_where_history_tells(
    entry: dict[str, Any], config: dict[str, Any], ours: bool | None
) -> None:
    holding = holding_with({"value": "true", "timestamp": "2026-01-01T00:00:00.000Z", **entry}, **config)
    assert holding.provenance[Channel.VOICE].ours is ours


def test_history_that_is_no_list_says_nothing() -> None:
    assert newest_entry("x") is None
    assert newest_entry(["x"]) is None


# --- writing ----------------------------------------------------------------------------------------------


def written(wants: dict[Channel, Flag], current: Any = None, **config: Any) -> Any:
    change = Change("1", wants, request_id="req-1", source="twilio", requested_at=NOW)
    return fields(**config).to_properties(change, current or {}, NOW)


VOICE_SET = {Channel.VOICE: Flag.SET}
VOICE_CLEAR = {Channel.VOICE: Flag.CLEAR}


def test_a_checkbox_is_ticked_and_unticked() -> None:
    assert written(VOICE_SET) == {"do_not_call": "true"}
    assert written(VOICE_CLEAR) == {"do_not_call": "false"}


def test_companions_carry_source_request_and_day() -> None:
    config = {"companions": {"source": "s", "request_id": "r", "date": "d"}}
    said = {"do_not_call": "true", "s": "twilio", "r": "req-1", "d": "2026-11-21"}
    assert written(VOICE_SET, **config) == said
    assert written(VOICE_CLEAR, **config)["d"] == ""


@pytest.mark.parametrize("wants", [VOICE_SET, VOICE_CLEAR])
def test_a_reason_is_never_written(wants: dict[Channel, Flag]) -> None:
    config = {"companions": {"source": "s", "request_id": "r", "date": "d", "reason": "why"}}
    assert written(wants, {"why": "x"}, **config).keys() == {"do_not_call", "s", "r", "d"}


def test_an_opt_out_blanks_an_opt_in_date_that_could_silence_it() -> None:
    config = {"flags": {"voice": DATES}}
    assert written(VOICE_SET, **config) == {"out": "2026-11-21", "back": ""}
    assert written(VOICE_CLEAR, **config) == {"out": "", "back": "2026-11-21"}


def test_a_datetime_is_written_with_milliseconds() -> None:
    config = {"flags": {"voice": {"property": "out", "shape": "date", "with_time": True}}}
    assert written(VOICE_SET, **config) == {"out": "2026-11-21T09:30:00.123Z"}


def test_a_multi_checkbox_keeps_its_other_options() -> None:
    assert written(VOICE_SET, {"stop": "sms;fax"}, flags=MULTI) == {"stop": "sms;fax;call"}
    both = {Channel.VOICE: Flag.CLEAR, Channel.SMS: Flag.SET}
    assert written(both, {"stop": "call"}, flags=MULTI) == {"stop": "sms"}


def test_set_wins_where_two_channels_share_a_property() -> None:
    flags = {"voice": {"property": "dnc"}, "sms": {"property": "dnc"}}
    both = {Channel.VOICE: Flag.CLEAR, Channel.SMS: Flag.SET}
    assert written(both, flags=flags) == {"dnc": "true"}


def test_half_a_clear_of_a_shared_property_is_refused() -> None:
    flags = {"voice": {"property": "dnc"}, "sms": {"property": "dnc"}}
    with pytest.raises(ValueError, match="must name both"):
        written(VOICE_CLEAR, flags=flags)


@pytest.mark.parametrize("wants", [{Channel.SMS: Flag.SET}, {Channel.VOICE: Flag.ABSENT}])
def test_what_cannot_be_said_here_is_refused(wants: dict[Channel, Flag]) -> None:
    with pytest.raises(ValueError, match=r"no property|written absent"):
        written(wants)


def test_times_in_every_notation() -> None:
    assert instant("2022-06-01T14:31:48.469Z") == datetime(2022, 6, 1, 14, 31, 48, 469000, UTC)
    assert milliseconds("2022-06-01T14:31:48.469Z") == 1654093908469
    assert milliseconds("1654093908469") == 1654093908469
    assert instant("2022-06-01") == datetime(2022, 6, 1, tzinfo=UTC)
    assert [instant(x) for x in (None, True, "", "soon", "9" * 30)] == [None] * 5
