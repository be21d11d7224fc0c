"""The one door to SQLite: which library, how a ledger is opened, and who may write.

Writers go through `connect_writer` under a `LedgerLock`; everybody else uses `connect_reader`, whose
connection cannot write and never waits for the writer (WAL).
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import quote
from uuid import uuid4

from dncsync.ledger import migrations

if TYPE_CHECKING:
    import sqlite3 as sqlite3  # the rest of the ledger takes the library from here
else:
    try:
        from pysqlite3 import dbapi2 as sqlite3
    except ImportError:  # no wheel for this platform; `has_wal_reset_bug` tells what that costs
        import sqlite3

Connection = sqlite3.Connection
Cursor = sqlite3.Cursor
Error = sqlite3.Error

APPLICATION_ID = 0x646E6373
"""Stands in the file's header ("dncs"), so that no other database is taken for a ledger."""

VERSION: tuple[int, ...] = sqlite3.sqlite_version_info
"""The SQLite in use."""

_BUSY_MS = 5_000


class LedgerError(Exception):
    """The ledger cannot do what was asked."""


class LedgerUnreadable(LedgerError):
    """This file cannot be used as a ledger: what is wrong, where, and how to mend it, in one line."""

    def __init__(self, path: Path, what: str, mend: str) -> None:
        super().__init__(f"{path} {what}; {mend}")
        self.path = path
        self.what = what
        self.mend = mend


class LedgerInUse(LedgerError):
    """Another process holds this ledger for writing; says which."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(f"{path} is in use by {holder}; stop it first, or use a command that only reads")
        self.path = path
        self.holder = holder


def has_wal_reset_bug(version: tuple[int, ...] = VERSION) -> bool:
    """Whether this SQLite can corrupt a WAL file that several connections use (3.7.0 to 3.51.2)."""
    return (3, 7, 0) <= version < (3, 51, 3)


def connect_writer(
    path: Path, *, create: bool = False, durable: bool = True, now: int | None = None
) -> Connection:
    """The write connection of the ledger at `path`, its schema brought up to date.

    `create` makes a new ledger where there is none; without it a mistyped path is an error and not an empty
    ledger that blocks nobody. `durable=False` spares the fsync, for simulations. `now` (microseconds) is
    recorded as the time of creation and migration; the clock's time when not given. The caller holds the
    `LedgerLock`. Raises `LedgerUnreadable`.
    """
    if create and not path.exists():
        _create_file(path)
    _refuse_missing(path)
    conn = sqlite3.connect(path, isolation_level=None, cached_statements=256)
    with _closing_on_error(conn, path):
        _refuse_foreign(conn, path, may_be_empty=create)
        conn.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        conn.execute("PRAGMA journal_mode = WAL")
        conn.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        conn.execute("PRAGMA foreign_keys = ON")
        conn.execute("PRAGMA trusted_schema = OFF")
        conn.execute("PRAGMA recursive_triggers = ON")  # else REPLACE deletes past the triggers
        conn.execute("PRAGMA secure_delete = ON")  # what is purged leaves the file too
        conn.execute(f"PRAGMA journal_size_limit = {64 << 20}")
        _upgrade(conn, time.time_ns() // 1_000 if now is None else now)
    return conn


def connect_reader(path: Path, *, any_schema: bool = False) -> Connection:
    """A read-only connection to the ledger at `path`; cheap, short-lived, and never in the writer's way.

    `any_schema` also opens a ledger that waits for a migration, for readers of events alone. Raises
    `LedgerUnreadable`.
    """
    _refuse_missing(path)
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    conn = sqlite3.connect(uri, uri=True, isolation_level=None)
    with _closing_on_error(conn, path):
        conn.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        conn.execute("PRAGMA query_only = ON")
        conn.execute("PRAGMA trusted_schema = OFF")
        _refuse_foreign(conn, path, may_be_empty=False)
        if migrations.pending(conn) and not any_schema:
            raise LedgerUnreadable(
                path, "was written by an older dncsync", "start the daemon once, which brings it up to date"
            )
    return conn


@contextmanager
def reading(path: Path, *, any_schema: bool = False) -> Iterator[Connection]:
    """A reader that sees the ledger as it was at one moment, however long it looks.

    Raises `LedgerUnreadable`.
    """
    conn = connect_reader(path, any_schema=any_schema)
    try:
        conn.execute("BEGIN")
        yield conn
    finally:
        conn.close()


def ledger_id(conn: Connection) -> str:
    """The random name this ledger got when it was created; empty if somebody took it away."""
    row = conn.execute("SELECT value FROM meta WHERE key = 'ledger'").fetchone()
    return str(row[0]) if row else ""


class LedgerLock:
    """Held by the one process that may write; the kernel lets go of it when the process dies.

    The file beside the ledger says who holds it. It is never removed: a second process might have opened the
    file that is being removed, and both would hold a lock.
    """

    def __init__(self, ledger: Path) -> None:
        """Takes the lock. Raises `LedgerInUse` at once when another holds it."""
        ledger = ledger.resolve()  # two names of one ledger are one ledger
        path = ledger.with_name(ledger.name + ".lock")
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LedgerUnreadable(
                ledger, f"cannot be locked ({error.strerror})", f"make {path.parent} exist and be writable"
            ) from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(self._fd)
            os.close(self._fd)
            raise LedgerInUse(ledger, holder) from None
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)
        except OSError as error:  # a full disk: the ledger could not be written either
            self.release()
            raise LedgerUnreadable(
                ledger, f"cannot be locked ({error.strerror})", "free some space on its disk"
            ) from None

    def release(self) -> None:
        """Lets others write. Harmless when done twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _holder(fd: int) -> str:
    try:
        who = json.loads(os.pread(fd, 1_000, 0))
        return f"process {who['pid']} on {who['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"  # it took the lock this instant and has not signed yet


