"""`dncsync resync` over real connectors and sandboxes on sockets: plans, crashes, Ctrl-C, and a daemon."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dncsync.cli.main import main
from dncsync.connector import plugin
from dncsync.ledger import events, verify
from dncsync.ledger.sqlite import connect_reader
from dncsync.ledger.writer import DirectWriter
from dncsync.model import Flag
from dncsync.sync import plan_file
from dncsync.testing.daemon import configuration, free_port, running
from dncsync.testing.faults import FaultKind
from dncsync.testing.sandbox import Sandbox

PATIENCE = 60.0
"""Seconds; a test that waits longer has failed."""


class Site:
    """A configured installation over sandboxes; no daemon runs."""

    def __init__(self, folder: Path, boxes: dict[str, Sandbox], urls: dict[str, str]) -> None:
        self.folder, self.boxes = folder, boxes
        self.ledger, self.config, self.plan = (folder / n for n in ("ledger.sqlite", "c.toml", "p.jsonl"))
        served = {name: (box, urls[name]) for name, box in boxes.items()}
        text, self.environ = configuration(served, self.ledger, f"127.0.0.1:{free_port()}")
        self.config.write_text(text, encoding="utf-8")

    def process(self, *arguments: str) -> subprocess.Popen[str]:
        """`dncsync resync` as its own process."""
        environ = {k: v for k, v in os.environ.items() if not k.startswith("DNCSYNC_")}
        command = [sys.executable, "-m", "dncsync.cli.main", "resync", "--json", "-c", str(self.config)]
        return subprocess.Popen(
            [*command, *arguments],
            env={**environ, **self.environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def written(self) -> int:
        """Calls that may change something at a vendor."""
        hubspot, vicidial = self.boxes["hubspot"], self.boxes["vicidial"]
        assert hasattr(vicidial, "store")
        return sum(n for call, n in hubspot.calls.items() if "update" in call) + _listed_ever(vicidial)

    def suppressed(self, number: str) -> dict[str, set[Flag]]:
        return {name: {truth.flag for truth in box.truth(number)} for name, box in self.boxes.items()}


def _listed_ever(vicidial: Any) -> int:
    with vicidial.lock:
        return int(vicidial.store._db.execute("SELECT count(*) FROM dnc").fetchone()[0])


def _box(vendor: str, **how: Any) -> Sandbox:
    return plugin(vendor).sandbox()(seed=7, **how)


@contextlib.contextmanager
def site(folder: Path, *, contacts: int = 0, entries: int = 0) -> Iterator[Site]:
    folder.mkdir(exist_ok=True)
    boxes = {
        "hubspot": _box("hubspot", contacts=contacts),
        "vicidial": _box(
            "vicidial",
            contacts=entries * 4,
            opted_out_share=0.25,
            calls_per_second=500,
            country_code_share=0.0,
            shared_share=0.0,
            wildcards=(),
        ),
    }
    with contextlib.ExitStack() as stack:
        urls = {name: stack.enter_context(box.serve()) for name, box in boxes.items()}
        yield Site(folder, boxes, urls)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Site]:
    """300 contacts in HubSpot, and three with numbers of our own: set, clear, clear."""
    with site(tmp_path / "site", contacts=300, entries=5) as made:
        made.boxes["hubspot"].add_contact(["+13125550101"], do_not_call="true")
        made.boxes["hubspot"].add_contact(["+13125550102"])
        made.boxes["hubspot"].add_contact(["+13125550103"])
        yield made


Run = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command in this process: `run(site, arguments...)` gives exit code, JSON, and what it said."""
    monkeypatch.setattr("dncsync.logs.configure", lambda *a: None)
    monkeypatch.setenv("DNCSYNC_DEBUG", "1")

    def call(at: Site, *arguments: str, command: str = "resync") -> tuple[int, Any, str]:
        for name, value in at.environ.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*command.split(), *arguments, "--json", "--config", str(at.config)])
        said = capsys.readouterr()
        print(command, *arguments, ended.value.code, said.err)
        return int(str(ended.value.code)), json.loads(said.out) if said.out else None, said.err

    return call


def kinds_of(at: Site) -> list[str]:
    with closing(connect_reader(at.ledger)) as conn:
        return [event.kind for event in events.iterate(conn)]


# --- plan and apply -------------------------------------------------------------------------------------


