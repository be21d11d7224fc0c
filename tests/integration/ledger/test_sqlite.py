"""Opening a ledger: what is refused, with which words, and who may write."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dncsync.ledger import migrations
from dncsync.ledger.sqlite import (
    APPLICATION_ID,
    VERSION,
    LedgerInUse,
    LedgerLock,
    LedgerUnreadable,
    connect_reader,
    connect_writer,
    has_wal_reset_bug,
    ledger_id,
    sqlite3,
)
from integration.ledger.making import AT


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    connect_writer(tmp_path / "ledger.db", create=True, now=AT).close()
    return tmp_path / "ledger.db"


def test_a_new_ledger_says_what_it_is(ledger: Path) -> None:
    conn = connect_reader(ledger)
    assert conn.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert conn.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert conn.execute("SELECT value FROM meta WHERE key = 'created'").fetchone() == (str(AT),)
    assert len(ledger_id(conn)) == 36
    conn.close()
    assert ledger.stat().st_mode & 0o777 == 0o600


def test_the_writer_is_durable(ledger: Path) -> None:
    conn = connect_writer(ledger)
    settings = {
        name: conn.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("synchronous", "foreign_keys", "secure_delete", "recursive_triggers", "busy_timeout")
    }
    conn.close()
    assert settings == {
        "synchronous": 2, "foreign_keys": 1, "secure_delete": 1, "recursive_triggers": 1, "busy_timeout": 5000
    }  # fmt: skip


def test_reopening_changes_nothing(ledger: Path) -> None:
    conn = connect_writer(ledger)
    before = ledger_id(conn)
    conn.close()
    conn = connect_writer(ledger, create=True)
    assert ledger_id(conn) == before
    conn.close()


def test_a_reader_cannot_write(ledger: Path) -> None:
    conn = connect_reader(ledger)
    for sql in (
        "DELETE FROM meta",
        "PRAGMA user_version = 7",
        "CREATE TABLE x (y)",
        "CREATE TEMP TABLE x (y)",
    ):
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            conn.execute(sql)
    conn.execute("PRAGMA query_only = OFF")  # the file itself is opened for reading
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        conn.execute("DELETE FROM meta")
    conn.close()


def test_a_reader_reads_while_the_writer_writes(ledger: Path) -> None:
    writer = connect_writer(ledger)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("INSERT INTO meta VALUES ('k', 'v')")
    reader = connect_reader(ledger)
    assert reader.execute("SELECT count(*) FROM meta").fetchone() == (2,)
    writer.execute("COMMIT")
    assert reader.execute("SELECT count(*) FROM meta").fetchone() == (3,)
    reader.close()
    writer.close()


def other_program(path: Path) -> None:
    conn = sqlite3.connect(path)
    conn.execute("CREATE TABLE notes (text)")
    conn.commit()
    conn.close()


def other_application_id(path: Path) -> None:
    conn = sqlite3.connect(path)
    conn.execute("PRAGMA application_id = 7")
    conn.close()


def newer(path: Path) -> None:
    conn = connect_writer(path, create=True)
    conn.execute("INSERT INTO schema_migrations VALUES (9999, '9999_future.sql', x'00', 0)")
    conn.close()


def damaged(path: Path) -> None:
    connect_writer(path, create=True).close()
    raw = bytearray(path.read_bytes())
    raw[100:4096] = b"\xff" * 3996
    path.write_bytes(raw)


BAD = {
    "does not exist": lambda path: None,
    "is not a file": lambda path: path.mkdir(),
    "is empty": lambda path: path.touch(),
    "is not a database": lambda path: path.write_bytes(b"number,channel\n" * 100),
    "is a database of another program": other_program,
    "is a database of another program;": other_application_id,
    "was written by a newer dncsync": newer,
    "is damaged": damaged,
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_ledger_is_one_clear_line(tmp_path: Path, what: str) -> None:
    path = tmp_path / "it.db"
    BAD[what](path)
    for connect in (connect_reader, connect_writer):
        with pytest.raises(LedgerUnreadable) as caught:
            connect(path)
        assert what in str(caught.value)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.mend


def test_what_is_no_ledger_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    other_program(path)
    before = path.read_bytes()
    with pytest.raises(LedgerUnreadable):
        connect_writer(path, create=True)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["notes.db"]


def test_a_ledger_is_not_made_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnreadable, match="cannot be created"):
        connect_writer(tmp_path / "nowhere" / "ledger.db", create=True)
    with pytest.raises(LedgerUnreadable, match="cannot be locked"):
        LedgerLock(tmp_path / "nowhere" / "ledger.db")


def test_an_empty_file_becomes_a_ledger_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "it.db"
    path.touch()
    connect_writer(path, create=True).close()
    connect_reader(path).close()


@pytest.mark.parametrize("name", ["with space.db", "per%20cent.db", "q?mode=rw.db", "hash#.db", "ä.db"])
def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    connect_writer(tmp_path / name, create=True).close()
    conn = connect_reader(tmp_path / name)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        conn.execute("DELETE FROM meta")
    conn.close()


def test_the_lock_names_its_holder(ledger: Path) -> None:
    with LedgerLock(ledger), pytest.raises(LedgerInUse) as caught:
        LedgerLock(ledger)
    assert caught.value.holder == f"process {os.getpid()} on {socket.gethostname()}"
    LedgerLock(ledger).release()


def test_a_link_to_the_ledger_is_the_ledger(ledger: Path, tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(ledger)
    with LedgerLock(ledger), pytest.raises(LedgerInUse):
        LedgerLock(tmp_path / "link.db")


def test_an_unsigned_lock_is_held_all_the_same(ledger: Path) -> None:
    with LedgerLock(ledger):
        (ledger.with_name("ledger.db.lock")).write_bytes(b"")
        with pytest.raises(LedgerInUse, match="another process"):
            LedgerLock(ledger)


def test_a_dead_process_holds_no_lock(ledger: Path) -> None:
    code = (
        "import sys, os; from pathlib import Path; from dncsync.ledger.sqlite import LedgerLock;"
        "lock = LedgerLock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(ledger)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert child.stdin
    assert child.stdout
    with child:
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(LedgerInUse, match=f"process {child.pid} on"):
            LedgerLock(ledger)
        child.kill()
        child.wait()
    with LedgerLock(ledger):
        signed = json.loads(ledger.with_name("ledger.db.lock").read_bytes())
    assert signed["pid"] == os.getpid()


def test_which_sqlite_has_the_wal_reset_bug() -> None:
    assert [has_wal_reset_bug(v) for v in ((3, 6, 23), (3, 7, 0), (3, 51, 2), (3, 51, 3), (3, 53, 0))] == [
        False, True, True, False, False
    ]  # fmt: skip
    assert has_wal_reset_bug() == has_wal_reset_bug(VERSION)


def test_migrations_are_known_in_order() -> None:
    assert [m.version for m in migrations.known()] == list(range(1, len(migrations.known()) + 1))


@pytest.mark.parametrize("text", [b"0001_events.sql", b"tableschema_migrations"])
def test_a_changed_byte_in_the_schemas_own_record_is_one_line(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "ledger.sqlite"
    connect_writer(path, create=True, now=1).close()
    whole = path.read_bytes()
    at = whole.index(text)
    path.write_bytes(whole[:at] + b"\xff" * 8 + whole[at + 8 :])

    with pytest.raises(LedgerUnreadable, match="is damaged"):
        connect_writer(path)
