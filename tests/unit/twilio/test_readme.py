"""The README tells an admin about every setting, and about no other."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import SecretStr

import dncsync_twilio
from dncsync_twilio.settings import TwilioSettings

README = (Path(dncsync_twilio.__file__).parent / "README.md").read_text()


def section(title: str) -> str:
    return README.partition(f"## {title}")[2].partition("\n## ")[0]


def documented() -> dict[str, bool]:
    """Setting -> whether it is called a secret."""
    found: dict[str, bool] = {}
    for row in re.findall(r"^\| (`.+?) \|", section("3. In dncsync"), re.MULTILINE):
        for part in row.split(", "):
            found[part.split("`")[1]] = "(secret)" in part
    return found


def test_every_setting_is_documented_and_none_else() -> None:
    fields = {name: field for name, field in TwilioSettings.model_fields.items() if name != "vendor"}
    assert documented().keys() == fields.keys()
    secrets = {name for name, field in fields.items() if SecretStr.__name__ in str(field.annotation)}
    assert {name for name, secret in documented().items() if secret} == secrets
    assert "dncsync doctor" in section("4. Test it")


def test_removal_is_described() -> None:
    assert "**stay** at Twilio" in section("6. Remove it")


def test_the_example_is_a_good_configuration() -> None:
    import tomllib

    example = re.search(r"```toml\n(.+?)```", README, re.DOTALL)
    assert example is not None
    table = tomllib.loads(example[1])["systems"]["sms"]
    assert len(TwilioSettings.model_validate({**table, "auth_token": "t"}).scopes) == 2


def test_webhook_urls_are_those_of_the_listener() -> None:
    urls = re.findall(r"https://dnc\.example\.com/\S+?(?=[`\"])", README)
    assert len(urls) >= 2
    assert all(url.startswith("https://dnc.example.com/hooks/") for url in urls)
