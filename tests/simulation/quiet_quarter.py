"""A quarter in which nothing drifts, and the same quarter with one drift in it.

Five systems with an ordinary working week: Poisson counts around a rhythm of their own, better and worse
days, holidays, quiet weekends, webhooks that are late now and then, an import, snapshots that grow slowly.
The counts go straight into the table `activity` of a ledger, as the loops would have counted them; detectors,
baselines and findings are the real ones, under a virtual clock.

    .venv/bin/python tests/simulation/quiet_quarter.py [SEED ...]
"""

from __future__ import annotations

import math
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from dncsync.clock import VirtualClock, to_micros
from dncsync.connector import Capabilities, Unit
from dncsync.drift.hours import idle, local_day
from dncsync.drift.patrol import Patrol
from dncsync.ledger.sqlite import Connection, connect_reader
from dncsync.ledger.writer import DirectWriter, Tx
from dncsync.model import Channel, Role
from dncsync.sync import activity, bookmarks
from dncsync.sync.topology import SystemFacts

WEEKS = 13
WARM_UP = 5
"""Weeks of history before the quarter that is counted."""
START = datetime(2026, 10, 5, tzinfo=UTC)
"""Veterans Day, Thanksgiving, Christmas and the end of daylight saving time lie ahead."""
HOUR = 3600.0
"""Seconds."""
ZONE = "America/New_York"

DRIFT = (
    "webhooks-silent",
    "volume-high",
    "volume-low",
    "list-shrunk",
    "page-repeated",
    "cursor-stuck",
    "inverted-flag",
    "duplicate-notation",
    "block-without-request",
    "lost-on-conversion",
)


@dataclass(slots=True)
class Source:
    """One system, as its traffic goes."""

    name: str
    role: Role
    per_day: float
    """Opt-outs on an ordinary working day."""
    weekend: float
    """Share of that on a Saturday or Sunday."""
    unheard: float
    """Share of changes that no webhook announces in time."""
    changes: float
    """Changes for each opt-out: most are of something else."""
    holdings: int
    can_list: bool = True
    can_poll: bool = True
    has_webhooks: bool = True

    def facts(self) -> SystemFacts:
        """As the engine knows it."""
        unit = Unit.RECORD if self.role is Role.CRM else Unit.NUMBER
        channels = frozenset({Channel.SMS if self.role is Role.SMS else Channel.VOICE})
        can = Capabilities(
            unit,
            self.role,
            channels,
            can_list=self.can_list,
            can_poll=self.can_poll,
            has_webhooks=self.has_webhooks,
        )
        return SystemFacts(self.name, "simulated", "US", can)


def sources() -> list[Source]:
    """A large and a small CRM, one that is polled alone, a dialer, and texts."""
    return [
        Source("portal", Role.CRM, 60.0, 0.25, 0.01, 3.0, 400_000),
        Source("boutique", Role.CRM, 3.0, 0.1, 0.05, 2.0, 900),
        Source("org", Role.CRM, 25.0, 0.15, 0.0, 4.0, 60_000, has_webhooks=False),
        Source("floor", Role.DIALER, 140.0, 0.3, 0.03, 1.0, 30_000, can_poll=False),
        Source("texts", Role.SMS, 220.0, 0.8, 0.02, 1.0, 0, can_list=False),
    ]


Upset = Callable[["Quarter", Source, int, dict[str, int]], None]
"""`upset(quarter, source, hour, counts)` changes what an hour brings; hours count from the warm-up's end."""


