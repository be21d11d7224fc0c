"""What a person sees: help with examples, quickly, and output that strangers cannot shape."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from dncsync import __version__
from dncsync.cli.main import EPILOGUE, FAMILIES, app, overview
from integration.cli.making import BLOCKED, call, environ, run

COMMANDS = [
    *([name] for name in FAMILIES if name not in ("number", "ledger", "plan", "findings", "canary")),
    *(["findings", name] for name in ("list", "show", "ack", "resolve", "accept", "release")),
    *(["number", name] for name in ("show", "history", "check", "block", "unblock", "quarantine")),
    *(["plan", name] for name in ("list", "show", "approve", "reject")),
    *(["canary", name] for name in ("run", "list", "show")),
    *(["ledger", name] for name in ("verify", "export", "query", "rebuild", "checkpoint")),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(command: list[str]) -> None:
    ran = call(*command, "--help")
    assert ran.code == 0
    assert ran.err == ""
    assert f"Example: dncsync {' '.join(command)}" in " ".join(ran.out.split())
    for option in ("--config", "--ledger", "--json"):
        assert option in ran.out


@pytest.mark.parametrize("family", ["number", "ledger", "plan", "findings", "canary"])
def test_the_list_of_commands_is_whole(family: str) -> None:
    there = {name for name in app(family)[family] if not name.startswith("-")}
    assert there == {command[1] for command in COMMANDS if command[0] == family}


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]], ids=str)
def test_the_overview_names_every_command(arguments: list[str]) -> None:
    ran = call(*arguments)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert all(any(line.startswith(f"  {name} ") for line in lines) for name in FAMILIES)
    assert "Exit codes: 0 done" in ran.out
    assert "Example: dncsync" in ran.out


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_overview_fits_the_terminal(width: int) -> None:
    assert max(map(len, overview(width).splitlines())) <= width
    for word in EPILOGUE.split():
        assert word in overview(width)


def test_version() -> None:
    assert call("--version").out == f"{__version__}\n"


def test_the_overview_loads_nothing_that_takes_time() -> None:
    """0.2 s is the promise; what is loaded decides it, and can be tested without a clock."""
    program = (
        "import sys; from dncsync.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environ(), check=True
    )
    loaded = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert loaded.isdisjoint(
        {"cyclopts", "rich", "pydantic", "httpx", "phonenumbers", "inspect", "asyncio", "sqlite3"}
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_a_command_loads_no_vendor_and_no_ledger(command: list[str]) -> None:
    program = (
        "import sys; from dncsync.cli.main import main\n"
        f"try: main({[*command, '--help']!r})\n"
        "except SystemExit: print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environ(), check=True
    )
    loaded = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert loaded.isdisjoint({"pydantic", "httpx", "phonenumbers", "pysqlite3", "uvicorn", "cryptography"})


SHOWN = [
    ["status"],
    ["status", "--findings", "0"],
    ["number", "show", BLOCKED],
    ["number", "history", BLOCKED],
    ["number", "quarantine"],
    ["ledger", "query", "SELECT raw FROM quarantine"],
    ["ledger", "query", "SELECT * FROM quarantine, requests"],
]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("arguments", SHOWN, ids=" ".join)
def test_what_strangers_wrote_is_shown_as_it_is(
    arguments: list[str], width: int, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger holds markup and terminal codes, in a phone field, an actor and a finding."""
    monkeypatch.setenv("COLUMNS", str(width))
    ran = call(*arguments, "--ledger", ledger)
    assert ran.code in (0, 3)
    assert ran.err == ""
    assert "\x1b" not in ran.out
    assert all(c.isprintable() or c == "\n" for c in ran.out)
    if arguments[1:] == ["quarantine"]:
        assert "N/A [/red]\\x1b[2J" in " ".join(ran.out.split())
    if arguments[0] == "status":
        assert "[/b]" in ran.out


@pytest.mark.parametrize("arguments", SHOWN[:5], ids=" ".join)
def test_it_fits_into_80_columns_with_words_kept_whole(
    arguments: list[str], ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ran = call(*arguments, "--ledger", ledger)
    lines = ran.out.splitlines()
    assert max(len(line) for line in lines if "ledger.sqlite" not in line) <= 80
    if arguments[:2] == ["number", "show"]:
        assert "verified +" in ran.out
        assert "set voice" in ran.out
    if arguments == ["status"]:
        assert any("holdings" in line and "exposed for" in line for line in lines), "no heading is folded"


def test_findings_are_grouped_and_can_be_listed(ledger: Path) -> None:
    from dncsync.ledger.writer import DirectWriter
    from dncsync.sync import findings

    with DirectWriter(ledger) as writer:
        for key in map(str, range(40)):
            writer.call(
                partial(
                    findings.open_finding,
                    at=1_790_000_000_000_000,
                    kind="not-kept",
                    system="crm",
                    subject=key,
                    summary=f"record {key} was not kept",
                )
            )
    grouped = call("status", "--ledger", ledger).out
    assert "42 open findings" in grouped
    assert "record 0 was not kept (and 39 more of this kind)" in " ".join(grouped.split())
    assert "dncsync status --findings 0" in grouped
    assert grouped.count("was not kept") == 1
    assert call("status", "--findings", "0", "--ledger", ledger).out.count("was not kept") == 40
    few = call("status", "--findings", "2", "--ledger", ledger).out
    assert "and 40 more" in few


def test_any_character_is_printed_on_any_terminal(ledger: Path) -> None:
    ran = run(
        "ledger", "query", "SELECT 'Zo\u00eb \u2026 \u65e5'", "--ledger", ledger,
        env=environ(PYTHONIOENCODING="ascii", PYTHONUTF8="1"),
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "Zo\\xeb" in ran.out


def test_a_number_is_masked_in_errors(ledger: Path) -> None:
    ran = call("number", "show", "+1312555019", "--ledger", ledger)
    assert "1312555" not in ran.err
