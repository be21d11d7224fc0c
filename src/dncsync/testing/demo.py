"""`make demo`: the real daemon, the real SDKs, real HTTP on loopback, and a story in about a minute.

Every step is judged by what the vendors' sandboxes themselves hold, never by the ledger's opinion.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from dncsync.connector import plugin
from dncsync.ledger import reading
from dncsync.ledger.sqlite import LedgerError, connect_reader
from dncsync.model import Flag
from dncsync.testing.daemon import DaemonProcess, running
from dncsync.testing.faults import FaultKind
from dncsync.testing.sandbox import Sandbox

VENDORS = ("twilio", "hubspot", "salesforce", "vicidial")
PEOPLE = {
    "Ann": "+12125550142",
    "Bob": "+13125550177",
    "Cleo": "+14155550161",
    "Dan": "+17135550119",
}
PATIENCE = 45.0
"""Seconds that a step may take before the demo fails."""
ZONE = ZoneInfo("America/New_York")
"""In which the reports' days begin, unless configured otherwise."""
STAMPS = ("sent_at", "accepted_at", "verified_at")
CONTRACT_EVERY = 5.0
"""Seconds between two looks at the vendors' fields; a quarter of an hour otherwise."""
PAUSE = 1.5
"""Seconds between two steps, for people who watch."""


class StepFailed(Exception):
    """A step did not really happen."""


