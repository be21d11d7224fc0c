"""The quarterly audit checklist (regulation 9.2): each item filled from the facts, or left as a line to sign.

What a person must state is never guessed: such a row says what the ledger does know, and asks for the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dncsync.reconcile.facts import (
    Canary,
    ChecklistRow,
    Findings,
    FormLine,
    Fuses,
    Platform,
    Policy,
    Processing,
    Propagation,
    Requests,
    Sample,
)

_DAY_SECONDS = 86_400


class Found(NamedTuple):
    """The parts of the facts that the checklist is filled from."""

    policy: Policy
    platforms: tuple[Platform, ...]
    requests: Requests
    processing: Processing
    propagation: tuple[Propagation, ...]
    sample: Sample
    canary: Canary
    findings: Findings
    fuses: Fuses


def checklist(found: Found) -> tuple[ChecklistRow, ...]:
    """The rows in the order of the regulation's table."""
    return tuple(
        row.model_copy(update={"number": number}) for number, row in enumerate(_rows(found), start=1)
    )


def _rows(found: Found) -> Iterator[ChecklistRow]:
    yield _person(
        "Active registry subscription",
        "this version does not import registry files, so the ledger holds no subscription",
        "Attach the proof of payment and the SAN's expiry date",
    )
    yield _person(
        "Scrub logs cover every 31-day window",
        "this version does not import registry files, so the ledger holds no scrubs",
        "Attach the scrub logs, and state that no area code went more than 31 days without one",
    )
    yield _person(
        "Sample of 100 called numbers, none on the registry without an established relationship",
        "no call log was supplied, so nothing can be concluded",
        "Attach the sample with its verdicts",
    )
    yield _person(
        "Document violations", _violations(found), "List every violation, or state that none is known"
    )
    yield _automatic(
        "Export the internal list, and its count",
        f"{found.requests.blocked_at_end:,} numbers were blocked at the end of the period "
        f"({found.requests.blocked_at_start:,} at its beginning); `dncsync ledger export` writes them",
        None,
        "blocked",
    )
    yield _applied(found)
    yield _processed(found)
    yield _platforms(found)
    yield _canary(found)
    yield _within_a_day(found)
    yield _part(
        "STOP and UNSUBSCRIBE tests: confirmation sent, nothing after",
        "the canary tests that an opt-out spreads, not what a vendor sends back; " + found.canary.statement,
        None,
        "Send STOP and UNSUBSCRIBE from a test phone to each sender; attach what came back",
        "canary",
    )
    yield _person(
        "Staff trained, refresher within 12 months",
        "",
        "State the share of staff trained, and attach the list",
    )
    yield _policy(found.policy)
    yield _findings(found)
    yield _person(
        "Demand-letter plan: block everywhere on day 1, freeze campaigns, pull the records",
        "`dncsync number block` blocks everywhere, and `dncsync number history` and `dncsync ledger export` "
        "pull the records",
        "State who does it and when it was last rehearsed",
    )


def _violations(found: Found) -> str:
    late = found.processing.over_federal
    return (
        f"{late:,} requests were not confirmed everywhere by their federal deadline, "
        f"{found.processing.already_late:,} of which this ledger first knew of after it; "
        "calls made meanwhile are known only to the dialers"
    )


def _applied(found: Found) -> ChecklistRow:
    wanted = [platform for platform in found.platforms if platform.configured]
    read = [platform.comparison for platform in wanted if platform.comparison is not None]
    missing = sum(one.missing + one.different for one in read)
    unread = [p.system for p in wanted if p.comparison is None or p.could_not_be_read is not None]
    text = (
        f"{len(read)} of {len(wanted)} systems compared; {missing:,} holdings lack a block they should have"
    )
    if unread:
        text += f"; not read, or not afresh: {', '.join(unread)}"
    good = missing == 0 and not unread and bool(wanted)
    ask = "Attach the inventory of active campaigns, and state that each uses these lists"
    return _part("List applied to all active campaigns", text, good, ask, "comparison")


