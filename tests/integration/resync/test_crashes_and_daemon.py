"""Killed half-way, stopped, and beside a daemon."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dncsync.ledger import events, verify
from dncsync.ledger.sqlite import connect_reader
from dncsync.model import Flag
from dncsync.sync import plan_file
from dncsync.testing.daemon import running
from dncsync.testing.faults import FaultKind
from dncsync.testing.sandbox import Sandbox
from integration.resync.sites import PATIENCE, Run, Site, box, kinds_of, listed_ever, site

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
        _until(lambda: listed_ever(at.boxes["vicidial"]) > 60, process)
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
        "hubspot": box("hubspot"),
        "twilio": box("twilio"),
        "vicidial": box(
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
