"""What the ledger's promises cost: each figure with the plain way of doing the same, measured in turns.

.venv/bin/python tests/benchmarks/run.py --only ledger
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure, figure
from dncsync.ledger import chain
from dncsync.ledger.events import NewEvent
from dncsync.ledger.sqlite import sqlite3
from dncsync.ledger.verify import verify
from dncsync.ledger.writer import DirectWriter, GroupWriter, Tx

AT = 1_790_000_000_000_000
ROUNDS = 5
PAYLOAD = {
    "channel": "sms",
    "key": "12345",
    "want": "set",
    "request": "r-0001",
    "words": "3c" * 32,
    "attempt": 1,
}


def run(*, transactions: int = 2_000, rounds: int = ROUNDS, events: int = 300_000) -> list[Figure]:
    """Measures everything in a temporary folder on a real disk; takes about half a minute."""
    with tempfile.TemporaryDirectory(prefix="dncsync-bench-") as folder:
        root = Path(folder)
        return [
            appends(root, 1, transactions, rounds),
            appends(root, 100, max(2, transactions * 3 // 20), rounds),
            callers(root, transactions, rounds),
            verification(root, events),
        ]


def appends(root: Path, rows: int, transactions: int, rounds: int) -> Figure:
    """Chained appends against plain inserts: same columns, sizes, index, durability and transactions."""
    chained, plain = _in_turns(
        rounds,
        lambda turn: _chained(root / f"chained-{rows}-{turn}.db", transactions, rows),
        lambda turn: _plain(root / f"plain-{rows}-{turn}.db", transactions, rows),
    )
    return figure(f"chained appends, {rows} a transaction", chained, "events/s", plain, least=0.5)


def callers(root: Path, transactions: int, rounds: int) -> Figure:
    """64 threads that each append one event and wait for it, against one such thread."""
    many, one = _in_turns(
        rounds,
        lambda turn: _calling(root / f"many-{turn}.db", threads=64, each=max(1, transactions * 3 // 40)),
        lambda turn: _calling(root / f"one-{turn}.db", threads=1, each=transactions),
    )
    return figure("64 concurrent callers against one", many, "commits/s", one, least=3.0)


def verification(root: Path, events: int) -> Figure:
    """The whole verifier over a ledger whose events are like those of a delivery."""
    path = root / "verify.db"
    with DirectWriter(path, create=True, durable=False) as writer:
        for start in range(0, events, 10_000):
            writer.call(_appending(start, min(10_000, events - start)))

    def once() -> float:
        started = time.perf_counter()
        assert verify(path).ok
        return events / (time.perf_counter() - started)

    speed = median(once() for _ in range(3))
    return figure("verification", speed, "events/s", least_value=100_000)


def _in_turns(
    rounds: int, ours: Callable[[int], float], theirs: Callable[[int], float]
) -> tuple[float, float]:
    """Medians of measurements that take turns, so that a slow minute of the machine hits both."""
    pairs = [(ours(turn), theirs(turn)) for turn in range(rounds)]
    return median(our for our, _ in pairs), median(their for _, their in pairs)


def _number(n: int) -> str:
    return f"+1{(n * 7_919_000_003) % 10**10:010}"  # scattered, as numbers are


def _event(n: int) -> NewEvent:
    return NewEvent("deliveries.sent", AT + n, PAYLOAD, number=_number(n), system="hubspot-main")


def _appending(first: int, rows: int) -> Callable[[Tx], list[int]]:
    return lambda tx: tx.append([_event(n) for n in range(first, first + rows)])


def _chained(path: Path, transactions: int, rows: int) -> float:
    with DirectWriter(path, create=True) as writer:
        started = time.perf_counter()
        for first in range(0, transactions * rows, rows):
            writer.call(_appending(first, rows))
        return transactions * rows / (time.perf_counter() - started)


def _row(n: int, filler: bytes) -> tuple[object, ...]:
    payload = chain.canonical(PAYLOAD)
    return (n + 1, AT + n, "deliveries.sent", _number(n), "hubspot-main", None, payload, filler, filler)


def _plain(path: Path, transactions: int, rows: int) -> float:
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("PRAGMA journal_mode = WAL")
        conn.execute("PRAGMA synchronous = FULL")
        conn.execute(
            "CREATE TABLE events (seq INTEGER PRIMARY KEY, at INTEGER, kind TEXT, number TEXT, system TEXT,"
            " actor TEXT, payload TEXT, prev BLOB, hash BLOB) STRICT"
        )
        conn.execute("CREATE INDEX events_by_number ON events (number)")
        filler = os.urandom(32)  # the same size without the chain
        started = time.perf_counter()
        for first in range(0, transactions * rows, rows):
            conn.execute("BEGIN IMMEDIATE")
            rows_here = [_row(n, filler) for n in range(first, first + rows)]
            conn.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows_here)
            conn.execute("COMMIT")
        return transactions * rows / (time.perf_counter() - started)


def _calling(path: Path, threads: int, each: int) -> float:
    with GroupWriter(path, create=True) as writer:
        go = threading.Barrier(threads + 1)

        def work(thread: int) -> None:
            go.wait()
            for n in range(thread * each, (thread + 1) * each):
                writer.call(_appending(n, 1))

        workers = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
        for worker in workers:
            worker.start()
        go.wait()
        started = time.perf_counter()
        for worker in workers:
            worker.join()
        return threads * each / (time.perf_counter() - started)