def _create_file(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # it holds personal data
    except OSError as error:
        raise LedgerUnreadable(
            path, f"cannot be created ({error.strerror})", f"make {path.parent} exist and be writable"
        ) from None


def _refuse_missing(path: Path) -> None:
    if not path.exists():
        raise LedgerUnreadable(path, "does not exist", "check the path; the first `dncsync run` makes it")
    if not path.is_file():
        raise LedgerUnreadable(path, "is not a file", "give the path of the ledger file itself")
    if not os.access(path, os.R_OK):
        raise LedgerUnreadable(path, "may not be read", "run as the user that owns it")


def _refuse_foreign(conn: Connection, path: Path, *, may_be_empty: bool) -> None:
    (application,) = conn.execute("PRAGMA application_id").fetchone()
    if application == APPLICATION_ID:
        return
    (tables,) = conn.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables or application:
        raise LedgerUnreadable(path, "is a database of another program", "give the path of a dncsync ledger")
    if not may_be_empty:
        raise LedgerUnreadable(
            path,
            "is empty",
            "restore it from a backup, or remove it: the first `dncsync run` makes a new one",
        )


def _upgrade(conn: Connection, now: int) -> None:
    conn.execute("BEGIN IMMEDIATE")
    try:
        conn.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        if migrations.migrate(conn, now):
            conn.executemany(
                "INSERT OR IGNORE INTO meta (key, value) VALUES (?, ?)",
                [("ledger", str(uuid4())), ("created", str(now))],
            )
        conn.execute("COMMIT")
    finally:
        if conn.in_transaction:
            conn.execute("ROLLBACK")


@contextmanager
def _closing_on_error(conn: Connection, path: Path) -> Iterator[None]:
    """Turns what SQLite says while opening into a line for people, and leaves no connection behind."""
    try:
        yield
    except BaseException as error:
        conn.close()
        if isinstance(error, migrations.SchemaMismatch):
            what, _, mend = str(error).partition("; ")
            raise LedgerUnreadable(path, what, mend) from None
        if isinstance(error, sqlite3.DatabaseError):
            raise LedgerUnreadable(path, *_explain(error)) from error
        if isinstance(error, UnicodeDecodeError):  # a changed byte in a text
            raise LedgerUnreadable(path, *_DAMAGED) from error
        raise


_DAMAGED = ("is damaged", "restore it from a backup and run `dncsync ledger verify` on that")


def _explain(error: Error) -> tuple[str, str]:
    text = str(error)
    if "not a database" in text:
        return "is not a database", "give the path of a dncsync ledger, or restore it from a backup"
    if "malformed" in text or "decode" in text:
        return _DAMAGED
    if "locked" in text:
        return "is locked by another program", "close whatever else has it open for writing"
    if "readonly" in text or "unable to open" in text:
        return f"cannot be opened ({text})", "check the rights to the file and its folder, and the disk"
    return f"cannot be read ({text})", "check the disk, then restore it from a backup"