class Quarter:
    """One seeded run."""

    def __init__(
        self,
        seed: int,
        folder: Path,
        *,
        weeks: int = WEEKS,
        checks: int = 1,
        first: int = 0,
        upset: Upset | None = None,
    ) -> None:
        """`checks`: patrols an hour, from hour `first` on."""
        self.clock = VirtualClock(START)
        self.rng = random.Random(seed)
        self.weeks = weeks
        self.sources = sources()
        self.holdings = {source.name: float(source.holdings) for source in self.sources}
        self._path = folder / "ledger.sqlite"
        self._checks = checks
        self._first = first
        self._upset = upset
        self._mood: dict[tuple[str, int], float] = {}

    def run(self) -> Iterator[int]:
        """The hour of each patrol that counts, once it is done; the warm-up comes first and is not given."""
        now = self.at
        with (
            DirectWriter(self._path, create=True, durable=False, now=now) as writer,
            closing(connect_reader(self._path)) as self._conn,
        ):
            systems = {source.name: source.facts() for source in self.sources}
            patrol = Patrol(self._path, writer, systems, self.clock, read=self._reading)
            writer.call(self._hold)
            for hour in range(-WARM_UP * 168, self.weeks * 168):
                writer.call(partial(self._hour, hour=hour))
                for _ in range(self._checks):
                    self.clock.advance(HOUR / self._checks - 1.0)
                    if hour >= self._first:
                        patrol.run()
                        yield hour
                    elif hour % 24 == 0:
                        patrol.run()  # baselines
                    self.clock.advance(1.0)

    @property
    def at(self) -> int:
        """Now, in the ledger's microseconds."""
        return to_micros(self.clock.now())

    def opened(self) -> list[tuple[str, str, int]]:
        """Every finding of drift that was opened so far: kind, system, when; each time that it came."""
        with closing(connect_reader(self._path)) as conn:
            rows = conn.execute(
                "SELECT json_extract(payload, '$.kind'), system, at FROM events "
                "WHERE kind = 'finding.opened' ORDER BY seq"
            )
            return [row for row in rows if row[0] in DRIFT]

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        self._conn.execute("BEGIN")
        try:
            yield self._conn
        finally:
            self._conn.execute("ROLLBACK")

    def cached(self, source: Source) -> int:
        """Holdings of a system that the ledger knows."""
        return min(source.holdings, 2000)

    # --- the world --------------------------------------------------------------------------------------

    def _hold(self, tx: Tx) -> None:
        """Some cached holdings, for shares of them: `boutique` has few, the others a sample."""
        for source in self.sources:
            rows = [
                (source.name, f"{source.name}-{i}", "[]", "clear", None, "", 0, self.at)
                for i in range(self.cached(source))
            ]
            tx.executemany(
                "INSERT INTO holdings (system, key, numbers, base_voice, base_sms, revision, gone, seen_at) "
                "VALUES (?,?,?,?,?,?,?,?)",
                rows,
            )

    def _hour(self, tx: Tx, hour: int) -> None:
        for source in self.sources:
            opt_outs = poisson(self.rng, self._rate(source, hour))
            changes = opt_outs + poisson(self.rng, self._rate(source, hour) * (source.changes - 1))
            unheard = polled = binomial(self.rng, changes, source.unheard)
            if self.rng.random() < 1 / (21 * 24):
                polled = max(unheard, int(changes * self.rng.random()))  # the rest is announced late
            counts = {
                "webhooks": changes - unheard if source.has_webhooks else 0,
                "polled_changes": polled if source.has_webhooks else 0,
                "opt_outs": opt_outs,
                "flipped_set": opt_outs if source.role is Role.CRM else 0,
                "flipped_clear": binomial(self.rng, changes, 0.02),
                "after": self.rng.random() < source.unheard,
            }
            if source.role is Role.CRM and self.rng.random() < 1 / (26 * 168):
                counts["flipped_set"] += 15  # somebody tidies a list up
            if self._upset is not None:
                self._upset(self, source, hour, counts)
            self._count(tx, source, counts)
            if source.can_list and hour % 24 == 7:
                self._listed(tx, source)

    def _count(self, tx: Tx, source: Source, counts: dict[str, int]) -> None:
        """As the loops count: polls and webhooks mixed, so that few changes stand after the last webhook."""
        webhooks, polled = counts["webhooks"], counts["polled_changes"]
        last = min(polled, 1) if counts["after"] or not webhooks else 0
        flips = {name: counts[name] for name in ("flipped_set", "flipped_clear", "opt_outs")}
        if not webhooks:
            last = polled
        activity.count(tx, self.at, source.name, polled_changes=polled - last, **flips)
        if webhooks:
            activity.count(tx, self.at, source.name, webhooks=webhooks, webhook_signals=webhooks)
        activity.count(tx, self.at, source.name, polled_changes=last)

    def _rate(self, source: Source, hour: int) -> float:
        """Opt-outs expected in an hour that begins now: working hours, weekends, holidays, better and worse
        days, a little growth."""
        absolute = self.at // activity.HOUR
        day = local_day(absolute, ZONE)
        local = (absolute - 5) % 24
        shape = math.exp(-(((local - 13) / 4.0) ** 2)) + 0.02
        share = source.weekend if day.weekday() >= 5 else 1.0
        if idle(day):
            share = min(share, 0.15)
        key = (source.name, day.toordinal())
        if key not in self._mood:
            self._mood[key] = math.exp(self.rng.gauss(0.0, 0.15))
        growth = 1 + 0.004 * hour / 168
        return source.per_day / 7.5 * shape * share * self._mood[key] * growth

    def _listed(self, tx: Tx, source: Source) -> None:
        self.holdings[source.name] *= 1 + self.rng.gauss(0.0008, 0.0006)
        bookmarks.begin(tx, self.at, source.name, bookmarks.SNAPSHOT, 0)
        bookmarks.advance(
            tx, self.at, source.name, bookmarks.SNAPSHOT, "end", int(self.holdings[source.name])
        )
        bookmarks.finish(tx, self.at, source.name, bookmarks.SNAPSHOT)


def poisson(rng: random.Random, rate: float) -> int:
    """A Poisson count."""
    if rate > 50:
        return max(0, round(rng.gauss(rate, math.sqrt(rate))))
    bound, count, product = math.exp(-rate), 0, rng.random()
    while product > bound:
        count += 1
        product *= rng.random()
    return count


