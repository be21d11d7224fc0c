"""What is not a plan, or not of this ledger, does nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dncsync.ledger.writer import DirectWriter
from integration.resync.sites import Run, Site, kinds_of, site

# --- bad input ------------------------------------------------------------------------------------------


def _edit(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"import"', b'"clear"', 1))


@pytest.fixture
def planned(tmp_path: Path, run: Run) -> Iterator[Site]:
    with site(tmp_path / "site", entries=3) as at:
        assert run(at, "--plan", str(at.plan))[0] == 3
        yield at


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["zoho"], "no system 'zoho' in .*; configured: hubspot, vicidial"),
        (["--plan", "PLAN"], "exists already; apply it with --apply"),
        (["--apply", "PLAN"], "--apply needs --actor NAME"),
        (["--apply", "PLAN", "--actor", "  "], "--apply needs --actor NAME"),
        (["hubspot", "--apply", "PLAN", "--actor", "jane"], "takes its systems from the plan"),
        (["--apply", "nowhere.jsonl", "--actor", "jane"], "nowhere.jsonl: No such file"),
        (["--apply", "CONFIG", "--actor", "jane"], "is no plan of `dncsync resync`"),
        (["--apply", "PLAN", "--actor", "jane", "--max-age", "0.0000001"], "hours old, and --max-age is"),
        (["--apply", "PLAN", "--actor", "jane", "--max-age", "-1"], "take positive numbers"),
        (["--plan", "/nowhere/at/all.jsonl"], "No such file or directory"),
    ],
)
def test_bad_arguments_get_one_line_and_nothing_is_done(
    planned: Site, run: Run, arguments: list[str], words: str
) -> None:
    named = {"PLAN": str(planned.plan), "CONFIG": str(planned.config)}
    _refused(planned, run, [named.get(a, a) for a in arguments], words)


def _refused(at: Site, run: Run, arguments: list[str], words: str) -> None:
    before, plan = kinds_of(at), at.plan.read_bytes()
    code, out, said = run(at, *arguments)
    assert (code, out) == (1, None)
    assert len(said.splitlines()) == 1
    assert re.search(words, said), said
    assert (kinds_of(at), at.plan.read_bytes()) == (before, plan)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_edit, "was changed after it was made"),
        (lambda path: path.write_bytes(path.read_bytes()[:-40]), "is cut off"),
        (lambda path: path.write_bytes(path.read_bytes() + b"{}\n"), "something was added"),
    ],
)
def test_a_plan_that_was_touched_is_refused(
    planned: Site, run: Run, spoil: Callable[[Path], None], words: str
) -> None:
    spoil(planned.plan)
    _refused(planned, run, ["--apply", str(planned.plan), "--actor", "jane"], words)


def test_a_plan_of_another_ledger_or_of_its_future_is_refused(
    planned: Site, run: Run, tmp_path: Path
) -> None:
    apply = ["--apply", str(planned.plan), "--actor", "jane"]
    other = tmp_path / "other.sqlite"
    DirectWriter(other, create=True).close()
    code, _, said = run(planned, *apply, "--ledger", str(other))
    assert (code, "is a plan of another ledger" in said) == (1, True)

    backup = planned.ledger.read_bytes()
    assert run(planned, "+13125550102", "--actor", "jane", command="number block")[0] == 0
    later = planned.folder / "later.jsonl"
    run(planned, "--plan", str(later))
    for suffix in ("-wal", "-shm"):
        planned.ledger.with_name(planned.ledger.name + suffix).unlink(missing_ok=True)
    planned.ledger.write_bytes(backup)
    code, _, said = run(planned, "--apply", str(later), "--actor", "jane")
    assert (code, "was a backup restored?" in said) == (1, True)


def test_a_plan_for_a_system_that_is_gone_or_disabled_is_refused(
    planned: Site, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = planned.config.read_text()
    planned.config.write_text(text.replace("[systems.vicidial]", "[systems.vicidial]\nenabled = false"))
    apply = ["--apply", str(planned.plan), "--actor", "jane"]
    _refused(planned, run, apply, "system 'vicidial' is disabled")
    _refused(planned, run, ["vicidial"], "system 'vicidial' is disabled")
    planned.config.write_text(text.replace("systems.vicidial", "systems.dialer"))
    for name in [n for n in planned.environ if "VICIDIAL" in n]:
        planned.environ[name.replace("VICIDIAL", "DIALER")] = planned.environ.pop(name)
        monkeypatch.delenv(name)
    _refused(planned, run, apply, "changes 'vicidial', which is not in")
