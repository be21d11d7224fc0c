"""`dncsync canary` on a ledger with past runs, and without a daemon."""

from __future__ import annotations

from pathlib import Path

import pytest

from integration.cli.making import call, refused
from integration.drift.canary_world import OWN, CanaryWorld


@pytest.fixture(scope="module")
def flown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A ledger with a good run and a lost one, and their ids."""
    world = CanaryWorld(tmp_path_factory.mktemp("flown"))
    good = world.fly("crm")
    world.dialer.drops(f"DNC/{OWN}", times=999)
    lost = world.fly("erp")
    world.close()
    return world.path, str(good["id"]), str(lost["id"])


def test_past_runs_are_listed_with_the_seconds_of_each_pair(flown: tuple[Path, str, str]) -> None:
    path, good, lost = flown
    runs = call("canary", "list", "--ledger", path, "--json").json
    assert [(run["id"], run["outcome"]) for run in runs] == [(lost, "lost"), (good, "good")]
    shown = call("canary", "list", "--ledger", path)
    assert shown.code == 0
    assert "dialer" in shown.out
    assert len(call("canary", "list", "--limit", "1", "--ledger", path, "--json").json) == 1


def test_a_run_is_shown_with_what_became_of_each_pair(flown: tuple[Path, str, str]) -> None:
    path, good, lost = flown
    shown = call("canary", "show", good, "--ledger", path)
    assert shown.code == 0
    assert "good" in shown.out
    assert "cannot be taken back" not in shown.out
    assert OWN not in shown.out
    assert "lost: accepted, not" in call("canary", "show", lost, "--ledger", path).out
    found = call("canary", "show", lost, "--ledger", path, "--json").json
    (dialer,) = [pair for pair in found["pairs"] if pair["system"] == "dialer"]
    assert (dialer["lost"], dialer["verified_at"]) == (True, None)


def test_a_ledger_without_runs_says_so(ledger: Path) -> None:
    assert "No canary has flown yet" in call("canary", "list", "--ledger", ledger).out
    assert call("canary", "list", "--ledger", ledger, "--json").json == []


def test_status_says_whether_the_canary_is_off(tmp_path: Path, flown: tuple[Path, str, str]) -> None:
    path, _, lost = flown
    config = tmp_path / "dncsync.toml"
    config.write_text(f'[ledger]\npath = "{path}"\n', encoding="utf-8")
    assert "canary off" in call("status", "--config", config).out
    assert call("status", "--config", config, "--json").json["canary"]["configured"] is False
    assert f"canary {lost} from erp: lost" in call("status", "--ledger", path).out
    assert call("status", "--ledger", path, "--json").json["canary"]["latest"]["id"] == lost


def test_a_run_needs_the_daemon(ledger: Path) -> None:
    refused(call("canary", "run", "--actor", "jane", "--ledger", ledger), "no daemon runs", "dncsync run")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "C999"), "no canary run 'C999'"),
        (("list", "--limit", "-1"), "--limit"),
        (("run",), "--actor is blank"),
        (("run", "--actor", "jane", "--timeout", "0"), "--timeout"),
    ],
)
def test_bad_input_is_one_line(ledger: Path, arguments: tuple[str, ...], words: str) -> None:
    refused(call("canary", *arguments, "--ledger", ledger), words)
