"""Our scale over every connector folder; and the scale itself, against folders that break one rule each."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dncsync.connector import Capabilities, Limit, Unit, plugin, plugins
from dncsync.model import Channel, Role
from dncsync.testing.conformance import Facts
from dncsync.testing.conformance_bench import Bench
from dncsync.testing.quality import (
    FILES,
    RULES,
    VALIDATORS,
    ConnectorFolder,
    complaints,
    connector_folders,
    manifest_disagreements,
    why_not_collected,
)

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = connector_folders(ROOT)
HERE = "tests/conformance/test_quality.py"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.vendor)
@pytest.mark.parametrize("validator", VALIDATORS, ids=lambda validator: validator.__name__)
def test_connectors_keep_our_scale(
    folder: ConnectorFolder, validator: Callable[[ConnectorFolder], object]
) -> None:
    found = list(validator(folder))  # type: ignore[call-overload]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.vendor)
def test_manifests_say_what_connectors_declare(folder: ConnectorFolder) -> None:
    bench = Bench(plugin(folder.vendor), Facts(contacts=3))
    try:
        found = list(manifest_disagreements(folder.manifest, bench.capabilities))
    finally:
        bench.close()
    assert not found, "\n".join(found)


def test_every_folder_is_an_installed_plugin() -> None:
    assert {folder.vendor for folder in FOLDERS} == set(plugins())


# --- the scale itself -----------------------------------------------------------------------------------


MANIFEST = """
vendor = "acme"
name = "Acme"
sheet = "acme.md"
checked = 2026-11-21
unconfirmed = [{what = "the lag", switch = "option lag"}]
[[api]]
name = "People"
version = "v1"
[[limits]]
name = "all"
calls = 10
seconds = 1
checked = 2026-11-21
source = "acme.md, section 2"
[capabilities]
unit = "record"
role = "crm"
channels = ["voice", "sms"]
can_clear = true
can_read = true
can_list = true
can_poll = true
has_webhooks = false
write_batch = 100
read_batch = 100
poll_every = 10.0
read_after = 0.0
"""
DECLARED = Capabilities(
    unit=Unit.RECORD, role=Role.CRM, channels=frozenset(Channel), limits=(Limit("all", 10, 1.0),)
)
DONE = f'status = "done"\ntest = "{HERE}::test_a_good_folder_has_no_complaints"\n'
README = "Run dncsync doctor. Put the secret in the environment. base_url. To remove it, ..."


@pytest.fixture
def acme(tmp_path: Path) -> ConnectorFolder:
    """A folder that keeps every rule, in a checkout of its own."""
    folder = tmp_path / "connectors" / "dncsync_acme"
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).touch()
    (folder / "manifest.toml").write_text(MANIFEST)
    (folder / "quality.toml").write_text("".join(f"[{rule}]\n{DONE}" for rule in RULES))
    (folder / "README.md").write_text(README)
    (tmp_path / "tests" / "conformance").mkdir(parents=True)
    shutil.copy(__file__, tmp_path / HERE)
    return ConnectorFolder(folder, tmp_path)


def test_a_good_folder_has_no_complaints(acme: ConnectorFolder) -> None:
    assert complaints(acme) == []
    assert [folder.vendor for folder in connector_folders(acme.root)] == ["acme"]


@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        ("manifest.toml", 'vendor = "acme"', 'vendor = "amce"', "vendor is 'amce'"),
        ("manifest.toml", 'name = "Acme"', "", "name is missing"),
        ("manifest.toml", 'sheet = "acme.md"', 'sheet = ""', "sheet is missing"),
        ("manifest.toml", "checked = 2026-11-21\nun", 'checked = "lately"\nun', "checked is not a date"),
        ("manifest.toml", 'version = "v1"', "", "lacks name or version"),
        ("manifest.toml", "[[api]]", "[[apis]]", "no [[api]]"),
        ("manifest.toml", "calls = 10", 'calls = "ten"', "limit all lacks calls or seconds"),
        ("manifest.toml", "checked = 2026-11-21\nsource", "source", "limit all lacks the date"),
        ("manifest.toml", 'source = "acme.md, section 2"', "", "limit all lacks its source"),
        ("manifest.toml", "can_clear = true\n", "", "capability can_clear is missing"),
        ("manifest.toml", "can_clear", "can_fly", "capability can_fly does not exist"),
        ("manifest.toml", "[capabilities]", "[can]", "no [capabilities]"),
        ("manifest.toml", ', switch = "option lag"', "", "lacks what or switch"),
        ("manifest.toml", "unconfirmed =", "unsure =", "no list of [[unconfirmed]]"),
        ("manifest.toml", "vendor =", "vendor", "manifest.toml cannot be read"),
        ("quality.toml", "[provenance]", "[provenence]", "rule provenance is missing"),
        ("quality.toml", "[provenance]", "[provenence]", "rule provenence does not exist"),
        ("quality.toml", '"done"', '"soon"', "neither done nor exempt"),
        ("quality.toml", '"done"', '"exempt"', "exempt without a reason"),
        ("quality.toml", "test =", "proof =", "names no test"),
        ("quality.toml", "::test_a_good", "::test_a_bad", "there is no function"),
        ("README.md", "dncsync doctor", "it", "how to test the connection"),
        ("README.md", "remove", "leave", "how to remove it"),
    ],
)
def test_the_scale_finds(acme: ConnectorFolder, file: str, old: str, new: str, complaint: str) -> None:
    text = (acme.path / file).read_text()
    assert old in text
    (acme.path / file).write_text(text.replace(old, new, 1))
    assert any(complaint in found for found in complaints(acme)), complaints(acme)


@pytest.mark.parametrize("name", FILES)
def test_the_scale_finds_a_missing_file(acme: ConnectorFolder, name: str) -> None:
    (acme.path / name).unlink()
    assert f"{name} is missing" in complaints(acme)


def test_the_scale_finds_a_manifest_that_disagrees(acme: ConnectorFolder) -> None:
    assert list(manifest_disagreements(acme.manifest, DECLARED)) == []
    other = replace(DECLARED, can_clear=False, limits=(Limit("all", 20, 1.0),))
    assert [found.partition(",")[0] for found in manifest_disagreements(acme.manifest, other)] == [
        "manifest: capability can_clear is True",
        "manifest: limit all (20 in 1.0 s) is not in it",
    ]


class TestNested:
    def test_inside(self) -> None:
        assert why_not_collected(ROOT, f"{HERE}::TestNested::test_inside") == ""


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        (f"{HERE}::test_a_good_folder_has_no_complaints", ""),
        (f"{HERE}::test_the_scale_finds[any-case]", ""),
        (f"{HERE}::TestNested::test_outside", "there is no function"),
        (f"{HERE}::TestNowhere::test_inside", "there is no class"),
        (f"{HERE}::acme", "does not begin with test_"),
        (HERE, "names a file"),
        ("tests/conformance/test_none.py::test_x", "does not exist"),
        ("tests/conformance/toy_vendor.py::test_x", "not a test file"),
        ("../outside/test_x.py::test_x", "not a test file"),
    ],
)
def test_tests_that_exist_and_tests_that_do_not(test: str, reason: str) -> None:
    found = why_not_collected(ROOT, test)
    assert found == "" if not reason else reason in found


def test_a_check_of_the_kit_is_named_by_its_suite(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_acme.py").write_text(
        "class TestAcme(ConformanceSuite):\n    plugin = PLUGIN\n"
    )
    suite = "tests/test_acme.py::TestAcme::test_conforms"
    assert why_not_collected(tmp_path, f"{suite}[write-sets]") == ""
    assert why_not_collected(tmp_path, "tests/test_acme.py::TestAcme") == ""
    assert "no suite" in why_not_collected(tmp_path, "tests/test_acme.py::TestOther")
    assert "no check" in why_not_collected(tmp_path, f"{suite}[write-sits]")
