"""The configuration table: what is refused, and that secrets stay hidden."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from dncsync_twilio.settings import TwilioSettings

SERVICE = "MG" + "0" * 32
GOOD: dict[str, Any] = {
    "vendor": "twilio",
    "account_sid": "AC" + "a" * 32,
    "auth_token": "token-7f3a",
    "scopes": [SERVICE, "+15005550001"],
}


def test_a_good_table_with_its_defaults() -> None:
    settings = TwilioSettings(**GOOD)
    assert settings.scopes == (SERVICE, "+15005550001")
    assert settings.consent_api == "enabled"
    assert not settings.allow_opt_in
    assert settings.poll
    assert "token-7f3a" not in repr(settings)
    assert "token-7f3a" not in settings.model_dump_json()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scopes": []}, "at least 1"),
        ({"scopes": ["72345"]}, "short code keeps no opt-outs"),
        ({"scopes": ["5005550001"]}, "neither a messaging service SID"),
        ({"scopes": [SERVICE, SERVICE]}, "named twice"),
        ({"ignore_scopes": [SERVICE]}, "both in scopes and in ignore_scopes"),
        ({"account_sid": "AC123"}, "account_sid"),
        ({"auth_token": ""}, "auth_token"),
        ({"api_key_sid": "SK" + "0" * 32}, "belong together"),
        ({"consent_auth": "api_key"}, "needs api_key_sid"),
        ({"shared_key_id": "k"}, "belong together"),
        ({"webhook_url": "hooks.example.com/x"}, "full http"),
        ({"poll_overlap": 60, "poll_grace": 60}, "shorter than poll_overlap"),
        ({"consents": "yes"}, "Extra inputs"),
    ],
)
def test_what_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words) as refused:
        TwilioSettings(**{**GOOD, **change})
    assert "token-7f3a" not in str(refused.value)


def test_messages_are_left_to_their_webhook_only_where_there_is_one() -> None:
    assert TwilioSettings(**GOOD).grace == 0
    assert TwilioSettings(**GOOD, webhook_url="https://h.example/t").grace == 30
    assert TwilioSettings(**GOOD, webhook_url="https://h.example/t", poll_grace=5).grace == 5
