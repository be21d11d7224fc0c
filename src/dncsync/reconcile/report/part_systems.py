"""Sections on systems: what each holds against the ledger, what was repaired, and what could not be seen."""

from __future__ import annotations

from collections.abc import Iterator

from dncsync.reconcile.facts import CAUSES, Comparison, Facts, Platform
from dncsync.reconcile.report.document import Block, Column, Kind, Prose, Row, Section, Table, Terms, Warned
from dncsync.reconcile.report.verdict import unread
from dncsync.reconcile.report.wording import count, legible, plural


def systems(facts: Facts) -> Section:
    """Every configured system against the ledger, holding by holding."""
    blocks: list[Block] = []
    blind = unread(facts)
    if blind:
        blocks.append(
            Warned(
                f"{plural(len(blind), 'system')} could not be read. Nothing is concluded about what "
                f"{'it holds' if len(blind) == 1 else 'they hold'} now: the figures below are the last "
                "reading, where there was one."
            )
        )
        blocks.append(_unread(blind))
    blocks.append(_against(facts))
    blocks.append(
        Prose(
            "Present, missing, different and cannot be read are the holdings that the ledger wants blocked. "
            "Missing: clear when last read. Different: blocked on some of the channels only, or the field is "
            "absent. Extra: blocked there, and the ledger knows no request. Three grades of proof: verified "
            "means that the value was read after the write; accepted means that the vendor said yes and "
            "cannot be read; everything else is not confirmed.",
            small=True,
        )
    )
    blocks.append(_proof(facts))
    blocks.append(_causes(facts))
    seen = {cause.tag for _, c in _compared(facts) for cause in c.causes if cause.holdings}
    told = [tag for tag in CAUSES if tag in seen]
    if told:
        blocks.append(Terms(tuple((tag, CAUSES[tag]) for tag in told)))
    blocks.append(_keys(facts))
    blocks.append(_platforms(facts))
    return Section(
        "systems",
        "Every system against the ledger",
        tuple(blocks),
        "What each system held when it was last compared, holding by holding, against what the ledger wants. "
        "Every system has a line, also one that could not be read.",
        new_page=True,
    )


def _unread(blind: list[Platform]) -> Table:
    return Table(
        "could-not-be-read",
        "Systems that could not be read",
        (Column("System"), Column("Vendor"), Column("Why"), Column("Last full comparison", Kind.INSTANT)),
        len(blind),
        lambda: ((p.system, p.vendor, p.could_not_be_read, p.last_full_comparison_at) for p in blind),
        shown=200,
    )


def _against(facts: Facts) -> Table:
    def rows() -> Iterator[Row]:
        for p in facts.platforms:
            c = p.comparison
            if c is None:
                yield (p.system, None, None, None, None, None, None, None, "not compared")
                continue
            fresh = "yes" if p.could_not_be_read is None else "no, last reading"
            yield (
                p.system,
                c.holdings,
                c.present,
                c.missing,
                c.extra,
                c.different,
                c.cannot_be_read,
                c.at,
                fresh,
            )

    return Table(
        "reconciliation",
        "Holdings of each system against the ledger",
        (
            Column("System"),
            Column("Holdings", Kind.COUNT),
            Column("Present", Kind.COUNT),
            Column("Missing", Kind.COUNT),
            Column("Extra", Kind.COUNT),
            Column("Different", Kind.COUNT),
            Column("Cannot be read", Kind.COUNT),
            Column("Compared", Kind.INSTANT),
            Column("Read now"),
        ),
        len(facts.platforms),
        rows,
        _comparison_query(facts),
        "No system is connected.",
        shown=200,
    )


def _comparison_query(facts: Facts) -> str:
    return next((p.comparison.query for p in facts.platforms if p.comparison is not None), "")


def _proof(facts: Facts) -> Table:
    compared = _compared(facts)
    return Table(
        "proof",
        "What is proved of the holdings that the ledger wants blocked",
        (
            Column("System"),
            Column("Verified", Kind.COUNT),
            Column("Accepted, cannot be read", Kind.COUNT),
            Column("Not confirmed", Kind.COUNT),
            Column("Share verified", Kind.SHARE),
            Column("Neither wanted nor blocked", Kind.COUNT),
            Column("Deleted or merged there", Kind.COUNT),
            Column("Unreadable numbers", Kind.COUNT),
            Column("Event", Kind.CODE),
        ),
        len(compared),
        lambda: (
            (
                p.system,
                c.verified,
                c.accepted,
                c.unconfirmed,
                c.verified / total if (total := c.verified + c.accepted + c.unconfirmed) else None,
                c.quiet,
                c.ended,
                c.unreadable_numbers,
                f"#{c.event_seq}",
            )
            for p, c in compared
        ),
        _comparison_query(facts),
        "No system was compared.",
        shown=200,
    )


def _compared(facts: Facts) -> list[tuple[Platform, Comparison]]:
    return [(p, p.comparison) for p in facts.platforms if p.comparison is not None]


def _causes(facts: Facts) -> Table:
    found = [(p.system, cause) for p, c in _compared(facts) for cause in c.causes if cause.holdings]
    return Table(
        "causes",
        "Why holdings do not agree",
        (Column("System"), Column("Cause"), Column("Holdings", Kind.COUNT), Column("For example", Kind.CODE)),
        len(found),
        lambda: ((name, cause.tag, cause.holdings, ", ".join(cause.samples)) for name, cause in found),
        _comparison_query(facts),
        "Every holding that was compared agrees." if _compared(facts) else "No system was compared.",
    )


