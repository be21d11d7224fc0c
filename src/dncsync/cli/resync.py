"""`dncsync resync`: compare systems with the ledger in full; plan, approve, apply."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from dncsync.cli.failing import EXIT_DONE, EXIT_FOUND, EXIT_INTERRUPTED, Cannot, say
from dncsync.cli.options import NOTHING, Common, print_json
from dncsync.cli.progress import bar

if TYPE_CHECKING:
    from dncsync.connector import SystemSettings
    from dncsync.ledger.sqlite import Connection
    from dncsync.policy import Policies
    from dncsync.runtime.systems import Connected
    from dncsync.settings import Settings
    from dncsync.sync.applying import Hands
    from dncsync.sync.plan import Blocks
    from dncsync.sync.plan_draft import Draft
    from dncsync.sync.plan_file import Plan

SHARE = 0.8
"""Of each published limit, where no daemon runs."""


def resync(
    *systems: Annotated[str, Parameter(help="Only these systems; without any, all that can be listed.")],
    dry_run: Annotated[
        bool, Parameter(negative=(), help="Queue nothing: what happens without --apply; with it, only check.")
    ] = False,
    plan: Annotated[
        Path | None, Parameter(help="Where the plan goes; default: resync-TIME.plan.jsonl in this folder.")
    ] = None,
    apply: Annotated[Path | None, Parameter(help="Apply this approved plan.")] = None,
    actor: Annotated[str, Parameter(help="Who approves the plan; needed with --apply.")] = "",
    max_age: Annotated[float, Parameter(help="Hours; an older plan is not applied.")] = 24.0,
    sample: Annotated[int, Parameter(help="Changes of each kind to show.")] = 10,
    show_numbers: Annotated[bool, Parameter(negative=(), help="Do not mask numbers.")] = False,
    common: Common = NOTHING,
) -> int:
    """Compare systems with the ledger in full: make a plan, look at it, apply it.

    Without --apply it reads every holding of the chosen systems and writes a plan: what would change, counted
    by kind, with a sample. It changes nothing, in the ledger or anywhere. A reading that broke off goes on
    where it stopped when it is run again with the same --plan FILE.

    With --apply FILE each planned holding is read once more. What still is as the plan saw it is queued, and
    done by the daemon, or here if none runs; what has changed since is left alone. Opt-outs that arrive
    meanwhile go first. It can be stopped with Ctrl-C and run again.

    The plan names keys and numbers: keep it as you keep the ledger.

    Exit codes: 0: nothing to do, or all is applied; 3: changes were found, or some were left; 1: it cannot be
    done; 130: stopped, run it again.

    Example: dncsync resync hubspot salesforce --plan monday.jsonl; dncsync resync --apply monday.jsonl \
