"""A ledger as real operations make it, and the command line called in this process or as its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dncsync.cli.main import main
from dncsync.clock import SystemClock, to_micros
from dncsync.connector import Capabilities, Unit, Written
from dncsync.ledger.events import NewEvent
from dncsync.ledger.projections import record
from dncsync.ledger.writer import DirectWriter
from dncsync.model import Channel, Flag, Holding, Role
from dncsync.policy import Policies
from dncsync.sync import findings
from dncsync.sync.observe import observe
from dncsync.sync.requests import Intake
from dncsync.sync.topology import SystemFacts, Topology
from dncsync.sync.writing import begin_write, end_write

BLOCKED = "+13125550199"
FREE = "+12125550123"
HOUR = 3_600_000_000
CRM = SystemFacts("crm", "hubspot", "US", Capabilities(Unit.RECORD, Role.CRM, frozenset({Channel.VOICE})))


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its one JSON document."""
        assert self.out.count("\n") == 1, f"not one document: {self.out!r}, {self.err!r}"
        return json.loads(self.out)


def call(*arguments: str | Path) -> Ran:
    """A command in this process."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(a) for a in arguments])
        except SystemExit as ended:
            code = ended.code
    assert isinstance(code, int), f"ended with {code!r}"
    return Ran(code, out.getvalue(), err.getvalue())


def command(*arguments: str | Path) -> list[str]:
    """The command line as its own process."""
    return [sys.executable, "-m", "dncsync.cli.main", *(str(a) for a in arguments)]


def environ(**more: str) -> dict[str, str]:
    """Of a process, without what this one has of ours."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DNCSYNC_") and k != "COLUMNS"}
    return {**kept, "PYTHONPATH": os.pathsep.join(sys.path), **more}


def run(*arguments: str | Path, **options: Any) -> Ran:
    """A command as its own process; `options` are those of `subprocess.run`."""
    options.setdefault("env", environ())
    done = subprocess.run(command(*arguments), capture_output=True, timeout=60, **options)
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


def refused(ran: Ran, *words: str, code: int = 1) -> str:
    """The one clear line of a command that did nothing: asserts that it is one, and says these words."""
    assert ran.code == code, (ran.code, ran.out, ran.err)
    assert ran.out == "", ran.out
    assert ran.err.startswith("dncsync: "), ran.err
    assert ran.err.endswith("\n"), ran.err
    line = ran.err[:-1]
    assert line.isprintable(), f"more than one line, or control characters: {line!r}"
    assert "Traceback" not in line
    assert "fault of dncsync itself" not in line, line
    for word in words:
        assert word in line, f"{word!r} is not said: {line}"
    return line


def make_ledger(path: Path, *, finding: bool = True) -> None:
    """One record with a blocked number, told and read back; a value that is no number; a finding."""
    now = to_micros(SystemClock().now())
    at = now - HOUR
    topology = Topology({CRM.name: CRM})
    intake = Intake(Policies(), topology)

    def jitter() -> float:
        return 0.5

    with DirectWriter(path, create=True, now=at) as writer:
        state = {"vendor": CRM.vendor, "state": "up", "reason": ""}
        writer.call(lambda tx: record(tx, NewEvent("system.changed", at, state, system=CRM.name)))
        kept = Holding("101", {Channel.VOICE: Flag.CLEAR}, ("(312) 555-0199", "N/A [/red]\x1b[2J"), "1")
        writer.call(lambda tx: observe(tx, at, intake, CRM, [kept], fresh=False, jitter=jitter))
        writer.call(
            lambda tx: intake.block(
                tx, at, BLOCKED, Channel.SMS, actor="jane [/]", source="admin", words="stop"
            )
        )
        batch = writer.call(lambda tx: begin_write(tx, at + 1, CRM, Flag.SET, backfill=False))
        assert batch is not None, "nothing was due: this ledger proves nothing"
        done = [Written(change.key) for change in batch.changes]
        writer.call(lambda tx: end_write(tx, at + 2, CRM, batch, done, jitter))
        told = Holding("101", {Channel.VOICE: Flag.SET}, kept.numbers, "2")
        writer.call(lambda tx: observe(tx, at + 3, intake, CRM, [told], fresh=True, jitter=jitter))
        if finding:
            writer.call(
                lambda tx: findings.open_finding(tx, at, "cleared-there", "crm", "101", "cleared there [/b]")
            )


def events(path: Path) -> int:
    """How many events the ledger holds."""
    from contextlib import closing

    from dncsync.ledger.sqlite import connect_reader

    with closing(connect_reader(path)) as conn:
        return int(conn.execute("SELECT count(*) FROM events").fetchone()[0])


def csv_file(
    path: Path, rows: Sequence[str], header: str = "number,channel,requested_at,source,words"
) -> Path:
    """A list to import."""
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path
