"""`dncsync plan`: what waits because a fuse tripped is listed and shown whole; a person decides."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from dncsync.numbers import mask
from dncsync.runtime.embedded import Daemon
from dncsync.settings import load
from dncsync.testing.sandbox import seeded_number
from integration.cli.making import BLOCKED, Ran, call, csv_file, events, refused

MANY = 40
NUMBERS = sorted(seeded_number(3, i) for i in range(MANY))
LIMITS = "fuses.ledger.count = 20\nfuses.clears.count = 1\n"


@pytest.fixture
def config(ledger: Path, tmp_path: Path) -> Path:
    """Twenty new blocks an hour, and one reversal."""
    return _configured(tmp_path, ledger, LIMITS)


def _configured(tmp_path: Path, ledger: Path, limits: str) -> Path:
    (tmp_path / "policy.toml").write_text(limits, encoding="utf-8")
    path = tmp_path / "dncsync.toml"
    path.write_text(
        f'[ledger]\npath = "{ledger}"\n[policy]\nfile = "{tmp_path / "policy.toml"}"\n', encoding="utf-8"
    )
    return path


@pytest.fixture
def fuse(config: Path, tmp_path: Path) -> str:
    """A list was imported that is twice as long as the fuse allows."""
    return _imported(config, tmp_path, NUMBERS)


def _imported(config: Path, tmp_path: Path, numbers: list[str]) -> str:
    listed = csv_file(tmp_path / f"list{numbers[0][-4:]}.csv", [f"{n},,,," for n in numbers])
    ran = call("import", listed, "--config", config, "--json")
    assert ran.code == 4, ran
    return str(ran.json["waits_for"])


def shown(config: Path, fuse: str, *more: str | Path) -> Ran:
    return call("plan", "show", fuse, "--config", config, "--json", *more)


def test_nothing_waits(ledger: Path) -> None:
    ran = call("plan", "list", "--ledger", ledger)
    assert (ran.code, ran.out) == (0, "No plan waits for a person.\n")
    assert call("plan", "list", "--ledger", ledger, "--json").json == []


def test_what_waits_is_listed_and_stands_in_the_status(config: Path, fuse: str) -> None:
    ran = call("plan", "list", "--config", config, "--json")
    assert ran.code == 3
    (row,) = ran.json
    assert (row["id"], row["direction"], row["state"], row["held"]) == (fuse, "blocks", "waiting", MANY)
    assert fuse in call("plan", "list", "--config", config).out
    assert f"{fuse} waits for approval" in " ".join(call("status", "--config", config).out.split())


def test_a_number_says_that_its_spread_waits(config: Path, fuse: str) -> None:
    ran = call("number", "show", NUMBERS[0], "--config", config)
    assert f"its spread waits for approval {fuse}" in " ".join(ran.out.split())
    (waits,) = call("number", "show", NUMBERS[0], "--config", config, "--json").json["waits_for"]
    assert (waits["what"], waits["plan"], waits["state"]) == ("spread", fuse, "waiting")


def test_the_plan_is_shown_masked_with_its_hash(config: Path, fuse: str) -> None:
    found = shown(config, fuse).json
    assert (found["changes"], found["numbers"], len(found["sample"])) == (MANY, MANY, 10)
    text = call("plan", "show", fuse, "--config", config).out
    assert found["sha256"] in text
    assert found["sample"][0]["number"] in text
    assert {each["number"] for each in found["sample"]} <= {mask(number) for number in NUMBERS}
    assert not any(number in text for number in NUMBERS)
    open_ = call("plan", "show", fuse, "--config", config, "--show-numbers").out
    assert sum(number in open_ for number in NUMBERS) == 10


def test_the_file_lists_every_change_under_its_hash(config: Path, fuse: str, tmp_path: Path) -> None:
    path = tmp_path / "f.plan.jsonl"
    found = shown(config, fuse, "--file", path).json
    lines = path.read_bytes().splitlines(keepends=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert found["sha256"] == sha256(b"".join(lines[:-1])).hexdigest() == json.loads(lines[-1])["sha256"]
    refused(call("plan", "show", fuse, "--file", path, "--config", config), "exists already")


def test_approved_by_its_file_or_by_its_hash_and_once_is_enough(
    config: Path, fuse: str, tmp_path: Path, ledger: Path
) -> None:
    path = tmp_path / "f.plan.jsonl"
    digest = shown(config, fuse, "--file", path).json["sha256"]
    how = ("plan", "approve", fuse, "--by", "Jane Roe", "--config", config)
    dry = call(*how, "--plan", path, "--dry-run", "--json")
    assert (dry.code, dry.json["would"], dry.json["state"]) == (0, {"approve": digest}, "waiting")

    ran = call(*how, "--plan", path, "--json")

    assert (ran.code, ran.json["state"], ran.json["held"]) == (0, "applied", 0)
    before = events(ledger)
    again = call(*how, "--plan", digest)
    assert (again.code, "already" in again.out) == (0, True)
    assert events(ledger) == before
    assert call("plan", "list", "--config", config).code == 0
    assert call("number", "show", NUMBERS[0], "--config", config, "--json").json["waits_for"] == []


def test_an_old_look_approves_what_it_saw(config: Path, fuse: str, tmp_path: Path) -> None:
    digest = shown(config, fuse).json["sha256"]
    later = [seeded_number(4, i) for i in range(5)]
    assert _imported(config, tmp_path, later) == fuse

    ran = call("plan", "approve", fuse, "--by", "jane", "--plan", digest, "--config", config, "--json")

    assert (ran.code, ran.json["state"], ran.json["held"]) == (4, "waiting", 5)
    assert shown(config, fuse).json["numbers"] == 5


def test_a_second_person_is_asked_for(ledger: Path, tmp_path: Path) -> None:
    config = _configured(tmp_path, ledger, LIMITS + "fuses.ledger.approvals = 2\n")
    fuse = _imported(config, tmp_path, NUMBERS)
    digest = shown(config, fuse).json["sha256"]
    how = ("plan", "approve", fuse, "--plan", digest, "--config", config, "--by")
    first = call(*how, "jane")
    assert (first.code, "a different person" in " ".join(first.out.split())) == (4, True)
    assert call(*how, " JANE").code == 4
    assert call(*how, "john").code == 0


def test_rejected_it_stays_blocked_here(config: Path, fuse: str) -> None:
    how = ("plan", "reject", fuse, "--by", "jane", "--reason", "the wrong column", "--config", config)
    assert call(*how, "--dry-run").code == 0
    ran = call(*how)
    assert (ran.code, "number unblock" in ran.out) == (0, True)
    assert call("number", "check", NUMBERS[0], "--config", config).code == 3
    assert "its spread was rejected" in " ".join(
        call("number", "show", NUMBERS[0], "--config", config).out.split()
    )
    assert call("plan", "list", "--config", config).code == 0
    refused(
        call("plan", "approve", fuse, "--by", "jane", "--plan", "0" * 64, "--config", config),
        "rejected by jane",
    )


def test_bad_input_is_one_line_and_changes_nothing(
    config: Path, fuse: str, ledger: Path, tmp_path: Path
) -> None:
    path = tmp_path / "f.plan.jsonl"
    shown(config, fuse, "--file", path)
    changed = tmp_path / "changed.jsonl"
    changed.write_bytes(path.read_bytes().replace(NUMBERS[0].encode(), b"+13125550123"))
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    other = tmp_path / "other.jsonl"
    other.write_text('{"format":"something"}\n', encoding="utf-8")
    before = events(ledger)
    how = ("plan", "approve", fuse, "--config", config)
    refused(call("plan", "show", "F0", "--config", config), "'F0'", fuse)
    refused(call(*how, "--plan", path), "--by")
    refused(call(*how, "--by", "jane"), "--plan")
    refused(call(*how, "--by", "jane", "--plan", tmp_path / "none"), "none")
    refused(call(*how, "--by", "jane", "--plan", "f" * 64), "look at it again")
    refused(call(*how, "--by", "jane", "--plan", "f" * 64, "--dry-run"), "look at it again")
    refused(call(*how, "--by", "jane", "--plan", cut), "cut off")
    refused(call(*how, "--by", "jane", "--plan", other), "no plan")
    if NUMBERS[0].encode() in path.read_bytes():
        refused(call(*how, "--by", "jane", "--plan", changed), "changed after")
    refused(call("plan", "reject", fuse, "--by", "jane", "--config", config), "--reason")
    assert events(ledger) == before


def test_one_reversal_too_many_waits_and_says_so_with_its_own_code(
    config: Path, ledger: Path, tmp_path: Path
) -> None:
    other = "+12125550123"
    assert call("number", "block", other, "--actor", "jane", "--config", config).code == 0
    consent = tmp_path / "consent.pdf"
    consent.write_bytes(b"please call me again")

    def unblock(number: str) -> Ran:
        when = (datetime.now(UTC) + timedelta(seconds=0)).isoformat()
        how = ("--actor", "jane", "--reason", "asked", "--basis", "written", "--evidence", consent)
        return call("number", "unblock", number, *how, "--evidence-date", when, "--config", config, "--json")

    assert unblock(BLOCKED).code == 0
    held = unblock(other)
    assert (held.code, held.json["done"]) == (4, "held")
    assert call("number", "check", other, "--config", config).code == 3, "closed when in doubt"
    fuse = held.json["waits_for"]
    assert fuse in held.json["why"]
    assert "a reversal waits for approval" in " ".join(
        call("number", "show", other, "--config", config).out.split()
    )

    digest = shown(config, fuse).json["sha256"]
    assert call("plan", "approve", fuse, "--by", "joe", "--plan", digest, "--config", config).code == 0
    assert call("number", "check", other, "--config", config).code == 0


def test_a_running_daemon_takes_the_decision_and_goes_on_with_what_was_left(
    config: Path, fuse: str, tmp_path: Path
) -> None:
    settings = config.read_text(encoding="utf-8") + '[web]\nlisten = "127.0.0.1:0"\n'
    config.write_text(settings, encoding="utf-8")
    daemon = Daemon(load(config, {}))
    daemon.start()
    try:
        digest = shown(config, fuse).json["sha256"]
        daemon.command("approve-plan", {"id": fuse, "by": "jane", "sha256": digest})
        daemon._apply_plans()
        assert call("plan", "list", "--config", config).code == 0, "whoever approved it had gone"

        second = _imported(config, tmp_path, [seeded_number(5, i) for i in range(MANY)])
        digest = shown(config, second).json["sha256"]
        ran = call("plan", "approve", second, "--by", "joe", "--plan", digest, "--config", config, "--json")
        assert (ran.code, ran.json["state"]) == (0, "applied")
    finally:
        daemon.stop()
