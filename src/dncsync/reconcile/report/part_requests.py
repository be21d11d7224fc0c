"""Sections on requests: how fast they were carried out, how exposed numbers were, and the sample."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import date, timedelta
from itertools import chain

from dncsync.reconcile.facts import ExposureDay, Facts, Propagation, SampledRequest
from dncsync.reconcile.report import charts
from dncsync.reconcile.report.document import Chart, Column, Kind, Prose, Row, Section, Table
from dncsync.reconcile.report.wording import count, hours, legible, listed, plural, share, span

_STEPS = (
    ("within 1 min", 60.0),
    ("within 15 min", 900.0),
    ("within 1 h", 3600.0),
    ("within 24 h", 86400.0),
    ("longer", None),
)
"""Parts of the chart, with their upper bounds in seconds."""
_ACCEPTED = "accepted, cannot be read"
_UNCONFIRMED = "not confirmed"
_MOST_BARS = 16
_MOST_SAID = 6
_MOST_DAYS = 100
"""Above this the exposure chart goes by weeks."""


def processing(facts: Facts) -> Section:
    """How long requests took, over all of them."""
    done = facts.processing
    spread = done.done
    rows: list[Row] = [
        ("Requests received in the period", done.requests, None),
        ("… carried out and read back in every system (verified)", done.confirmed, None),
        ("… carried out, a part accepted by a system that cannot be read", done.accepted, None),
        ("… not carried out yet", done.open, None),
        ("Mean time from receipt to every system", spread.count, spread.mean_seconds),
        ("Median (half were faster)", spread.count, spread.median_seconds),
        ("95 of 100 were faster", spread.count, spread.p95_seconds),
        ("Slowest", spread.count, spread.max_seconds),
        ("Took longer than 24 hours, or open and older", done.over_24_hours, None),
        ("Not done by the strict deadline", done.over_strict, None),
        ("Not done by the federal deadline (legally late)", done.over_federal, None),
        ("… of these, late already when this ledger first knew", done.already_late, None),
        ("Nothing to write: no system held it, or all said so already", done.nothing_to_write, None),
        ("Ambiguous words, blocked until a person has read them", done.provisional, None),
        ("Received in the period and reversed since", done.ended, None),
    ]
    measures = Table(
        "processing",
        "Processing times over all requests of the period",
        (Column("Measure"), Column("Requests", Kind.COUNT), Column("Time", Kind.SPAN)),
        len(rows),
        lambda: rows,
        done.query,
    )
    sources = facts.requests.rows
    by_source = Table(
        "requests-by-source",
        "Where the requests came from",
        (
            Column("Made in"),
            Column("Source"),
            Column("Channel"),
            Column("Requests", Kind.COUNT),
            Column("Ambiguous", Kind.COUNT),
            Column("Reversed since", Kind.COUNT),
        ),
        len(sources),
        lambda: (
            (
                r.system or "here (command line, import)",
                r.source,
                r.channel,
                r.requests,
                r.provisional,
                r.ended,
            )
            for r in sources
        ),
        facts.requests.query,
        "No request was received.",
    )
    return Section(
        "processing",
        "Requests and how fast they were carried out",
        (measures, *_propagation(facts), by_source),
        "Every request of the period is counted here, none is sampled. A request's clock runs from its "
        "receipt until the last system has it.",
    )


def _propagation(facts: Facts) -> Iterable[Chart | Table]:
    systems = facts.propagation
    note = systems[0].query if systems else ""
    drawn = sorted(
        (p for p in systems if p.writes),
        key=lambda p: (-(p.unconfirmed / p.writes), -(p.spread.p95_seconds or 0.0), p.system),
    )[:_MOST_BARS]
    if drawn:
        yield _propagation_chart(drawn, sum(1 for p in systems if p.writes), note)
    yield Table(
        "propagation",
        "From known to confirmed, by system",
        (
            Column("System"),
            Column("Writes", Kind.COUNT),
            Column("Verified", Kind.COUNT),
            Column("Accepted, cannot be read", Kind.COUNT),
            Column("Not confirmed", Kind.COUNT),
            Column("Median", Kind.SPAN),
            Column("95 %", Kind.SPAN),
            Column("Slowest", Kind.SPAN),
            Column("Over goal", Kind.COUNT),
            Column("Times run to"),
        ),
        len(systems),
        lambda: (
            (
                p.system,
                p.writes,
                p.verified,
                p.accepted,
                p.unconfirmed,
                p.spread.median_seconds,
                p.spread.p95_seconds,
                p.spread.max_seconds,
                p.over_goal,
                p.proof,
            )
            for p in systems
        ),
        note,
        "No system was written to.",
    )
    bars = [(p, bucket) for p in systems for bucket in p.buckets]
    yield Table(
        "propagation-times",
        "Distribution of the times, by system",
        (
            Column("System"),
            Column("Times run to"),
            Column("Bucket"),
            Column("Up to", Kind.SPAN),
            Column("Writes", Kind.COUNT),
        ),
        len(bars),
        lambda: ((p.system, p.proof, b.label, b.upto_seconds, b.count) for p, b in bars),
        note,
        shown=0,
    )


def _propagation_chart(drawn: list[Propagation], of: int, note: str) -> Chart:
    parts: dict[str, list[int | float | None]] = {label: [] for label, _ in _STEPS}
    parts[_ACCEPTED] = []
    parts[_UNCONFIRMED] = []
    said = []
    for system in drawn:
        counts = _steps(system)
        total = sum(counts.values()) or 1
        for label, bar in parts.items():
            bar.append(counts[label] / total or None)
        quick = counts["within 1 min"] + counts["within 15 min"]
        said.append(
            f"{legible(system.system, 60)}: {share(quick / total)} within 15 min, "
            f"{share(system.unconfirmed / total)} not confirmed"
        )
    if not any(parts[_ACCEPTED]):
        del parts[_ACCEPTED]
    tones = {label: tone for (label, _), tone in zip(_STEPS, charts.LADDER, strict=False)}
    tones |= {_ACCEPTED: charts.KINDS[4], _UNCONFIRMED: charts.HATCHED}
    if len(said) > _MOST_SAID:
        said = [*said[:_MOST_SAID], "the others: see the table"]
    caption = "How soon each system had a block"
    if len(drawn) < of:
        caption += f" (the {len(drawn)} slowest of {of})"
    return Chart(
        "chart-propagation",
        caption,
        f"{'; '.join(said)}.",
        charts.bars(
            "chart-propagation",
            caption,
            f"{'; '.join(said)}.",
            [legible(_bar(system), 60) for system in drawn],
            parts,
            [tones[label] for label in parts],
            lambda v: f"{v:.0%}",
            most=1.0,
        ),
        note,
    )


def _bar(system: Propagation) -> str:
    return system.system if system.proof == "verified" else f"{system.system} (accepted)"


def _steps(system: Propagation) -> dict[str, int]:
    """The fine histogram in the chart's few steps (one across a bound counts as slower), and the rest."""
    counts = {label: 0 for label, _ in _STEPS}
    for bucket in system.buckets:
        for label, upto in _STEPS:
            if upto is None or (bucket.upto_seconds is not None and bucket.upto_seconds <= upto):
                counts[label] += bucket.count
                break
    counts[_ACCEPTED] = system.accepted if system.proof == "verified" else 0
    counts[_UNCONFIRMED] = system.unconfirmed
    return counts