class Stage:
    """What the audience sees: the story so far, and the live table of stamps."""

    def __init__(self, console: Console, ledger: Path) -> None:
        self._console = console
        self._ledger = ledger
        self._live: Live | None = None
        self._began = time.monotonic()
        self._now: Text = Text()
        self._done: list[Text] = []

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Live on a terminal; plain lines elsewhere."""
        if not self._console.is_terminal:
            yield
            return
        with Live(self._render(), console=self._console, refresh_per_second=8, transient=True) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def begin(self, what: str) -> None:
        """A step begins."""
        self._now = Text.assemble(("  ... ", "yellow"), what)
        self.refresh()

    def end(self, what: str, seconds: float, proof: str) -> None:
        """A step really happened."""
        line = Text.assemble(
            ("  ok  ", "bold green"), what, (f"  [{seconds:.1f} s] ", "dim"), (proof, "cyan")
        )
        self._done.append(line)
        self._now = Text()
        if self._live is None:
            self._console.print(line)
        self.refresh()

    def refresh(self) -> None:
        """Draws the present state."""
        if self._live is not None:
            self._live.update(self._render())

    def pause(self) -> None:
        """Lets an audience read."""
        until = time.monotonic() + (PAUSE if self._live is not None else 0.0)
        while time.monotonic() < until:
            time.sleep(0.1)
            self.refresh()

    def close(self) -> None:
        """Leaves the whole story on the terminal."""
        if self._console.is_terminal:
            for line in self._done:
                self._console.print(line)
        self._console.print(self.table())

    def _render(self) -> RenderableType:
        took = Text(f"{time.monotonic() - self._began:4.0f} s", "dim")
        return Group(*self._done, self._now, self.table(), took)

    def table(self) -> RenderableType:
        """Per person and system: known, sent, accepted, verified, as seconds after the request was known."""
        made = Table(
            title="Seconds from known to sent / accepted / verified by reading back",
            caption="-- : the vendor shows nothing; the delivery stays 'accepted, cannot be read'",
            box=None,
        )
        made.add_column("")
        for vendor in VENDORS:
            made.add_column(vendor, style="bold")
        try:
            conn = connect_reader(self._ledger)
        except LedgerError:
            return made
        try:
            for name, number in PEOPLE.items():
                found = reading.number(conn, number)
                made.add_row(f"{name} ..{number[-4:]}", *(self._cell(found, vendor) for vendor in VENDORS))
        finally:
            conn.close()
        return Panel(made, expand=False)

    def _cell(self, found: dict[str, Any], vendor: str) -> Text:
        mine = [d for d in found["deliveries"] if d["system"] == vendor and d["want"] == "set"]
        if not mine or mine[-1]["state"] == "moot":
            asked = any(request["origin_system"] == vendor for request in found["requests"])
            return Text("asked here", "magenta") if asked else Text("")
        last = mine[-1]
        known = _seconds(last["known_at"])
        cannot_be_read = last["proof"] == "accepted, cannot be read"
        stamps = []
        for column in STAMPS:
            at = last[column]
            empty = "--" if cannot_be_read else "..."
            stamps.append(empty if at is None else f"{_seconds(at) - known:.2f}")
        style = "green" if last["proof"] == "verified" else "cyan" if cannot_be_read else "yellow"
        return Text(" / ".join(stamps), style)


def _seconds(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()


class Story:
    """The acts, in order."""

    def __init__(self, boxes: Mapping[str, Sandbox], daemon: DaemonProcess, stage: Stage) -> None:
        self.boxes = boxes
        self.daemon = daemon
        self.stage = stage
        self.ledger = daemon.config.with_name("ledger.sqlite")
        self.began = datetime.now(ZONE).date()
        self.report = self.ledger
        """The folder of the reconciliation report, once it is written."""
        self.headline: str | None = None

    def tell(self) -> None:
        """Raises `StepFailed` at the first step that did not happen."""
        self._step("the daemon starts and reads every system in full", self.daemon.start, self._settled)
        self._step(
            "Ann texts STOP to the SMS vendor",
            lambda: self.boxes["twilio"].opt_out(PEOPLE["Ann"], text="STOP"),
            lambda: self._suppressed("Ann", *VENDORS),
        )
        self._step(
            "a sales rep ticks Do Not Call on Bob's HubSpot contact",
            lambda: self.boxes["hubspot"].opt_out(PEOPLE["Bob"]),
            lambda: self._suppressed("Bob", *VENDORS),
        )
        self._step(
            "an agent dispositions DNC on a call with Cleo in the dialer",
            lambda: self.boxes["vicidial"].opt_out(PEOPLE["Cleo"]),
            lambda: self._suppressed("Cleo", *VENDORS),
        )
        self._step(
            "somebody un-ticks Ann in Salesforce, and the ratchet puts it back",
            self._untick,
            lambda: self._put_back("Ann", "salesforce"),
        )
        self._outage()
        self._rename()
        self._step(
            "every system is read afresh and compared with the ledger, and the report is written",
            self._reconcile,
            lambda: self.headline,
        )
        self._step("the daemon finishes its calls and stops on SIGTERM", self._stop, lambda: "exit code 0")
        self._step("every byte of the ledger's chain verifies", lambda: None, self._verifies)
        self._step("the report is made again from the events alone", lambda: None, self._holds)

    def _step(self, what: str, act: Callable[[], object], proof: Callable[[], str | None]) -> None:
        self.stage.begin(what)
        began = time.monotonic()
        act()
        while True:
            found = proof()
            if found is not None:
                self.stage.end(what, time.monotonic() - began, found)
                self.stage.pause()
                return
            if time.monotonic() - began > PATIENCE:
                raise StepFailed(what)
            time.sleep(0.1)
            self.stage.refresh()

    def _outage(self) -> None:
        dead = self.boxes["hubspot"]

        def down() -> None:
            dead.faults.add(FaultKind.RESET_BEFORE)
            self.boxes["twilio"].opt_out(PEOPLE["Dan"], text="Please take me off your list")
            until = time.monotonic() + 10.0
            while time.monotonic() < until:
                time.sleep(0.1)
                self.stage.refresh()
            if self._flags("Dan", "hubspot") == {Flag.SET}:
                raise StepFailed("HubSpot was not down")
            dead.faults.clear()

        self._step(
            "HubSpot is down for ten seconds while Dan asks in his own words; nothing is lost",
            down,
            lambda: self._suppressed("Dan", *VENDORS),
        )

    def _rename(self) -> None:
        """Silent drift, and its end: HubSpot answers 200 all the while."""
        portal = self.boxes["hubspot"]
        self._step(
            "an admin renames the Do Not Call property in HubSpot; nothing fails, and it is found and named",
            lambda: portal.faults.add(FaultKind.RENAMED_FIELD, to="do_not_call_old"),
            lambda: self._found("field-renamed"),
        )
        self._step(
            "the property is renamed back, and the finding closes itself",
            lambda: portal.faults.clear(FaultKind.RENAMED_FIELD),
            lambda: self._healed("field-renamed"),
        )

    def _found(self, kind: str) -> str | None:
        row = self._finding(kind)
        return None if row is None or row[1] is not None else str(row[0])

    def _healed(self, kind: str) -> str | None:
        row = self._finding(kind)
        return None if row is None or row[1] is None else str(row[1])

    def _finding(self, kind: str) -> tuple[str, str | None] | None:
        """(summary, what closed it) of the only finding of that kind."""
        conn = connect_reader(self.ledger)
        try:
            found: tuple[str, str | None] | None = conn.execute(
                "SELECT summary, CASE WHEN closed_at IS NOT NULL THEN closed_by END FROM findings "
                "WHERE kind = ? ORDER BY id LIMIT 1",
                (kind,),
            ).fetchone()
        finally:
            conn.close()
        return found

    def _untick(self) -> None:
        self.boxes["salesforce"].undo(PEOPLE["Ann"])
        if self._flags("Ann", "salesforce") != {Flag.CLEAR}:
            raise StepFailed("the box was not un-ticked")

    def _stop(self) -> None:
        if (code := self.daemon.stop()) != 0:
            raise StepFailed(f"the daemon exited with {code}")

    # --- what really is, in the sandboxes' own words ------------------------------------------------------

    def _flags(self, person: str, vendor: str) -> set[Flag]:
        box = self.boxes[vendor]
        with box.lock:
            return {truth.flag for truth in box.truth(PEOPLE[person])}

    def _suppressed(self, person: str, *vendors: str) -> str | None:
        if all(self._flags(person, vendor) == {Flag.SET} for vendor in vendors):
            return f"all {len(vendors)} vendors hold the block"
        return None

    def _put_back(self, person: str, vendor: str) -> str | None:
        if self._flags(person, vendor) != {Flag.SET}:
            return None
        conn = connect_reader(self.ledger)
        try:
            kinds = {finding["kind"] for finding in reading.open_findings(conn)}
        finally:
            conn.close()
        return "ticked again; a finding says it was cleared there" if "cleared-there" in kinds else None

    def _settled(self) -> str | None:
        conn = connect_reader(self.ledger)
        try:
            waiting = conn.execute(
                "SELECT (SELECT count(*) FROM deliveries WHERE open = 1) + (SELECT count(*) FROM looks)"
            ).fetchone()[0]
            read = conn.execute("SELECT count(*) FROM systems WHERE snapshot_at IS NOT NULL").fetchone()[0]
            holdings, blocked = conn.execute(
                "SELECT (SELECT count(*) FROM holdings), (SELECT count(DISTINCT number) FROM blocks)"
            ).fetchone()
        finally:
            conn.close()
        if read < 3 or waiting:
            return None
        return f"{holdings:,} holdings, {blocked} numbers blocked before we came"

    def _reconcile(self) -> None:
        days = ("--from", str(self.began), "--to", str(datetime.now(ZONE).date()))
        text = self._run("reconcile", *days, "--fresh", "--config", str(self.daemon.config), "--json")
        told = json.loads(text)
        self.report = Path(told["folder"])
        compared = next(line for line in told["headline"] if line.startswith("Of "))
        self.headline = compared.rstrip(".")

    def _verifies(self) -> str | None:
        return self._run("ledger", "verify", "--ledger", str(self.ledger)).splitlines()[0]

    def _holds(self) -> str | None:
        told = self._run("reconcile", "--verify", str(self.report), "--ledger", str(self.ledger), "--json")
        files = json.loads(told)["files"]
        return f"every figure holds, and {len(files)} files are as recorded"

    def _run(self, *arguments: str) -> str:
        """What a command printed. Raises `StepFailed` where it found fault."""
        done = subprocess.run(
            [sys.executable, "-m", "dncsync.cli.main", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **self.daemon.environ},
        )
        if done.returncode != 0:
            raise StepFailed(f"dncsync {arguments[0]}: {done.stdout}{done.stderr}")
        return done.stdout


def main() -> int:
    """Runs the demo; 0 only if every step really happened."""
    console = Console(highlight=False)
    folder = Path(os.environ.get("DNCSYNC_DEMO") or ".demo").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("ledger.sqlite*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    boxes = {name: plugin(name).sandbox()(seed=7, contacts=300) for name in VENDORS}
    for number in PEOPLE.values():
        for vendor, value in (("hubspot", number), ("salesforce", _typed(number)), ("vicidial", number)):
            boxes[vendor].add_contact([value])
    console.print(Text("dncsync: one opt-out, everywhere, with proof", "bold"))
    console.print("Four sandboxes on loopback, 300 contacts in each, and the daemon as its own process.\n")
    with running(folder, boxes, sync={"contract_every": CONTRACT_EVERY}) as (daemon, _):
        ledger = folder / "ledger.sqlite"
        stage = Stage(console, ledger)
        failed: str | None = None
        with stage.showing():
            story = Story(boxes, daemon, stage)
            try:
                story.tell()
            except (StepFailed, RuntimeError) as error:
                failed = str(error)
        stage.close()
    if failed is not None:
        console.print(Text(f"FAILED: {failed}", "bold red"))
        console.print(f"The daemon's log: {folder / 'daemon.log'}")
        return 1
    console.print("\nThe reconciliation report:", style="bold")
    for name in ("report.html", "report.pdf"):
        console.print(f"  {os.path.relpath(story.report / name)}", soft_wrap=True)
    console.print("\nTry next:", style="bold")
    tool = os.path.relpath(Path(sys.executable).with_name("dncsync"))
    for command in (
        f"number show {PEOPLE['Ann']}",
        f"number history {PEOPLE['Dan']}",
        "status",
        f"ledger export {os.path.relpath(folder / 'audit.sqlite')} --overwrite",
    ):
        console.print(f"  {tool} {command} --ledger {os.path.relpath(ledger)}", soft_wrap=True)
    return 0


def _typed(number: str) -> str:
    """As somebody typed it into a CRM."""
    return f"({number[2:5]}) {number[5:8]}-{number[8:]}"


if __name__ == "__main__":
    sys.exit(main())
