"""Mapping of our words to Twilio's, and of rows of the message log to statements."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from dncsync.connector import Change, Failure, FailureKind
from dncsync.model import Channel, Flag
from dncsync_twilio import fields
from dncsync_twilio.fields import Consent, consent_of, contact_of, row_faults, scope_of, statement_of_row

NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
SERVICE = "MG" + "0" * 32
TOLL_FREE = "+18885550001"
SCOPES = (SERVICE, "+15005550001", TOLL_FREE)
NUMBER = "+13125550199"
ROW: dict[str, Any] = {
    "sid": "SM1",
    "direction": "inbound",
    "from": NUMBER,
    "to": "+15005550001",
    "body": "please stop",
    "date_sent": "Mon, 23 Nov 2026 14:59:50 +0000",
    "date_created": "Mon, 23 Nov 2026 14:59:49 +0000",
    "error_code": None,
    "messaging_service_sid": None,
}


def change(key: str, flag: Flag = Flag.SET, **more: Any) -> Change:
    return Change(key, {Channel.SMS: flag}, **more)


def test_an_opt_out_item() -> None:
    at = datetime(2026, 11, 23, 9, 30, 15, 999_000, tzinfo=timezone(timedelta(hours=-5)))
    consent = consent_of(
        change(f"{SERVICE}/{NUMBER}", source="sms-inbound", requested_at=at), NOW, SCOPES, allow_opt_in=False
    )
    assert isinstance(consent, Consent)
    assert consent.item("c" * 32) == {
        "contact_id": NUMBER,
        "correlation_id": "c" * 32,
        "sender_id": SERVICE,
        "status": "opt-out",
        "source": "opt-out-message",
        "date_of_consent": "2026-11-23T14:30:15Z",
    }


@pytest.mark.parametrize(
    "at", [None, NOW + timedelta(seconds=1), NOW.replace(tzinfo=None)], ids=["none", "future", "no zone"]
)
def test_no_date_is_better_than_a_bad_one(at: datetime | None) -> None:
    consent = consent_of(change(f"{SERVICE}/{NUMBER}", requested_at=at), NOW, SCOPES, allow_opt_in=False)
    assert isinstance(consent, Consent)
    assert "date_of_consent" not in consent.item("c" * 32)


@pytest.mark.parametrize(
    ("key", "flag", "code"),
    [
        ("MG" + "9" * 32 + "/" + NUMBER, Flag.SET, "unknown-scope"),
        (f"{SERVICE}/3125550199", Flag.SET, "bad-key"),
        (SERVICE, Flag.SET, "bad-key"),
        ("", Flag.SET, "unknown-scope"),
        (f"{SERVICE}/{NUMBER}", Flag.ABSENT, "bad-change"),
        (f"{SERVICE}/{NUMBER}", Flag.CLEAR, "opt-in-disabled"),
    ],
)
def test_what_cannot_be_written_is_refused_without_a_number_in_the_words(
    key: str, flag: Flag, code: str
) -> None:
    failure = consent_of(change(key, flag), NOW, SCOPES, allow_opt_in=False)
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.REJECTED
    assert failure.code == code
    assert NUMBER not in failure.message


def test_a_toll_free_opt_in_is_refused_since_the_network_holds_the_block() -> None:
    failure = consent_of(change(f"{TOLL_FREE}/{NUMBER}", Flag.CLEAR), NOW, SCOPES, allow_opt_in=True)
    assert isinstance(failure, Failure)
    assert failure.code == "toll-free"
    blocked = consent_of(change(f"{TOLL_FREE}/{NUMBER}"), NOW, SCOPES, allow_opt_in=True)
    assert isinstance(blocked, Consent)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("sms-inbound", "opt-out-message"),
        ("webform", "website"),
        ("website", "website"),
        ("offline", "offline"),
        ("CRM_UI", "others"),
        ("", "others"),
    ],
)
def test_source_words(ours: str, theirs: str) -> None:
    assert fields.source_word(ours) == theirs


def test_an_inbound_row_is_a_statement_with_its_words_as_they_are() -> None:
    statement = statement_of_row(ROW, SCOPES, NOW)
    assert statement is not None
    assert (statement.ref, statement.number, statement.text) == ("SM1", NUMBER, "please stop")
    assert statement.scope == "+15005550001"
    assert statement.source == "sms-inbound"
    assert statement.says is None
    assert not statement.evidence_only
    assert statement.at == datetime(2026, 11, 23, 14, 59, 50, tzinfo=UTC)


def test_21610_is_evidence_about_the_person_written_to_and_no_request() -> None:
    row = {**ROW, "direction": "outbound-api", "from": "+15005550001", "to": NUMBER, "error_code": 21610}
    statement = statement_of_row(row, SCOPES, NOW)
    assert statement is not None
    assert statement.evidence_only
    assert (statement.number, statement.source, statement.scope) == (NUMBER, "21610", "+15005550001")
    assert statement_of_row({**row, "error_code": 30003}, SCOPES, NOW) is None
    assert statement_of_row({**row, "error_code": None}, SCOPES, NOW) is None


def test_a_default_service_id_outside_a_service_does_not_hide_the_scope() -> None:
    unknown = "MG" + "f" * 32
    assert scope_of(unknown, "+15005550001", SCOPES) == "+15005550001"
    assert scope_of(SERVICE, "+15005550001", SCOPES) == SERVICE
    assert scope_of(unknown, "+15005550009", SCOPES) == unknown
    assert scope_of("", "+15005550009", SCOPES) == "+15005550009"


@pytest.mark.parametrize("key", sorted(fields.ROW_KEYS))
def test_a_row_without_a_key_cannot_be_judged(key: str) -> None:
    assert row_faults(ROW) == []
    assert row_faults({k: v for k, v in ROW.items() if k != key}) == [f"without {key!r}"]


@pytest.mark.parametrize(
    "retyped",
    [
        {"direction": ["inbound"]},
        {"direction": "in"},
        {"error_code": "none"},
        {"from": 13125550199},
        {"sid": 1},
    ],
)
def test_a_row_that_means_something_else_cannot_be_judged(retyped: dict[str, Any]) -> None:
    assert row_faults({**ROW, **retyped}) != []


def test_a_row_without_any_date_still_counts() -> None:
    statement = statement_of_row({**ROW, "date_sent": None, "date_created": "soon"}, SCOPES, NOW)
    assert statement is not None
    assert statement.at == NOW


@pytest.mark.parametrize(
    "date", ["Fri, 31 Dec 9999 23:59:59 -1400", "Mon, 23 Nov 2026 15:00:00 +99999999999"]
)
def test_a_date_that_no_clock_can_show_is_none(date: str) -> None:
    statement = statement_of_row({**ROW, "date_sent": date, "date_created": None}, SCOPES, NOW)
    assert statement is not None
    assert statement.at == NOW


def test_half_an_emoji_at_the_end_of_a_text_stops_nothing() -> None:
    statement = statement_of_row({**ROW, "body": "STOP \ud83d"}, SCOPES, NOW)
    assert statement is not None
    assert statement.text == "STOP \ufffd"


def test_other_channels_lose_their_prefix_and_keep_their_name() -> None:
    assert contact_of("whatsapp:+13125550199") == ("+13125550199", "whatsapp")
    assert contact_of("rcs:+13125550199") == ("+13125550199", "rcs")
    assert contact_of("+13125550199") == ("+13125550199", "sms")
    assert contact_of("messenger:123456") == ("messenger:123456", "sms")


def test_vendor_words_come_without_numbers_in_one_short_line() -> None:
    said = fields.safe_words("The 'To' number +1 (312) 555-0199\nis not valid" + "!" * 500)
    assert "555" not in said
    assert "\n" not in said
    assert said.startswith("The 'To' number [number] is not valid")
    assert len(said) <= 200
