"""Webhooks that went quiet while polling finds changes that none of them announced (design section 7).

How many changes a system ordinarily lets through unannounced is its baseline: the share of all changes, and
the longest run of them between two webhooks. A run so long that chance would hardly bring it, seen by two
looks in a row, is silence: a change may well be polled before its webhook comes, but not a quarter of an hour
before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import ceil, log

from dncsync.drift.hours import LOOK_BACK, Hour, began, hours
from dncsync.drift.ledger_detector import Seen, opened, recorded, roughly, step_below
from dncsync.drift.sighting import Sighting
from dncsync.ledger.sqlite import Connection
from dncsync.sync.activity import HOUR, KEPT
from dncsync.sync.topology import SystemFacts

DETECTOR = "silence"
SUBJECT = "webhooks"
SILENT = "webhooks-silent"

CHANCE = 1e-6
"""How improbable a run must be."""
SHORTEST_RUN = 3
GRACE = 300_000_000
"""Microseconds between the two looks, at least."""
HISTORY = 7 * 24
"""Hours before a system's own share is believed."""
LEAST_SHARE = 0.002
PARTLY = 6
"""Hours in which webhooks that come for other things alone show."""
MOST = 0.6
"""Share of unannounced changes in these hours. Webhooks that are merely late make it one half: each change is
counted when it is polled and again when it is announced."""


@dataclass(frozen=True, slots=True)
class Normal:
    """What a system ordinarily lets through."""

    share: float = 0.1
    """Of all changes, those that no webhook announced before they were polled."""
    run: int = 5
    """The longest run of them between two webhooks, but for the one worst day."""

    def moved(self, before: Normal) -> bool:
        """Whether it differs so much from what was recorded `before` that this is worth an event."""
        apart = abs(self.share - before.share)
        shares = apart > 0.005 and apart > 0.5 * max(self.share, before.share)
        return shares or abs(self.run - before.run) > max(2, 0.5 * max(self.run, before.run))


class Silence:
    """Webhooks quiet while polling finds changes. Keeps what it suspects between two looks, nothing more."""

    kinds = (SILENT,)
    healed = "webhooks announce changes again"
    every = 0.0

    def __init__(self) -> None:
        self._learnt: dict[str, int] = {}
        self._suspected: dict[str, int] = {}

    def look(self, conn: Connection, at: int, facts: SystemFacts) -> Seen:
        seen = Seen()
        if not facts.capabilities.has_webhooks:
            return seen
        now = at // HOUR
        finding = opened(conn, SILENT, facts.name, SUBJECT)
        is_open = finding is not None and finding[1] is None
        normal = self._normal(conn, now, facts.name, seen, learning=not is_open)
        quiet = _quiet(conn, now, facts.name, normal) or _partly(conn, now, facts.name, normal)
        if quiet is None:
            self._suspected.pop(facts.name, None)
            return seen
        suspected = self._suspected.setdefault(facts.name, at)
        if is_open or at - suspected >= GRACE:
            seen.sightings.append(_sighting(facts.name, quiet, normal))
        return seen

    def _normal(self, conn: Connection, now: int, system: str, seen: Seen, *, learning: bool) -> Normal:
        known = recorded(conn, DETECTOR, system, SUBJECT)
        normal = Normal(**known.value) if known else Normal()
        if not learning or self._learnt.get(system) == now // 24:
            return normal
        self._learnt[system] = now // 24
        first = began(conn, system)
        since = known.at // HOUR + 1 if known and known.accepted else first
        if since is None or now - since < HISTORY:
            return normal
        learnt = learn(hours(conn, system, max(since, now - LOOK_BACK), now - 1))
        if known is None or learnt.moved(normal):
            seen.baselines.append((DETECTOR, SUBJECT, asdict(learnt)))
            return learnt
        return normal


