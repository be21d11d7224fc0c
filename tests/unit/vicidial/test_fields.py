"""Keys and number forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dncsync_vicidial.fields import Entry, NumberForm, entry_of, is_dialable, is_wildcard


@given(st.from_regex(r"[-_0-9A-Za-z]{1,8}", fullmatch=True), st.text(max_size=20))
def test_a_key_names_one_entry(name: str, value: str) -> None:
    assert entry_of(Entry(name, value).key) == Entry(name, value)


@given(st.from_regex(r"\+1[2-9][0-9]{9}", fullmatch=True))
def test_ten_digits_and_nothing_else(number: str) -> None:
    assert NumberForm("ten-digits", "US").stored(number) == number[2:]


@pytest.mark.parametrize(
    ("form", "region", "trunk", "number", "stored"),
    [
        ("ten-digits", "US", "", "+442071838750", None),
        ("ten-digits", "US", "", "+1312555010", None),
        ("ten-digits", "US", "", "3125550100", None),
        ("ten-digits", "US", "", "+11125550100", None),
        ("national", "GB", "0", "+442071838750", "02071838750"),
        ("national", "GB", "", "+442071838750", "2071838750"),
        ("national", "GB", "0", "+13125550100", None),
        ("national", "GB", "0", "nonsense", None),
        ("international", "US", "", "+442071838750", "442071838750"),
        ("international", "US", "", "nonsense", None),
    ],
)
def test_forms(form: str, region: str, trunk: str, number: str, stored: str | None) -> None:
    assert NumberForm(form, region, trunk).stored(number) == stored  # type: ignore[arg-type]


def test_raw_values_keep_their_country_code_only_where_it_is_configured() -> None:
    assert NumberForm("international", "US").raw("442071838750") == "+442071838750"
    assert NumberForm("international", "US").raw("N/A") == "N/A"
    assert NumberForm("ten-digits", "US").raw("13125550100") == "13125550100"


def test_phone_code() -> None:
    assert NumberForm("ten-digits", "US").phone_code == "1"
    assert NumberForm("national", "GB").phone_code == "44"


@pytest.mark.parametrize("row", ["201XXXXXXX", "999XXXXXXX"])
def test_wildcards(row: str) -> None:
    assert is_wildcard(row)
    assert not is_dialable(row)


@pytest.mark.parametrize("row", ["201XXXXXX", "2015550100", "XXX5550100", "201xxxxxxx", "201XXXXXXXX"])
def test_no_wildcards(row: str) -> None:
    assert not is_wildcard(row)


@pytest.mark.parametrize(
    "value", ["12345", "1" * 17, "٣١٢٥٥٥٠١٠٠", "312555010x", "3125550100,3125550101", ""]
)
def test_what_the_api_cannot_take(value: str) -> None:
    assert not is_dialable(value)