--actor jane
    """
    from dncsync.sync.plan_draft import DraftRefused
    from dncsync.sync.plan_file import PlanRefused

    if sample < 0 or max_age <= 0:
        raise Cannot("--sample and --max-age take positive numbers")
    try:
        if apply is None:
            name = f"resync-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.plan.jsonl"
            return _plan(common, systems, plan or Path(name), max_age, sample, show_numbers)
        if systems or plan:
            raise Cannot("--apply takes its systems from the plan; leave out system names and --plan")
        if not actor.strip():
            raise Cannot("--apply needs --actor NAME: who approves this plan is recorded")
        return _apply(common, apply, actor.strip(), timedelta(hours=max_age), dry_run)
    except (PlanRefused, DraftRefused) as error:
        raise Cannot(str(error)) from None


# --- planning --------------------------------------------------------------------------------------------


def _plan(
    common: Common, names: tuple[str, ...], target: Path, max_age: float, sample: int, show_numbers: bool
) -> int:
    from dncsync.cli import resync_shown
    from dncsync.clock import SystemClock
    from dncsync.runtime.embedded import load_policies
    from dncsync.runtime.hands import BESIDE_A_DAEMON, daemon_runs

    settings = common.settings()
    ledger = common.ledger_path()
    chosen = _chosen(settings, names)
    if target.exists():
        raise Cannot(f"{target} exists already; apply it with --apply, or give --plan another name")
    _make_ledger(ledger)
    share = BESIDE_A_DAEMON if daemon_runs(ledger) else SHARE
    blocks = _blocks(load_policies(settings))
    now = SystemClock().now()
    with contextlib.ExitStack() as stack:
        conn = stack.enter_context(contextlib.closing(common.reader()))
        connected = _connect(chosen, share, stack)
        draft = stack.enter_context(_draft(target, conn, tuple(chosen), now, max_age))
        if draft.resumed and not common.json:
            say(f"going on with the plan that was begun at {draft.created_at:%Y-%m-%d %H:%M} UTC")
        try:
            made = _read(draft, conn, connected, target, blocks, quiet=common.json)
        except KeyboardInterrupt:
            say(f"stopped; what was read is kept: run it again with --plan {target} to go on")
            return EXIT_INTERRUPTED
        shown = resync_shown.summary(made, sample, show_numbers)
    if common.json:
        print_json(shown)
    else:
        resync_shown.plan(shown, ledger)
    return EXIT_FOUND if made.totals else EXIT_DONE


def _chosen(settings: Settings, names: tuple[str, ...]) -> dict[str, SystemSettings]:
    known = ", ".join(sorted(settings.systems)) or "none"
    for name in names:
        if name not in settings.systems:
            raise Cannot(f"no system {name!r} in {settings.source}; configured: {known}")
        if not settings.systems[name].enabled:
            raise Cannot(f"system {name!r} is disabled in {settings.source}; set enabled = true first")
    chosen = {n: s for n, s in settings.systems.items() if s.enabled and (not names or n in names)}
    if not chosen:
        raise Cannot(f"{settings.source}: no system is enabled (configured: {known})")
    return chosen


def _make_ledger(path: Path) -> None:
    """The first comparison may come before the first run of the daemon: of an empty ledger."""
    from dncsync.ledger.writer import DirectWriter

    if not path.exists():
        DirectWriter(path, create=True).close()


def _blocks(policies: Policies) -> Blocks:
    from dncsync.model import Channel
    from dncsync.policy import blocked_channels

    policy = policies.on(datetime.now(UTC).date())
    return {channel: blocked_channels(policy, frozenset({channel})) for channel in Channel}


def _connect(
    chosen: Mapping[str, SystemSettings], share: float, stack: contextlib.ExitStack
) -> dict[str, Connected]:
    from dncsync.clock import SystemClock
    from dncsync.runtime.systems import connect

    connected = {}
    for name, system in chosen.items():
        connected[name] = connect(name, system, SystemClock(), share=share)
        stack.callback(connected[name].close)
    return connected


def _draft(target: Path, conn: Connection, names: tuple[str, ...], now: datetime, max_age: float) -> Draft:
    from dncsync.sync.plan_draft import Draft

    draft = Draft(target, conn, names, now)
    if draft.created_at < now - timedelta(hours=max_age):
        say(f"the unfinished plan of {draft.created_at:%Y-%m-%d %H:%M} UTC is too old; beginning anew")
        draft.remove()
        draft = Draft(target, conn, names, now)
    return draft


def _read(
    draft: Draft,
    conn: Connection,
    connected: Mapping[str, Connected],
    target: Path,
    blocks: Blocks,
    *,
    quiet: bool,
) -> Plan:
    """Reads all systems to their ends and writes the plan."""
    from dncsync.clock import SystemClock
    from dncsync.connector import VendorError
    from dncsync.sync import plan_file
    from dncsync.sync.full_read import read_system

    systems: dict[str, dict[str, Any]] = {}
    for name, each in connected.items():
        systems[name] = {"vendor": each.facts.vendor, "unit": str(each.facts.capabilities.unit)}
        if why := _not_comparable(each):
            systems[name]["skipped"] = why
            continue
        with bar(f"reading {name}", quiet=quiet) as report:
            try:
                read_system(draft, conn, each, SystemClock(), blocks, report)
            except VendorError as error:
                raise Cannot(
                    f"{name} could not be read to its end ({error.failure.kind}: {error.failure.message}); "
                    f"what was read is kept: run it again with --plan {target} to go on"
                ) from None
    compared = [each.facts for name, each in connected.items() if "skipped" not in systems[name]]
    if not compared:
        raise Cannot("; ".join(f"{name}: {facts['skipped']}" for name, facts in systems.items()))
    draft.conclude(conn, compared, blocks)
    made = plan_file.write(target, draft.header(systems), draft.changes())
    draft.remove()
    return made


def _not_comparable(connected: Connected) -> str:
    """Why a system cannot be compared; empty: it can."""
    if not connected.facts.capabilities.can_list:
        return f"{connected.facts.vendor} cannot be listed; what it was told is in `dncsync number show`"
    if not connected.facts.capabilities.can_read:
        return f"{connected.facts.vendor} cannot be read by key, so no plan for it could be checked"
    return ""


# --- applying -----------------------------------------------------------------------------------------------


def _apply(common: Common, path: Path, actor: str, max_age: timedelta, dry_run: bool) -> int:
    from dncsync.cli import resync_shown
    from dncsync.clock import SystemClock
    from dncsync.runtime.embedded import load_policies
    from dncsync.runtime.hands import BESIDE_A_DAEMON, Here, ThroughDaemon, daemon_runs
    from dncsync.sync import plan_file
    from dncsync.sync.applying import LATER, Application
    from dncsync.sync.plan import Kind

    clock = SystemClock()
    settings, ledger = common.settings(), common.ledger_path()
    plan = plan_file.read(path)
    needed = _check(plan, settings, common, max_age, clock.now())
    with contextlib.ExitStack() as stack:
        by_daemon = daemon_runs(ledger)
        here: Here | None = None
        hands: Hands = ThroughDaemon(ledger, clock)
        policies = load_policies(settings)
        if by_daemon or dry_run:
            sources = _connect(needed, BESIDE_A_DAEMON if by_daemon else SHARE, stack)
        else:
            import sys

            from dncsync import logs

            logs.configure("warning", "console", settings.secret_values(), sys.stderr)
            hands = here = stack.enter_context(Here(settings, ledger, policies, clock))
            sources = here.systems
        conn = stack.enter_context(contextlib.closing(common.reader()))
        stopped = stack.enter_context(_stopping())
        report = stack.enter_context(bar(f"applying {path.name}", quiet=common.json))
        application = Application(
            plan,
            conn,
            sources,
            hands,
            clock,
            blocks=_blocks(policies),
            report=report,
            stopped=stopped,
            dry_run=dry_run,
        )
        about = {"sha256": plan.sha256, "actor": actor}
        if not dry_run:
            hands.command("plan", {**about, "stage": "begun", "counts": dict(plan.totals)})
        outcome = application.run()
        while here is not None and not stopped() and not here.quiet(LATER):
            here.rest()  # what the imports opened in other systems
        if not dry_run:
            stage = "interrupted" if outcome.interrupted else "applied"
            hands.command("plan", {**about, "stage": stage, "counts": outcome.counts()})
    done = {"plan": str(path), "sha256": plan.sha256, "dry_run": dry_run, "daemon": by_daemon}
    done |= {**outcome.counts(), "interrupted": outcome.interrupted}
    if dry_run:
        done["spread"] = plan.totals.get(Kind.SPREAD, 0)
    if common.json:
        print_json(done)
    else:
        resync_shown.outcome(done)
    if outcome.interrupted:
        return EXIT_INTERRUPTED
    return EXIT_DONE if outcome.complete else EXIT_FOUND


def _check(
    plan: Plan, settings: Settings, common: Common, max_age: timedelta, now: datetime
) -> dict[str, SystemSettings]:
    """Whether the plan may be applied here and now. Returns the systems that it changes. Raises `Cannot`."""
    from dncsync.ledger.sqlite import ledger_id

    header = plan.header
    with contextlib.closing(common.reader()) as conn:
        if ledger_id(conn) != header.ledger:
            raise Cannot(f"{plan.path} is a plan of another ledger, not of {common.ledger_path()}")
        row = conn.execute("SELECT hash FROM events WHERE seq = ?", (header.head_seq,)).fetchone()
        if header.head_seq and (row is None or row[0].hex() != header.head_hash):
            raise Cannot(
                f"{plan.path} was made when this ledger held other events (was a backup restored?); "
                "make a new plan"
            )
    age = now - header.created_at
    if age > max_age:
        hours = age.total_seconds() / 3600
        raise Cannot(
            f"{plan.path} is {hours:.1f} hours old, and --max-age is {max_age.total_seconds() / 3600:g}; "
            "make a new plan"
        )
    changed = {change.system for change in plan.changes()}
    for name in sorted(changed):
        if name not in settings.systems:
            raise Cannot(f"{plan.path} changes {name!r}, which is not in {settings.source}; make a new plan")
    return _chosen(settings, tuple(sorted(changed))) if changed else {}


@contextlib.contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C (or SIGTERM) asks to stop after the call in hand; a second one does not ask."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop.is_set
        return

    def ask(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
