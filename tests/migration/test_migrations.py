"""Ledgers of older versions are brought up to date, those of newer ones refused, and none is left between."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from dncsync.ledger import events, migrations
from dncsync.ledger.events import Head
from dncsync.ledger.migrations import Migration, SchemaMismatch
from dncsync.ledger.sqlite import (
    APPLICATION_ID,
    Connection,
    LedgerUnreadable,
    connect_reader,
    connect_writer,
    sqlite3,
)
from dncsync.ledger.verify import verify
from dncsync.ledger.writer import DirectWriter
from integration.ledger.making import AT, event

KNOWN = migrations.known()
NOTES = Migration(len(KNOWN) + 1, "9998_notes.sql", "CREATE TABLE notes (text TEXT) STRICT;\n-- the end\n")
BROKEN = Migration(
    len(KNOWN) + 2, "9999_broken.sql", "CREATE TABLE more (x TEXT) STRICT;\nDROP TABLE nowhere;\n"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def older(path: Path, upto: int) -> None:
    """A ledger as the version left it that knew `upto` migrations, with two events in it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("PRAGMA journal_mode = WAL")
        conn.execute("BEGIN IMMEDIATE")
        conn.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        migrations.migrate(conn, AT, KNOWN[:upto])
        conn.execute("INSERT INTO meta VALUES ('ledger', 'the-old-one'), ('created', '1')")
        events.append(conn, Head(), [event(1), event(2)])
        conn.execute("COMMIT")


def know(monkeypatch: pytest.MonkeyPatch, known: Sequence[Migration]) -> None:
    monkeypatch.setattr(migrations, "known", lambda: tuple(known))


def schema(conn: Connection) -> list[tuple[str, str]]:
    return conn.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()


@pytest.mark.parametrize("upto", range(1, len(KNOWN)))
def test_every_older_ledger_is_brought_up_to_date(path: Path, upto: int) -> None:
    older(path, upto)
    with DirectWriter(path, now=AT + 1) as writer:
        assert writer.call(lambda tx: tx.append([event(3)])) == [3]
    assert verify(path).problems == ()
    fresh = path.with_name("fresh.db")
    connect_writer(fresh, create=True).close()
    with closing(connect_reader(path)) as migrated, closing(connect_reader(fresh)) as new:
        assert schema(migrated) == schema(new)
        assert dict(migrated.execute("SELECT key, value FROM meta")) == {
            "ledger": "the-old-one",
            "created": "1",
        }
        assert migrated.execute("SELECT version, applied_at FROM schema_migrations").fetchall() == [
            (m.version, AT if m.version <= upto else AT + 1) for m in KNOWN
        ]


def test_a_reader_leaves_an_older_ledger_alone(path: Path) -> None:
    older(path, 1)
    with pytest.raises(LedgerUnreadable, match="written by an older dncsync; start the daemon once"):
        connect_reader(path)
    with closing(connect_reader(path, any_schema=True)) as conn:
        assert [e.seq for e in events.iterate(conn)] == [1, 2]
    assert verify(path).problems == ()
    with closing(connect_reader(path, any_schema=True)) as conn:
        assert len(migrations.pending(conn)) == len(KNOWN) - 1


def test_a_newer_ledger_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        know(newer, [*KNOWN, NOTES])
        connect_writer(path, create=True).close()
    before = path.read_bytes()
    for connect in (connect_reader, connect_writer):
        with pytest.raises(
            LedgerUnreadable, match=f"newer dncsync .schema {NOTES.version}.*; use that version"
        ):
            connect(path)
    assert path.read_bytes() == before


def test_an_edited_migration_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect_writer(path, create=True).close()
    edited = Migration(1, KNOWN[0].name, KNOWN[0].sql + "-- a small improvement\n")
    know(monkeypatch, [edited, *KNOWN[1:]])
    for connect in (connect_reader, connect_writer):
        with pytest.raises(LedgerUnreadable, match=f"another {KNOWN[0].name} than this program"):
            connect(path)


def test_a_migration_that_fails_leaves_all_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect_writer(path, create=True).close()
    with closing(connect_reader(path)) as conn:
        before = schema(conn)
    with monkeypatch.context() as newer:
        know(newer, [*KNOWN, NOTES, BROKEN])
        with pytest.raises(LedgerUnreadable, match="no such table: nowhere"):
            connect_writer(path)
    with closing(connect_reader(path)) as conn:
        assert schema(conn) == before
    connect_writer(path).close()


def test_a_new_ledger_whose_migration_fails_is_not_half_made(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        know(newer, [*KNOWN, NOTES, BROKEN])
        with pytest.raises(LedgerUnreadable):
            connect_writer(path, create=True)
    connect_writer(path, create=True).close()
    assert verify(path).problems == ()


def test_migrating_again_does_nothing(path: Path) -> None:
    connect_writer(path, create=True, now=AT).close()
    conn = connect_writer(path, now=AT + 1)
    assert conn.execute("SELECT DISTINCT applied_at FROM schema_migrations").fetchall() == [(AT,)]
    conn.close()


def test_statements_are_taken_one_by_one() -> None:
    trigger = "CREATE TRIGGER t BEFORE DELETE ON x\nBEGIN\n  SELECT 1;\n  SELECT ';';\nEND;\n"
    migration = Migration(1, "0001_x.sql", f"-- first; not yet\nCREATE TABLE x (y);\n{trigger}")
    assert [statement.split()[-1] for statement in migration.statements()] == ["(y);", "END;"]


def test_half_a_statement_at_the_end_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    know(monkeypatch, [*KNOWN, Migration(len(KNOWN) + 1, "9998_half.sql", "CREATE TABLE x (y TEXT")])
    with pytest.raises(LedgerUnreadable, match="incomplete input"):
        connect_writer(path, create=True)


def test_a_migration_needs_a_transaction() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as conn, pytest.raises(AssertionError):
        migrations.migrate(conn, AT)


def test_a_lost_record_of_migrations_is_refused(path: Path) -> None:
    connect_writer(path, create=True).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("UPDATE schema_migrations SET version = 0 WHERE version = 1")
        conn.execute("BEGIN")
        with pytest.raises(SchemaMismatch):
            migrations.migrate(conn, AT)
