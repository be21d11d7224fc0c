"""Manifest, scale and README say what the code does."""

from __future__ import annotations

import importlib
import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import dncsync_vicidial
from dncsync_vicidial.client import LIMIT
from dncsync_vicidial.connector import BATCH
from dncsync_vicidial.fields import ADD_SINCE, DELETE_SINCE
from dncsync_vicidial.login_guard import LOCK_SECONDS
from dncsync_vicidial.sandbox_options import Options
from dncsync_vicidial.settings import VicidialSettings

PACKAGE = Path(dncsync_vicidial.__file__).parent
README = (PACKAGE / "README.md").read_text()


def toml(name: str) -> dict[str, Any]:
    return tomllib.loads((PACKAGE / name).read_text())


def test_every_setting_is_in_the_readme() -> None:
    table = set(re.findall(r"^\| `(.*?)` ", README, re.M)) | set(re.findall(r"`(\w+)`", README))

    assert set(VicidialSettings.model_fields) - {"vendor"} <= table


def test_defaults_in_the_readme_are_the_code_s() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", README, re.M))
    assert {"parallel", "calls_per_second", "largest_shrink", "smallest_loss", "page_rows", "source"} <= set(
        rows
    )
    for name, shown in rows.items():
        default = VicidialSettings.model_fields[name].default
        value = tomllib.loads(f"value = {shown}")["value"]
        assert value == (list(default) if isinstance(default, tuple) else default), name


def test_the_readme_has_the_parts_that_an_admin_needs() -> None:
    for part in ("In VICIdial", "In dncsync", "Dispo Call URL", "Test it", "What it costs", "Remove it"):
        assert re.search(rf"^## .*{part}", README, re.M), part
    assert ADD_SINCE in README
    assert DELETE_SINCE in README


def test_the_manifest_says_what_the_code_does() -> None:
    manifest = toml("manifest.toml")

    assert manifest["vendor"] == dncsync_vicidial.PLUGIN.vendor
    non_agent_api = manifest["api"][0]
    assert non_agent_api["oldest_build_add"] == ADD_SINCE
    assert non_agent_api["oldest_build_delete"] == DELETE_SINCE
    assert ADD_SINCE in non_agent_api["version"]
    assert DELETE_SINCE in non_agent_api["version"]
    assert manifest["capabilities"]["write_batch"] == BATCH
    (calls,) = manifest["limits"]
    assert (calls["name"], calls["seconds"]) == (LIMIT, 1.0)
    assert calls["calls"] == VicidialSettings.model_fields["calls_per_second"].default
    assert manifest["lockout"]["seconds"] < LOCK_SECONDS


def test_unconfirmed_switches_exist() -> None:
    known = {field.name for field in fields(Options)} | {"faults", "status", "after", "none"}

    for entry in toml("manifest.toml")["unconfirmed"]:
        named = re.findall(r"[a-z_]+", entry["switch"].split(":")[0])
        assert named
        assert set(named) <= known, entry["what"]


@pytest.mark.parametrize(("rule", "entry"), toml("quality.toml").items())
def test_each_rule_is_done_or_exempt(rule: str, entry: dict[str, Any]) -> None:
    if entry["status"] == "exempt":
        assert len(entry["reason"]) > 20
        return
    assert entry["status"] == "done"
    for test in [entry["test"]] if isinstance(entry["test"], str) else entry["test"]:
        path, _, name = test.partition("::")
        module = importlib.import_module(path.removeprefix("tests/").removesuffix(".py").replace("/", "."))
        assert hasattr(module, name), f"{rule}: {test}"
