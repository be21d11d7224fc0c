"""Proves that the projections are what the events say: builds them again and compares, row by row.

The comparison runs against one snapshot of the ledger, beside the running daemon, and changes nothing.
`replace` puts the rebuilt projections in the place of the live ones, in one transaction.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice, zip_longest
from operator import is_not
from pathlib import Path
from typing import Any, Protocol

from dncsync.ledger import events
from dncsync.ledger.events import Event
from dncsync.ledger.sqlite import Connection, connect_writer, reading
from dncsync.ledger.writer import Tx, Writer

Progress = Callable[[int, int], object]
"""Called with (events done, events in all) now and then."""

_BATCH = (
    10_000  # events applied between two commits of the scratch copy, and two calls of the progress callback
)

Row = tuple[Any, ...]


class Projections(Protocol):
    """What is derived from events; the module `dncsync.ledger.projections` is one."""

    @property
    def TABLES(self) -> tuple[str, ...]:  # noqa: N802
        """Every table that `apply` writes, and that only `apply` writes."""

    def apply(self, tx: Tx, event: Event) -> None:
        """Brings the tables from the state before `event` to the state after it."""

    def clear(self, tx: Tx) -> None:
        """Empties the tables."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A table whose live rows are not what the events say."""

    table: str
    columns: tuple[str, ...]
    rows: int  # that differ, counted at the same place in the order of the primary key
    first: tuple[tuple[Row | None, Row | None], ...]  # (live, rebuilt) of the first few; None: no such row


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """What a rebuild found."""

    events: int  # applied
    tables: int  # compared
    differences: tuple[Difference, ...]

    @property
    def ok(self) -> bool:
        return not self.differences


def compare(
    path: Path, projections: Projections, *, progress: Progress | None = None, first: int = 5
) -> RebuildReport:
    """Rebuilds every projection of the ledger at `path` in a scratch file and compares it with the live one.

    At most `first` differing rows a table are kept. Needs as much free disk for a while as the projections
    take. Raises `LedgerUnreadable`.
    """
    with tempfile.TemporaryDirectory(prefix="dncsync-rebuild-") as folder, reading(path) as live:
        scratch = connect_writer(Path(folder) / "scratch.db", create=True, durable=False, now=0)
        with closing(scratch):
            count = _replay(live, scratch, projections, progress)
            found = (_difference(table, live, scratch, first) for table in projections.TABLES)
            differences = tuple(difference for difference in found if difference is not None)
    return RebuildReport(count, len(projections.TABLES), differences)


def replace(writer: Writer, projections: Projections, *, progress: Progress | None = None) -> int:
    """Rebuilds the live projections from the events, in one transaction; returns how many events it applied.

    Nobody else can write meanwhile. If anything fails, the projections stay as they were.
    """

    def rebuild(tx: Tx) -> int:
        projections.clear(tx)
        done = 0
        for done, event in enumerate(events.iterate(tx.conn), 1):
            projections.apply(tx, event)
            if progress and done % _BATCH == 0:
                progress(done, tx.head.seq)
        return done

    return writer.call(rebuild)


def _replay(
    live: Connection, scratch: Connection, projections: Projections, progress: Progress | None
) -> int:
    total, done = events.head(live).seq, 0
    stream = events.iterate(live)
    while batch := list(islice(stream, _BATCH)):
        scratch.execute("BEGIN IMMEDIATE")
        tx = Tx(scratch, events.Head())
        for event in batch:
            projections.apply(tx, event)
        scratch.execute("COMMIT")
        done += len(batch)
        if progress:
            progress(done, total)
    return done


def _difference(table: str, live: Connection, rebuilt: Connection, first: int) -> Difference | None:
    columns = _columns(live, table)
    if columns != (expected := _columns(rebuilt, table)):
        return Difference(table, expected, 0, ((columns, expected),))
    count = 0
    examples: list[tuple[Row | None, Row | None]] = []
    # Both sides run in the same order, so the rows are compared as they stream past.
    for mine, theirs in zip_longest(_rows(live, table), _rows(rebuilt, table)):
        if _differ(mine, theirs):
            count += 1
            if len(examples) < first:
                examples.append((mine, theirs))
    return Difference(table, columns, count, tuple(examples)) if count else None


def _differ(mine: Row | None, theirs: Row | None) -> bool:
    if mine is None or theirs is None or mine != theirs:
        return True
    return any(map(is_not, map(type, mine), map(type, theirs)))  # 1 and 1.0 are equal, and not the same bytes


def _columns(conn: Connection, table: str) -> tuple[str, ...]:
    return tuple(
        name for (name,) in conn.execute("SELECT name FROM pragma_table_info(?) ORDER BY cid", (table,))
    )


def _rows(conn: Connection, table: str) -> Iterator[Row]:
    key = conn.execute("SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk", (table,)).fetchall()
    order = ", ".join(f'"{name}"' for (name,) in key) or "rowid"
    return conn.execute(f'SELECT * FROM "{table}" ORDER BY {order}')  # noqa: S608  # our own table names
