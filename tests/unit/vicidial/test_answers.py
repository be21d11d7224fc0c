"""Reading VICIdial's text answers; nothing here makes a call."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dncsync.connector import FailureKind
from dncsync_vicidial.answers import (
    Answer,
    Listed,
    Login,
    Word,
    added,
    check_refusal,
    deleted,
    listed,
    login_refused,
    phrase_of,
    read_answer,
    read_campaigns,
    read_leads,
    read_version,
    refusal,
)

PHONE = "3125550100"


def answer(body: str) -> Answer:
    read = read_answer(body)
    assert read is not None
    return read


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("SUCCESS: add_dnc_phone DNC\n", Word.SUCCESS),
        ("ERROR: NO FUNCTION SPECIFIED\n", Word.ERROR),
        ("NOTICE: update_lead X\n", Word.NOTICE),
        ("VERSION: 2.14-194|BUILD: 1|\n", Word.VERSION),
        ("AREACODE: 1|-5.00#PHONE: 3125550100|1||||\n", Word.AREACODE),
        ("3125550100|2|17-18\n", Word.ROW),
    ],
)
def test_known_first_words(body: str, word: Word) -> None:
    assert answer(body).word is word
    assert not answer(body).stray


@pytest.mark.parametrize(
    "body", ["", "\n", "<html><body>502</body></html>", "OK\n", "success: x\n", "ALERT: x\n", "12 monkeys\n"]
)
def test_an_unknown_first_word_is_unreadable(body: str) -> None:
    assert read_answer(body) is None


def test_a_php_warning_in_front_is_read_past_and_noted() -> None:
    read = answer("<br />\n<b>Warning</b>: x on line 12\nERROR: NO FUNCTION SPECIFIED\n")

    assert read.stray
    assert read.line == "ERROR: NO FUNCTION SPECIFIED"


@pytest.mark.parametrize("separator", [": |", " - "])
def test_phrases_not_separators(separator: str) -> None:
    exists = f"ERROR: add_dnc_phone DNC NUMBER ALREADY EXISTS{separator}dncsync|{PHONE}|SALES\n"
    missing = f"ERROR: delete_dnc_phone DNC NUMBER DOES NOT EXIST{separator}dncsync|{PHONE}|SALES\n"

    assert added(answer(exists), PHONE)
    assert deleted(answer(missing), PHONE)
    assert not added(answer(missing), PHONE)
    assert not deleted(answer(exists), PHONE)


def test_an_answer_about_another_number_is_not_ours() -> None:
    body = "SUCCESS: add_dnc_phone DNC NUMBER HAS BEEN ADDED - dncsync|13125550100|SYSTEM_INTERNAL\n"

    assert not added(answer(body), PHONE)
    assert added(answer(body), "13125550100")


def test_a_dnc_hit_is_an_error_line() -> None:
    internal = answer(f"ERROR: check_phone_number PHONE NUMBER IN DNC - {PHONE}|dncsync\n")
    campaign = answer(f"ERROR: check_phone_number PHONE NUMBER IN CAMPAIGN DNC - {PHONE}|SALES|dncsync\n")

    assert listed(internal, PHONE, internal=True) is Listed.YES
    assert listed(campaign, PHONE, internal=False) is Listed.YES
    assert listed(internal, PHONE, internal=False) is None
    assert listed(campaign, PHONE, internal=True) is None


def test_clear_has_no_success_word_and_names_the_number() -> None:
    clear = answer(f"AREACODE: 0|-5.00#PHONE: {PHONE}|1||||\n")

    assert listed(clear, PHONE, internal=True) is Listed.NO
    assert listed(clear, "3125550101", internal=True) is None


WHOLE = [
    f"AREACODE: 1|-5.00#PHONE: {PHONE}|1||||\n",
    f"ERROR: check_phone_number PHONE NUMBER IN DNC - {PHONE}|dncsync\n",
    f"ERROR: check_phone_number PHONE NUMBER IN CAMPAIGN DNC - {PHONE}|SALES|dncsync\n",
]


@pytest.mark.parametrize("body", WHOLE)
@pytest.mark.parametrize("internal", [True, False])
def test_no_cut_of_an_answer_says_anything_else(body: str, internal: bool) -> None:
    """Cut anywhere, a reading is what the whole says, or nothing; and never final."""
    whole = listed(answer(body), PHONE, internal=internal)
    for at in range(len(body)):
        cut = read_answer(body[:at])
        if cut is None:
            continue
        said = listed(cut, PHONE, internal=internal)
        assert said in (None, whole)
        if said is None:
            assert check_refusal(cut).kind is FailureKind.UNKNOWN


@given(st.text(max_size=200))
def test_no_text_is_taken_for_success(body: str) -> None:
    read = read_answer(body)
    if read is not None and PHONE not in body:
        assert not added(read, PHONE)
        assert not deleted(read, PHONE)
        assert listed(read, PHONE, internal=True) is None


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("ERROR: Login incorrect, please try again: |u|p|BAD|\n", Login.BAD),
        ("ERROR: Login incorrect, please try again: |u|p|2FA|\n", Login.SECOND_FACTOR),
        ("Login incorrect, please try again: |u|p|BAD|", Login.BAD),
        ("ERROR: Too many login attempts, try again in 15 minutes: |u|LOCK|\n", Login.LOCK),
        ("ERROR: Your IP Address is not allowed: 203.0.113.5: ||IPBLOCK|\n", Login.IP),
        ("<br />\nWarning\nERROR: Login incorrect, please try again: |u|p|BAD|\n", Login.BAD),
        ("ERROR: NO FUNCTION SPECIFIED\n", None),
        ("", None),
    ],
)
def test_refused_logins(text: str, how: Login | None) -> None:
    assert login_refused(text) is how


@pytest.mark.parametrize(
    ("line", "kind", "code"),
    [
        ("ERROR: NO FUNCTION SPECIFIED\n", FailureKind.REJECTED, "no-function"),
        (
            "ERROR: auth bob DOES NOT HAVE PERMISSION TO USE THIS FUNCTION: |bob|add_dnc_phone|\n",
            FailureKind.UNAUTHORISED,
            "permission",
        ),
        ("ERROR: add_dnc_phone SOMETHING NEW: |bob|3125550100\n", FailureKind.REJECTED, "error"),
        ("ERROR: add_dnc_phone SOMETHI", FailureKind.UNKNOWN, "unreadable"),
        ("SUCCESS: add_dnc_phone SOMETHING NEW - bob\n", FailureKind.UNKNOWN, "unreadable"),
    ],
)
def test_refusals(line: str, kind: FailureKind, code: str) -> None:
    failure = refusal(answer(line), "add_dnc_phone")

    assert (failure.kind, failure.code) == (kind, code)
    assert "bob" not in failure.message
    assert PHONE not in failure.message


LINE = r"(ERROR|SUCCESS|NOTICE): [a-z_]{3,12} [A-Z ]{3,20}( - |: \|)[0-9]{6,16}\|[a-z]+"


@given(st.from_regex(LINE, fullmatch=True))
def test_a_phrase_holds_no_number(line: str) -> None:
    assert not any(character.isdigit() for character in phrase_of(line))


def test_version() -> None:
    line = "VERSION: 2.14-194|BUILD: 241004-1518|DATE: 2024-11-05 10:11:12|EPOCH: 1730801472|DST: 0|TZ: -5|"
    version = read_version(line)

    assert version is not None
    assert (version.version, version.build) == ("2.14-194", "241004-1518")
    assert version.server_time == datetime(2024, 11, 5, 10, 11, 12, tzinfo=UTC)
    assert read_version("VERSION: 2.4|BUILD: new|EPOCH: 1730801472|") is None
    assert read_version("VERSION: 2.4|BUILD: 241004-1518|EPOCH: soon|") is None


def test_campaigns() -> None:
    body = "campaign_id|campaign_name|active|user_group\nSALES|Sales|Y|A\nOLD|Old|N|A\n"

    assert read_campaigns(body) == {"SALES": True, "OLD": False}
    assert read_campaigns("SALES|Sales|Y|A\n") is None
    assert read_campaigns(body[:-1]) is None
    assert read_campaigns("ERROR: campaigns_list THIS USER HAS NO VIEWABLE CAMPAIGNS: bob|\n") is None


def test_leads() -> None:
    found = read_leads(answer("3125550100|2|17-18\n3125550101|0|\n3125550102|1|19\n"))

    assert found == {"3125550100": (["17", "18"], 2), "3125550101": ([], 0), "3125550102": (["19"], 1)}
