"""`dncsync reconcile` on a ledger that real operations made."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from integration.cli.making import call

TODAY = datetime.now(UTC).date()


@pytest.fixture
def config(ledger: Path) -> Path:
    path = ledger.with_name("dncsync.toml")
    path.write_text(f'[ledger]\npath = "{ledger}"\n[reconcile]\nzone = "UTC"\n')
    return path


def test_a_report_is_written_recorded_and_holds(config: Path, ledger: Path) -> None:
    days = ("--from", "2026-11-01", "--to", "2026-11-21")
    made = call("reconcile", *days, "--config", config, "--json")
    assert made.code == 0, made.err
    told = made.json
    assert told["period"] == "2026-11-01 to 2026-11-21"
    assert told["resumed"] is False
    folder = Path(told["folder"])
    assert folder.parent == ledger.with_name("ledger.sqlite.reports")
    assert {"report.html", "report.pdf", "report.json"} <= set(told["files"])
    held = call("reconcile", "--verify", folder, "--ledger", ledger, "--json")
    assert (held.code, held.json["holds"]) == (0, True), held.out
    facts = json.loads((folder / "report.json").read_bytes())
    facts["requests"]["total"] += 1
    (folder / "report.json").write_text(json.dumps(facts))
    broken = call("reconcile", "--verify", folder, "--ledger", ledger)
    assert broken.code == 3
    assert "requests.total" in broken.out
    assert "report.json: changed since it was recorded" in broken.out


def test_out_takes_the_files_themselves(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "here"
    made = call("reconcile", "--quarter", "2026q4", "--config", config, "--out", out, "--seed", "3")
    assert made.code == 0, made.err
    assert (out / "report.json").exists()
    assert json.loads((out / "report.json").read_bytes())["sample"]["seed"] == 3
    again = call("reconcile", "--quarter", "2026Q4", "--config", config, "--out", out)
    assert (again.code, "holds a report already" in again.err) == (1, True)


def test_a_dry_run_writes_nothing(config: Path, ledger: Path) -> None:
    before = ledger.read_bytes()
    ran = call("reconcile", "--quarter", "2026Q4", "--config", config, "--dry-run", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["period"] == "2026Q4"
    assert ran.json["seconds"] > 0
    assert ledger.read_bytes() == before
    assert not ledger.with_name("ledger.sqlite.reports").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "which period?"),
        (("--quarter", "2026Q9"), "write it as 2026Q3"),
        (("--quarter", "2026Q3", "--from", "2026-07-01"), "either --quarter"),
        (("--from", "yesterday", "--to", "2026-07-01"), "--from: write the day as"),
        (("--from", "2026-07-02", "--to", "2026-07-01"), "before it begins"),
        (("--from", str(TODAY + timedelta(9)), "--to", str(TODAY + timedelta(10))), "has not begun"),
        (("--quarter", "2026Q4", "--seed", "-1"), "--seed"),
        (("--quarter", "2026Q4", "--fresh"), "--fresh needs the daemon"),
        (("--verify", "nowhere.pdf"), "no such report"),
        (("--verify", "x", "--quarter", "2026Q3"), "leave out --quarter"),
    ],
)
def test_bad_input_is_one_clear_line(config: Path, arguments: tuple[str, ...], words: str) -> None:
    ran = call("reconcile", *arguments, "--config", config)
    assert ran.code == 1, ran.out
    assert words in ran.err
    assert ran.err.count("\n") == 1
    assert not ran.out
