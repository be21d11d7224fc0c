"""Dispo Call URLs: the token, and everything that may be wrong."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dncsync.connector import Look, Webhook, WebhookRefused, WebhookRequest
from dncsync_vicidial.dispo import read_dispo
from dncsync_vicidial.settings import VicidialSettings

TOKEN = "a-token-of-sixteen_1"
BASE = "https://sync.example.test/hooks/dialer"
SETTINGS = VicidialSettings.model_validate(
    {
        "vendor": "vicidial",
        "base_url": "https://d.example.com/vicidial",
        "user": "dncsync",
        "password": "abc",
        "lists": ["SYSTEM_INTERNAL", "SALES"],
        "webhook_token": TOKEN,
    }
)
GOOD = f"{BASE}/{TOKEN}?phone=3125550100&dispo=DNC&camp=SALES&lead=17&call=V1123150000000000000001"


def read(url: str, *, method: str = "GET", body: bytes = b"") -> Webhook:
    return read_dispo(SETTINGS, WebhookRequest(method, url, {}, body, datetime(2026, 11, 23, tzinfo=UTC)))


def refused(url: str, **more: object) -> WebhookRefused:
    with pytest.raises(WebhookRefused) as error:
        read(url, **more)  # type: ignore[arg-type]
    assert TOKEN not in error.value.reason
    assert "3125550100" not in error.value.reason
    assert "\n" not in error.value.reason
    return error.value


def test_a_look_on_each_list() -> None:
    assert read(GOOD).signals == (Look("SYSTEM_INTERNAL/3125550100"), Look("SALES/3125550100"))
    assert read(GOOD).nonce


def test_without_a_call_id_there_is_no_nonce() -> None:
    assert read(f"{BASE}/{TOKEN}?phone=3125550100&dispo=DNC").nonce == ""


def test_a_changed_disposition_of_one_call_is_another_hint() -> None:
    assert read(GOOD).nonce != read(GOOD.replace("dispo=DNC", "dispo=DNCL")).nonce


@pytest.mark.parametrize("dispo", ["dnc", "DNCL", "DNCC"])
def test_statuses_that_count(dispo: str) -> None:
    assert len(read(GOOD.replace("dispo=DNC", f"dispo={dispo}")).signals) == 2


@pytest.mark.parametrize("dispo", ["SALE", "DNCX", "", "DNC%20X"])
def test_statuses_that_do_not(dispo: str) -> None:
    assert read(GOOD.replace("dispo=DNC", f"dispo={dispo}")).signals == ()


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/wrong",
        f"/{TOKEN}x",
        f"/{TOKEN[:-1]}",
        f"/x{TOKEN}",
        f"/{TOKEN}/more",
        "/%00",
        "/%ff%fe",
        "/é",
    ],
)
def test_a_wrong_token_is_refused(path: str) -> None:
    assert refused(f"{BASE}{path}?phone=3125550100&dispo=DNC").status == 403


def test_a_token_in_the_query_is_no_token() -> None:
    assert refused(f"{BASE}?token={TOKEN}&phone=3125550100&dispo=DNC").status == 403


@pytest.mark.parametrize(
    "query",
    [
        "",
        "phone=3125550100",
        "dispo=DNC",
        "phone=&dispo=DNC",
        "phone=12345&dispo=DNC",
        "phone=31255501001234567&dispo=DNC",
        "phone=%2B13125550100&dispo=DNC",
        "phone=312-555-0100&dispo=DNC",
        "phone=3125550100&phone=3125550101&dispo=DNC",
        "phone=3125550100&dispo=DNC&dispo=SALE",
        "phone=%D9%A3%D9%A1%D9%A2%D9%A5%D9%A5%D9%A5&dispo=DNC",
        "phone=3125550100%2C3125550101&dispo=DNC",
        "&".join(f"x{i}=1" for i in range(50)) + "&phone=3125550100&dispo=DNC",
    ],
)
def test_malformed_queries_are_refused(query: str) -> None:
    assert refused(f"{BASE}/{TOKEN}?{query}").status == 400


def test_a_template_that_was_not_filled_in_says_why() -> None:
    query = "phone=--A--phone_number--B--&dispo=--A--dispo--B--"

    assert "begin the URL with VAR" in refused(f"{BASE}/{TOKEN}?{query}").reason


def test_method_body_and_length() -> None:
    assert refused(GOOD, method="POST").status == 405
    assert refused(GOOD, body=b"x").status == 400
    assert refused(GOOD + "&x=" + "y" * 5000).status == 414


def test_without_a_configured_token_nothing_is_taken() -> None:
    bare = SETTINGS.model_copy(update={"webhook_token": None})
    request = WebhookRequest("GET", GOOD, {}, b"", datetime(2026, 11, 23, tzinfo=UTC))

    with pytest.raises(WebhookRefused) as error:
        read_dispo(bare, request)
    assert error.value.status == 403


@given(st.text(max_size=80))
def test_no_text_after_the_host_breaks_the_reader(text: str) -> None:
    for url in (f"{BASE}/{text}", f"{BASE}/{TOKEN}?{text}", text):
        with suppress(WebhookRefused):
            assert isinstance(read(url), Webhook)
