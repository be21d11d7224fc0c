"""Whether a report still holds: is the file the recorded one, and does the ledger still say the same?

The figures are gathered again from a copy of the ledger that is rebuilt from its events up to the recorded
head. So neither what came later nor a projection that somebody edited can make a difference, and an edited
event breaks the chain, which is verified too.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dncsync.ledger import events, projections
from dncsync.ledger.sqlite import Connection, connect_writer, reading, sqlite3
from dncsync.ledger.writer import Tx
from dncsync.reconcile import gather, report
from dncsync.reconcile.facts import SCHEMA, canonical
from dncsync.reconcile.gather import Run
from dncsync.reconcile.quarter import Phase, Progress, silent, verify_chain

SHOWN = 20
"""Differing figures that are named."""
_BATCH = 1_000
"""Events between two commits of the scratch copy."""
_COPIED = ("meta", "events", "event_numbers", "private", "checkpoints")
"""What a rebuild does not make: the record itself, looked at where it lies."""


class NotAReport(Exception):
    """Nothing to verify: `str()` is one line that says why."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure that is not what the ledger says."""

    figure: str
    """Its path in the JSON, e.g. `processing.over_federal`."""
    reported: Any
    """None also where the report has no such figure."""
    ledger: Any


@dataclass(frozen=True, slots=True)
class FileCheck:
    """One file of the report against its recorded hash."""

    name: str
    ok: bool
    what: str
    """E.g. `as recorded`, `changed since it was recorded`."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the report holds, and what does not."""

    run: str
    period: str
    head: int
    files: tuple[FileCheck, ...]
    problems: tuple[str, ...]
    """Of the chain, and of the head."""
    differences: tuple[Difference, ...]
    """The first `SHOWN`."""
    differing: int
    """How many figures differ in all."""

    @property
    def holds(self) -> bool:
        return not self.problems and not self.differing and all(file.ok for file in self.files)


def verify(ledger: Path, target: Path, progress: Progress = silent) -> Verdict:
    """Verifies a report: its folder, or one of its files (JSON, HTML, PDF, CSV). Raises `NotAReport`,
    `LedgerUnreadable`, `OSError`."""
    paths = sorted(path for path in target.iterdir() if path.is_file()) if target.is_dir() else [target]
    texts = {path.name: path.read_bytes() for path in paths}
    hashes = {name: hashlib.sha256(text).hexdigest() for name, text in texts.items()}
    reported = _reported(texts, target)
    with reading(ledger) as conn:
        run = _run_of(conn, hashes, reported)
        if run.head is None or run.as_of is None:
            raise NotAReport(
                f"reconciliation {run.id} was never completed; run the same command to resume it"
            )
        there = conn.execute("SELECT hash FROM events WHERE seq = ?", (run.head.seq,)).fetchone()
    files = _check_files(hashes, run, whole_folder=target.is_dir())
    chain = verify_chain(ledger, lambda done, total: progress(Phase.VERIFY, done, total))
    problems = list(chain.problems)
    if there is None or bytes(there[0]) != run.head.hash:
        problems.append(f"event {run.head.seq}, the head of the report, is not the one that it was made with")
    with rebuilt(ledger, run.head.seq, progress) as conn:
        again = gather.facts(
            conn,
            gather.run(conn, run.id),
            run.head,
            run.as_of,
            chain,
            lambda done, total: progress(Phase.GATHER, done, total),
        )
    text = canonical(again)
    differences: list[Difference] = []
    if reported is not None:
        differences = list(_differ(reported, json.loads(text)))
    elif hashlib.sha256(text).hexdigest() != run.files.get(report.FACTS):
        differences = [Difference("(some figure; give report.json to name it)", None, None)]
    return Verdict(
        run.id,
        run.span.name,
        run.head.seq,
        files,
        tuple(problems),
        tuple(differences[:SHOWN]),
        len(differences),
    )


def _reported(texts: dict[str, bytes], target: Path) -> dict[str, Any] | None:
    """The figures of the report, where its JSON is at hand: given, or beside the file that was given."""
    text = texts.get(report.FACTS) or next((t for n, t in texts.items() if n.endswith(".json")), None)
    beside = target.parent / report.FACTS
    if text is None and not target.is_dir() and beside.is_file():
        text = beside.read_bytes()
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        raise NotAReport(f"{target} holds no report: its JSON cannot be read") from None
    if not isinstance(found, dict) or not isinstance(found.get("run"), str):
        raise NotAReport(f"{target} is no report of dncsync")
    if isinstance(found.get("schema_version"), int) and found["schema_version"] > SCHEMA:
        raise NotAReport(f"{target} was made by a newer dncsync; use that version or a newer one")
    return found


