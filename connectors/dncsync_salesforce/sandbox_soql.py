"""The sandbox's SOQL: the subset that is asked of it, checked as the vendor checks it, turned into SQLite."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

_TOKEN = re.compile(
    r"\s*(?:(?P<datetime>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))"
    r"|(?P<string>'(?:\\.|[^'\\])*')"
    r"|(?P<number>-?\d+(?:\.\d+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_.]*)"
    r"|(?P<op><=|>=|!=|<>|=|<|>)"
    r"|(?P<mark>[(),]))"
)
_OPERATORS = {"=": "=", "!=": "<>", "<>": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


class SoqlError(Exception):
    """A query that the vendor refuses with 400."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Column:
    """One field as the asking user sees it."""

    name: str
    """The API name today."""
    stored: str
    """The column of the store; differs after a rename."""
    type: str


@dataclass(slots=True)
class Query:
    """A translated query."""

    source: str
    """Object name in the vendor's spelling."""
    columns: list[Column]
    """Empty for COUNT()."""
    where: str
    """SQL, never empty."""
    values: list[object]
    order: str
    """SQL, may be empty."""
    limit: int | None = None
    mentions: set[str] = field(default_factory=set)
    """API names in the WHERE clause."""


Visible = Callable[[str], tuple[str, Mapping[str, Column]]]
"""Object name in any case -> (its name, columns by lower-case name). Raises `SoqlError` INVALID_TYPE."""


def translate(soql: str, visible: Visible) -> Query:
    """Raises `SoqlError` with the vendor's code and wording."""
    return _Parser(soql, visible).query()


def sql_stamp(literal: str) -> str:
    """A datetime literal in the form in which the store keeps stamps; these compare as text."""
    moment = datetime.fromisoformat(literal).astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}+0000"


