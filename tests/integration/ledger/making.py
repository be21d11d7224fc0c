"""Ledgers for the tests: honest ones, and the hands of somebody who can write the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from dncsync.ledger import chain
from dncsync.ledger.checkpoint import Checkpoint, Signer, take
from dncsync.ledger.events import NewEvent, seal
from dncsync.ledger.sqlite import Connection, sqlite3
from dncsync.ledger.verify import Kind, verify
from dncsync.ledger.writer import DirectWriter

AT = 1_790_000_000_000_000
SALT = bytes(range(16))
STOP = seal("STOP", SALT)
GONE = seal("my name is Ada", SALT)


def event(n: int) -> NewEvent:
    """The n-th of a row of events that differ in everything."""
    return NewEvent(f"kind.{n}", AT + n, {"n": n}, number=f"+1212555{n:04}", system="crm", actor=f"ada{n}")


def honest(path: Path, signer: Signer) -> None:
    """A ledger with all the storage has: 8 events, a batch, private data, a tombstone, a checkpoint."""
    with DirectWriter(path, create=True, durable=False, now=AT) as writer:
        writer.call(lambda tx: tx.append([event(1), event(2)]))
        batch = NewEvent(
            "page.imported", AT + 3, {}, numbers=["+12125550001", "+12125550099", "+12125550001"]
        )
        writer.call(lambda tx: tx.append([batch]))
        writer.call(lambda tx: tx.append([NewEvent("said", AT + 4, {}, private=[STOP, GONE])]))
        writer.call(lambda tx: tx.append([event(5)]))
        writer.call(lambda tx: take(tx, signer, AT + 5))
        writer.call(lambda tx: tx.purge(GONE.hash, at=AT + 6, reason="erasure request"))
        writer.call(lambda tx: tx.append([event(7), event(8)]))


@contextmanager
def forging(path: Path) -> Iterator[Connection]:
    """A connection that stops at nothing: no triggers, no checks; afterwards the triggers are back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        guards = conn.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for name, _ in guards:
            conn.execute(f"DROP TRIGGER {name}")
        conn.execute("PRAGMA ignore_check_constraints = ON")
        conn.execute("PRAGMA foreign_keys = OFF")
        yield conn
        for _, sql in guards:
            conn.execute(sql)


def rehash(conn: Connection) -> None:
    """Makes the whole chain consistent again, as a forger who knows the format would."""
    prev = chain.GENESIS
    for seq, *rest in conn.execute(
        "SELECT seq, at, kind, number, system, actor, payload FROM events ORDER BY seq"
    ).fetchall():
        digest = chain.link(prev, seq, *rest)
        conn.execute("UPDATE events SET prev = ?, hash = ? WHERE seq = ?", (prev, digest, seq))
        prev = digest


def found(path: Path, *checkpoints: Checkpoint, **options: object) -> set[tuple[Kind, int | None]]:
    """Kind and place of each problem that the verifier sees."""
    report = verify(path, checkpoints, **options)  # type: ignore[arg-type]
    assert report.ok == (not report.problems)
    assert all("\n" not in str(problem) for problem in report.problems)
    return {(problem.kind, problem.seq) for problem in report.problems}