def test_a_plan_changes_nothing_and_applying_it_makes_the_world_agree(small: Site, run: Run) -> None:
    before = small.written()
    code, plan, _ = run(small, "--plan", str(small.plan))
    assert code == 3
    assert small.written() == before
    assert kinds_of(small) == []
    assert plan["systems"]["hubspot"]["holdings"] == 303
    imports = plan["totals"]["import"]
    assert imports == plan["changes"] - plan["totals"]["spread"]
    assert all("•" in n for row in plan["sample"] for n in row["numbers"])
    assert not any("3125550101" in row["key"] for row in plan["sample"])

    code, done, _ = run(small, "--apply", str(small.plan), "--actor", "jane")
    assert (code, done["changed"], done["waiting"]) == (0, 0, 0)
    assert done["queued"] + done["agreed"] == plan["changes"]  # some spreads come by themselves
    assert small.suppressed("+13125550101") == {"hubspot": {Flag.SET}, "vicidial": {Flag.SET}}
    assert small.suppressed("+13125550102") == {"hubspot": {Flag.CLEAR}, "vicidial": {Flag.CLEAR}}
    kinds = kinds_of(small)
    assert (kinds.count("plan.begun"), kinds.count("plan.applied")) == (1, 1)
    assert verify.verify(small.ledger).ok

    code, again, _ = run(small, "--plan", str(small.folder / "second.jsonl"))
    assert (code, again["changes"]) == (0, 0)


def test_applying_twice_finds_everything_done(small: Site, run: Run) -> None:
    run(small, "--plan", str(small.plan))
    run(small, "--apply", str(small.plan), "--actor", "jane")
    before, events_before = small.written(), len(kinds_of(small))
    code, done, _ = run(small, "--apply", str(small.plan), "--actor", "jane")
    assert (code, done["queued"]) == (0, 0)
    assert done["agreed"] == sum(plan_file.read(small.plan).totals.values())
    assert small.written() == before
    assert kinds_of(small)[events_before:] == ["plan.begun", "plan.applied"]


def test_with_dry_run_applying_reads_and_decides_and_does_nothing(small: Site, run: Run) -> None:
    run(small, "--plan", str(small.plan))
    before = small.written()
    code, done, _ = run(small, "--apply", str(small.plan), "--actor", "jane", "--dry-run")
    totals = plan_file.read(small.plan).totals
    assert (code, done["queued"], done["spread"]) == (0, totals["import"], totals["spread"])
    assert small.written() == before
    assert kinds_of(small) == []


def test_what_changed_since_the_plan_is_left_alone(small: Site, run: Run) -> None:
    run(small, "--plan", str(small.plan))
    hubspot = small.boxes["hubspot"]
    hubspot.undo("+13125550101")  # planned as an import; now there is nothing to import
    hubspot.opt_out("+13125550102")  # not in the plan at all
    code, done, _ = run(small, "--apply", str(small.plan), "--actor", "jane")
    assert code == 0
    assert done["agreed"] >= 2
    assert small.suppressed("+13125550101") == {"hubspot": {Flag.CLEAR}, "vicidial": {Flag.CLEAR}}
    assert small.suppressed("+13125550102") == {"hubspot": {Flag.SET}, "vicidial": {Flag.CLEAR}}


def test_a_record_that_got_another_number_is_left_alone_and_said_so(small: Site, run: Run) -> None:
    hubspot: Any = small.boxes["hubspot"]
    key = hubspot.truth("+13125550101")[0].key
    run(small, "--plan", str(small.plan))
    with hubspot.lock:
        from dncsync_hubspot.sandbox_portal import Source

        hubspot.change(hubspot.living(int(key)), {"mobilephone": "+13125550109"}, Source.by("userId:1"))
    code, done, _ = run(small, "--apply", str(small.plan), "--actor", "jane")
    assert (code, done["changed"]) == (3, 1)
    assert small.suppressed("+13125550101")["vicidial"] == {Flag.CLEAR}


