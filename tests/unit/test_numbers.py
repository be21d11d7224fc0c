"""Phone numbers: the fast path against the library, nothing guessed, nothing shown in a log."""

from __future__ import annotations

import re
import zoneinfo

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dncsync import numbers
from dncsync.numbers import Parsed, Problem, is_e164, is_region, mask, mask_text, parse, region_zones

FULL_WIDTH = "".join(chr(ord(digit) - ord("0") + 0xFF10) for digit in "3125550199")


@pytest.mark.parametrize(
    "raw",
    [
        "+13125550199",
        "13125550199",
        "3125550199",
        "312-555-0199",
        "312.555.0199",
        "312 555 0199",
        "(312) 555-0199",
        "(312)555-0199",
        "1 (312) 555-0199",
        "+1 312-555-0199",
        "+1 (312) 555.0199",
        "tel:+1-312-555-0199",
        "TEL:3125550199",
        "tel:312-555-0199",
        "  312-555-0199\t",
        "\u202a+1 312 555 0199\u202c",
        "312\u2013555\u20130199",
        FULL_WIDTH,
        "011 1 312 555 0199",
        "cell: 312-555-0199",
        "312-555-0199 (mobile)",
        "312-555-0199 work",
    ],
)
def test_common_notations_of_one_number(raw: str) -> None:
    assert parse(raw) == Parsed(raw, "+13125550199")


@pytest.mark.parametrize(
    ("raw", "region", "number"),
    [
        ("+442079460018", "US", "+442079460018"),
        ("011 44 20 7946 0018", "US", "+442079460018"),
        ("020 7946 0018", "GB", "+442079460018"),
        ("+39 06 698 1234", "US", "+39066981234"),
        ("+1 312 555 0199", "GB", "+13125550199"),
        ("1-800-FLOWERS", "US", "+18003569377"),
        ("555-123-4567", "US", "+15551234567"),  # no such area code today: still a number
    ],
)
def test_other_countries_and_spelled_numbers(raw: str, region: str, number: str) -> None:
    assert parse(raw, region).number == number


@pytest.mark.parametrize(
    ("raw", "problem", "base"),
    [
        (None, Problem.EMPTY, None),
        ("", Problem.EMPTY, None),
        (" \t\u200b\ufeff", Problem.EMPTY, None),
        ("N/A", Problem.JUNK, None),
        ("n.a.", Problem.JUNK, None),
        ("none", Problem.JUNK, None),
        ("No phone", Problem.JUNK, None),
        ("-", Problem.JUNK, None),
        ("0000000000", Problem.JUNK, None),
        ("000-000-0000", Problem.JUNK, None),
        ("1111111111", Problem.JUNK, None),
        ("11111111111", Problem.JUNK, None),
        ("+1 999 999 9999", Problem.JUNK, None),
        ("+15555555555", Problem.JUNK, None),
        ("1234567890", Problem.JUNK, None),
        ("+11234567890", Problem.JUNK, None),
        ("call me", Problem.UNPARSABLE, None),
        ("ask@example.com", Problem.UNPARSABLE, None),
        ("3" * 300, Problem.UNPARSABLE, None),
        ("555-0199", Problem.IMPOSSIBLE, None),
        ("911", Problem.IMPOSSIBLE, None),
        ("72345", Problem.IMPOSSIBLE, None),
        ("1312555019", Problem.IMPOSSIBLE, None),
        ("31255501999", Problem.IMPOSSIBLE, None),
        ("+49000000", Problem.IMPOSSIBLE, None),  # reads as +4900000, and that as +490000
        ("312555O199", Problem.IMPOSSIBLE, None),
        ("3125550199 p12", Problem.IMPOSSIBLE, "+13125550199"),
        ("555-123-4567 x12", Problem.EXTENSION, "+15551234567"),
        ("(312) 555-0199 ext. 7", Problem.EXTENSION, "+13125550199"),
        ("tel:+1-312-555-0199;ext=12", Problem.EXTENSION, "+13125550199"),
        ("3125550199,,12", Problem.EXTENSION, "+13125550199"),
        ("(312) 555-0199 / (312) 555-0142", Problem.AMBIGUOUS, None),
        ("312-555-0199, 312-555-0142", Problem.AMBIGUOUS, None),
        ("+1 312 555 0199\n+1 312 555 0142", Problem.AMBIGUOUS, None),
        ("312-GET-RICH", Problem.AMBIGUOUS, "+13124387424"),
        ("+3125550199", Problem.AMBIGUOUS, "+13125550199"),
    ],
)
def test_what_is_no_single_number_is_told_apart(raw: str | None, problem: Problem, base: str | None) -> None:
    assert parse(raw) == Parsed(raw or "", None, problem, base)


