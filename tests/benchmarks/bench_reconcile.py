"""A system of a million holdings against the ledger, beside a bare merge join of the two as sorted exports;
and a quarter's report over a million blocked numbers and a hundred thousand requests, with page and paper.

Each in a process of its own, so that peak memory is its own. The bare join reads two sorted CSV files, one
line a holding and one a blocked number, with what each side says of both channels, and counts the same
classes; it needs no cause, no sample and no database, and writing the files is not counted.
"""

from __future__ import annotations

import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.figures import Figure, figure
from benchmarks.reconcile_ledger import SECOND, build

STARTS = int(datetime(2026, 7, 1, 4, tzinfo=UTC).timestamp()) * SECOND
DAYS = 92
ENDED = datetime(2026, 10, 2, 9, tzinfo=UTC)
HOLDINGS_SQL = (
    "SELECT key, ifnull(base_voice, ''), ifnull(base_sms, ''), gone FROM holdings WHERE system = 'dialer' "
    "ORDER BY key"
)
BLOCKED_SQL = (
    "SELECT 'SYSTEM_INTERNAL/' || number, max(channel = 'voice'), max(channel = 'sms') FROM blocks "
    "WHERE ended_seq IS NULL GROUP BY number ORDER BY number"
)


def run(*, numbers: int = 1_000_000, requests: int = 100_000, rounds: int = 5) -> list[Figure]:
    """`numbers` blocked, each with an entry on the dialer's list; `requests` made in the quarter."""
    with tempfile.TemporaryDirectory(prefix="dncsync-bench-") as folder:
        here = Path(folder)
        _apart("make", here, numbers, requests)
        _apart("export", here)
        turns = [(_apart("bare", here), _apart("compare", here)) for _ in range(rounds)]
        if any(bare["counts"] != ours["counts"] for bare, ours in turns):
            raise RuntimeError(f"the two did not find the same: {turns[0]}")
        bare = median(turn[0]["seconds"] for turn in turns)
        ours = median(turn[1]["seconds"] for turn in turns)
        most = max(turn[1]["megabytes"] for turn in turns)
        report = _apart("report", here)
        verified = _apart("verify", here)
    size = f"{numbers:,} numbers, {requests:,} requests"
    return [
        figure(f"comparing {numbers:,} holdings, against a bare merge join", ours, "s", bare, most=2.0),
        figure(f"comparing {numbers:,} holdings, peak memory", most, "MB", most_value=300),
        figure(f"quarterly report, {size}", report["seconds"], "s", most_value=60),
        figure(f"quarterly report, {size}, peak memory", report["megabytes"], "MB", most_value=500),
        figure(f"verifying that report, {size}", verified["seconds"], "s"),
        figure(f"verifying that report, {size}, peak memory", verified["megabytes"], "MB", most_value=500),
    ]


