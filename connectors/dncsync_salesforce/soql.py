"""Building SOQL, with values quoted in one place (sheet 7)."""

from __future__ import annotations

from collections.abc import Iterable


def select(
    columns: str, source: str, conditions: Iterable[str] = (), *, order: str = "", limit: int | None = None
) -> str:
    """A query. Empty conditions are left out; each gets its own parentheses, since SOQL refuses AND and OR
    side by side."""
    parts = ["SELECT", columns, "FROM", source]
    if given := [f"({condition})" for condition in conditions if condition]:
        parts += ["WHERE", " AND ".join(given)]
    if order:
        parts += ["ORDER BY", order]
    if limit is not None:
        parts += ["LIMIT", str(limit)]
    return " ".join(parts)


def text(value: str) -> str:
    """A string literal."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def among(column: str, values: Iterable[str]) -> str:
    """The condition that a column holds one of these strings."""
    return f"{column} IN ({', '.join(map(text, values))})"