def test_an_unknown_region_is_a_problem_only_without_a_country_code() -> None:
    assert not is_region("ZZ")
    assert parse("3125550199", "ZZ").problem is Problem.UNPARSABLE
    assert parse("+442079460018", "ZZ").number == "+442079460018"


HOSTILE = "0123456789+-. ()/x,;#*~\u200b\u2060\u00a0\u2013\uff0b\uff11\u0663\u0967\u00b2\u2460\U0001d7dcAoOlI"
SEPARATORS = ["", "-", ".", " ", "  ", "\n", "\u00a0", "\u2013", "\uff0d"]
PLAINISH = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["", "1", "+1", "+", "0", "1 ", "+1-", "\uff11", "tel:", "(", "+1(", "1(", "00"]),
        st.text("0123456789", min_size=2, max_size=4),
        st.sampled_from(["", ")", "-", ".", " ", ") ", ")-", "\u200b"]),
        st.text("0123456789\u0663\uff11", min_size=2, max_size=4),
        st.sampled_from(SEPARATORS),
        st.text("0123456789", min_size=3, max_size=5),
        st.sampled_from(["", "", "", " ", "\n", "x1", " ext 12", "a"]),
    ),
)


@given(st.one_of(PLAINISH, st.text(HOSTILE, max_size=20)), st.sampled_from(["US", "GB", "DE", "CA"]))
@settings(max_examples=1500)
@example("(312) 555-0199", "US")
@example("+13125550199\n", "US")
@example("+31255501९९", "US")
def test_the_fast_path_says_what_the_library_says(raw: str, region: str) -> None:
    fast = numbers._plain(raw, region)
    if fast is None:
        return
    read = phonenumbers.parse(raw, region)
    assert phonenumbers.is_possible_number(read)
    assert not read.extension
    assert phonenumbers.format_number(read, phonenumbers.PhoneNumberFormat.E164) == fast
    assert numbers._careful(raw, region) == Parsed(raw, fast)


@given(st.from_regex(r"\+?1?[2-9][0-9]{2}[-. ]?[0-9]{3}[-. ]?[0-9]{4}", fullmatch=True))
def test_plain_us_numbers_take_the_fast_path_and_both_paths_agree(raw: str) -> None:
    assert numbers._careful(raw, "US") == parse(raw)
    if parse(raw).number is not None and not (raw.startswith("+") and not raw.startswith("+1")):
        assert numbers._plain(raw, "US") is not None


@given(st.one_of(st.text(), st.text(HOSTILE), PLAINISH), st.sampled_from(["US", "GB", "ZZ", ""]))
@settings(max_examples=600)
@example("+49000000", "US")
def test_parse_never_raises_and_always_says_one_thing(raw: str, region: str) -> None:
    read = parse(raw, region)
    assert read.raw == raw
    assert (read.number is None) != (read.problem is None)
    for number in (read.number, read.base):
        assert number is None or is_e164(number)
    if read.number is not None:
        assert parse(read.number, region).number == read.number  # normal form is stable
        assert parse(read.number, "FR").number == read.number  # and needs no region


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("+13125550199", True),
        ("+4420794600181234", False),
        ("+442079460018123", True),
        ("+0312555019", False),
        ("13125550199", False),
        ("+1312555019\uff19", False),
        ("+13125550199\n", False),
        ("", False),
    ],
)
def test_is_e164(value: str, expected: bool) -> None:
    assert is_e164(value) is expected


