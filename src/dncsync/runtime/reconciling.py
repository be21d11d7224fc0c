"""Reconciliations as admin commands, and what one is made with, from the configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from dncsync.clock import Clock
from dncsync.ledger.writer import Tx
from dncsync.policy import Policies
from dncsync.reconcile import inputs, period, quarter, recording
from dncsync.reconcile.period import NoPeriod, Span
from dncsync.runtime.systems import Connected, connect_all
from dncsync.settings import Settings
from dncsync.sync.requests import Intake, Refused

ACTOR_BY_SCHEDULE = "schedule"


def begin(tx: Tx, at: int, intake: Intake, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`first`, `last` (ISO days), `zone`, `seed`, `inputs`, `actor`: begins a reconciliation, or finds one of
    the same period and seed that was not finished."""
    first, last = (date.fromisoformat(arguments[name]) for name in ("first", "last"))
    try:
        span = period.days(first, last, str(arguments["zone"]))
    except NoPeriod as error:
        raise Refused(str(error)) from None
    seed, actor = int(arguments["seed"]), str(arguments["actor"])
    run, resumed = recording.begin(tx, at, span, seed, dict(arguments["inputs"]), actor)
    return {"run": run, "resumed": resumed}


def compared(tx: Tx, at: int, intake: Intake, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`run`, `system`, `reason`, `result`: what one system came to."""
    run, system = str(arguments["run"]), str(arguments["system"])
    try:
        seq = recording.compared(tx, at, run, system, arguments["reason"], arguments["result"])
    except LookupError as error:
        raise Refused(str(error)) from None
    return {"event": seq}


def completed(tx: Tx, at: int, intake: Intake, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`run`, `as_of`, `head` ([seq, hash]), `files`: the report is written, and these are its hashes."""
    seq, digest = arguments["head"]
    files = {str(name): str(value) for name, value in arguments["files"].items()}
    run, as_of = str(arguments["run"]), int(arguments["as_of"])
    try:
        event = recording.completed(tx, at, run, as_of, (int(seq), str(digest)), files)
    except LookupError as error:
        raise Refused(str(error)) from None
    return {"event": event}


COMMANDS = {
    "reconcile-begin": begin,
    "reconcile-compared": compared,
    "reconcile-completed": completed,
}


def wish(
    settings: Settings,
    policies: Policies,
    systems: Iterable[Connected],
    span: Span,
    *,
    actor: str,
    today: date,
    seed: int | None = None,
    fresh: bool = False,
) -> quarter.Wish:
    """What a reconciliation of that period is made with under this configuration. `seed`: None takes the one
    that the period's last day gives, the same for everybody."""
    file = settings.policy.file
    made_with = inputs.gather(
        policies,
        min(span.last, today),
        "the shipped defaults" if file is None else file.name,
        [(connected.facts, connected.settings) for connected in systems],
        within_days=settings.reconcile.full_within_days,
        canary=bool(settings.canary.numbers),
    )
    folder = settings.reconcile.folder or quarter.default_folder(settings.ledger.path)
    return quarter.Wish(span, seed_of(span) if seed is None else seed, made_with, actor, folder, fresh=fresh)


def seed_of(span: Span) -> int:
    """E.g. 20260930."""
    return int(f"{span.last:%Y%m%d}")


def connected(settings: Settings, clock: Clock) -> list[Connected]:
    """The configured systems as facts; nothing is called. Close them when the facts are taken."""
    return list(connect_all(settings.systems, clock).values())


def due(settings: Settings, now: datetime, created_at: datetime, made: Iterable[str]) -> Span | None:
    """The quarter that the schedule should report on now; None: there is none. `created_at`: of the ledger,
    which has nothing to say of a time before it; `made`: names of periods that have a report."""
    zone = settings.reconcile.zone
    today = now.astimezone(ZoneInfo(zone)).date()
    span = period.before(today, zone)
    day_of_quarter = (today - span.last).days
    if settings.reconcile.on_day == 0 or day_of_quarter < settings.reconcile.on_day:
        return None
    if span.name in set(made) or created_at.astimezone(ZoneInfo(zone)).date() > span.last:
        return None
    return span
