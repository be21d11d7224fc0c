"""The README and the manifest say what the code does."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from dncsync.connector import SystemSettings
from dncsync_hubspot import sandbox
from dncsync_hubspot.client import limits_of
from dncsync_hubspot.settings import Companions, FlagProperty, HubSpotSettings

FOLDER = Path(str(sandbox.__file__)).parent
README = (FOLDER / "README.md").read_text()
MANIFEST = tomllib.loads((FOLDER / "manifest.toml").read_text())
WORDS = {"flags", "companions"}  # their defaults are described in words


def row(name: str) -> str:
    """The table row of a setting."""
    found = re.search(rf"^\| [^|]*`{name}`[^|]*\|([^|]*)\|", README, re.M)
    assert found, f"{name} is not in the README"
    return found[1].strip()


@pytest.mark.parametrize("name", sorted(set(HubSpotSettings.model_fields) - set(SystemSettings.model_fields)))
def test_every_setting_is_in_the_readme_with_its_default(name: str) -> None:
    shown, field = row(name), HubSpotSettings.model_fields[name]
    if name in WORDS:
        return
    if field.is_required():
        assert shown == "required"
    elif field.default is None:
        assert shown == "none"
    else:
        value = tomllib.loads(f"value = {shown.strip('`')}")["value"]
        assert value == (list(field.default) if isinstance(field.default, tuple) else field.default)


def test_every_key_of_a_flag_is_in_the_readme() -> None:
    for name in FlagProperty.model_fields:
        assert row(name)


def test_every_companion_is_in_the_readme() -> None:
    found = re.search(r"^\| `companions` .*$", README, re.M)
    assert found
    for name in Companions.model_fields:
        assert f"`{name}`" in found[0]


def test_the_examples_in_the_readme_are_valid() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", README, re.S)
    assert len(blocks) == 2
    for block in blocks:
        table = tomllib.loads(block)["systems"]["hubspot"]
        HubSpotSettings.model_validate({"access_token": "t", **table})


def test_the_readme_has_the_parts_that_an_admin_needs() -> None:
    for part in ("In HubSpot", "In dncsync", "Webhooks", "Test it", "Remove it"):
        assert re.search(rf"^## .*{part}", README, re.M), part
    for scope in ("crm.objects.contacts.read", "crm.objects.contacts.write", "crm.schemas.contacts.read"):
        assert scope in README


def test_the_manifest_has_the_codes_limits() -> None:
    declared = {(one["name"], one["calls"], one["seconds"]) for one in MANIFEST["limits"]}
    settings = HubSpotSettings.model_validate({"access_token": "t"})
    assert declared == {(one.name, one.calls, one.seconds) for one in limits_of(settings)}


def test_unconfirmed_switches_exist() -> None:
    documented = set(re.findall(r"`([a-z_]+)`", str(sandbox.__doc__)))
    known = documented | set(HubSpotSettings.model_fields)
    for entry in MANIFEST["unconfirmed"]:
        if entry["switch"].startswith("none:"):
            continue
        named = {w for w in re.findall(r"[a-z_0-9]+", entry["switch"]) if "_" in w or w == "signatures"}
        assert named, entry["what"]
        assert named <= known, entry["what"]