# --- masks ---


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("+13125550199", "+1312•••••99"),
        ("(312) 555-0199", "(312) •••••99"),
        ("3125550199", "312•••••99"),
        ("5550199", "•••••99"),
        ("+442079460018", "+4420••••••18"),
        ("+12", "•••"),
        ("", ""),
    ],
)
def test_mask(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("sent to +13125550199 ok", "sent to +1312•••••99 ok"),
        ("To=%2B13125550199&Body=STOP", "To=%2B1312•••••99&Body=STOP"),
        ('{"phone":"312-555-0199","id":1}', '{"phone":"312-•••••99","id":1}'),
        ("call (312) 555-0199 or 555-0142", "call (312) •••••99 or •••••42"),
        (FULL_WIDTH, FULL_WIDTH[:3] + "•••••" + FULL_WIDTH[-2:]),
        ("3\u200b1\u200b2\u200b5550199", "3\u200b1\u200b2\u200b•••••99"),
    ],
)
def test_numbers_in_a_text_are_masked(text: str, masked: str) -> None:
    assert mask_text(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21T12:00:00.123456Z",
        "2026-11-21 12:00:00+00:00 started",
        "550e8400-e29b-41d4-a716-446655440000",
        "peer 192.168.100.200:8080",
        "MessageSid=SM0123456789abcdef0123456789abcdef",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "0035g00000XyZabAAB",
        "25 sent, 100 accepted, 3 failed",
    ],
)
def test_times_and_identifiers_stay(text: str) -> None:
    assert mask_text(text) == text


NUMBERS = st.from_regex(r"\+?[1-9][0-9]{6,14}", fullmatch=True)


@given(st.text(), NUMBERS, st.text())
@settings(max_examples=500)
def test_no_number_survives_in_any_text(before: str, number: str, after: str) -> None:
    masked = mask_text(before + number + after)
    assert not re.search(r"\d{7}", masked)
    assert number not in masked
    assert mask_text(masked) == masked


@given(PLAINISH, st.sampled_from(["", "to ", '{"a":"', "x="]), st.sampled_from(["", " ok", '"}', "&b=1"]))
@settings(max_examples=500)
def test_no_notation_of_a_number_survives(raw: str, before: str, after: str) -> None:
    number = parse(raw).number
    if number is not None and "\n" not in raw:
        shown = re.sub(r"\D", "", mask_text(before + raw + after))
        assert number[-7:] not in shown


@given(NUMBERS)
def test_a_mask_hides_at_least_five_digits(number: str) -> None:
    assert len(re.sub(r"\D", "", mask(number))) <= len(number.lstrip("+")) - 5


def test_masking_takes_linear_time() -> None:
    for hostile in ("1 " * 50_000, "1-%20" * 20_000, "2026-11-" * 12_500, "(" * 100_000, "deadbeef" * 12_500):
        mask_text(hostile)


# --- zones ---


@pytest.mark.parametrize(
    ("number", "zones"),
    [
        ("+13125550199", {"America/Chicago"}),
        ("+12125550199", {"America/New_York"}),
        ("+18505550199", {"America/Chicago", "America/New_York"}),  # Florida's panhandle
        ("+14485550199", {"America/Chicago", "America/New_York"}),  # its overlay
        ("+19075550199", {"America/Anchorage", "America/Adak", "Pacific/Honolulu"}),
        ("+18085550199", {"Pacific/Honolulu"}),
        ("+17875550199", {"America/Puerto_Rico"}),
        ("+442079460018", set()),
    ],
)
def test_zones_of_an_area_code(number: str, zones: set[str]) -> None:
    assert set(region_zones(number)) == zones


@pytest.mark.parametrize("number", ["+18005550199", "+15005550006", "+15551234567"])
def test_an_area_code_that_tells_nothing_may_be_anywhere_in_the_states(number: str) -> None:
    assert region_zones(number) == numbers.US_ZONES


def test_every_zone_exists_and_no_area_code_is_listed_twice() -> None:
    known = zoneinfo.available_timezones()
    codes = [code for listed in numbers._AREA_CODES.values() for code in listed.split()]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch("[2-9][0-9]{2}", code) for code in codes)
    assert {zone for zones in numbers._ZONES_OF.values() for zone in zones} | {*numbers.US_ZONES} <= known