def binomial(rng: random.Random, count: int, share: float) -> int:
    """How many of `count` fall to a share."""
    return sum(rng.random() < share for _ in range(count))


# --- false alarms -----------------------------------------------------------------------------------------


def false_alarms(seeds: Sequence[int], weeks: int = WEEKS) -> dict[int, list[tuple[str, str, int]]]:
    """Seed -> the findings that the detectors opened in a quarter in which nothing drifted."""
    found = {}
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="dncsync-quarter-") as folder:
            quarter = Quarter(seed, Path(folder), weeks=weeks)
            for _ in quarter.run():
                pass
            found[seed] = quarter.opened()
    return found


# --- one drift at a time ------------------------------------------------------------------------------------

PATIENCE = 14 * 96
"""Checks after which a drift counts as not found."""


def _silent(quarter: Quarter, source: Source, counts: dict[str, int]) -> None:
    """No webhook comes any more; polls go on finding what changes."""
    counts["polled_changes"] += counts["webhooks"]
    counts["webhooks"] = 0


def _partly_silent(quarter: Quarter, source: Source, counts: dict[str, int]) -> None:
    """Webhooks come only for the fifth of the changes that are of something else."""
    counts["polled_changes"] = counts["webhooks"] - counts["webhooks"] // 5
    counts["webhooks"] //= 5


def _many(quarter: Quarter, source: Source, counts: dict[str, int]) -> None:
    counts["opt_outs"] = counts["opt_outs"] * 8 + 5


def _none(quarter: Quarter, source: Source, counts: dict[str, int]) -> None:
    counts["opt_outs"] = 0


def _shrunk(quarter: Quarter, source: Source, counts: dict[str, int]) -> None:
    quarter.holdings[source.name] = min(quarter.holdings[source.name], 0.6 * source.holdings)


def _cleared(quarter: Quarter, source: Source, counts: dict[str, int]) -> None:
    counts["flipped_clear"] += quarter.cached(source) * 8 // 100


def _ticked(quarter: Quarter, source: Source, counts: dict[str, int]) -> None:
    counts["flipped_set"] += quarter.cached(source) * 8 // 100


DRIFTS: Mapping[str, tuple[str, str, Callable[[Quarter, Source, dict[str, int]], None]]] = {
    "webhooks silent (busy CRM)": ("webhooks-silent", "portal", _silent),
    "webhooks silent (texts)": ("webhooks-silent", "texts", _silent),
    "webhooks silent (small CRM)": ("webhooks-silent", "boutique", _silent),
    "webhooks for other things alone": ("webhooks-silent", "portal", _partly_silent),
    "eight times the opt-outs": ("volume-high", "texts", _many),
    "no opt-outs at all": ("volume-low", "portal", _none),
    "list shrunk by 40 %": ("list-shrunk", "floor", _shrunk),
    "8 % of holdings cleared": ("inverted-flag", "portal", _cleared),
    "8 % of holdings set (small CRM)": ("inverted-flag", "boutique", _ticked),
}
"""What happens -> the finding it must open, the system it happens to, and what it does to its counts."""


def checks_until_found(drift: str, seed: int) -> int | None:
    """Checks from the drift's beginning (of silence: from its third unannounced change) until its finding is
    open; None: not within `PATIENCE`."""
    kind, system, change = DRIFTS[drift]
    onset = 168 + 24 * (1 + seed % 3) + 14 + seed % 6  # a working hour of the second week
    missed = 0

    def upset(quarter: Quarter, source: Source, hour: int, counts: dict[str, int]) -> None:
        nonlocal missed
        if source.name == system and hour >= onset:
            change(quarter, source, counts)
            missed += counts["polled_changes"]

    with tempfile.TemporaryDirectory(prefix="dncsync-quarter-") as folder:
        quarter = Quarter(seed, Path(folder), weeks=4, checks=4, first=onset - 4, upset=upset)
        checks = 0
        for hour in quarter.run():
            checks += hour >= onset and (kind != "webhooks-silent" or missed >= 3)
            if checks and any(found[:2] == (kind, system) for found in quarter.opened()):
                return checks
            if checks > PATIENCE:
                return None
    return None


if __name__ == "__main__":
    seeds = [int(arg) for arg in sys.argv[1:]] or [1, 2, 3]
    for seed, opened in false_alarms(seeds).items():
        print(f"seed {seed}: {len(opened)} false alarms in a quiet quarter")
        for kind, system, at in opened:
            print(f"    {kind} {system} {datetime.fromtimestamp(at / 1e6, UTC):%a %Y-%m-%d %H:%M}")
    for drift in DRIFTS:
        found = [checks_until_found(drift, seed) for seed in seeds]
        known = sorted(checks for checks in found if checks is not None)
        print(f"{drift}: found {len(known)} of {len(seeds)}, after {known} checks")
