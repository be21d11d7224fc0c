"""What can be refused before a call is made, is."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from dncsync_vicidial import PLUGIN
from dncsync_vicidial.settings import VicidialSettings

GOOD: dict[str, Any] = {
    "vendor": "vicidial",
    "base_url": "https://dialer.example.com/vicidial",
    "user": "dncsync",
    "password": "abc-DEF_123",
}


def settings(**more: Any) -> VicidialSettings:
    made = PLUGIN.settings(**(GOOD | more))
    assert isinstance(made, VicidialSettings)
    return made


def complaint(**more: Any) -> str:
    with pytest.raises(ValidationError) as refused:
        settings(**more)
    return str(refused.value)


def test_defaults() -> None:
    made = settings()

    assert made.lists == ("SYSTEM_INTERNAL",)
    assert made.dispo_statuses == ("DNC", "DNCL", "DNCC")
    assert (made.parallel, made.calls_per_second, made.purge_hopper) == (4, 8, True)


@pytest.mark.parametrize(
    ("base_url", "api"),
    [
        ("https://d.example.com/vicidial", "https://d.example.com/vicidial"),
        ("https://d.example.com/vicidial/", "https://d.example.com/vicidial"),
        ("http://10.0.0.5:8080", "http://10.0.0.5:8080/vicidial"),
    ],
)
def test_the_folder_of_the_api(base_url: str, api: str) -> None:
    assert settings(base_url=base_url).api == api


@pytest.mark.parametrize(
    "base_url",
    [
        "dialer.example.com",
        "ftp://d.example.com/vicidial",
        "https:///vicidial",
        "https://u:p@d.example.com/vicidial",
        "https://d.example.com/vicidial?user=x",
        "https://d.example.com/vicidial/non_agent_api.php",
    ],
)
def test_a_base_url_that_cannot_be_right(base_url: str) -> None:
    assert "base_url" in complaint(base_url=base_url)


@pytest.mark.parametrize("password", ["pass!word", "p@ssword", "pass.word", "pass word", "", "päss"])
def test_a_password_that_vicidial_strips_is_refused_and_not_shown(password: str) -> None:
    said = complaint(password=password)

    assert "VICIdial strips all but letters, digits, '-' and '_'" in said
    assert not password or password not in said


def test_other_alphabets_only_with_the_sites_non_latin_setting() -> None:
    assert settings(password="päss", non_latin=True).password.get_secret_value() == "päss"
    assert "strips" in complaint(password="pä!ss", non_latin=True)


def test_a_user_that_vicidial_strips_is_refused() -> None:
    assert "this user cannot log in" in complaint(user="dnc.sync")


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        (["system_internal"], "the internal list is spelt SYSTEM_INTERNAL"),
        (["SYSTEM-INTERNAL"], "the internal list is spelt SYSTEM_INTERNAL"),
        (["SYSTEM_INTERNALL"], "longer than 8 characters"),
        (["LONGCAMPAIGN"], "longer than 8 characters"),
        (["A B"], "only letters"),
        ([""], "only letters"),
        ([], "lists"),
        (["SALES", "sales"], "named twice"),
    ],
)
def test_lists_that_would_be_filed_under_nothing(lists: list[str], words: str) -> None:
    assert words in complaint(lists=lists)


@pytest.mark.parametrize("token", ["short", "has/slash/has/slash", "ünïcode-ünïcode-ü", "x" * 129])
def test_a_webhook_token_that_cannot_stand_in_a_path(token: str) -> None:
    said = complaint(webhook_token=token)

    assert "16 to 128" in said
    assert token not in said


@pytest.mark.parametrize(
    "more",
    [
        {"parallel": 9},
        {"calls_per_second": 0},
        {"dispo_statuses": []},
        {"source": "x"},
        {"source": "with space"},
        {"unknown_key": 1},
        {"trunk_prefix": "0"},
        {"number_form": "e164"},
    ],
)
def test_other_values_that_cannot_be_right(more: dict[str, Any]) -> None:
    assert next(iter(more)) in complaint(**more)


def test_secrets_are_in_no_repr() -> None:
    made = settings(webhook_token="a-token-of-sixteen")

    assert "abc-DEF_123" not in repr(made)
    assert "a-token-of-sixteen" not in repr(made)
