"""The redactor by itself; `test_logs` shows it at work."""

from __future__ import annotations

import base64

import pytest

from dncsync.redaction import REDACTED, Redactor, is_secret_name, looks_like_secret


def test_secrets_in_base64_and_lines_of_a_key_are_redacted() -> None:
    key = "-----BEGIN X-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEA\n-----END X-----\n"
    redactor = Redactor(["hunter2-hunter2", key])
    assert redactor.text(base64.b64encode(b"hunter2-hunter2").decode()) == REDACTED
    assert "AQEFAASCBKcwggSjAgEA" not in redactor.text("line 3 is AQEFAASCBKcwggSjAgEA")
    assert "MIIEvQ" not in redactor.text(repr(key))


def test_the_longer_of_two_secrets_is_redacted_whole() -> None:
    assert Redactor(["abcd", "abcd-efgh"]).text("x abcd-efgh y") == f"x {REDACTED} y"


@pytest.mark.parametrize(
    "text",  # the ~ keeps these out of the hands of those who search repositories for secrets
    [
        "Authorization: Bear~er feedfeed00Dx",
        "header Ba~sic feedfeedfeed== was sent",
        "token pat~-na1-feedfeed-0000-4000-8000-feedfeedfeed",
        "session 00D~xx0000001gPL!feedfeedfeedfeed.x",
        "jwt ey~Jfeedfeed.feedfeedfeed.feed-feed",
        "https://user:~feed-feed@dialer.example/x",
        "https://h.example/?user=x&pass~=feed-feed&y=1",
        '{"client_secret~": "feed-feed"}',
        "{'refresh_token~': 'feed-feed'}",
        "-----BEGIN RSA ~PRIVATE KEY-----\nfeedfeed\nfeed",
        "grant_type=x&client_secret~=feed-feed",
    ],
)
def test_what_looks_like_a_credential_is_hidden_though_nobody_named_it(text: str) -> None:
    shown = Redactor().text(text.replace("~", ""))
    assert REDACTED in shown
    assert "feed" not in shown


def test_values_under_the_name_of_a_secret_are_hidden() -> None:
    shown = Redactor().value(
        {"auth": {"access_token": "x" * 3, "Client-Secret": ["y"], "user": "u"}, "token": 5}
    )
    assert shown == {
        "auth": {"access_token": REDACTED, "Client-Secret": REDACTED, "user": "u"},
        "token": REDACTED,
    }


@pytest.mark.parametrize(
    "name", ["token", "access_token", "apiKey", "api-key", "client_secret", "password", "pwd"]
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["key", "tokens_left", "secretary", "checkpoint_key", "api_key_sid", "system"]
)
def test_names_that_are_no_secrets(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "text", ["do_not_call", "https://api.hubapi.com/v3", "dncsync.sqlite", "Basic", "a@b.example"]
)
def test_ordinary_values_do_not_look_like_secrets(text: str) -> None:
    assert not looks_like_secret(text)


def test_a_long_text_is_cut_after_redaction() -> None:
    shown = Redactor(["hunter2-hunter2"]).text("x" * 16_380 + "hunter2-hunter2")
    assert "hunter" not in shown
    assert len(shown) < 16_500
