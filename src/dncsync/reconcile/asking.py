"""Asking the ledger for figures: what was asked is kept, word for word, beside the answer.

An auditor who runs the kept SQL on the same ledger reads the same figures. So values are written into the SQL
as literals, and nothing that the SQL gives is added to later but its formatting.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from dncsync.ledger.sqlite import Connection

_NAMED = re.compile(r":([a-z_]+)\b")
_BLANKS = re.compile(r"\s+")

Row = dict[str, Any]


class Asking:
    """A connection that sees the ledger at one moment, and the queries that were put to it."""

    def __init__(self, conn: Connection, always: Mapping[str, object]) -> None:
        """`always`: values of names that any query may use, e.g. the head and the period's ends."""
        self._conn = conn
        self._always = dict(always)
        self.queries: dict[str, str] = {}
        """Name -> SQL, with literals."""

    def rows(self, name: str, sql: str, **values: object) -> list[Row]:
        """Runs a SELECT whose `:names` are replaced by literals, keeps it under `name`, and returns its rows.

        Asked twice under one name, it must be the same SQL: a figure names one query."""
        whole = literal(sql, {**self._always, **values})
        if self.queries.setdefault(name, whole) != whole:
            raise ValueError(f"two queries are named {name}")
        return fetch(self._conn, whole)

    def keep(self, name: str, sql: str, **values: object) -> None:
        """Keeps a query under `name` without running it, where its answer is known to be empty."""
        self.queries[name] = literal(sql, {**self._always, **values})

    def first(self, name: str, sql: str, count: int, **values: object) -> list[Row]:
        """As `rows`, and only the first `count`: for a list that a report shows the beginning of."""
        whole = literal(sql, {**self._always, **values})
        self.queries[name] = whole
        return fetch(self._conn, f"{whole} LIMIT {int(count)}")

    def row(self, name: str, sql: str, **values: object) -> Row:
        """The only row of a query."""
        (row,) = self.rows(name, sql, **values)
        return row

    def value(self, name: str) -> int:
        """One of the values that any query may use."""
        value = self._always[name]
        if not isinstance(value, int):
            raise TypeError(f"{name} is no integer")
        return value

    def has(self, table: str) -> bool:
        """Whether the ledger's schema has such a table."""
        found = self._conn.execute(
            "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", (table,)
        ).fetchone()
        return found is not None


def fetch(conn: Connection, sql: str) -> list[Row]:
    """Every row as column -> value."""
    cursor = conn.execute(sql)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def json_list(values: Iterable[str]) -> str:
    """For `IN (SELECT value FROM json_each(:name))`."""
    return orjson.dumps(list(values)).decode()


def literal(sql: str, values: Mapping[str, object]) -> str:
    """The SQL on one line, each `:name` replaced by its value. Raises `KeyError` for a name without one."""
    one_line = _BLANKS.sub(" ", sql).strip()
    return _NAMED.sub(lambda found: _written(values[found[1]]), one_line)


def _written(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    raise TypeError(f"no literal of {type(value).__name__}")
