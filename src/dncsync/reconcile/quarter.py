"""One reconciliation, from its beginning to the hashes of its files in the ledger.

Killed at any moment, it is resumed where it stood:

    begin -> (read afresh) -> compare each system -> gather the facts -> write the files -> record the hashes

Everything before the files is in the ledger when it is done, so a second attempt does only what is left. The
ledger is read here and written through `Commands`: by the daemon that holds it, or by this process.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from dncsync.clock import Clock, from_micros, to_micros
from dncsync.ledger import events, verify
from dncsync.ledger.sqlite import Connection, reading
from dncsync.model import Channel
from dncsync.reconcile import gather, report
from dncsync.reconcile.compare import Compared, Side, compare
from dncsync.reconcile.facts import Facts
from dncsync.reconcile.gather import Chain, Run
from dncsync.reconcile.inputs import Inputs
from dncsync.reconcile.period import Span
from dncsync.reconcile.slices import covered

SECOND = 1_000_000
FRESH_WITHIN = 4 * 3_600.0
"""Seconds that fresh readings may take; a system that is not done by then is compared as last read."""
GIVE_UP_AFTER = 120.0
"""Seconds that a system which does not answer is waited for."""
LOOK_EVERY = 1.0
PROBLEMS = 20
CACHE_KIB = 64 * 1024
"""Of SQLite's page cache while facts are gathered."""

Commands = Callable[[str, Mapping[str, Any]], dict[str, Any]]
"""`command(name, arguments)`: durable when it returns; raises `Refused`."""


class Phase(StrEnum):
    """What is being done, for people who wait."""

    READ = "reading systems afresh"
    COMPARE = "comparing"
    VERIFY = "verifying the chain"
    REBUILD = "rebuilding the ledger from its events"
    GATHER = "gathering figures"
    WRITE = "writing the report"


Progress = Callable[[Phase, int, int | None], object]
"""`progress(phase, done, total)`; total None: not known."""


