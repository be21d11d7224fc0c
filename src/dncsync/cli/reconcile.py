"""`dncsync reconcile`: a period's report, made or verified."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from dncsync.cli.failing import EXIT_DONE, EXIT_FOUND, Cannot, printable
from dncsync.cli.options import NOTHING, Common, print_json
from dncsync.cli.progress import bar

if TYPE_CHECKING:
    from dncsync.clock import Clock
    from dncsync.reconcile.period import Span
    from dncsync.reconcile.quarter import Phase, Progress, Wish
    from dncsync.reconcile.verifying import Verdict
    from dncsync.runtime.systems import Connected

_KEYS_A_SECOND = 500_000
"""Holdings compared in a second on a small machine, for `--dry-run`; half of what was measured."""
_EVENTS_A_SECOND = 100_000
"""Events verified in a second, likewise."""


def reconcile(
    *,
    quarter: Annotated[str | None, Parameter(help="E.g. 2026Q3.")] = None,
    first: Annotated[
        str | None, Parameter(name="--from", help="First day (ISO date) of any other period.")
    ] = None,
    last: Annotated[str | None, Parameter(name="--to", help="Its last day, included.")] = None,
    fresh: Annotated[
        bool, Parameter(negative="", help="Have the daemon read every system in full first.")
    ] = False,
    out: Annotated[
        Path | None, Parameter(help="Folder for the report's files; default: a new one by the period's name.")
    ] = None,
    seed: Annotated[
        int | None, Parameter(help="Seed of the sample; default: the period's last day, as 20260930.")
    ] = None,
    dry_run: Annotated[bool, Parameter(negative="", help="Only say what would be done.")] = False,
    verify: Annotated[
        Path | None, Parameter(help="A report (folder, JSON, HTML or PDF): does it still hold?")
    ] = None,
    common: Common = NOTHING,
) -> int:
    """Compare every system with the ledger and write the report of a quarter, or verify one.

    The report is a folder: a page (report.html), the same on paper (report.pdf), its data (report.json), and
    tables (CSV). Their hashes are recorded in the ledger. One that was interrupted is resumed by the same
    command. Exit code 0: done; 3 with --verify: the report does not hold.

    Example: dncsync reconcile --quarter 2026Q3 --config dncsync.toml
    """
    if verify is not None:
        given = {"--quarter": quarter, "--from": first, "--to": last, "--out": out, "--seed": seed}
        if wrong := [name for name, value in given.items() if value is not None]:
            raise Cannot(f"--verify takes a report and nothing else; leave out {' and '.join(wrong)}")
        return _verify(verify, common)
    return _make(quarter, first, last, fresh, out, seed, dry_run, common)


def _make(
    quarter: str | None,
    first: str | None,
    last: str | None,
    fresh: bool,
    out: Path | None,
    seed: int | None,
    dry_run: bool,
    common: Common,
) -> int:
    from dncsync.clock import SystemClock
    from dncsync.reconcile import quarter as steps
    from dncsync.reconcile.period import NoPeriod
    from dncsync.runtime import reconciling
    from dncsync.runtime.embedded import load_policies

    settings = common.settings()
    ledger = common.ledger_path()
    common.reachable()
    clock = SystemClock()
    try:
        span = _span(quarter, first, last, settings.reconcile.zone)
    except NoPeriod as error:
        raise Cannot(str(error)) from None
    if seed is not None and not 0 <= seed < 2**63:
        raise Cannot("--seed: a whole number from 0 to 9223372036854775807")
    if out is not None and (out / "report.json").exists():
        raise Cannot(f"{out} holds a report already; choose another --out")
    today = clock.now().date()
    if span.first > today:
        raise Cannot(f"{span.name} has not begun; choose a period that has")
    with _connected(settings, clock) as systems:
        wish = reconciling.wish(
            settings,
            load_policies(settings),
            systems,
            span,
            actor="command line",
            today=today,
            seed=seed,
            fresh=fresh,
        )
    if common.ledger is not None and settings.reconcile.folder is None:
        wish = _with(wish, folder=steps.default_folder(ledger))
    if out is not None:
        wish = _with(wish, folder=out, exact_folder=True)
    if dry_run:
        return _foresee(ledger, wish, common)
    with common.commands() as run, _bars(common.json) as progress:
        from dncsync.runtime.hands import daemon_runs

        if fresh and not daemon_runs(ledger):
            raise Cannot("--fresh needs the daemon, which reads the systems; start it with `dncsync run`")
        done = steps.reconcile(ledger, run, clock, wish, progress)
    result = {
        "run": done.run,
        "period": span.name,
        "resumed": done.resumed,
        "folder": str(done.folder),
        "files": dict(done.files),
        "headline": list(done.facts.headline),
    }
    if common.json:
        print_json(result)
        return EXIT_DONE
    console = _console()
    console.print(f"{span.name}{' (resumed)' if done.resumed else ''}", style="bold")
    for sentence in done.facts.headline:
        console.print(f"  {printable(sentence)}")
    console.print(
        f"The report: {done.folder / 'report.html'} (and report.pdf, report.json, CSV)", soft_wrap=True
    )
    console.print(f"Does it hold? dncsync reconcile --verify {done.folder}", soft_wrap=True)
    return EXIT_DONE


def _span(quarter: str | None, first: str | None, last: str | None, zone: str) -> Span:
    from dncsync.reconcile import period

    if quarter is not None:
        if first is not None or last is not None:
            raise Cannot("give either --quarter, or --from and --to")
        return period.quarter(quarter, zone)
    if first is None or last is None:
        raise Cannot("which period? Give --quarter 2026Q3, or --from and --to")
    return period.days(_day("--from", first), _day("--to", last), zone)


def _day(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Cannot(f"{option}: write the day as 2026-09-30") from None


@contextlib.contextmanager
def _connected(settings: Any, clock: Clock) -> Iterator[list[Connected]]:
    """The configured systems; their connectors are closed again, and nothing was called."""
    from dncsync.runtime import reconciling

    systems = reconciling.connected(settings, clock)
    try:
        yield systems
    finally:
        for system in systems:
            system.close()


def _with(wish: Wish, **changes: Any) -> Wish:
    from dataclasses import replace

    return replace(wish, **changes)


def _foresee(ledger: Path, wish: Wish, common: Common) -> int:
    """What would be read and compared, and about how long that takes."""
    from dncsync.ledger.sqlite import reading

    with reading(ledger) as conn:
        holdings = dict(conn.execute("SELECT system, count(*) FROM holdings GROUP BY system").fetchall())
        read = dict(conn.execute("SELECT system, snapshot_at FROM systems").fetchall())
        (events,) = conn.execute("SELECT ifnull(max(seq), 0) FROM events").fetchone()
    rows = []
    for name, system in sorted(wish.inputs["systems"].items()):
        afresh = wish.fresh and system["can_list"]
        rows.append(
            {
                "system": name,
                "holdings": holdings.get(name, 0),
                "read_afresh": afresh,
                "last_read_at": _instant(read.get(name)),
                "seconds_to_compare": round(holdings.get(name, 0) / _KEYS_A_SECOND, 1),
            }
        )
    compare = sum(row["seconds_to_compare"] for row in rows)
    seconds = round(compare + events / _EVENTS_A_SECOND + 10, 0)
    result = {"period": wish.span.name, "systems": rows, "events": events, "seconds": seconds}
    if common.json:
        print_json(result)
        return EXIT_DONE
    from dncsync.cli import rendering

    rendering.rows(tuple(rows[0]) if rows else ("system",), (tuple(row.values()) for row in rows))
    _console().print(
        f"{wish.span.name}: about {seconds:,.0f} s after the reading of systems; {events:,} events are "
        "verified. Nothing was read or written."
    )
    return EXIT_DONE


def _verify(target: Path, common: Common) -> int:
    from dncsync.reconcile import verifying

    if not target.exists():
        raise Cannot(f"{target}: there is no such report")
    try:
        with _bars(common.json) as progress:
            verdict = verifying.verify(common.ledger_path(), target, progress)
    except verifying.NotAReport as error:
        raise Cannot(str(error)) from None
    if common.json:
        print_json(_as_json(verdict))
    else:
        _print(verdict)
    return EXIT_DONE if verdict.holds else EXIT_FOUND


def _as_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "holds": verdict.holds,
        "run": verdict.run,
        "period": verdict.period,
        "head": verdict.head,
        "files": [{"name": file.name, "ok": file.ok, "what": file.what} for file in verdict.files],
        "problems": [printable(problem) for problem in verdict.problems],
        "differing": verdict.differing,
        "differences": [
            {"figure": one.figure, "reported": one.reported, "ledger": one.ledger}
            for one in verdict.differences
        ],
    }


def _print(verdict: Verdict) -> None:
    console = _console()
    if verdict.holds:
        console.print("The report holds", style="green", end="")
        console.print(
            f": {verdict.period}, {len(verdict.files)} files as recorded, and every figure is what "
            f"{verdict.head:,} events make it."
        )
        return
    console.print("The report does not hold.", style="bold red")
    for problem in verdict.problems:
        console.print(f"  chain: {printable(problem)}")
    for file in verdict.files:
        if not file.ok:
            console.print(f"  {printable(file.name)}: {file.what}")
    for one in verdict.differences:
        said, known = printable(str(one.reported)[:80]), printable(str(one.ledger)[:80])
        console.print(f"  {printable(one.figure)}: the report says {said}, the ledger {known}", markup=False)
    if verdict.differing > len(verdict.differences):
        console.print(f"  and {verdict.differing - len(verdict.differences):,} more figures")


@contextlib.contextmanager
def _bars(quiet: bool) -> Iterator[Progress]:
    """A bar for each phase, one after the other."""
    shown: dict[Phase, Callable[[int, int | None], None]] = {}
    with contextlib.ExitStack() as stack:

        def progress(phase: Phase, done: int, total: int | None) -> None:
            if phase not in shown:
                stack.close()
                shown[phase] = stack.enter_context(bar(str(phase), quiet=quiet))
            shown[phase](done, total)

        yield progress


def _instant(micros: int | None) -> str | None:
    from dncsync.clock import from_micros

    return None if micros is None else from_micros(micros).isoformat(timespec="seconds")


def _console() -> Any:
    from dncsync.cli import rendering

    return rendering.console()