def _processed(found: Found) -> ChecklistRow:
    times, late = found.processing, found.processing.over_strict
    if not times.requests:
        text = "no request was received in the period"
    elif times.done.count:
        text = (
            f"over all {times.requests:,} requests: mean {_span(times.done.mean_seconds)}, median "
            f"{_span(times.done.median_seconds)}, 95 % within {_span(times.done.p95_seconds)}, longest "
            f"{_span(times.done.max_seconds)}; {times.over_24_hours:,} over 24 h, {late:,} past the strict "
            f"and {times.over_federal:,} past the federal deadline, {times.open:,} still open "
            f"({times.already_late:,} were late before this ledger knew of them); sample of "
            f"{len(found.sample.requests)} attached (seed {found.sample.seed})"
        )
    else:
        text = f"none of {times.requests:,} requests is done; {late:,} are past the strict deadline"
    good = late <= times.already_late and times.over_24_hours == 0
    item = "Sample of 50 recent requests with processing times; average hours"
    return _automatic(item, text, good, "processing", "sample")


def _platforms(found: Found) -> ChecklistRow:
    names = ", ".join(f"{p.system} ({p.vendor or 'unknown'}, {p.state})" for p in found.platforms)
    good = bool(found.platforms) and all(p.state == "up" for p in found.platforms if p.configured)
    ask = "Attest that no other system holds or contacts consumers' numbers"
    return _part("List of all platforms, and whether they are in step", names or "none", good, ask, "systems")


def _canary(found: Found) -> ChecklistRow:
    item = "Test: added in one system, appears in the other; time"
    if not found.canary.runs:
        ask = "Add a number of your own in one system, note when each other one holds it, and attach that"
        return _part(item, found.canary.statement, None, ask, "canary")
    slowest = max((pair.max_seconds or 0.0 for pair in found.canary.pairs), default=0.0)
    text = f"{found.canary.statement}; slowest pair {_span(slowest)}"
    return _automatic(item, text, not any(pair.missed for pair in found.canary.pairs), "canary")


def _within_a_day(found: Found) -> ChecklistRow:
    slowest = [one.spread.max_seconds for one in found.propagation if one.spread.max_seconds is not None]
    unconfirmed = sum(one.unconfirmed for one in found.propagation)
    if slowest:
        text = f"slowest write {_span(max(slowest))}; {unconfirmed:,} writes not confirmed"
        good: bool | None = max(slowest) < _DAY_SECONDS and unconfirmed == 0
    else:
        text = f"no write was completed in the period; {unconfirmed:,} not confirmed"
        good = False if unconfirmed else None
    return _automatic("Time to bring systems in step below 24 h", text, good, "propagation")


def _policy(policy: Policy) -> ChecklistRow:
    who = f"reviewed by {policy.reviewed_by}" if policy.reviewed_by else "reviewed by no counsel"
    text = f"policy {policy.sha256[:12]} ({policy.source}), {who}; last compared with the law on "
    text += policy.values.get("last compared with the law", "an unknown day")
    good = None if policy.reviewed_by else False
    ask = "State that the policy is current, accessible, and reflects practice"
    return _part("Policy current, accessible, reflects practice", text, good, ask)


def _findings(found: Found) -> ChecklistRow:
    findings = found.findings
    text = (
        f"{findings.total:,} findings in the period, {findings.opened:,} times opened, {findings.closed:,} "
        f"closed, {findings.open:,} open; fuses: {found.fuses.statement}"
    )
    good = None if findings.open else True
    ask = "Name who remedies each open finding, and sign"
    return _part("Findings, remediation, sign-off", text, good, ask, "findings")


def _person(item: str, result: str, ask: str) -> ChecklistRow:
    return _row(item, "needs a person", result, None, ask)


def _part(item: str, result: str, good: bool | None, ask: str, *queries: str) -> ChecklistRow:
    return _row(item, "in part", result, good, ask, *queries)


def _automatic(item: str, result: str, good: bool | None, *queries: str) -> ChecklistRow:
    return _row(item, "automatically", result, good, None, *queries)


def _row(
    item: str, filled: str, result: str, good: bool | None, ask: str | None, *queries: str
) -> ChecklistRow:
    return ChecklistRow.model_validate(
        {
            "number": 0,
            "item": item,
            "filled": filled,
            "result": result,
            "good": good,
            "form": None if ask is None else FormLine(ask=ask),
            "queries": queries,
        }
    )


def _span(seconds: float | None) -> str:
    """E.g. `4.2 s`, `12 min`, `3.5 h`."""
    if seconds is None:
        return "unknown"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3600:.1f} h"
