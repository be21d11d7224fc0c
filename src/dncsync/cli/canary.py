"""`dncsync canary`: a number of your own, opted out in one system and awaited in every other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from dncsync.cli.failing import EXIT_DONE, EXIT_FOUND, Cannot
from dncsync.cli.options import NOTHING, Common, print_json

LOOK_EVERY = 0.5
"""Seconds between two looks at a run that is awaited."""
LONGEST_WAIT = 86_400.0
"""Seconds; a run takes as long as its systems' limits."""

app = App(
    name="canary", help="Opt a number of your own out in one system, and see when it arrives in each other."
)


@app.command
def run(
    *,
    origin: Annotated[
        str | None, Parameter(help="System to begin in; else the one that had no run for longest.")
    ] = None,
    actor: Annotated[str, Parameter(help="Who asks for it; goes into the ledger.")] = "",
    wait: Annotated[
        bool, Parameter(negative="--no-wait", help="Show the run until it is over, or only begin it.")
    ] = True,
    timeout: Annotated[float, Parameter(help="Seconds to wait at most; the run goes on.")] = LONGEST_WAIT,
    dry_run: Annotated[bool, Parameter(help="Say what would be done where, and do nothing.")] = False,
    common: Common = NOTHING,
) -> int:
    """Begin a run now: opt the canary's number out in one system, await it in every other, take it back.

    The daemon makes the run. Exit code 0: it arrived everywhere in time, or was only begun; 3: it was late or
    lost somewhere, or it was not over when the waiting ended.

    Example: dncsync canary run --origin hubspot --actor jane --config dncsync.toml
    """
    if not dry_run and not actor.strip():
        raise Cannot("--actor is blank; say who asks for the run")
    if timeout <= 0:
        raise Cannot("--timeout: more than 0 seconds")
    path = common.ledger_path()
    answer = _ask(path, {"origin": origin, "actor": actor, "dry_run": dry_run})
    if dry_run:
        return _would(common, answer["would"])
    if not wait:
        if common.json:
            print_json(answer)
        else:
            from dncsync.cli import rendering

            rendering.result({**answer, "look": f"dncsync canary show {answer['run']}"})
        return EXIT_DONE
    found = _await(common, str(answer["run"]), timeout)
    if common.json:
        print_json(found)
    return EXIT_DONE if found["outcome"] == "good" else EXIT_FOUND


def _ask(path: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """Raises `Cannot` where no daemon runs, `Refused` with its one line."""
    from dncsync.runtime import control

    try:
        return control.send(path, "canary", arguments)
    except control.NoDaemon:
        raise Cannot(
            f"no daemon runs on {path}, and a canary flies on its loops; start it with `dncsync run`"
        ) from None


def _would(common: Common, would: dict[str, Any]) -> int:
    if common.json:
        print_json(would)
    else:
        from dncsync.cli import canary_shown

        canary_shown.would(would)
    return EXIT_DONE


def _await(common: Common, run_id: str, timeout: float) -> dict[str, Any]:
    from dncsync.cli import canary_shown
    from dncsync.clock import SystemClock

    clock = SystemClock()
    until = clock.monotonic() + timeout
    with canary_shown.live(quiet=common.json) as show:
        while True:
            found = _run(common, run_id)
            show(found)
            if found["ended_at"] is not None or clock.monotonic() >= until:
                return found
            clock.sleep(LOOK_EVERY)


def _run(common: Common, run_id: str) -> dict[str, Any]:
    from dncsync.drift import canary_runs

    with common.reading() as conn:
        found = canary_runs.shown(conn, run_id)
    if found is None:
        raise Cannot(f"no canary run {run_id!r} in this ledger; see `dncsync canary list`")
    return found


@app.command(name="list")
def list_runs(
    *,
    limit: Annotated[int, Parameter(help="The latest so many runs (0: all).")] = 20,
    common: Common = NOTHING,
) -> int:
    """List the latest runs, with the seconds from the write in one system to its proof in each other.

    Example: dncsync canary list --limit 5 --ledger dncsync.sqlite
    """
    from dncsync.drift import canary_runs

    if limit < 0:
        raise Cannot("--limit: 0 (all) or more")
    with common.reading() as conn:
        found = canary_runs.recent(conn, limit or -1)
    if common.json:
        print_json(found)
    else:
        from dncsync.cli import canary_shown

        canary_shown.listed(found)
    return EXIT_DONE


@app.command
def show(run: Annotated[str, Parameter(help="Its id, e.g. C812.")], *, common: Common = NOTHING) -> int:
    """Show one run: each pair of systems, how far it came and how long that took.

    Example: dncsync canary show C812 --json
    """
    found = _run(common, run)
    if common.json:
        print_json(found)
    else:
        from dncsync.cli import canary_shown

        canary_shown.whole(found)
    return EXIT_DONE