class _Parser:
    def __init__(self, soql: str, visible: Visible) -> None:
        self._soql = soql
        self._visible = visible
        self._tokens = self._cut()
        self._at = 0
        self._source = ""
        self._columns: Mapping[str, Column] = {}
        self._values: list[object] = []
        self._mentions: set[str] = set()

    def _cut(self) -> list[tuple[str, str, int]]:
        tokens, at = [], 0
        while at < len(self._soql.rstrip()):
            match = _TOKEN.match(self._soql, at)
            if match is None or match.lastgroup is None:
                raise self._malformed(self._soql[at:].strip()[:10], at)
            tokens.append((match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
            at = match.end()
        return tokens

    def _malformed(self, near: str, at: int) -> SoqlError:
        line = self._soql[:60]
        words = f"\n{line}\n{' ' * min(at, 59)}^\nERROR at Row:1:Column:{at + 1}\nunexpected token: '{near}'"
        return SoqlError("MALFORMED_QUERY", words)

    # --- tokens ---------------------------------------------------------------------------------------

    def _peek(self) -> tuple[str, str, int]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "<EOF>", len(self._soql))

    def _next(self) -> tuple[str, str, int]:
        token = self._peek()
        self._at += 1
        return token

    def _word(self, *words: str) -> bool:
        """Takes these keywords if they come next."""
        here = [t[1].upper() for t in self._tokens[self._at : self._at + len(words)]]
        if here != list(words):
            return False
        self._at += len(words)
        return True

    def _need(self, what: str) -> None:
        _, text, at = self._next()
        if text.upper() != what:
            raise self._malformed(text, at)

    # --- grammar --------------------------------------------------------------------------------------

    def query(self) -> Query:
        self._need("SELECT")
        names: list[tuple[str, int]] = []
        counting = self._word("COUNT", "(", ")")
        while not counting:
            kind, text, at = self._next()
            if kind != "name":
                raise self._malformed(text, at)
            names.append((text, at))
            if not self._word(","):
                break
        self._need("FROM")
        self._source, self._columns = self._visible(self._next()[1])
        columns = [self._column(name, at) for name, at in names]
        where = self._disjunction() if self._word("WHERE") else "1"
        order = self._order() if self._word("ORDER", "BY") else ""
        limit = None
        if self._word("LIMIT"):
            kind, text, at = self._next()
            if kind != "number":
                raise self._malformed(text, at)
            limit = int(text)
        if self._at < len(self._tokens):
            raise self._malformed(self._peek()[1], self._peek()[2])
        return Query(self._source, columns, where, self._values, order, limit, self._mentions)

    def _column(self, name: str, at: int) -> Column:
        column = self._columns.get(name.lower())
        if column is None:
            start = max(0, at - 20)
            words = (
                f"\n{self._soql[start : at + 40]}\n{' ' * (at - start)}^\nERROR at Row:1:Column:{at + 1}\n"
                f"No such column '{name}' on entity '{self._source}'. If you are attempting to use a custom "
                "field, be sure to append the '__c' after the custom field name. Please reference your WSDL "
                "or the describe call for the appropriate names."
            )
            raise SoqlError("INVALID_FIELD", words)
        return column

    def _disjunction(self) -> str:
        parts, joins = [self._condition()], set()
        while True:
            kind, text, at = self._peek()
            join = text.upper() if kind == "name" else ""
            if join not in ("AND", "OR"):
                break
            self._at += 1
            joins.add(join)
            if len(joins) > 1:  # AND beside OR needs parentheses
                raise self._malformed(text, at)
            parts.append(self._condition())
        return f" {joins.pop() if joins else 'AND'} ".join(parts)

    def _condition(self) -> str:
        if self._word("NOT"):
            return f"NOT ({self._condition()})"
        if self._word("("):
            inside = self._disjunction()
            self._need(")")
            return f"({inside})"
        kind, name, at = self._next()
        if kind != "name":
            raise self._malformed(name, at)
        column = self._column(name, at)
        self._mentions.add(column.name)
        quoted = f'"{column.stored}"'
        if self._word("LIKE"):
            self._values.append(self._value(column))
            return f"{quoted} LIKE ?"
        if self._word("NOT", "IN"):
            return f"({quoted} NOT IN {self._list(column)} OR {quoted} IS NULL)"
        if self._word("IN"):
            return f"{quoted} IN {self._list(column)}"
        kind, text, at = self._next()
        if kind != "op":
            raise self._malformed(text, at)
        value = self._value(column)
        if value is None:
            return f"{quoted} IS {'NOT ' if text in ('!=', '<>') else ''}NULL"
        self._values.append(value)
        nocase = " COLLATE NOCASE" if column.type in ("string", "phone", "email") else ""
        return f"{quoted} {_OPERATORS[text]} ?{nocase}"

    def _list(self, column: Column) -> str:
        self._need("(")
        count = 0
        while True:
            self._values.append(self._value(column))
            count += 1
            if not self._word(","):
                break
        self._need(")")
        return f"({', '.join('?' * count)})"

    def _value(self, column: Column) -> object:
        kind, text, at = self._next()
        if kind == "string":
            given: object = re.sub(r"\\(.)", r"\1", text[1:-1])
            fits = column.type not in ("boolean", "datetime", "double")
        elif kind == "datetime":
            given, fits = sql_stamp(text), column.type == "datetime"
        elif kind == "number":
            given, fits = float(text), column.type == "double"
        elif text.lower() in ("true", "false"):
            given, fits = int(text.lower() == "true"), column.type == "boolean"
        elif text.lower() == "null":
            return None
        else:
            raise self._malformed(text, at)
        if not fits:
            words = f"\nvalue of filter criterion for field '{column.name}' must be of type {column.type}"
            raise SoqlError("INVALID_FIELD", words)
        return given

    def _order(self) -> str:
        parts = []
        while True:
            _, name, at = self._next()
            column = self._column(name, at)
            direction = "DESC" if self._word("DESC") else "ASC"
            self._word("ASC")
            parts.append(f'"{column.stored}" {direction}')
            if not self._word(","):
                return ", ".join(parts)