def silent(phase: Phase, done: int, total: int | None) -> None:
    """Tells nobody."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What to reconcile."""

    span: Span
    seed: int
    inputs: Inputs
    actor: str
    folder: Path
    """Below it, the report gets a folder of its own, named after the period."""
    fresh: bool = False
    """Read every system in full first; needs the daemon's loops."""
    exact_folder: bool = False
    """`folder` itself takes the files."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    run: str
    resumed: bool
    folder: Path
    files: Mapping[str, str]
    """Name -> SHA-256 (hexadecimal)."""
    facts: Facts = field(repr=False)


def reconcile(
    ledger: Path, command: Commands, clock: Clock, wish: Wish, progress: Progress = silent
) -> Outcome:
    """Makes the report of a period, or goes on with one that was begun. Idempotent until it is recorded; the
    same wish after that makes a new report. Raises `Refused`, `LedgerError`, `OSError`."""
    begun = command(
        "reconcile-begin",
        {
            "first": str(wish.span.first),
            "last": str(wish.span.last),
            "zone": wish.span.zone,
            "seed": wish.seed,
            "inputs": wish.inputs,
            "actor": wish.actor,
        },
    )
    with reading(ledger) as conn:
        run = gather.run(conn, begun["run"])
        done = _compared(conn, run.id)
    todo = [name for name in sorted(run.inputs["systems"]) if name not in done]
    failed: dict[str, str] = {}
    if wish.fresh and todo:
        failed = _read_afresh(ledger, command, clock, run, todo, progress)
    for count, system in enumerate(todo):
        progress(Phase.COMPARE, count, len(todo))
        reason, result = _compare(ledger, run, system, to_micros(clock.now()))
        command(
            "reconcile-compared",
            {"run": run.id, "system": system, "reason": failed.get(system, reason), "result": result},
        )
    facts, head = _gather(ledger, run.id, to_micros(clock.now()), progress)
    progress(Phase.WRITE, 0, None)
    folder = wish.folder if wish.exact_folder else free_folder(wish.folder, run)
    files = {path.name: _sha256(path) for path in report.write(facts, folder)}
    command(
        "reconcile-completed",
        {
            "run": run.id,
            "as_of": facts.period.as_of,
            "head": [head.seq, head.hash.hex()],
            "files": files,
        },
    )
    return Outcome(run.id, begun["resumed"], folder, files, facts)


def side(system: str, config: Mapping[str, Any]) -> Side:
    """What the comparison must know of a system, from the inputs of a run."""
    return Side(
        system,
        by_number=config["unit"] == "number",
        can_read=config["can_read"],
        channels=frozenset(Channel(channel) for channel in config["channels"]),
    )


# --- phases -----------------------------------------------------------------------------------------------


def _compared(conn: Connection, run: str) -> set[str]:
    return {row[0] for row in conn.execute("SELECT system FROM comparisons WHERE run = ?", (run,))}


def _read_afresh(
    ledger: Path, command: Commands, clock: Clock, run: Run, systems: list[str], progress: Progress
) -> dict[str, str]:
    """Has every system that can be listed read in full; returns why, for those that were not."""
    listed = [name for name in systems if run.inputs["systems"][name]["can_list"]]
    if not listed:
        return {}
    asked = to_micros(clock.now())
    command("snapshot", {"systems": listed})
    started = clock.monotonic()
    waiting, failed = set(listed), {}
    while waiting:
        waited = clock.monotonic() - started
        with reading(ledger) as conn:
            rows = conn.execute("SELECT system, state, reason, snapshot_at FROM systems").fetchall()
            states = {row[0]: row[1:] for row in rows}
        for name in sorted(waiting):
            state, reason, snapshot_at = states.get(name, ("never connected", "", None))
            if snapshot_at is not None and snapshot_at >= asked:
                waiting.discard(name)
            elif state != "up" and waited > GIVE_UP_AFTER:
                failed[name] = f"it could not be read afresh: {state}" + (f" ({reason})" if reason else "")
                waiting.discard(name)
            elif waited > FRESH_WITHIN:
                failed[name] = f"it was not read in full within {FRESH_WITHIN / 3600:.0f} h"
                waiting.discard(name)
        progress(Phase.READ, len(listed) - len(waiting), len(listed))
        if waiting:
            clock.sleep(LOOK_EVERY)
    return failed


def _compare(ledger: Path, run: Run, system: str, at: int) -> tuple[str | None, dict[str, Any] | None]:
    """(why it could not be read, what the comparison came to)."""
    config = run.inputs["systems"][system]
    with reading(ledger) as conn:
        row = conn.execute(
            "SELECT state, since, reason, snapshot_at FROM systems WHERE system = ?", (system,)
        ).fetchone()
        if row is None:
            return "it was never connected", None
        mine = side(system, config)
        found = compare(conn, mine)
        coverage = covered(
            conn,
            at,
            system,
            by_number=mine.by_number,
            can_read=mine.can_read,
            can_list=config["can_list"],
            within=run.inputs["within_days"],
        )
    reason = None
    if row[0] != "up":
        since = from_micros(row[1]).isoformat(timespec="seconds")
        reason = f"{row[0]} since {since}" + (f": {row[2]}" if row[2] else "")
    elif config["can_list"] and config["can_read"] and row[3] is None:
        reason = "it was never read in full"
    return reason, {**_as_result(found), "coverage": asdict(coverage)}


def _as_result(found: Compared) -> dict[str, Any]:
    """The fields of `facts.Comparison` that the comparison itself gives."""
    counts = found.counts
    wanted = counts["present"] + counts["missing"] + counts["different"] + counts["cannot_be_read"]
    return {
        "holdings": found.holdings,
        **counts,
        "verified": counts["present"],
        "accepted": found.accepted,
        "unconfirmed": wanted - counts["present"] - found.accepted,
        "unreadable_numbers": found.unreadable_numbers,
        "causes": [cause.model_dump(mode="json") for cause in found.causes],
        "samples": {name: list(keys) for name, keys in found.samples.items()},
    }


def _gather(ledger: Path, run_id: str, at: int, progress: Progress) -> tuple[Facts, events.Head]:
    chain = verify_chain(ledger, lambda done, total: progress(Phase.VERIFY, done, total))
    with reading(ledger) as conn:
        conn.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        head = events.head(conn)
        latest = conn.execute("SELECT at FROM events WHERE seq = ?", (head.seq,)).fetchone()
        as_of = max(at, latest[0] if latest else 0)
        run = gather.run(conn, run_id)
        told = gather.facts(
            conn, run, head, as_of, chain, lambda done, total: progress(Phase.GATHER, done, total)
        )
    return told, head


def verify_chain(ledger: Path, progress: Callable[[int, int], object]) -> Chain:
    """Every byte of the chain (see `ledger.verify`)."""
    found = verify.verify(ledger, progress=progress)
    return Chain(found.ok, tuple(str(problem) for problem in found.problems[:PROBLEMS]))


# --- files ------------------------------------------------------------------------------------------------


def default_folder(ledger: Path) -> Path:
    """Beside the ledger: `<ledger>.reports`."""
    return ledger.with_name(ledger.name + ".reports")


def free_folder(parent: Path, run: Run) -> Path:
    """`parent/2026Q3`, or the next of `2026Q3-2`, ...: a recorded report is never written over. A report that
    this run wrote and could not record any more is."""
    name = run.span.name.replace(" to ", "_")
    count = 1
    while True:
        folder = parent / (name if count == 1 else f"{name}-{count}")
        if not (folder / report.FACTS).exists() or _run_of(folder / report.FACTS) == run.id:
            return folder
        count += 1


def _run_of(path: Path) -> str | None:
    try:
        return str(json.loads(path.read_bytes())["run"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


__all__ = ["Outcome", "Phase", "Wish", "default_folder", "free_folder", "reconcile", "side"]
