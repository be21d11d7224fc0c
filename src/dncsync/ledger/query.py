"""Read-only SQL for people: whatever the SQL says, it cannot change anything.

Three walls, each enough by itself to protect the ledger: the file is opened read-only, the connection is
`query_only`, and an authorizer lets a statement do nothing but select. The last also keeps it from other
files (ATTACH, VACUUM INTO, extensions).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from dncsync.ledger.sqlite import Connection, Cursor, Error, LedgerError, connect_reader, sqlite3

_CHECK_EVERY = 10_000  # SQLite operations between two looks at the clock: well under a millisecond

_ACTIONS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE}

_PRAGMAS = (  # they describe the schema and change nothing, with or without an argument
    "database_list",
    "foreign_key_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "table_info",
    "table_list",
    "table_xinfo",
)

_FORBIDDEN_FUNCTIONS = {"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit"}


class QueryRefused(LedgerError):
    """The SQL was not run to its end: why, in one line."""


class Answer:
    """What a query yields: `columns`, and the rows by iterating, one by one."""

    def __init__(self, cursor: Cursor, limit: int | None, timeout: float) -> None:
        self.columns: tuple[str, ...] = tuple(column[0] for column in cursor.description)
        self.truncated = False  # whether `limit` left rows out; known when the iteration is over
        self._cursor = cursor
        self._limit = limit
        self._timeout = timeout

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """Yields rows of str, int, float, bytes and None. Raises `QueryRefused` when the time is up."""
        with _explained(self._timeout):
            for count, row in enumerate(self._cursor):
                if count == self._limit:
                    self.truncated = True
                    return
                yield row


@contextmanager
def query(
    path: Path,
    sql: str,
    params: Sequence[Any] | Mapping[str, Any] = (),
    *,
    limit: int | None = None,
    timeout: float = 60.0,
) -> Iterator[Answer]:
    """Runs one SELECT on the ledger at `path`; the answer is good inside the `with` block.

    At most `limit` rows come back. `timeout` is in seconds and covers everything up to the last row. Raises
    `QueryRefused` for SQL that is wrong, does anything but select, or takes too long, and `LedgerUnreadable`.
    """
    with closing(connect_reader(path)) as conn:
        _confine(conn)
        deadline = time.monotonic() + timeout
        conn.set_progress_handler(lambda: time.monotonic() > deadline, _CHECK_EVERY)
        with _explained(timeout):
            cursor = conn.execute(sql, params)
        if cursor.description is None:
            raise QueryRefused("the SQL is not a query; give one SELECT")
        yield Answer(cursor, limit, timeout)


def _confine(conn: Connection) -> None:
    # SQLite before 3.44 shows the authorizer what a table-valued function does when first used; use them now.
    for name in ("json_each('[]')", "json_tree('[]')", *(f"pragma_{pragma}" for pragma in _PRAGMAS)):
        conn.execute(f"SELECT 1 FROM {name} LIMIT 0")  # noqa: S608
    conn.set_authorizer(_authorize)


def _authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    allowed = (
        action in _ACTIONS
        or (action == sqlite3.SQLITE_FUNCTION and str(second).lower() not in _FORBIDDEN_FUNCTIONS)
        or (action == sqlite3.SQLITE_PRAGMA and str(first).lower() in _PRAGMAS)
    )
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


@contextmanager
def _explained(timeout: float) -> Iterator[None]:
    """Turns what SQLite raises into one line for the person who wrote the SQL."""
    try:
        yield
    except (Error, sqlite3.Warning, ValueError, TypeError) as error:
        text = " ".join(str(error).split())
        if "interrupted" in text:
            text = f"it took longer than {timeout:g} s; narrow it down or allow more time"
        elif "not authorized" in text or "prohibited" in text or "authorization" in text:
            text = "only reading is allowed here; give one SELECT"
        elif "one statement at a time" in text:
            text = "only one statement is allowed; give one SELECT"
        raise QueryRefused(f"the query was refused: {text}") from error
