"""`dncsync import`: an existing Do-Not-Call list, with its provenance."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from dncsync.cli.failing import EXIT_DONE, EXIT_FOUND, Cannot
from dncsync.cli.options import NOTHING, Common, print_json
from dncsync.cli.progress import bar

BATCH = 500
"""Rows in one event; each batch is durable before the next is read."""
LONGEST_WORDS = 10_000


@dataclass(frozen=True)
class Columns:
    """Names of the file's columns."""

    number: str
    channel: str
    requested_at: str
    source: str
    actor: str
    words: str


def import_csv(
    file: Annotated[Path, Parameter(help="CSV with a header line, UTF-8.")],
    *,
    actor: Annotated[str, Parameter(help="Who imports.")] = "import",
    rejects: Annotated[
        Path | None, Parameter(help="Where bad rows go; default: FILE with .rejects.csv.")
    ] = None,
    region: Annotated[str, Parameter(help="Country of numbers without a country code.")] = "US",
    number_column: str = "number",
    channel_column: str = "channel",
    requested_at_column: str = "requested_at",
    source_column: str = "source",
    actor_column: str = "actor",
    words_column: str = "words",
    source: Annotated[str, Parameter(help="Source of rows that name none.")] = "",
    dry_run: Annotated[bool, Parameter(help="Read and check everything, record nothing.")] = False,
    common: Common = NOTHING,
) -> int:
    """Take in an existing Do-Not-Call list, once, however often it is run.

    Columns: number, and optionally channel (voice or sms), requested_at (ISO 8601), source, actor, words;
    other names by option. Bad rows go to the rejects file with their line number and the reason; good rows
    are recorded. Exit code 0: all rows are in; 3: some were rejected.

    Example: dncsync import old-list.csv --actor jane --source 'paper list 2019' --config dncsync.toml
    """
    from dncsync import numbers

    if not numbers.is_region(region):
        raise Cannot(f"region {region!r} is no country code; use two letters, e.g. US")
    columns = Columns(
        number_column, channel_column, requested_at_column, source_column, actor_column, words_column
    )
    rejected = Rejects(rejects or file.with_name(file.name + ".rejects.csv"))
    counts = {"rows": 0, "imported": 0, "known": 0, "rejected": 0}
    now = datetime.now(UTC)
    if dry_run:
        for _, row in _rows(file, columns, region, source or file.name, now, counts, None):
            counts["imported"] += row is not None
    else:
        with (
            rejected,
            common.commands() as run,
            bar("importing", quiet=common.json) as report,
        ):
            batch: list[dict[str, Any]] = []
            for done, row in _rows(file, columns, region, source or file.name, now, counts, rejected):
                if row is not None:
                    batch.append(row)
                if len(batch) == BATCH:
                    _send(run, batch, actor, counts)
                    report(done, None)
            _send(run, batch, actor, counts)
    result: dict[str, Any] = {**counts, "dry_run": dry_run}
    if counts["rejected"] and not dry_run:
        result["rejects_file"] = str(rejected.path)
    if common.json:
        print_json(result)
    else:
        from dncsync.cli import rendering

        rendering.result(result)
    return EXIT_FOUND if counts["rejected"] else EXIT_DONE


def _send(run: Any, batch: list[dict[str, Any]], actor: str, counts: dict[str, int]) -> None:
    if batch:
        done = run("import", {"rows": batch, "actor": actor})
        counts["imported"] += done["imported"]
        counts["known"] += done["known"]
        batch.clear()


class Rejects:
    """The file of bad rows; made only when there is one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Any = None
        self._out: Any = None

    def __enter__(self) -> Rejects:
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, line: int, reason: str, row: dict[str, Any]) -> None:
        """One bad row, with its line in the file and the reason."""
        if self._file is None:
            self._file = self.path.open("w", newline="", encoding="utf-8")
            self._out = csv.writer(self._file)
            self._out.writerow(("line", "reason", *(str(name) for name in row)))
        self._out.writerow((line, reason, *("" if v is None else str(v) for v in row.values())))


def _rows(
    path: Path,
    columns: Columns,
    region: str,
    source: str,
    now: datetime,
    counts: dict[str, int],
    rejects: Rejects | None,
) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Yields (rows read, a good row or None). Raises `Cannot` for a file that is no such list."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            if columns.number not in (reader.fieldnames or ()):
                named = ", ".join(reader.fieldnames or ()) or "nothing"
                raise Cannot(
                    f"{path}: no column {columns.number!r} in the header ({named}); name it with "
                    "--number-column"
                )
            for raw in reader:
                counts["rows"] += 1
                row, reason = _read(raw, columns, region, source, now)
                if row is None:
                    counts["rejected"] += 1
                    if rejects is not None:
                        rejects.add(reader.line_num, reason, raw)
                yield counts["rows"], row
    except UnicodeDecodeError as error:
        raise Cannot(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from None
    except csv.Error as error:
        raise Cannot(f"{path}: not CSV near line {counts['rows'] + 2} ({error})") from None


def _read(
    raw: dict[str, Any], columns: Columns, region: str, source: str, now: datetime
) -> tuple[dict[str, Any] | None, str]:
    from dncsync import numbers

    if None in raw:
        return None, "more cells than the header has"
    parsed = numbers.parse(raw[columns.number], region)
    if parsed.number is None:
        hint = " (main line would be usable)" if parsed.base else ""
        return None, f"{columns.number}: {parsed.problem}{hint}"
    channel = (raw.get(columns.channel) or "voice").strip().lower()
    if channel not in ("voice", "sms"):
        return None, f"{columns.channel}: neither voice nor sms"
    requested = (raw.get(columns.requested_at) or "").strip()
    if requested:
        try:
            at = datetime.fromisoformat(requested)
        except ValueError:
            return None, f"{columns.requested_at}: not ISO 8601, e.g. 2026-11-21T15:04:05Z"
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        if at.year < 1970 or at > now:
            return None, f"{columns.requested_at}: in the future or before 1970"
        requested = at.isoformat()
    words = (raw.get(columns.words) or "").strip()
    if len(words) > LONGEST_WORDS:
        return None, f"{columns.words}: longer than {LONGEST_WORDS:,} characters"
    return {
        "number": parsed.number,
        "channel": channel,
        "requested_at": requested,
        "source": (raw.get(columns.source) or "").strip() or source,
        "actor": (raw.get(columns.actor) or "").strip(),
        "words": words,
    }, ""
