"""`dncsync ledger`: the record as evidence."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from dncsync.cli.failing import EXIT_DONE, EXIT_FOUND, Cannot, printable
from dncsync.cli.options import NOTHING, Common, print_json
from dncsync.cli.progress import bar

LONGEST_QUERY = 86_400.0
"""Seconds."""

app = App(name="ledger", help="Verify, export, query, rebuild or checkpoint the ledger.")


@app.command
def verify(
    *,
    checkpoint: Annotated[
        list[Path] | None, Parameter(help="A checkpoint file kept elsewhere; may be repeated.")
    ] = None,
    trust: Annotated[
        list[str] | None, Parameter(help="Public key (hex) whose checkpoints count; may be repeated.")
    ] = None,
    common: Common = NOTHING,
) -> int:
    """Check every byte of the chain. Exit code 0: it verifies; 3: something does not fit.

    A ledger that was rewritten as a whole verifies by itself; only a checkpoint that was kept elsewhere shows
    it. Keep some elsewhere.

    Example: dncsync ledger verify --ledger dncsync.sqlite --checkpoint 2026-09-30.json
    """
    from dncsync.ledger import checkpoint as checkpoints
    from dncsync.ledger import verify as verifier

    kept = [checkpoints.read_file(path) for path in checkpoint or []]
    keys = [_key(text) for text in trust or []]
    with bar("verifying", quiet=common.json) as report:
        found = verifier.verify(common.ledger_path(), kept, trusted_keys=keys, progress=report)
    if common.json:
        print_json(
            {
                "ok": found.ok,
                "events": found.events,
                "head": {"seq": found.head.seq, "hash": found.head.hash.hex()},
                "checkpoints": found.checkpoints,
                "problems": [printable(str(problem)) for problem in found.problems],
                "omitted": found.omitted,
            }
        )
        return EXIT_DONE if found.ok else EXIT_FOUND
    out = _console()
    if found.ok:
        out.print("The chain verifies", style="green", end="")
        out.print(f": {found.events:,} events, {found.checkpoints} checkpoints compared.")
        out.print(f"head {found.head.seq} {found.head.hash.hex()}", soft_wrap=True)
        return EXIT_DONE
    out.print("The ledger does not verify.", style="bold red")
    for problem in found.problems:
        out.print(f"  {printable(str(problem))}")
    if found.omitted:
        out.print(f"  and {found.omitted:,} more")
    return EXIT_FOUND


@app.command
def export(
    target: Annotated[Path, Parameter(help="The SQLite file to write.")],
    *,
    overwrite: bool = False,
    include_words: Annotated[
        bool, Parameter(help="Also what consumers said; an export outlives an erasure.")
    ] = False,
    common: Common = NOTHING,
) -> int:
    """Write a self-contained SQLite file for auditors: views, full-text search, and comments on each column.

    It opens in Datasette, sqlite-utils or a spreadsheet. Start with the views `propagation`, `requests`,
    `late` and `open`.

    Example: dncsync ledger export audit-2026Q3.sqlite --config dncsync.toml
    """
    from dncsync.clock import SystemClock, to_micros
    from dncsync.ledger import export as exporter

    at = to_micros(SystemClock().now())
    with bar("exporting", quiet=common.json) as report:
        done = exporter.export(
            common.ledger_path(),
            target,
            at=at,
            overwrite=overwrite,
            include_personal=include_words,
            progress=report,
        )
    result = {
        "file": str(done.path),
        "head": done.head.seq,
        "root": done.head.hash.hex(),
        "complete": done.complete,
        "rows": dict(done.rows),
    }
    if common.json:
        print_json(result)
    else:
        _console().print(
            f"Wrote {done.path}: {sum(done.rows.values()):,} rows up to event {done.head.seq:,}.\n"
            f"Look: sqlite-utils rows {done.path} propagation --limit 5 -t",
            soft_wrap=True,
        )
    return EXIT_DONE


@app.command
def query(
    sql: Annotated[str, Parameter(help="One SELECT.")],
    *,
    limit: Annotated[int, Parameter(help="Most rows to print.")] = 1_000,
    timeout: Annotated[float, Parameter(help="Seconds.")] = 60.0,
    csv: Annotated[bool, Parameter(name="--csv", help="Print CSV.")] = False,
    common: Common = NOTHING,
) -> int:
    """Run read-only SQL on the ledger. It cannot write, whatever the SQL says.

    Example: dncsync ledger query 'SELECT system, count(*) FROM deliveries WHERE open = 1 GROUP BY system'
    """
    from dncsync.ledger import query as asking

    if limit < 1:
        raise Cannot("--limit: at least 1")
    if not 0 < timeout <= LONGEST_QUERY:
        raise Cannot(f"--timeout: more than 0 and at most {LONGEST_QUERY:,.0f} seconds")
    with asking.query(common.ledger_path(), sql, limit=limit, timeout=timeout) as answer:
        if csv:
            import csv as writing

            out = writing.writer(sys.stdout)
            out.writerow(answer.columns)
            out.writerows([_plain(value) for value in row] for row in answer)
        elif common.json:
            rows = [[_plain(value) for value in row] for row in answer]
            print_json({"columns": answer.columns, "rows": rows, "truncated": answer.truncated})
        else:
            from dncsync.cli import rendering

            rendering.rows(answer.columns, ([_plain(value) for value in row] for row in answer))
            if answer.truncated:
                rendering.console().print(f"Only the first {limit:,} rows; ask for more with --limit.")
    return EXIT_DONE


@app.command
def rebuild(
    *,
    apply: Annotated[
        bool, Parameter(help="Replace the projections by the rebuilt ones. Without it: only compare.")
    ] = False,
    common: Common = NOTHING,
) -> int:
    """Rebuild every projection from the events alone and compare it byte for byte with what is there.

    Exit code 0: the same; 3: it differs (and with --apply: it was mended).

    Example: dncsync ledger rebuild --ledger dncsync.sqlite
    """
    from dncsync.ledger import projections
    from dncsync.ledger import rebuild as rebuilding

    path = common.ledger_path()
    with bar("rebuilding", quiet=common.json) as report:
        found = rebuilding.compare(path, projections, progress=report)
    if apply and not found.ok:
        from dncsync.ledger.writer import DirectWriter

        with bar("replacing", quiet=common.json) as report, DirectWriter(path) as writer:
            rebuilding.replace(writer, projections, progress=report)
    differences = [{"table": d.table, "rows": d.rows} for d in found.differences]
    if common.json:
        print_json({"ok": found.ok, "events": found.events, "differences": differences, "applied": apply})
    elif found.ok:
        _console().print(f"Every projection is as {found.events:,} events make it.", style="green")
    else:
        for difference in found.differences:
            _console().print(f"{difference.table}: {difference.rows:,} rows differ")
        _console().print("Replaced." if apply else "Replace them with --apply (stop the daemon first).")
    return EXIT_DONE if found.ok else EXIT_FOUND


@app.command
def checkpoint(
    *,
    out: Annotated[Path | None, Parameter(help="Write the signed checkpoint to this file.")] = None,
    key: Annotated[
        Path | None, Parameter(help="Signing key (PEM); default: the one that the configuration names.")
    ] = None,
    new_key: Annotated[bool, Parameter(help="Make a new key at --key first.")] = False,
    common: Common = NOTHING,
) -> int:
    """Sign the head of the chain. Keep the file elsewhere: it proves what existed when.

    Example: dncsync ledger checkpoint --key checkpoint.key --out 2026-09-30.json
    """
    from dncsync.ledger.checkpoint import Signer

    target = out or Path(f"checkpoint-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json")
    if target.exists():
        raise Cannot(f"{target} exists already; a checkpoint is never overwritten, choose another --out")
    if not target.absolute().parent.is_dir():
        raise Cannot(f"{target}: there is no such folder; make it, or choose another --out")
    if key is None and common.config is not None:
        key = common.settings().ledger.checkpoint_key
    if key is None:
        raise Cannot("which key? Give --key FILE (with --new-key to make one) or [ledger] checkpoint_key")
    common.reachable()
    if new_key:
        Signer.create(key)
    taken = common.command("checkpoint", {"key": str(key.resolve())})
    with target.open("x", encoding="utf-8") as file:
        file.write(taken["checkpoint"])
    if common.json:
        print_json({"file": str(target), "seq": taken["seq"], "at": taken["at"]})
    else:
        _console().print(f"Signed event {taken['seq']:,} at {taken['at']}: {target}", soft_wrap=True)
    return EXIT_DONE


def _key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise Cannot("--trust takes an Ed25519 public key: 64 hexadecimal digits")
    return key


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def _console() -> Any:
    from dncsync.cli import rendering

    return rendering.console()