# --- exposure ---------------------------------------------------------------------------------------------


def exposure(facts: Facts) -> Section:
    """How long blocked numbers were not yet confirmed somewhere."""
    found = facts.exposure
    whole = [day for day in found.days if day.system is None]
    by_system: dict[str, list[ExposureDay]] = defaultdict(list)
    for day in found.days:
        if day.system is not None:
            by_system[day.system].append(day)
    rows: list[Row] = [
        _exposed("all systems together", whole),
        *(_exposed(name, days) for name, days in sorted(by_system.items())),
    ]
    blocks: list[Chart | Table | Prose] = []
    if found.total_hours:
        blocks.append(_exposure_chart(whole, found.query))
    else:
        quiet = "No number was exposed on any day of the period." if whole else "No exposure was measured."
        blocks.append(Prose(quiet, found.query))
    blocks.append(
        Table(
            "exposure",
            "Exposure by system",
            (
                Column("System"),
                Column("Numbers opened", Kind.COUNT),
                Column("Number-hours", Kind.HOURS),
                Column("Days with any", Kind.COUNT),
                Column("Worst day"),
                Column("Its number-hours", Kind.HOURS),
                Column("Still open at the end", Kind.COUNT),
            ),
            len(rows),
            lambda: rows,
            found.query,
        )
    )
    blocks.append(
        Table(
            "exposure-by-day",
            "Exposure day by day",
            (
                Column("Day"),
                Column("System"),
                Column("Numbers opened", Kind.COUNT),
                Column("Open at the day's end", Kind.COUNT),
                Column("Number-hours", Kind.HOURS),
            ),
            len(found.days),
            lambda: ((d.day, d.system or "(all)", d.opened, d.open_at_end, d.hours) for d in found.days),
            found.query,
            shown=0,
        )
    )
    return Section(
        "exposure",
        "Exposure over time",
        tuple(blocks),
        "A number is exposed from the moment its block is known until a system has confirmed it. Ten numbers "
        "for one hour each are ten number-hours; a number open in two systems counts once in the total.",
    )


