"""`dncsync import`: an existing Do-Not-Call list, with its provenance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from dncsync.cli.failing import EXIT_DONE, EXIT_FOUND, EXIT_HELD, Cannot
from dncsync.cli.options import NOTHING, Common, print_json
from dncsync.cli.progress import bar

BATCH = 500
"""Rows in one event; each batch is durable before the next is sent."""


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
    source: Annotated[str, Parameter(help="Source of rows that name none; default: the file's name.")] = "",
    dry_run: Annotated[bool, Parameter(help="Read and check everything, write nothing.")] = False,
    common: Common = NOTHING,
) -> int:
    """Take in an existing Do-Not-Call list, once, however often it is run.

    Columns: number, and optionally channel (voice or sms), requested_at (ISO 8601), source, actor, words;
    other names by option. The whole file is checked before the first row is recorded: a file that is no such
    list changes nothing. Bad rows go to the rejects file with their line number and the reason, to be mended
    and imported from there. After an interruption run it again: rows that are in are known.

    More rows than the policy's fuse allows are blocked here at once, and spread when somebody approves it:
    `dncsync plan`. Exit code 0: all rows are in; 3: some were rejected; 4: all are in, and some wait.

    Example: dncsync import old-list.csv --actor jane --source 'paper list 2019' --config dncsync.toml
    """
    from dncsync import numbers
    from dncsync.cli.csv_list import Columns, Listed, Rejects

    if not numbers.is_region(region):
        raise Cannot(f"region {region!r} is no country code; use two letters, e.g. US")
    if not actor.strip():
        raise Cannot("--actor is blank; say who imports")
    columns = Columns(
        number_column, channel_column, requested_at_column, source_column, actor_column, words_column
    )
    listed = Listed(file, columns, region, source.strip() or file.name)
    target = rejects or Path(f"{file}.rejects.csv")
    counts = {"rows": 0, "imported": 0, "known": 0, "rejected": 0}
    held: str | None = None
    if not dry_run:
        common.reachable()
    with Rejects(None if dry_run else target, file) as rejected:
        with bar("checking", quiet=common.json) as report:
            for row in listed.rows():
                counts["rows"] += 1
                if row.reason:
                    counts["rejected"] += 1
                    rejected.add(row)
                if counts["rows"] % BATCH == 0:
                    report(counts["rows"], None)
        good = counts["rows"] - counts["rejected"]
        if dry_run:
            counts["imported"] = good
        else:
            rejected.keep()
            held = _send(listed, actor.strip(), counts, good, common)
    result: dict[str, Any] = {**counts, "dry_run": dry_run}
    if held:
        result["waits_for"] = held
        result["why"] = f"blocked here; its spread waits for approval: dncsync plan show {held}"
    if counts["rejected"] and not dry_run:
        result["rejects_file"] = str(target)
    if common.json:
        print_json(result)
    else:
        from dncsync.cli import rendering

        rendering.result(result)
    if counts["rejected"]:
        return EXIT_FOUND
    return EXIT_HELD if held else EXIT_DONE


def _send(listed: Any, actor: str, counts: dict[str, int], good: int, common: Common) -> str | None:
    """Records the good rows, a batch at a time; each is durable before the next. Returns the fuse that the
    last of them wait for."""
    batch: list[dict[str, Any]] = []
    held: list[str] = []
    with common.commands() as run, bar("importing", quiet=common.json) as report:

        def flush(run: Callable[..., dict[str, Any]] = run) -> None:
            done = run("import", {"rows": batch, "actor": actor})
            counts["imported"] += done["imported"]
            counts["known"] += done["known"]
            if "waits_for" in done:
                held.append(done["waits_for"])
            report(counts["imported"] + counts["known"], good)
            batch.clear()

        for row in listed.rows():
            if row.reason:
                continue
            batch.append(row.values)
            if len(batch) == BATCH:
                flush()
        if batch:
            flush()
    return held[-1] if held else None
