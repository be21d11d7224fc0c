"""What a HubSpot configuration may say."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from dncsync.model import Channel
from dncsync_hubspot.settings import HubSpotSettings

MULTI = {"property": "s", "shape": "multi-checkbox", "true_values": ["a", "b"]}
DATE = {"property": "s", "shape": "date", "true_values": ["x"]}
SECRET = "pat-na1-secret"


def made(**more: Any) -> HubSpotSettings:
    return HubSpotSettings.model_validate({"vendor": "hubspot", "access_token": SECRET, **more})


def test_the_default_is_one_checkbox_for_voice() -> None:
    settings = made()
    assert {c: f.property for c, f in settings.flags.items()} == {Channel.VOICE: "do_not_call"}
    assert settings.phone_properties == ("phone", "mobilephone")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"flags": {"voice": {"property": "s", "shape": "enumeration"}}}, "needs true_values"),
        (
            {"flags": {"voice": {"property": "s", "shape": "multi-checkbox", "true_values": ["a", "b"]}}},
            "one true",
        ),
        (
            {"flags": {"voice": {"property": "s", "shape": "date", "true_values": ["x"]}}},
            "shape date takes no",
        ),
        ({"flags": {"voice": {"property": "s", "with_time": True}}}, "belong to shape date"),
        (
            {"flags": {"voice": {"property": "s", "true_values": ["x"], "false_values": ["x"]}}},
            "both true_values and false_values",
        ),
        ({"flags": {"voice": {"property": "s", "true_values": ["x"], "clear_value": "x"}}}, "change nothing"),
        (
            {"flags": {"voice": {"property": "s"}, "sms": {"property": "s", "true_values": ["x"]}}},
            "mapped twice",
        ),
        ({"phone_properties": ["phone", "phone"]}, "two uses"),
        ({"companions": {"source": "do_not_call"}}, "two uses"),
        ({"companions": {"reason": "do_not_call"}}, "property 'do_not_call' has two uses in this system"),
        ({"companions": {"reason": "phone"}}, "property 'phone' has two uses in this system"),
        ({"companions": {"source": "s", "reason": "s"}}, "property 's' has two uses in this system"),
        ({"flags": {"voice": {"property": "Do Not Call"}}}, "pattern"),
        ({"flags": {}}, "at least 1"),
        ({"flags": {"fax": {"property": "s"}}}, "voice"),
        ({"api": "v4"}, "v3"),
        ({"acess_token": "x"}, "Extra inputs"),
    ],
)
def test_a_configuration_that_means_nothing_is_refused(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        made(**config)


def test_secrets_are_not_shown() -> None:
    assert SECRET not in repr(made(client_secret=SECRET))


def test_importing_the_package_imports_no_sdk() -> None:
    code = "import sys, dncsync_hubspot; sys.exit('hubspot' in sys.modules or 'urllib3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
