"""The document as words and numbers on lines: what the page and the paper both print.

The result is plain JSON values, so that the template of the page and the program of the paper get data and
never markup. Tables are cut to what a person reads; their last line says how much more the CSV holds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import islice
from math import ceil
from typing import Any, Final

from dncsync.reconcile.report.document import (
    Block,
    Chart,
    Check,
    Checklist,
    Column,
    Document,
    Figures,
    Kind,
    Prose,
    Queries,
    Section,
    Signatures,
    Table,
    Terms,
    Warned,
)
from dncsync.reconcile.report.wording import count, instant, legible, plural, shown

SHORT_HASH: Final = 16
"""Hexadecimal digits of the ledger head in running footers."""
SOFT: Final = "\u200b"
"""Where a long word may break; `legible` lets none through, so each one in the layout is ours."""
_LONG_WORD: Final = {False: (18, 8), True: (12, 6)}
"""Code or not -> from which length a word may break, and after how many letters."""
_BREAKS: Final = re.compile(f"[ {SOFT}]|(?<=-)")
_CODE: Final = re.compile(r"[0-9a-f-]{32,}|[a-z-]+\.(csv|json)")
_LINE: Final = 136
"""Letters that fit beside each other in a table of the paper."""
_WIDEST: Final = 60
_DIGIT: Final = 1.12
"""Widths of a tabular digit and of a letter of code, in letters of text."""
_CODED: Final = 1.18
_FEW: Final = 8
"""Columns up to which an instant has its line to itself."""


def laid_out(document: Document) -> dict[str, Any]:
    """The document as JSON values. Text in it is legible; only `svg` is markup, and our own."""
    numbers = {name: place for place, name in enumerate(document.queries, 1)}
    return {
        "title": document.title,
        "period": legible(document.period),
        "verdict": document.verdict,
        "sound": document.sound,
        "headline": [legible(line) for line in document.headline],
        "banners": list(document.banners),
        "figures": _figures(document.figures, numbers),
        "cover": _pairs(document.cover),
        "head": document.head,
        "short_head": document.head[:SHORT_HASH],
        "as_of": instant(document.as_of),
        "sections": [_section(section, numbers) for section in (*document.sections, _files(document))],
        "queries": [
            {"number": numbers[name], "name": legible(name), "sql": legible(sql, 20_000)}
            for name, sql in document.queries.items()
        ],
    }


def _files(document: Document) -> Section:
    tables = [
        (f"{table.name}.csv", f"{table.caption}: {plural(table.count, 'row')}") for table in document.tables()
    ]
    rest = (("report.json", "every fact of this report; its SHA-256 stands in the ledger"),)
    return Section(
        "files",
        "Files of this report",
        (Terms((*rest, *tables)),),
        "The same figures for machines, one table a file, beside this report.",
    )


def _section(section: Section, numbers: Mapping[str, int]) -> dict[str, Any]:
    blocks = [_block(block, numbers) for block in section.blocks if not _is_csv_only(block)]
    return {
        "name": section.name,
        "title": section.title,
        "lead": legible(section.lead),
        "new_page": section.new_page,
        "blocks": blocks,
    }


def _is_csv_only(block: Block) -> bool:
    return isinstance(block, Table) and block.shown == 0


def _block(block: Block, numbers: Mapping[str, int]) -> dict[str, Any]:
    match block:
        case Figures():
            return {"type": "figures", "figures": _figures(block, numbers)}
        case Prose():
            note = numbers.get(block.note)
            return {"type": "prose", "text": legible(block.text, 5_000), "note": note, "small": block.small}
        case Warned():
            return {"type": "warned", "text": legible(block.text, 5_000)}
        case Chart():
            named = {f.name: getattr(block, f.name) for f in fields(block)}
            return {"type": "chart", **named, "note": numbers.get(block.note)}
        case Table():
            return _table(block, numbers)
        case Checklist():
            checks = [_check(check, numbers) for check in block.checks]
            return {"type": "checklist", "caption": block.caption, "checks": checks}
        case Signatures():
            return {"type": "signatures", "statement": block.statement, "roles": list(block.roles)}
        case Terms():
            return {"type": "terms", "pairs": _pairs(block.pairs)}
        case Queries():
            return {"type": "queries"}


def _figures(block: Figures, numbers: Mapping[str, int]) -> list[dict[str, Any]]:
    return [
        {
            "label": figure.label,
            "value": legible(figure.value),
            "detail": legible(figure.detail),
            "tone": figure.tone,
            "note": numbers.get(figure.note),
        }
        for figure in block.figures
    ]


def _pairs(pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Term and what is said of it; hashes, ids and names of files are set as code."""
    return [
        {
            "term": legible(term),
            "said": legible(said, 2_000),
            "code_term": _CODE.fullmatch(term) is not None,
            "code_said": _CODE.fullmatch(said) is not None,
        }
        for term, said in pairs
    ]