def _run_of(conn: Connection, hashes: dict[str, str], reported: dict[str, Any] | None) -> Run:
    """By the id that the JSON carries, else by the hashes of what was given: the most that agree, since a
    table without a row is the same file in every report."""
    every = gather.runs(conn)
    for run in every:
        if reported is not None and run.id == reported["run"]:
            return run
    given = set(hashes.values())
    best = max(every, key=lambda run: len(given & set(run.files.values())), default=None)
    if best is not None and given & set(best.files.values()):
        return best
    raise NotAReport("this ledger recorded no such report: neither its hash nor its id is known")


def _check_files(hashes: dict[str, str], run: Run, *, whole_folder: bool) -> tuple[FileCheck, ...]:
    found = []
    known = set(run.files.values())
    for name, digest in sorted(hashes.items()):
        if digest in known:
            found.append(FileCheck(name, True, "as recorded"))
        elif name in run.files:
            found.append(FileCheck(name, False, "changed since it was recorded"))
        elif not whole_folder:
            found.append(FileCheck(name, False, "was never recorded"))
    if whole_folder:
        missing = [name for name in sorted(run.files) if name not in hashes]
        found += [FileCheck(name, False, "is missing") for name in missing]
    return tuple(found)


@contextmanager
def rebuilt(ledger: Path, head: int, progress: Progress = silent) -> Iterator[Connection]:
    """A ledger as its events up to `head` make it, in a scratch file; the events themselves are looked at
    where they lie. Needs as much free disk for a while as the projections take. Raises `LedgerUnreadable`."""
    with tempfile.TemporaryDirectory(prefix="dncsync-verify-") as folder, reading(ledger) as live:
        path = Path(folder) / "scratch.db"
        with closing(connect_writer(path, create=True, durable=False, now=0)) as scratch:
            _replay(live, scratch, head, progress)
        with closing(sqlite3.connect(_read_only(path), uri=True, isolation_level=None)) as conn:
            conn.execute("ATTACH ? AS live", (_read_only(ledger),))
            for table in _COPIED:
                within = f" WHERE seq <= {head}" if table in ("events", "event_numbers") else ""
                conn.execute(f"CREATE TEMP VIEW {table} AS SELECT * FROM live.{table}{within}")  # noqa: S608
            conn.execute("PRAGMA query_only = ON")
            yield conn


def _read_only(path: Path) -> str:
    return f"file:{quote(str(path.absolute()))}?mode=ro"


def _replay(live: Connection, scratch: Connection, head: int, progress: Progress) -> None:
    """Applies every event up to `head`, and no later one, holding one event at a time: one may be a batch of
    thousands."""
    tx = Tx(scratch, events.Head())
    scratch.execute("BEGIN IMMEDIATE")
    for event in events.iterate(live):
        if event.seq > head:
            break
        projections.apply(tx, event)
        if event.seq % _BATCH == 0:
            scratch.execute("COMMIT")
            scratch.execute("BEGIN IMMEDIATE")
            progress(Phase.REBUILD, event.seq, head)
    scratch.execute("COMMIT")


def _differ(reported: Any, ledger: Any, path: str = "") -> Iterator[Difference]:
    """Figures that are not the same, in the order of their paths."""
    if isinstance(reported, dict) and isinstance(ledger, dict):
        for name in sorted({*reported, *ledger}):
            inner = f"{path}.{name}" if path else name
            yield from _differ(reported.get(name), ledger.get(name), inner)
    elif isinstance(reported, list) and isinstance(ledger, list):
        if len(reported) != len(ledger):
            yield Difference(f"{path}: how many", len(reported), len(ledger))
        for i, (mine, theirs) in enumerate(zip(reported, ledger, strict=False)):
            yield from _differ(mine, theirs, f"{path}[{i}]")
    elif reported != ledger or type(reported) is not type(ledger):
        yield Difference(path, reported, ledger)
