"""A Do-Not-Call list as CSV: what each row says, what is wrong with it, and the file of the wrong ones."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from dncsync import numbers
from dncsync.cli.failing import Cannot

LONGEST_WORDS = 10_000
"""Characters of what a consumer said."""
LONGEST_NAME = 200
"""Characters of a source or an actor."""
EARLIEST = 1970

_FORMULA = re.compile(r"[=@\t\r]|[+-](?![\d\s().-]*\Z)")
"""A spreadsheet computes a cell that begins so; a signed number is left as it is."""
_NAMED_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"PK": "an Excel or ZIP file"}


@dataclass(frozen=True)
class Columns:
    """Names of the file's columns."""

    number: str
    channel: str
    requested_at: str
    source: str
    actor: str
    words: str


@dataclass(frozen=True, slots=True)
class Row:
    """One row: either `values` for the command `import`, or the reason why it cannot be used."""

    line: int
    """Line of the file on which it ends."""
    raw: Mapping[Any, Any]
    reason: str = ""
    values: dict[str, Any] = field(default_factory=dict)


class Listed:
    """The list in a file. Reading it twice gives the same rows, as long as the file stays the same."""

    def __init__(self, path: Path, columns: Columns, region: str, source: str) -> None:
        self._path = path
        self._columns = columns
        self._region = region
        self._source = source
        self._now = datetime.now(UTC)

    def rows(self) -> Iterator[Row]:
        """Every row in order. Raises `Cannot` for a file that is no such list."""
        path, line = self._path, 1
        if path.exists() and not path.is_file():
            raise Cannot(f"{path} is not a file; give the path of a CSV file")
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file, strict=True)
                self._check_header(list(reader.fieldnames or ()))
                for raw in reader:
                    line = reader.line_num
                    values, reason = self._read(raw)
                    yield Row(line, raw, reason, values)
        except UnicodeDecodeError:
            raise Cannot(
                f"{path}: not UTF-8 after line {line}{self._what_it_looks_like()}; save it as CSV in UTF-8"
            ) from None
        except csv.Error as error:
            raise Cannot(
                f"{path}: not CSV after line {line} ({error}); look for a quote that is never closed"
            ) from None

    def _what_it_looks_like(self) -> str:
        with self._path.open("rb") as file:
            begins = file.read(2)
        return f" (it looks like {_NAMED_MARKS[begins]})" if begins in _NAMED_MARKS else ""

    def _check_header(self, names: list[str]) -> None:
        if any("\0" in name for name in names):
            raise Cannot(f"{self._path}: not text (line 1 has NUL bytes); save it as CSV in UTF-8")
        if self._columns.number not in names:
            shown = ", ".join(names)[:200] or "nothing"
            raise Cannot(
                f"{self._path}: no column {self._columns.number!r} in line 1 ({shown}); name it with "
                "--number-column"
            )
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise Cannot(f"{self._path}: the column {doubled[0]!r} is there twice; rename or remove one")

    def _read(self, raw: Mapping[Any, Any]) -> tuple[dict[str, Any], str]:
        """The values of a row, or the reason why it cannot be used."""
        columns = self._columns
        if None in raw:
            return {}, "more cells than the header has"
        cells = {name: _without_guard(raw.get(name) or "") for name in vars(columns).values()}
        bad = next((name for name, text in cells.items() if _has_controls(text)), None)
        if bad is not None:
            return {}, f"{bad}: control characters, e.g. NUL"
        parsed = numbers.parse(cells[columns.number], self._region)
        if parsed.number is None:
            hint = " (main line would be usable)" if parsed.base else ""
            return {}, f"{columns.number}: {parsed.problem}{hint}"
        channel = cells[columns.channel].lower() or "voice"
        if channel not in ("voice", "sms"):
            return {}, f"{columns.channel}: neither voice nor sms"
        requested, problem = self._instant(cells[columns.requested_at])
        if problem:
            return {}, f"{columns.requested_at}: {problem}"
        for name, longest in (
            (columns.words, LONGEST_WORDS),
            (columns.source, LONGEST_NAME),
            (columns.actor, LONGEST_NAME),
        ):
            if len(cells[name]) > longest:
                return {}, f"{name}: longer than {longest:,} characters"
        return {
            "number": parsed.number,
            "channel": channel,
            "requested_at": requested,
            "source": cells[columns.source] or self._source,
            "actor": cells[columns.actor],
            "words": cells[columns.words],
        }, ""

    def _instant(self, text: str) -> tuple[str, str]:
        """ISO 8601 with a zone (UTC where none is given), and what is wrong with it."""
        if not text:
            return "", ""
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            return "", "not ISO 8601, e.g. 2026-11-21T15:04:05Z"
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        if at.year < EARLIEST or at > self._now:
            return "", f"in the future or before {EARLIEST}"
        return at.isoformat(), ""


class Rejects:
    """The file of bad rows: made only when there is one, and there whole or not at all."""

    def __init__(self, path: Path | None, source: Path) -> None:
        """`path`: None, to check only. Raises `Cannot` when it is the list itself."""
        if path is not None and path.resolve() == source.resolve():
            raise Cannot(f"{path}: the rejects would overwrite the list; give another --rejects")
        if path is not None and path.is_dir():
            raise Cannot(f"{path} is a folder; give a file for --rejects")
        self._path = path
        self._partial = path.with_name(path.name + ".partial") if path is not None else None
        self._file: TextIO | None = None
        self._out: Any = None

    def __enter__(self) -> Rejects:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None and self._partial is not None:
            self._partial.unlink(missing_ok=True)
            self._file.close()

    def add(self, row: Row) -> None:
        """One bad row, with its line in the list and the reason. Raises `Cannot` when that fails."""
        if self._partial is None:
            return
        try:
            if self._file is None:
                self._file = self._partial.open("w", newline="", encoding="utf-8")
                self._out = csv.writer(self._file)
                self._out.writerow(("line", "reason", *(_guarded(str(name)) for name in row.raw if name)))
            cells = [cell for name, cell in row.raw.items() if name is not None] + (row.raw.get(None) or [])
            self._out.writerow((row.line, row.reason, *(_guarded(cell or "") for cell in cells)))
        except OSError as error:
            raise self._cannot(error) from None

    def keep(self) -> None:
        """Puts the file in its place. Raises `Cannot` when that fails."""
        if self._file is None or self._partial is None or self._path is None:
            return
        try:
            self._file.close()
            self._partial.replace(self._path)
        except OSError as error:
            raise self._cannot(error) from None
        self._file = None

    def _cannot(self, error: OSError) -> Cannot:
        return Cannot(
            f"{self._path}: the rejects cannot be written ({error.strerror}), and nothing was imported; give "
            "another place with --rejects"
        )


def _guarded(cell: str) -> str:
    """With an apostrophe before what a spreadsheet would compute: these cells come from strangers."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _without_guard(cell: str) -> str:
    """As it was before it went through a rejects file, without blanks around it."""
    cell = cell.strip()
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell[1:]) else cell


def _has_controls(text: str) -> bool:
    """Line breaks and tabs are text; other control characters are not."""
    return not text.isprintable() and any((c < " " and c not in "\n\r\t") or c == "\x7f" for c in text)
