"""The one sentence of the cover, and the key figures: the worst first, nothing claimed that was not read."""

from __future__ import annotations

from dncsync.reconcile.facts import Facts, Platform
from dncsync.reconcile.report.document import Figure, Figures
from dncsync.reconcile.report.wording import NOTHING, count, legible, listed, plural, share, span


def unread(facts: Facts) -> list[Platform]:
    """The systems without a (fresh) reading, by name."""
    return [platform for platform in facts.platforms if platform.could_not_be_read is not None]


def missing(facts: Facts) -> int:
    """Holdings that should be blocked and were last read as clear, or as blocked on some channels only."""
    found = [platform.comparison for platform in facts.platforms if platform.comparison is not None]
    return sum(comparison.missing + comparison.different for comparison in found)


def sound(facts: Facts) -> bool:
    """Whether the verdict is without reservations."""
    done = facts.processing
    return (
        facts.integrity.verified
        and not facts.integrity.problems
        and facts.period.over
        and not (done.open or done.over_federal or unread(facts) or missing(facts))
    )


def sentence(facts: Facts) -> str:
    """The verdict. Law 4: what was only accepted, or could not be read, is never called confirmed."""
    said = _requests(facts)
    parts = [said if facts.period.over else f"So far, {said[0].lower()}{said[1:]}"]
    left = missing(facts)
    if left:
        verb = "was" if left == 1 else "were"
        parts.append(f"{plural(left, 'holding')} that should be blocked {verb} not, when last read")
    if blind := unread(facts):
        names = listed([legible(platform.system, 60) for platform in blind], most=3)
        parts.append(f"{plural(len(blind), 'system')} could not be read: {names}")
    if facts.integrity.problems or not facts.integrity.verified:
        parts.insert(0, "The ledger itself does not verify, so nothing below can be relied on")
    return f"{'; '.join(parts)}."


def _requests(facts: Facts) -> str:
    done = facts.processing
    if not done.requests:
        return f"No request was received in {facts.period.name}"
    slowest = "" if done.done.max_seconds is None else f", the slowest within {span(done.done.max_seconds)}"
    if not done.open:
        those = "The 1 request was" if done.requests == 1 else f"All {count(done.requests)} requests were"
        proof = "read back" if done.accepted else "confirmed"
        parts = [f"{those} {proof} in every system that can be read{slowest}"]
        if done.accepted:
            mute = [legible(p.system, 60) for p in facts.platforms if not p.can_read]
            named = f"{listed(mute, most=3)}, which cannot be read"
            where = named if mute else "a system that cannot be read"
            verb = "was" if done.accepted == 1 else "were"
            parts.append(f"{count(done.accepted)} {verb} also accepted by {where}")
    else:
        parts = [
            f"{count(done.confirmed)} of {plural(done.requests, 'request')} were read back in every system"
        ]
        if done.accepted:
            verb = "was" if done.accepted == 1 else "were"
            parts.append(f"{count(done.accepted)} {verb} accepted by a system that cannot be read")
        parts[-1] += slowest
        parts.append(f"{count(done.open)} {'is' if done.open == 1 else 'are'} still open")
    if late := done.over_federal - done.already_late:
        parts.append(f"{plural(late, 'request')} legally late, past the federal deadline")
    if done.already_late:
        first = f"{plural(done.already_late, 'request')} already past the federal deadline"
        parts.append(f"{first} when this ledger first knew")
    return "; ".join(parts)


def figures(facts: Facts) -> Figures:
    """The figures under the verdict."""
    done, compared = facts.processing, [p.comparison for p in facts.platforms if p.comparison is not None]
    wanted = sum(c.present + c.missing + c.different + c.cannot_be_read for c in compared)
    present = sum(c.verified for c in compared)
    read = len(facts.platforms) - len(unread(facts))
    note = next((c.query for c in compared), "")
    return Figures(
        (
            Figure("Requests received", count(done.requests), _open(done.open), done.query),
            Figure(
                "Time to every system",
                NOTHING if done.done.median_seconds is None else span(done.done.median_seconds),
                "half of the requests"
                if done.done.p95_seconds is None
                else f"half of the requests; 95 % within {span(done.done.p95_seconds)}",
                done.query,
            ),
            Figure(
                "Slowest request",
                NOTHING if done.done.max_seconds is None else span(done.done.max_seconds),
                f"{count(done.over_24_hours)} over 24 h",
                done.query,
            ),
            Figure(
                "Past the federal deadline",
                count(done.over_federal),
                f"{count(done.over_strict)} past our stricter one",
                done.query,
                "bad" if done.over_federal else "good",
            ),
            Figure(
                "Systems read",
                f"{read} of {len(facts.platforms)}",
                listed([f"not {legible(p.system, 40)}" for p in unread(facts)], most=2)
                or ("every one" if facts.platforms else "no system is connected"),
                note,
                "bad" if unread(facts) else "good" if facts.platforms else "plain",
            ),
            Figure(
                "Holdings verified blocked",
                share(present / wanted) if wanted else NOTHING,
                f"{count(present)} of {count(wanted)}; {count(missing(facts))} not as they should be",
                note,
                "bad" if missing(facts) else "good" if wanted and present == wanted else "plain",
            ),
            Figure(
                "Numbers blocked at the end",
                count(facts.requests.blocked_at_end),
                f"{count(facts.requests.blocked_at_start)} at the start; "
                f"{plural(facts.requests.reversals, 'documented reversal')}",
                facts.requests.query_blocked,
            ),
            Figure(
                "Findings still open",
                count(facts.findings.open),
                f"{count(facts.findings.total)} in the period, {count(facts.findings.closed)} closed",
                facts.findings.query,
                "bad" if facts.findings.open else "good",
            ),
        )
    )


def _open(number: int) -> str:
    return f"{count(number)} still open" if number else "none still open"
