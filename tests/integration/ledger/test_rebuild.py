"""Rebuilding, with a toy projection and with the ledger's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dncsync.ledger import events, migrations, projections, rebuild
from dncsync.ledger.events import Event, NewEvent
from dncsync.ledger.migrations import Migration
from dncsync.ledger.writer import DirectWriter, Tx
from integration.ledger.making import event


class Tally:
    """Counts events by kind; a toy whose table is made by a migration of its own."""

    TABLES = ("tally", "seen")

    def apply(self, tx: Tx, event: Event) -> None:
        tx.execute(
            "INSERT INTO tally VALUES (?, 1) ON CONFLICT (kind) DO UPDATE SET count = count + 1",
            (event.kind,),
        )
        tx.execute("INSERT INTO seen VALUES (?, ?)", (event.payload["n"], event.hash))

    def clear(self, tx: Tx) -> None:
        for table in self.TABLES:
            tx.execute(f"DELETE FROM {table}")


TALLY = Tally()


def record(writer: DirectWriter, new: NewEvent, by: rebuild.Projections = TALLY) -> None:
    def work(tx: Tx) -> None:
        for recorded in tx.record([new]):
            by.apply(tx, recorded)

    writer.call(work)


SCHEMA = """
CREATE TABLE tally (kind TEXT PRIMARY KEY, count INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE seen (n ANY, hash BLOB) STRICT;
"""


@pytest.fixture(autouse=True)
def toy_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    known = (*migrations.known(), Migration(len(migrations.known()) + 1, "9999_toy.sql", SCHEMA))
    monkeypatch.setattr(migrations, "known", lambda: known)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def writer(path: Path) -> Iterator[DirectWriter]:
    with DirectWriter(path, create=True, durable=False) as writer:
        for n in (3, 1, 2, 1):
            record(writer, event(n))
        yield writer


def spoil(writer: DirectWriter, sql: str) -> None:
    writer.call(lambda tx: tx.execute(sql) and None)


def test_projections_that_follow_the_events_are_found_equal(writer: DirectWriter, path: Path) -> None:
    assert rebuild.compare(path, TALLY) == rebuild.RebuildReport(events=4, tables=2, differences=())


@pytest.mark.parametrize(
    ("sql", "table", "rows", "first"),
    [
        ("UPDATE tally SET count = 7 WHERE kind = 'kind.2'", "tally", 1, (("kind.2", 7), ("kind.2", 1))),
        ("DELETE FROM tally WHERE kind = 'kind.3'", "tally", 1, (None, ("kind.3", 1))),
        ("INSERT INTO tally VALUES ('kind.9', 1)", "tally", 1, (("kind.9", 1), None)),
        ("DELETE FROM tally WHERE kind = 'kind.1'", "tally", 3, (("kind.2", 1), ("kind.1", 2))),
    ],
)
def test_a_projection_that_drifted_is_shown(
    writer: DirectWriter, path: Path, sql: str, table: str, rows: int, first: tuple[object, object]
) -> None:
    spoil(writer, sql)
    (difference,) = rebuild.compare(path, TALLY).differences
    assert (difference.table, difference.rows, difference.first[0]) == (table, rows, first)
    assert difference.columns == ("kind", "count")


@pytest.mark.parametrize("value", ["1.0", "'1'", "x'31'", "NULL"])
def test_equal_values_of_another_type_differ(writer: DirectWriter, path: Path, value: str) -> None:
    spoil(writer, f"UPDATE seen SET n = {value} WHERE n = 1")
    (difference,) = rebuild.compare(path, TALLY).differences
    assert (difference.table, difference.rows) == ("seen", 2)


def test_only_the_first_rows_are_kept(writer: DirectWriter, path: Path) -> None:
    spoil(writer, "UPDATE tally SET count = 9")
    (difference,) = rebuild.compare(path, TALLY, first=2).differences
    assert (difference.rows, len(difference.first)) == (3, 2)


def test_a_comparison_changes_nothing(writer: DirectWriter, path: Path) -> None:
    spoil(writer, "UPDATE tally SET count = 9")
    assert rebuild.compare(path, TALLY) == rebuild.compare(path, TALLY)


def test_replacing_mends_what_drifted(writer: DirectWriter, path: Path) -> None:
    spoil(writer, "UPDATE tally SET count = 9")
    spoil(writer, "DELETE FROM seen")
    assert rebuild.replace(writer, TALLY) == 4
    assert rebuild.compare(path, TALLY).ok


def test_a_replacement_that_fails_changes_nothing(writer: DirectWriter, path: Path) -> None:
    class Failing(Tally):
        def apply(self, tx: Tx, event: Event) -> None:
            if event.seq == 3:
                raise LookupError
            super().apply(tx, event)

    with pytest.raises(LookupError):
        rebuild.replace(writer, Failing())
    assert rebuild.compare(path, TALLY).ok


def test_progress_is_told(writer: DirectWriter, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild, "_BATCH", 3)
    calls: list[tuple[int, int]] = []
    rebuild.compare(path, TALLY, progress=lambda *call: calls.append(call))
    rebuild.replace(writer, TALLY, progress=lambda *call: calls.append(call))
    assert calls == [(3, 4), (4, 4), (3, 4)]


def test_what_is_appended_meanwhile_does_not_matter(writer: DirectWriter, path: Path) -> None:
    def go_on(*_: int) -> None:
        record(writer, event(5))

    assert rebuild.compare(path, TALLY, progress=go_on) == rebuild.RebuildReport(4, 2, ())


def test_the_ledgers_own_projections_fit(writer: DirectWriter, path: Path) -> None:
    """Also a check by mypy: the module is what `rebuild` asks for."""
    record(writer, replace(event(1), kind=events.PURGED), by=projections)
    assert rebuild.compare(path, projections).ok
    assert rebuild.replace(writer, projections) == 5
