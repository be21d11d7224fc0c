"""The schema's history: numbered SQL files, applied once, in order, forward only.

A file that any ledger has seen is never edited; a change is a new file. Each ledger records the hash of every
file it was given, and one whose record differs from these files is refused.
"""

from __future__ import annotations

import re
import sqlite3 as _stdlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dncsync.ledger.sqlite import Connection

_NAME = re.compile(r"(\d{4})_\w+\.sql")

_RECORD = """
CREATE TABLE IF NOT EXISTS schema_migrations (
  version INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  hash BLOB NOT NULL,
  applied_at INTEGER NOT NULL
) STRICT
"""


class SchemaMismatch(Exception):
    """The ledger's schema and this program do not belong together; says why and what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    version: int
    name: str  # file name
    sql: str

    @property
    def hash(self) -> bytes:
        return sha256(self.sql.encode()).digest()

    def statements(self) -> Iterator[str]:
        """The file's statements one by one: `executescript` would commit the open transaction."""
        statement = ""
        for line in self.sql.splitlines(keepends=True):
            statement += line
            if _stdlib.complete_statement(statement):
                yield statement
                statement = ""
        if statement.strip():
            yield statement  # a comment at the end, or half a statement, which SQLite will refuse


@cache
def known() -> tuple[Migration, ...]:
    """Every migration this program has, in order, numbered from 1 without a gap."""
    found = sorted(
        (
            Migration(int(match[1]), entry.name, entry.read_text(encoding="utf-8"))
            for entry in files(__name__).iterdir()
            if (match := _NAME.fullmatch(entry.name))
        ),
        key=lambda migration: migration.version,
    )
    assert [migration.version for migration in found] == list(range(1, len(found) + 1)), found
    return tuple(found)


def pending(conn: Connection, migrations: Sequence[Migration] | None = None) -> tuple[Migration, ...]:
    """What this ledger has not been given yet. Raises `SchemaMismatch` for a newer or a foreign schema."""
    migrations = known() if migrations is None else migrations
    applied = _applied(conn)
    newest = migrations[-1].version
    if applied and max(applied) > newest:
        raise SchemaMismatch(
            f"was written by a newer dncsync (schema {max(applied)}, this program knows {newest}); "
            "use that version or a newer one"
        )
    for migration in migrations[: len(applied)]:
        if applied.get(migration.version) != (migration.name, migration.hash):
            raise SchemaMismatch(
                f"has another {migration.name} than this program; use the program that wrote it"
            )
    return tuple(migrations[len(applied) :])


def migrate(
    conn: Connection, at: int, migrations: Sequence[Migration] | None = None
) -> tuple[Migration, ...]:
    """Applies what is pending and records it, all in the transaction that the caller has open.

    `at` is the time to record, in microseconds since the epoch. Returns what was applied. Raises
    `SchemaMismatch`.
    """
    assert conn.in_transaction
    conn.execute(_RECORD)
    todo = pending(conn, migrations)
    for migration in todo:
        for statement in migration.statements():
            conn.execute(statement)
        conn.execute(
            "INSERT INTO schema_migrations (version, name, hash, applied_at) VALUES (?, ?, ?, ?)",
            (migration.version, migration.name, migration.hash, at),
        )
    return todo


def _applied(conn: Connection) -> dict[int, tuple[str, bytes]]:
    if conn.execute("SELECT 1 FROM sqlite_schema WHERE name = 'schema_migrations'").fetchone() is None:
        return {}
    rows = conn.execute("SELECT version, name, hash FROM schema_migrations ORDER BY version")
    return {version: (name, digest) for version, name, digest in rows}