def test_what_was_undone_or_never_told_is_put_back_suppressed_and_added(small: Site, run: Run) -> None:
    hubspot, vicidial = small.boxes["hubspot"], small.boxes["vicidial"]
    run(small, "--plan", str(small.plan))
    run(small, "--apply", str(small.plan), "--actor", "jane")
    hubspot.undo("+13125550101")
    vicidial.undo("+13125550101")
    # Without a daemon a request is recorded, and no system hears of it.
    code, *_ = run(small, "+13125550102", "--actor", "jane", command="number block")
    assert code == 0
    second = str(small.folder / "second.jsonl")
    code, plan, _ = run(small, "--plan", second)
    assert code == 3
    assert plan["systems"]["hubspot"]["changes"] == {"put-back": 1, "suppress": 1}
    assert plan["systems"]["vicidial"]["changes"] == {"put-back": 1, "add": 1}
    code, done, _ = run(small, "--apply", second, "--actor", "jane")
    assert (code, done["queued"]) == (0, 4)
    for number in ("+13125550101", "+13125550102"):
        assert small.suppressed(number) == {"hubspot": {Flag.SET}, "vicidial": {Flag.SET}}


def test_a_vendor_that_does_not_answer_is_left_for_the_next_run(
    small: Site, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dncsync.sync.full_read.LONGEST_WAIT", 0.01)
    run(small, "vicidial", "hubspot", "--plan", str(small.plan))
    small.boxes["vicidial"].faults.add(FaultKind.STATUS, status=503)
    code, done, _ = run(small, "--apply", str(small.plan), "--actor", "jane")
    assert code == 3
    assert done["unread"] >= 5
    assert small.suppressed("+13125550101")["hubspot"] == {Flag.SET}
    small.boxes["vicidial"].faults.clear()
    code, done, _ = run(small, "--apply", str(small.plan), "--actor", "jane")
    assert (code, done["unread"]) == (0, 0)
    assert small.suppressed("+13125550101")["vicidial"] == {Flag.SET}


def test_a_system_that_cannot_be_listed_is_named_with_the_reason(
    small: Site, run: Run, tmp_path: Path
) -> None:
    twilio = _box("twilio")
    with twilio.serve() as url:
        urls = dict.fromkeys(small.boxes, "http://127.0.0.1:9")
        at = Site(tmp_path, {"twilio": twilio}, {**urls, "twilio": url})
        code, _, said = run(at, "--plan", str(at.plan))
    assert code == 1
    assert "twilio cannot be listed" in said


# --- crashes --------------------------------------------------------------------------------------------


def _until(true: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    """Waits for another process to have come so far."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it did not happen"
        assert process is None or process.poll() is None, process.communicate()
        threading.Event().wait(0.01)


def test_a_reading_that_was_killed_goes_on_where_it_stopped(tmp_path: Path, run: Run) -> None:
    with site(tmp_path / "one", contacts=1500) as at:
        hubspot = at.boxes["hubspot"]
        hubspot.faults.add(FaultKind.DELAY, method="GET", seconds=0.05)
        process = at.process("hubspot", "--plan", str(at.plan))
        _until(lambda: _gets(hubspot) >= 6, process)
        process.kill()
        process.communicate()
        assert not at.plan.exists()
        assert (at.folder / "p.jsonl.partial").exists()
        first = _gets(hubspot)
        code, plan, _ = run(at, "hubspot", "--plan", str(at.plan))
        assert (code, plan["systems"]["hubspot"]["holdings"]) == (3, 1500)
        assert _gets(hubspot) - first <= 1500 // 100 - (first - 3), "it read everything once more"
        assert not list(at.folder.glob("*.partial*"))
        # The same as in one go.
        run(at, "hubspot", "--plan", str(at.folder / "whole.jsonl"))
        assert list(plan_file.read(at.plan).changes()) == list(
            plan_file.read(at.folder / "whole.jsonl").changes()
        )


def _gets(box: Sandbox) -> int:
    return sum(n for call, n in box.calls.items() if call.startswith("GET") and call.endswith("contacts"))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_applying_that_was_killed_or_stopped_is_finished_by_the_next_run(
    tmp_path: Path, run: Run, how: signal.Signals
) -> None:
    with site(tmp_path / "one", entries=40) as at:
        hubspot: Any = at.boxes["hubspot"]
        numbers = [f"+1312555{i:04d}" for i in range(1000, 1150)]
        for number in numbers:
            hubspot.add_contact([number], do_not_call="true")
        assert run(at, "--plan", str(at.plan))[0] == 3
        process = at.process("--apply", str(at.plan), "--actor", "jane")
        _until(lambda: _listed_ever(at.boxes["vicidial"]) > 60, process)
        process.send_signal(how)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == (130 if how is signal.SIGINT else -9)
        assert any(Flag.CLEAR in at.suppressed(n)["vicidial"] for n in numbers), "it was done already"
        code, _, said = run(at, "--apply", str(at.plan), "--actor", "jane")
        assert code == 0, said
        for number in numbers:
            assert at.suppressed(number) == {"hubspot": {Flag.SET}, "vicidial": {Flag.SET}}
        assert verify.verify(at.ledger).ok
        ended = "plan.interrupted" if how is signal.SIGINT else "plan.begun"
        assert kinds_of(at).count(ended) == (1 if how is signal.SIGINT else 2)


# --- beside a daemon ------------------------------------------------------------------------------------


def test_an_opt_out_overtakes_a_plan_that_the_daemon_applies(tmp_path: Path, run: Run) -> None:
    boxes = {
        "hubspot": _box("hubspot"),
        "twilio": _box("twilio"),
        "vicidial": _box(
            "vicidial",
            contacts=1000,
            opted_out_share=0.25,
            calls_per_second=400,
            country_code_share=0.0,
            shared_share=0.0,
            wildcards=(),
        ),
    }
    vicidial: Any = boxes["vicidial"]
    stopper = "+13125550177"
    boxes["hubspot"].add_contact([stopper])
    with running(tmp_path, boxes) as (daemon, urls):
        daemon.start()
        ledger = tmp_path / "ledger.sqlite"
        _until(lambda: _count(ledger, "requests") >= 250 and not _count(ledger, "deliveries", "open = 1"))
        with vicidial.lock:  # behind the daemon's back: no URL is called, and there is no feed to poll
            there = vicidial.store._db.execute("SELECT phone FROM dnc WHERE removed IS NULL").fetchall()
            for (phone,) in there:
                vicidial.store.remove("SYSTEM_INTERNAL", phone)
        (tmp_path / "site").mkdir()
        at = Site(tmp_path / "site", boxes, urls)
        at.config, at.environ, at.ledger = daemon.config, dict(daemon.environ), ledger
        code, plan, said = run(at, "vicidial", "--plan", str(at.plan))
        assert (code, plan["totals"]) == (3, {"put-back": len(there)}), said
        assert len(there) >= 200
        process = at.process("--apply", str(at.plan), "--actor", "jane")
        _until(lambda: _holds(vicidial) >= 20, process)
        with boxes["twilio"].lock:
            boxes["twilio"].opt_out(stopper)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
        assert json.loads(out)["queued"] == len(there)
        assert json.loads(out)["daemon"] is True
        _until(lambda: at.suppressed(stopper)["hubspot"] == {Flag.SET})
        assert at.suppressed(stopper)["vicidial"] == {Flag.SET}
        assert daemon.stop() == 0
    with closing(connect_reader(ledger)) as conn:
        story = list(events.iterate(conn))
        ids = {row[0] for row in conn.execute("SELECT id FROM deliveries WHERE number = ?", (stopper,))}
        urgent = {
            row[0]
            for row in conn.execute(
                "SELECT id FROM deliveries WHERE number = ? AND system = 'vicidial'", (stopper,)
            )
        }
    begun = next(e.seq for e in story if e.kind == "plan.begun")
    applied = next(e.seq for e in story if e.kind == "plan.applied")
    known = next(
        e.seq
        for e in story
        if e.kind == "deliveries.opened" and any(d["id"] in urgent for d in e.payload["deliveries"])
    )
    verified = [e for e in story if e.kind == "deliveries.verified" and e.seq > begun]
    proved = next(e.seq for e in verified if urgent & set(e.payload["ids"]))
    assert begun < known < proved < applied, "the opt-out was not proved before the plan was through"
    assert sum(len(set(e.payload["ids"]) - ids) for e in verified if e.seq > proved) > 20, "nothing was left"
    sent = [
        e for e in story if e.kind == "deliveries.sent" and e.system == "vicidial" and known < e.seq < applied
    ]
    ahead = next(i for i, e in enumerate(sent) if urgent & set(e.payload["ids"]))
    assert ahead <= 1, f"{ahead} calls of the plan went first; one may be in hand"


def _count(ledger: Path, table: str, where: str = "1") -> int:
    with closing(connect_reader(ledger)) as conn:
        return int(conn.execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchone()[0])


def _holds(vicidial: Any) -> int:
    with vicidial.lock:
        row = vicidial.store._db.execute("SELECT count(*) FROM dnc WHERE removed IS NULL").fetchone()
    return int(row[0])


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
