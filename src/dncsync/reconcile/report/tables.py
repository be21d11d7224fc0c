"""The report's tables as CSV (RFC 4180, UTF-8), row by row, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
from typing import TextIO

from dncsync.reconcile.report.document import Table
from dncsync.reconcile.report.wording import machine

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def write_csv(table: Table, file: TextIO) -> None:
    """Writes the header and every row; durations in seconds, instants as ISO 8601, shares from 0 to 1."""
    lines = csv.writer(file)
    lines.writerow([inert(column.title) for column in table.columns])
    kinds = [column.kind for column in table.columns]
    for row in table.rows():
        lines.writerow(
            [
                inert(cell) if isinstance(cell, str) else machine(cell, kind)
                for cell, kind in zip(row, kinds, strict=True)
            ]
        )


def inert(text: str) -> str:
    """Text that no spreadsheet takes for a formula: an apostrophe stands before what would begin one."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text