def _apart(what: str, folder: Path, *sizes: int) -> dict[str, Any]:
    """One task in a process of its own: `{"seconds": , "megabytes": , ...}`."""
    done = subprocess.run(
        [sys.executable, __file__, what, str(folder), *map(str, sizes)],
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


# --- in the processes of their own ------------------------------------------------------------------------


def make(folder: Path) -> dict[str, Any]:
    """The ledger, with as many numbers and requests as the command line says."""
    numbers, requests = (int(size) for size in sys.argv[3:5])
    build(folder / "ledger.sqlite", numbers=numbers, requests=requests, starts_at=STARTS, days=DAYS)
    return {}


def export(folder: Path) -> dict[str, Any]:
    """The two sorted files that the bare join reads."""
    from dncsync.ledger.sqlite import connect_reader

    with closing(connect_reader(folder / "ledger.sqlite")) as conn:
        for name, sql in (("holdings", HOLDINGS_SQL), ("blocked", BLOCKED_SQL)):
            with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows(conn.execute(sql))
    return {}


def bare(folder: Path) -> dict[str, Any]:
    """The plain way: two files in step, line by line."""
    counts: Counter[str] = Counter()
    with (
        (folder / "holdings.csv").open(newline="", encoding="utf-8") as one,
        (folder / "blocked.csv").open(newline="", encoding="utf-8") as other,
    ):
        holdings, blocked = csv.reader(one), csv.reader(other)
        mine, theirs = _next(holdings), _next(blocked)
        while mine is not None:
            while theirs is not None and theirs[0] < mine[0]:
                counts["missing"] += 1
                theirs = _next(blocked)
            key, voice, sms, gone = mine
            if gone == "1":
                counts["ended"] += 1
            elif theirs is None or theirs[0] != key:
                counts["extra" if "set" in (voice, sms) else "quiet"] += 1
            else:
                wanted = [flag for flag, want in ((voice, theirs[1]), (sms, "0")) if want == "1"]
                if all(flag == "set" for flag in wanted):
                    counts["present"] += 1
                else:
                    counts["different" if "set" in wanted else "missing"] += 1
                theirs = _next(blocked)
            mine = _next(holdings)
    return {"counts": {name: count for name, count in counts.items() if count}}


def _next(rows: Iterator[list[str]]) -> list[str] | None:
    return next(rows, None)


def compare(folder: Path) -> dict[str, Any]:
    """Ours: classes, causes and samples, from the ledger itself."""
    from dncsync.ledger.sqlite import reading
    from dncsync.model import Channel
    from dncsync.reconcile.compare import Side
    from dncsync.reconcile.compare import compare as compare_system

    side = Side("dialer", by_number=True, can_read=True, channels=frozenset({Channel.VOICE}))
    with reading(folder / "ledger.sqlite") as conn:
        found = compare_system(conn, side)
    return {"counts": {name: count for name, count in found.counts.items() if count}}


SYSTEMS: dict[str, dict[str, Any]] = {
    "crm": {"vendor": "hubspot", "account": "1", "role": "crm", "unit": "record"},
    "dialer": {"vendor": "vicidial", "account": "", "role": "dialer", "unit": "number"},
}


def report(folder: Path) -> dict[str, Any]:
    """Every phase but the reading of systems, and the files."""
    from dncsync.clock import VirtualClock, to_micros
    from dncsync.ledger.writer import DirectWriter
    from dncsync.policy import Policies
    from dncsync.reconcile import inputs, period, quarter
    from dncsync.runtime import commands
    from dncsync.sync.requests import Intake
    from dncsync.sync.topology import NO_SYSTEMS

    clock = VirtualClock(ENDED)
    able = {"channels": ["voice"], "can_read": True, "can_list": True}
    made_with = {
        "software": inputs.software(),
        "policy": inputs.policy(Policies(), date(2026, 9, 30), "the shipped defaults").model_dump(),
        "systems": {name: {**system, **able} for name, system in SYSTEMS.items()},
        "within_days": 3,
        "canary": False,
    }
    span = period.quarter("2026Q3", "America/New_York")
    wish = quarter.Wish(span, 1, made_with, "a benchmark", folder / "reports")
    intake = Intake(Policies(), NO_SYSTEMS)
    with DirectWriter(folder / "ledger.sqlite") as writer:
        done = quarter.reconcile(
            folder / "ledger.sqlite",
            lambda name, given: writer.call(
                lambda tx: commands.run(tx, to_micros(clock.now()), intake, name, given)
            ),
            clock,
            wish,
        )
    return {"requests": done.facts.processing.requests}


def verify(folder: Path) -> dict[str, Any]:
    """The report again, from the events alone."""
    from dncsync.reconcile import verifying

    verdict = verifying.verify(folder / "ledger.sqlite", folder / "reports" / "2026Q3")
    if not verdict.holds:
        raise RuntimeError(f"the report does not hold: {verdict.problems} {verdict.differences[:3]}")
    return {}


TASKS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "make": make,
    "export": export,
    "bare": bare,
    "compare": compare,
    "report": report,
    "verify": verify,
}


def main() -> None:
    """Prints what the task found, how long it took and its peak memory, as JSON."""
    task = TASKS[sys.argv[1]]
    began = time.perf_counter()
    found = task(Path(sys.argv[2]))
    took = time.perf_counter() - began
    print(json.dumps({**found, "seconds": took, "megabytes": _peak()}))


def _peak() -> float:
    """Megabytes. What `getrusage` tells begins with the parent's peak, which a process keeps through exec."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