def learn(history: Iterable[Hour]) -> Normal:
    """What was ordinary in these hours, the oldest first. The worst tenth of the days does not count towards
    the share, nor the worst day towards the run: history may hold a silence."""
    days: dict[int, tuple[int, int]] = {}
    longest: dict[int, int] = {}
    run = 0
    for hour in history:
        day = hour.hour // 24
        polled, announced = days.get(day, (0, 0))
        days[day] = (polled + hour.polled_changes, announced + hour.webhook_signals)
        run = hour.unannounced + (0 if hour.webhooks else run)
        longest[day] = max(longest.get(day, 0), run)
    ordered = sorted(days.values(), key=lambda pair: pair[0] / max(1, sum(pair)))
    kept = ordered[: len(ordered) - ceil(len(ordered) / 10)] if len(ordered) >= 10 else ordered
    polled, changes = sum(p for p, _ in kept), sum(p + a for p, a in kept)
    share = min(1.0, max(LEAST_SHARE, (polled + 0.5) / (changes + 5)))
    runs = sorted(longest.values())
    return Normal(round(share, 4), runs[-2] if len(runs) > 1 else 0)


@dataclass(frozen=True, slots=True)
class _Quiet:
    """What is wrong just now."""

    unannounced: int
    announced: int
    since: int | None
    """Hour of the last webhook; None: none ever came."""


def _quiet(conn: Connection, now: int, system: str, normal: Normal) -> _Quiet | None:
    """A run of unannounced changes since the last webhook."""
    row = conn.execute(
        "SELECT hour FROM activity WHERE system = ? AND webhooks > 0 ORDER BY hour DESC LIMIT 1", (system,)
    ).fetchone()
    since = None if row is None else int(row[0])
    (run,) = conn.execute(
        "SELECT ifnull(sum(unannounced), 0) FROM activity WHERE system = ? AND hour >= ?",
        (system, now - KEPT if since is None else since),
    ).fetchone()
    if run < SHORTEST_RUN or run <= normal.run or normal.share**run > CHANCE:
        return None
    return _Quiet(run, 0, since)


def _partly(conn: Connection, now: int, system: str, normal: Normal) -> _Quiet | None:
    """Webhooks come, but not for most of what changes: a subscription of several was lost."""
    last = list(hours(conn, system, now - PARTLY, now))
    polled = sum(hour.polled_changes for hour in last)
    changes = polled + sum(hour.webhook_signals for hour in last)
    if polled <= max(normal.run, 5) or polled < MOST * changes or polled / changes < 3 * normal.share:
        return None
    if changes * _divergence(polled / changes, normal.share) < -log(CHANCE):
        return None
    return _Quiet(polled, changes - polled, now - PARTLY)


def _divergence(seen: float, ordinary: float) -> float:
    """Kullback and Leibler's: exp(-n times it) bounds the chance of so high a share among n (Chernoff)."""
    rest = 0.0 if seen >= 1 else (1 - seen) * log((1 - seen) / (1 - ordinary))
    return seen * log(seen / ordinary) + rest


def _sighting(system: str, quiet: _Quiet, normal: Normal) -> Sighting:
    if quiet.announced:
        seen = f"{roughly(quiet.unannounced)} changes that none announced, and fewer that one did"
    elif quiet.since is None:
        seen = f"{roughly(quiet.unannounced)} changes, and never a webhook"
    else:
        seen = f"{roughly(quiet.unannounced)} changes since the last webhook"
    accepted = {"share": 1.0, "run": 2 * step_below(quiet.unannounced)}
    return Sighting(
        SILENT,
        system,
        SUBJECT,
        f"{system} changes without its webhooks saying so: polling found {quiet.unannounced} changes that "
        "none had announced; opt-outs are seen later than they should be",
        expected=f"webhooks before polls, but for {normal.share:.1%} of the changes",
        seen=seen,
        mend=f"look at {system}'s own log of webhook calls, the subscription (fields, target address, "
        "whether it is active), and whether the public address and its certificate are good; "
        "`dncsync doctor` checks the address",
        severity="page",
        since=None if quiet.since is None else quiet.since * HOUR,
        baseline=(DETECTOR, SUBJECT, accepted),
    )