def _check(check: Check, numbers: Mapping[str, int]) -> dict[str, Any]:
    return {
        "number": check.number,
        "item": legible(check.item),
        "state": check.state,
        "filled": check.filled,
        "result": legible(check.result, 2_000),
        "ask": legible(check.ask, 2_000),
        "fields": [legible(field) for field in check.fields],
        "notes": sorted(numbers[name] for name in check.notes if name in numbers),
    }


def _table(table: Table, numbers: Mapping[str, int]) -> dict[str, Any]:
    columns = table.columns[: len(table.columns) - table.csv_only]
    kinds = [column.kind for column in columns]
    rows = [
        [soft(shown(cell, kind), code=kind is Kind.CODE) for cell, kind in zip(row, kinds, strict=False)]
        for row in islice(table.rows(), table.shown)
    ]
    titles = [_title(column) for column in columns]
    left = table.count - len(rows)
    return {
        "type": "table",
        "name": table.name,
        "caption": legible(table.caption),
        "columns": [
            {"title": title, "right": kind.right, "code": kind is Kind.CODE, "width": width}
            for title, kind, width in zip(titles, kinds, _widths(titles, kinds, rows), strict=True)
        ],
        "rows": rows,
        "empty": table.empty,
        "more": f"and {count(left)} more: see {table.name}.csv" if left > 0 else "",
        "note": numbers.get(table.note),
    }


def _title(column: Column) -> str:
    return f"{column.title} (UTC)" if column.kind is Kind.INSTANT else column.title


def soft(text: str, *, code: bool = False) -> str:
    """Text whose long words may break: ids, hashes and what strangers write without a space."""
    longest, piece = _LONG_WORD[code]
    return " ".join(
        SOFT.join(word[place : place + piece] for place in range(0, len(word), piece))
        if len(word) > longest
        else word
        for word in text.split(" ")
    )


def _widths(titles: Sequence[str], kinds: Sequence[Kind], rows: Sequence[Sequence[str]]) -> list[int]:
    """Shares of the line: figures get what they need, text shares the rest by what it has to say."""
    needs: list[int] = []
    least: list[int] = []
    for place, (title, kind) in enumerate(zip(titles, kinds, strict=True)):
        word = max((len(part) for part in title.split()), default=1)
        cells = [row[place] for row in rows]
        longest = max((len(cell.replace(SOFT, "")) for cell in cells), default=0)
        if kind in (Kind.TEXT, Kind.CODE):
            wide = _CODED if kind is Kind.CODE else 1.0
            piece = max((len(part) for cell in cells for part in _BREAKS.split(cell)), default=0)
            needs.append(max(word, min(_WIDEST, ceil(wide * longest))))
            least.append(max(word, ceil(wide * piece)))
        elif kind is Kind.INSTANT:
            needs.append(ceil(_DIGIT * (16 if len(kinds) <= _FEW else 10)))
            least.append(ceil(_DIGIT * 10))
        else:
            needs.append(max(word, ceil(_DIGIT * longest)))
            least.append(needs[-1])
    rest = _LINE - 2 * len(kinds) - sum(least)
    wished = sum(need - low for need, low in zip(needs, least, strict=True))
    if wished > rest:
        needs = [
            low + (need - low) * max(rest, 0) // max(wished, 1)
            for need, low in zip(needs, least, strict=True)
        ]
    return [need + 2 for need in needs]
