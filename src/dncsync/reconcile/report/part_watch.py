"""Sections on what watched the systems: canary, findings with their history, fuses, overrides."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta

from dncsync.reconcile.facts import Facts
from dncsync.reconcile.report import charts
from dncsync.reconcile.report.document import Block, Chart, Column, Kind, Prose, Section, Table
from dncsync.reconcile.report.wording import count, legible, plural, sentence

_MOST_KINDS = 5
"""Kinds with a colour of their own in the chart; the rest are one."""
_OTHERS = "other kinds"
_MOST_WEEKS = 60


def canary(facts: Facts) -> Section:
    """A number of our own, added in one system and awaited in the others."""
    found = facts.canary
    pairs = Table(
        "canary",
        "Canary by pair of systems",
        (
            Column("Added in"),
            Column("Awaited in"),
            Column("Runs", Kind.COUNT),
            Column("Arrived", Kind.COUNT),
            Column("Missed", Kind.COUNT),
            Column("Under way", Kind.COUNT),
            Column("Median", Kind.SPAN),
            Column("Slowest", Kind.SPAN),
            Column("Last run", Kind.INSTANT),
        ),
        len(found.pairs),
        lambda: (
            (
                p.origin,
                p.system,
                p.runs,
                p.arrived,
                p.missed,
                p.pending,
                p.median_seconds,
                p.max_seconds,
                p.last_at,
            )
            for p in found.pairs
        ),
        found.query,
        "No canary ran." if found.configured else "No canary is configured.",
        shown=100,
    )
    return Section(
        "canary",
        "Canary",
        (*_stated(found.statement, found.query), pairs),
        "A number that the company owns is blocked in one system and awaited in every other, then released.",
    )


def findings(facts: Facts) -> Section:
    """Findings with their history."""
    found = facts.findings
    blocks: list[Block] = []
    if found.weeks:
        blocks.append(_by_week(facts))
    blocks.append(
        Table(
            "findings",
            f"{plural(found.total, 'finding')} in the period: {count(found.opened)} opened, "
            f"{count(found.closed)} closed, {count(found.open)} still open",
            (
                Column("Severity"),
                Column("Kind"),
                Column("System"),
                Column("Subject", Kind.CODE),
                Column("What"),
                Column("Owner"),
                Column("First", Kind.INSTANT),
                Column("Times", Kind.COUNT),
                Column("Closed", Kind.INSTANT),
                Column("Closed by"),
                Column("Id", Kind.CODE),
                Column("Last seen", Kind.INSTANT),
                Column("Moments in its history", Kind.COUNT),
            ),
            len(found.listed),
            lambda: (
                (
                    f.severity,
                    f.kind,
                    f.system or "the ledger",
                    f.subject,
                    f.summary,
                    f.owner or "nobody",
                    f.opened_at,
                    f.count,
                    f.closed_at,
                    f.closed_by,
                    f.id,
                    f.last_at,
                    f.moments,
                )
                for f in found.listed
            ),
            found.query,
            "There was no finding.",
            shown=60,
            csv_only=3,
        )
    )
    if len(found.listed) < found.total:
        blocks.append(
            Prose(f"The gravest {count(len(found.listed))} are listed; the query gives all.", found.query)
        )
    moments = [(f, m) for f in found.listed for m in f.history]
    blocks.append(
        Table(
            "findings-history",
            "History of the findings",
            (
                Column("Finding"),
                Column("When", Kind.INSTANT),
                Column("What happened"),
                Column("By"),
                Column("Note"),
            ),
            len(moments),
            lambda: ((_named(f.kind, f.system, f.subject), m.at, m.what, m.by, m.note) for f, m in moments),
            found.query,
            "Nothing happened.",
            shown=80,
        )
    )
    return Section(
        "findings",
        "Findings and their history",
        tuple(blocks),
        "A finding is something that a person must know. One that comes and goes is one finding with a "
        "count; one that heals closes itself and says what healed it.",
        new_page=True,
    )


def _named(kind: str, system: str | None, subject: str) -> str:
    return " / ".join(part for part in (kind, system or "the ledger", subject) if part)


def _by_week(facts: Facts) -> Chart:
    weeks = facts.findings.weeks
    totals: dict[str, int] = defaultdict(int)
    cells: dict[tuple[str, str], int] = defaultdict(int)
    for week in weeks:
        totals[week.kind] += week.opened
    ranked = sorted(totals, key=lambda kind: (-totals[kind], kind))
    named = ranked if len(ranked) <= _MOST_KINDS + 1 else ranked[:_MOST_KINDS]
    for week in weeks:
        cells[week.week, week.kind if week.kind in named else _OTHERS] += week.opened
    steps = _mondays(weeks[0].week, weeks[-1].week, facts.period.first_day, facts.period.last_day)
    kinds = [*named, _OTHERS] if len(named) < len(ranked) else list(named)
    said = "; ".join(f"{legible(kind, 60)}: {count(totals[kind])}" for kind in named)
    rest = sum(totals[kind] for kind in ranked if kind not in named)
    described = f"{said}; {_OTHERS}: {count(rest)}." if rest else f"{said}."
    caption = "Findings opened or seen again, by kind and week"
    drawing = charts.columns(
        "chart-findings",
        caption,
        described,
        [_day(week) for week in steps],
        {legible(kind, 60): [cells[week, kind] or None for week in steps] for kind in kinds},
        charts.KINDS,
        lambda v: f"{v:,.0f}",
    )
    return Chart("chart-findings", caption, described, drawing, facts.findings.query_weeks)


def _mondays(first: str, last: str, period_first: str, period_last: str) -> list[str]:
    """Every week from first to last, those of the period included, so that quiet weeks show as quiet."""
    begins = min(date.fromisoformat(first), _monday(period_first))
    ends = max(date.fromisoformat(last), _monday(period_last))
    weeks = (ends - begins).days // 7 + 1
    if weeks > _MOST_WEEKS:
        begins = ends - timedelta(weeks=_MOST_WEEKS - 1)
        weeks = _MOST_WEEKS
    return [(begins + timedelta(weeks=step)).isoformat() for step in range(weeks)]


def _day(iso: str) -> str:
    day = date.fromisoformat(iso)
    return f"{day:%b} {day.day}"


def _monday(day: str) -> date:
    found = date.fromisoformat(day)
    return found - timedelta(days=found.weekday())


def fuses(facts: Facts) -> Section:
    """Mass changes that were stopped, and who decided."""
    found = facts.fuses
    tripped = Table(
        "fuses",
        "Fuses that tripped",
        (
            Column("Tripped", Kind.INSTANT),
            Column("System"),
            Column("Direction"),
            Column("Changes", Kind.COUNT),
            Column("Limit"),
            Column("State"),
            Column("Decided by"),
            Column("Decided", Kind.INSTANT),
            Column("Reason"),
            Column("Id", Kind.CODE),
        ),
        len(found.tripped),
        lambda: (
            (
                t.tripped_at,
                t.system or "the whole ledger",
                t.direction,
                t.changes,
                t.limit,
                t.state,
                ", ".join(t.decided_by),
                t.decided_at,
                t.reason,
                t.id,
            )
            for t in found.tripped
        ),
        found.query,
        "No fuse tripped." if found.available else "This ledger keeps no fuses.",
        csv_only=1,
    )
    return Section(
        "fuses",
        "Fuses",
        (*_stated(found.statement, found.query), tripped),
        "A fuse holds back a mass change until a named person approves its plan; the numbers are blocked "
        "here at once in any case.",
    )


def overrides(facts: Facts) -> Section:
    """Permissions to contact one record in spite of a block."""
    found = facts.overrides
    table = Table(
        "overrides",
        "Overrides in force",
        (
            Column("Override", Kind.CODE),
            Column("System"),
            Column("Record", Kind.CODE),
            Column("Attested by"),
            Column("Document"),
            Column("Granted", Kind.INSTANT),
            Column("Ends", Kind.INSTANT),
        ),
        len(found.listed),
        lambda: (
            (o.id, o.system, o.key, o.attested_by, o.document, o.granted_at, o.ends_at) for o in found.listed
        ),
        found.query,
        "No override was in force.",
    )
    return Section(
        "overrides",
        "Overrides",
        (*_stated(found.statement, found.query), table),
        "An override lets one record be contacted in spite of a block: a document, an attestation, and at "
        "most twelve months.",
    )


def _stated(text: str, note: str) -> tuple[Prose, ...]:
    """A statement of the facts as a sentence of its own; nothing where nothing is stated."""
    return (Prose(sentence(text), note),) if text.strip() else ()
