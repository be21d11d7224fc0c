"""`dncsync endings`: the calendar from a configuration, a ledger, both, or none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dncsync.cli.main import main
from dncsync.ledger.writer import DirectWriter
from dncsync.sync import findings

CONFIG = """
[ledger]
path = "ledger.sqlite"
[systems.crm]
vendor = "hubspot"
api = "v3"
[systems.crm.flags.voice]
property = "do_not_call"
"""


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(["endings", *words])
    return int(ended.value.code or 0), capsys.readouterr().out


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DNCSYNC_SYSTEMS__CRM__ACCESS_TOKEN", "pat-test")
    file = tmp_path / "dncsync.toml"
    file.write_text(CONFIG)
    return file


def test_what_ends_for_the_configured_systems_is_listed(
    capsys: pytest.CaptureFixture[str], config: Path
) -> None:
    code, out = run(capsys, "--config", str(config), "--on", "2027-09-01", "--json")
    found = json.loads(out)
    assert code == 3
    assert {(e["system"], e["on"], e["days"]) for e in found["calendar"]} == {("crm", "2027-09-30", 29)}
    assert any("v1 to v3" in e["what"] for e in found["calendar"])
    assert not any("2026-03 may end" in e["what"] for e in found["calendar"]), "its api is v3"


def test_far_from_the_day_the_exit_code_is_zero(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    code, out = run(capsys, "--config", str(config), "--on", "2026-12-01")
    assert code == 0
    assert "2027-09-30" in out


def test_without_a_configuration_every_connector_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(capsys, "--on", "2026-12-01", "--json")
    assert code == 0
    assert {e["vendor"] for e in json.loads(out)["calendar"]} == {"hubspot", "salesforce"}


def test_a_ledger_adds_what_answers_announced(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    writer = DirectWriter(path, create=True, now=0)
    subject, summary = "header sunset: 2027-01-22", "crm announces that an interface ends"
    writer.call(
        lambda tx: findings.open_finding(tx, 1, "ending-announced", "crm", subject, summary, severity="info")
    )
    writer.close()
    code, out = run(capsys, "--ledger", str(path), "--on", "2026-12-01", "--json")
    assert code == 3
    assert json.loads(out)["announced"] == [{"system": "crm", "summary": summary}]


def test_a_day_that_is_none_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["endings", "--on", "tomorrow"])
    assert ended.value.code == 1
    assert "give a day as YYYY-MM-DD" in capsys.readouterr().err