def _exposed(name: str, days: list[ExposureDay]) -> Row:
    worst = max(days, key=lambda d: d.hours, default=None)
    some = worst is not None and worst.hours > 0
    return (
        name,
        sum(d.opened for d in days),
        sum(d.hours for d in days),
        sum(1 for d in days if d.hours > 0),
        worst.day if some and worst else None,
        worst.hours if some and worst else None,
        days[-1].open_at_end if days else 0,
    )


def _exposure_chart(days: list[ExposureDay], note: str) -> Chart:
    steps: dict[date, float] = {}
    weekly = len(days) > _MOST_DAYS
    for day in days:
        begins = date.fromisoformat(day.day)
        if weekly:
            begins -= timedelta(days=begins.weekday())
        steps[begins] = steps.get(begins, 0.0) + day.hours
    worst = max(steps, key=lambda key: steps[key])
    each = "week" if weekly else "day"
    said = (
        f"{hours(sum(steps.values()))} number-hours in all; the worst {each}, {worst}, had "
        f"{hours(steps[worst])}."
    )
    caption = f"Number-hours of exposure by {each}, all systems together"
    drawing = charts.columns(
        "chart-exposure",
        caption,
        said,
        [f"{step:%b} {step.day}" for step in steps],
        {"number-hours": list(steps.values())},
        (charts.LADDER[3],),
        lambda v: f"{v:,.4g}" if v < 1000 else f"{v:,.0f}",
    )
    return Chart("chart-exposure", caption, said, drawing, note)


# --- the sample -------------------------------------------------------------------------------------------


def sample(facts: Facts) -> Section:
    """The seeded sample, a line for each request; the CSV has every stamp."""
    found = facts.sample
    picked = Table(
        "sample",
        f"{plural(len(found.requests), 'sampled request')} of {count(found.population)}",
        (
            Column("Request", Kind.CODE),
            Column("Number"),
            Column("Made in"),
            Column("Received", Kind.INSTANT),
            Column("Done after", Kind.SPAN),
            Column("Verdict"),
            Column("Proof"),
            Column("System by system"),
        ),
        len(found.requests),
        lambda: (
            (
                r.id,
                r.number or "on a record",
                _made_in(r),
                r.received_at,
                r.seconds,
                r.verdict,
                r.proof,
                _stamps(r),
            )
            for r in found.requests
        ),
        found.query,
        "There was no request to sample.",
        shown=max(60, found.size),
    )
    stamps = list(chain.from_iterable(((r, s) for s in r.stamps) for r in found.requests))
    every = Table(
        "sample-stamps",
        "Every write of the sampled requests, with its four stamps",
        (
            Column("Request", Kind.CODE),
            Column("Occurred", Kind.INSTANT),
            Column("Received", Kind.INSTANT),
            Column("Recorded", Kind.INSTANT),
            Column("Strict deadline", Kind.INSTANT),
            Column("Federal deadline", Kind.INSTANT),
            Column("System"),
            Column("Key", Kind.CODE),
            Column("Channel"),
            Column("Known", Kind.INSTANT),
            Column("Sent", Kind.INSTANT),
            Column("Accepted", Kind.INSTANT),
            Column("Verified", Kind.INSTANT),
            Column("Proof"),
            Column("From receipt", Kind.SPAN),
        ),
        len(stamps),
        lambda: (
            (
                r.id,
                r.occurred_at,
                r.received_at,
                r.recorded_at,
                r.deadline_strict,
                r.deadline_federal,
                s.system,
                s.key,
                s.channel,
                s.known_at,
                s.sent_at,
                s.accepted_at,
                s.verified_at,
                s.proof,
                s.seconds,
            )
            for r, s in stamps
        ),
        found.query,
        shown=0,
    )
    rule = Prose(f"Seed {found.seed}; asked for {count(found.size)}. {found.rule}", found.query)
    return Section(
        "sample",
        "A sample of requests, step by step",
        (rule, picked, every),
        "Picked by a seed, so that anybody who picks again finds the same ones.",
        new_page=True,
    )


def _made_in(request: SampledRequest) -> str:
    where = request.system or "here"
    return f"{where}, {request.source}, {request.channel}"


def _stamps(request: SampledRequest) -> str:
    if not request.stamps:
        return "nothing to write"
    said = []
    for stamp in request.stamps:
        time = "open" if stamp.seconds is None else span(stamp.seconds)
        proof = "" if stamp.proof == "verified" else f" ({stamp.proof})"
        said.append(f"{stamp.system} {time}{proof}")
    return listed(said, most=6)
