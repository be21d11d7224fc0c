"""Facts, from a ledger at one moment: a function of what is in it up to the head, and of nothing else.

The same head gives the same facts, byte for byte, on the ledger itself and on one rebuilt from its events:
that is what `reconcile --verify` rests on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

from dncsync.ledger import events
from dncsync.ledger.sqlite import Connection, ledger_id
from dncsync.reconcile import about_requests, about_systems, about_watch, headline, period
from dncsync.reconcile.asking import Asking
from dncsync.reconcile.checklist import Found, checklist
from dncsync.reconcile.facts import Checkpoint, Facts, Integrity, Period, Policy
from dncsync.reconcile.period import Span
from dncsync.reconcile.sample import sample

Progress = Callable[[int, int | None], object]
"""Called with (parts gathered, parts in all)."""
PARTS = 11


@dataclass(frozen=True, slots=True)
class Chain:
    """What a verification of every byte of the chain said (see `ledger.verify`)."""

    verified: bool
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """One reconciliation, as the ledger holds it."""

    id: str
    span: Span
    seed: int
    inputs: dict[str, Any]
    begun_at: int
    completed_at: int | None
    as_of: int | None
    head: events.Head | None
    files: dict[str, str]
    """Name -> SHA-256, hexadecimal; empty while it is not completed."""


_RUN = (
    "SELECT run, period, first_day, last_day, zone, seed, inputs, begun_at, completed_at, as_of, head_seq, "
    "head_hash, files FROM reconciliations"
)


def runs(conn: Connection) -> list[Run]:
    """Every reconciliation, the latest first."""
    return [_run(row) for row in conn.execute(f"{_RUN} ORDER BY begun_at DESC, run")]


def run(conn: Connection, run_id: str) -> Run:
    """Raises `LookupError` for an id that the ledger does not know."""
    row = conn.execute(f"{_RUN} WHERE run = ?", (run_id,)).fetchone()
    if row is None:
        raise LookupError(f"the ledger knows no reconciliation {run_id!r}")
    return _run(row)


def _run(row: tuple[Any, ...]) -> Run:
    span = Span(row[1], date.fromisoformat(row[2]), date.fromisoformat(row[3]), row[4])
    head = None if row[10] is None else events.Head(row[10], bytes.fromhex(row[11]))
    files = json.loads(row[12]) if row[12] else {}
    return Run(row[0], span, row[5], json.loads(row[6]), row[7], row[8], row[9], head, files)


def facts(
    conn: Connection, run: Run, head: events.Head, as_of: int, chain: Chain, progress: Progress
) -> Facts:
    """Gathers everything. `conn` sees the ledger as it was at `head`; `as_of`: microseconds."""
    span, done = run.span, 0
    ask = Asking(
        conn,
        {
            "starts": span.starts_at,
            "ends": span.ends_at,
            "until": min(span.ends_at, as_of),
            "as_of": as_of,
            "head": head.seq,
        },
    )

    def told(part: Any) -> Any:
        nonlocal done
        done += 1
        progress(done, PARTS)
        return part

    configured: dict[str, dict[str, Any]] = run.inputs["systems"]
    by_number = frozenset(name for name, system in configured.items() if system["unit"] == "number")
    cannot_read = frozenset(name for name, system in configured.items() if not system["can_read"])
    platforms = told(about_systems.platforms(ask, configured, run.id))
    requests = told(about_requests.requests(ask))
    processing = told(about_requests.processing(ask))
    propagation = told(about_requests.propagation(ask, cannot_read))
    exposure = told(about_requests.exposure(ask, span, as_of))
    picked = told(sample(ask, run.seed, by_number))
    repairs = told(about_systems.repairs(ask, by_number))
    canary = told(about_watch.canary(ask, run.inputs["canary"]))
    gaps = told(about_watch.gaps(ask, platforms, span.ends_at, as_of))
    findings = told(about_watch.findings(ask, span.zone))
    fuses = told(about_watch.fuses(ask))
    policy = Policy.model_validate(run.inputs["policy"])
    integrity = _integrity(ask, conn, run, head, chain)
    found = Found(policy, platforms, requests, processing, propagation, picked, canary, findings, fuses)
    return Facts(
        run=run.id,
        period=_period(span, as_of),
        policy=policy,
        integrity=integrity,
        headline=headline.headline(found, integrity, exposure),
        platforms=platforms,
        requests=requests,
        processing=processing,
        propagation=propagation,
        exposure=exposure,
        sample=picked,
        repairs=repairs,
        canary=canary,
        gaps=gaps,
        findings=findings,
        fuses=fuses,
        overrides=about_watch.overrides(),
        checklist=checklist(found),
        queries=ask.queries,
    )


def _period(span: period.Span, as_of: int) -> Period:
    return Period(
        name=span.name,
        first_day=str(span.first),
        last_day=str(span.last),
        starts_at=span.starts_at,
        ends_at=span.ends_at,
        zone=span.zone,
        as_of=as_of,
        over=as_of >= span.ends_at,
    )


def _integrity(ask: Asking, conn: Connection, run: Run, head: events.Head, chain: Chain) -> Integrity:
    rows = ask.rows(
        "integrity",
        """SELECT seq, at, lower(hex(root)) AS root, lower(hex(public_key)) AS public_key
        FROM checkpoints WHERE seq <= :head AND at <= :as_of ORDER BY seq, at""",
    )
    return Integrity(
        ledger=ledger_id(conn),
        software=run.inputs["software"],
        events=head.seq,
        head_seq=head.seq,
        head_hash=head.hash.hex(),
        verified=chain.verified,
        problems=chain.problems,
        checkpoints=len(rows),
        latest_checkpoint=Checkpoint(**rows[-1]) if rows else None,
        query="integrity",
    )