def _keys(facts: Facts) -> Table:
    found = [
        (p.system, state, key)
        for p, c in _compared(facts)
        for state, keys in sorted(c.samples.items())
        for key in keys
    ]
    return Table(
        "disagreeing-keys",
        "First holdings that do not agree",
        (Column("System"), Column("State"), Column("Key", Kind.CODE)),
        len(found),
        lambda: ((system, state.replace("_", " "), key) for system, state, key in found),
        _comparison_query(facts),
        shown=0,
    )


def _platforms(facts: Facts) -> Table:
    return Table(
        "platforms",
        "Platforms in use",
        (
            Column("System"),
            Column("Vendor"),
            Column("Account", Kind.CODE),
            Column("Role"),
            Column("Unit"),
            Column("Channels"),
            Column("State"),
            Column("Since", Kind.INSTANT),
            Column("Can be read", Kind.YES),
            Column("Can be listed", Kind.YES),
        ),
        len(facts.platforms),
        lambda: (
            (
                p.system,
                p.vendor,
                p.account,
                p.role if p.configured else "not configured any more",
                p.unit,
                ", ".join(p.channels),
                p.state,
                p.state_since,
                p.can_read,
                p.can_list,
            )
            for p in facts.platforms
        ),
        empty="No system is connected.",
        shown=200,
    )


def coverage(facts: Facts) -> Section:
    """How recently everything was compared, and when a system could not be followed."""
    stated = [(p.system, p.coverage) for p in facts.platforms if p.coverage is not None]
    table = Table(
        "coverage",
        "How recently each holding was compared with its vendor",
        (
            Column("System"),
            Column("Statement"),
            Column("Kept", Kind.YES),
            Column("Holdings", Kind.COUNT),
            Column("Compared in time", Kind.COUNT),
            Column("Never", Kind.COUNT),
            Column("Oldest", Kind.INSTANT),
            Column("Last full reading", Kind.INSTANT),
            Column("Promised days", Kind.COUNT),
            Column("Stated", Kind.INSTANT),
        ),
        len(stated),
        lambda: (
            (
                name,
                c.statement,
                c.kept,
                c.holdings,
                c.compared,
                c.never,
                c.oldest_at,
                c.snapshot_at,
                c.within_days,
                c.at,
            )
            for name, c in stated
        ),
        next((c.query for _, c in stated), ""),
        "Nothing is stated: no system was compared.",
        shown=200,
        csv_only=2,
    )
    unstated = [legible(p.system, 60) for p in facts.platforms if p.coverage is None]
    blocks: list[Block] = [table]
    if unstated:
        blocks.append(Prose(f"Nothing can be stated for {', '.join(unstated)}."))
    gaps = facts.gaps.listed
    blocks.append(
        Table(
            "gaps",
            "Times in which a system could not be followed or compared",
            (
                Column("System"),
                Column("Kind"),
                Column("From", Kind.INSTANT),
                Column("Until", Kind.INSTANT),
                Column("Lasted", Kind.SPAN),
                Column("Reason"),
            ),
            len(gaps),
            lambda: ((g.system, g.kind, g.since, g.until, g.seconds, g.reason) for g in gaps),
            facts.gaps.query,
            "There was no gap.",
        )
    )
    return Section(
        "coverage",
        "Coverage and its gaps",
        tuple(blocks),
        "How recently every holding was compared, and every time in which a system was out of sight. A gap "
        "without an end still lasts.",
    )


def repairs(facts: Facts) -> Section:
    """What was put right in the period, and whether it was read back."""
    found = facts.repairs
    by_system = Table(
        "repairs-by-system",
        f"{plural(found.count, 'repair')} begun in the period, {count(found.verified)} read back",
        (
            Column("System"),
            Column("Cause"),
            Column("Repairs", Kind.COUNT),
            Column("Verified", Kind.COUNT),
            Column("Accepted, cannot be read", Kind.COUNT),
            Column("Open", Kind.COUNT),
            Column("Mean", Kind.SPAN),
            Column("Slowest", Kind.SPAN),
        ),
        len(found.by_system),
        lambda: (
            (r.system, r.cause, r.count, r.verified, r.accepted, r.open, r.mean_seconds, r.max_seconds)
            for r in found.by_system
        ),
        found.query_by_system,
        "Nothing had to be repaired.",
    )
    one_by_one = Table(
        "repairs",
        "Repairs one by one",
        (
            Column("Known", Kind.INSTANT),
            Column("System"),
            Column("Key", Kind.CODE),
            Column("Channel"),
            Column("Cause"),
            Column("Request", Kind.CODE),
            Column("Verified", Kind.INSTANT),
            Column("Proof"),
        ),
        len(found.listed),
        lambda: (
            (r.known_at, r.system, r.key, r.channel, r.cause, r.request_id, r.verified_at, r.proof)
            for r in found.listed
        ),
        found.query,
        "Nothing had to be repaired.",
        shown=40,
    )
    blocks: list[Block] = [by_system]
    if found.listed:
        blocks.append(one_by_one)
    if len(found.listed) < found.count:
        rest = f"The first {count(len(found.listed))} by time are listed; the query gives all."
        blocks.append(Prose(rest, found.query))
    return Section(
        "repairs",
        "Repairs",
        tuple(blocks),
        "Writes that put right what had been right, or should have been. A repair counts as verified when "
        "the value was read back after the write.",
    )
