"""Carries out an approved plan: each key is read afresh, and what still is as the plan saw it is queued.

Nothing is written to a vendor from here. A queued key is looked at by the system's loop, behind fresh
opt-outs, and the rules do again what the plan foresaw; so a plan that is half applied, or applied twice, does
no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from dncsync.clock import Clock, to_micros
from dncsync.connector import Looked, VendorError
from dncsync.ledger.sqlite import Connection
from dncsync.model import Holding
from dncsync.sync.breaker import State
from dncsync.sync.full_read import Reachable, read_keys
from dncsync.sync.patience import ANSWER_WITHIN, SECOND
from dncsync.sync.plan import Blocks, Kind, PlannedChange, compare
from dncsync.sync.plan_file import Plan
from dncsync.sync.topology import SystemFacts
from dncsync.sync.will import chunks, marks

WINDOW = 500
"""Keys that are queued and not settled yet, at most: little stands between a reading and its effect."""
LATER = ANSWER_WITHIN + 30.0
"""Seconds; what is due no sooner than that is left to the loops."""
STALLED = 180.0
"""Seconds without any progress after which all that is left is left to the loops."""

SETS = frozenset({Kind.SUPPRESS, Kind.PUT_BACK, Kind.ADD})


class Hands(Protocol):
    """Who does the work: the daemon that runs, or this process."""

    def command(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Durable when it returns. Raises `Refused`."""

    def rest(self) -> None:
        """Lets the loops work for a moment."""


@dataclass(slots=True)
class Outcome:
    """What became of the changes of a plan; each is counted once, those that wait also as queued."""

    queued: int = 0
    """Still as planned: handed to the loops."""
    agreed: int = 0
    """Nothing left to do: it says so already, or a delivery is on its way."""
    changed: int = 0
    """Not as the plan saw it any more: left alone."""
    unread: int = 0
    """Could not be read now."""
    for_a_person: int = 0
    """A field that does not show: nothing to apply."""
    waiting: int = 0
    """Queued, and not settled when this ended; the loops go on with it."""
    interrupted: bool = False

    @property
    def complete(self) -> bool:
        """Whether every change was applied, or needed nothing."""
        return not (self.changed or self.unread or self.for_a_person or self.waiting or self.interrupted)

    def counts(self) -> dict[str, int]:
        """For the ledger and for people."""
        return {name: value for name, value in asdict(self).items() if name != "interrupted"}


class Application:
    """One run over one plan."""

    def __init__(
        self,
        plan: Plan,
        ledger: Connection,
        sources: Mapping[str, Reachable],
        hands: Hands,
        clock: Clock,
        *,
        blocks: Blocks,
        report: Callable[[int, int | None], None] = lambda done, total: None,
        stopped: Callable[[], bool] = lambda: False,
        dry_run: bool = False,
    ) -> None:
        """`ledger`: read-only; `sources`: every system that the plan changes; `dry_run`: reads and decides,
        and queues nothing; so nothing can be said of spreads."""
        self.outcome = Outcome()
        self._plan = plan
        self._ledger = ledger
        self._sources = sources
        self._hands = hands
        self._clock = clock
        self._blocks = blocks
        self._report = report
        self._stopped = stopped
        self._dry_run = dry_run
        self._open: dict[tuple[str, str], int] = {}
        """Queued keys that are not settled -> changes."""
        self._silent: set[str] = set()
        """Systems that did not answer: what is left of them is not tried again in this run."""
        self._progress_at = clock.monotonic()

    def run(self) -> Outcome:
        """Applies what still holds; returns when it is settled, left to the loops, or stopped."""
        # Spreads follow from imports: they are looked at once the imports are in the ledger.
        for spreading in (False,) if self._dry_run else (False, True):
            wanted = (c for c in self._plan.changes() if (c.kind is Kind.SPREAD) is spreading)
            for system, batch in self._batches(wanted):
                if self._stopped():
                    break
                self._take(self._sources[system], batch, spreading=spreading)
                self._tell()
            while self._open and not self._stopped():
                self._wait()
        self.outcome.interrupted = self._stopped()
        self._let_go(list(self._open))
        return self.outcome

    def _batches(
        self, changes: Iterator[PlannedChange]
    ) -> Iterator[tuple[str, dict[str, list[PlannedChange]]]]:
        """By system, as many keys as one call reads; the file has them in order."""
        system, batch = "", dict[str, list[PlannedChange]]()
        for change in changes:
            full = system and len(batch) == self._sources[system].facts.capabilities.read_batch
            if change.system != system or (full and change.key not in batch):
                if batch:
                    yield system, batch
                system, batch = change.system, {}
            batch.setdefault(change.key, []).append(change)
        if batch:
            yield system, batch

    # --- deciding -----------------------------------------------------------------------------------------

    def _take(self, source: Reachable, batch: dict[str, list[PlannedChange]], *, spreading: bool) -> None:
        facts = source.facts
        batch = {key: planned for key, planned in batch.items() if not self._is_for_a_person(planned)}
        while len(self._open) + len(batch) > WINDOW and not self._stopped():
            self._wait()
        looked: dict[str, Looked] = {}
        if facts.name not in self._silent:
            try:
                looked = read_keys(source, list(batch), self._clock)
            except VendorError:
                self._silent.add(facts.name)
        holdings = [
            _as_planned(looked[key].holding, facts, planned)
            for key, planned in batch.items()
            if key in looked
        ]
        seen = [holding for holding in holdings if holding is not None]
        now: dict[str, set[PlannedChange]] = {}
        for change in compare(self._ledger, facts, seen, self._blocks).changes:
            now.setdefault(change.key, set()).add(change)
        looks: list[str] = []
        settles: list[str] = []
        for key, planned in batch.items():
            there = looked.get(key)
            if there is None or there.holding is None:
                self.outcome.unread += len(planned)
            elif there.holding.key != key or (there.holding.gone and not facts.by_number):
                self.outcome.changed += len(planned)
            else:
                due = self._decide(planned, now.get(key, set()), spreading=spreading)
                adds = [number for change in due if change.kind is Kind.ADD for number in change.numbers]
                settles += adds
                looks += [key] if due and not adds else []
                if due and not self._dry_run:
                    self._open[facts.name, key] = len(due)
        if not self._dry_run:
            self._queue(facts.name, looks, settles)

    def _is_for_a_person(self, planned: Sequence[PlannedChange]) -> bool:
        if any(change.kind is not Kind.FIELD_ABSENT for change in planned):
            return False
        self.outcome.for_a_person += len(planned)
        return True

    def _decide(
        self, planned: Sequence[PlannedChange], now: set[PlannedChange], *, spreading: bool
    ) -> list[PlannedChange]:
        """What is due of one key; nothing, unless all that would happen there now is in the plan."""
        if spreading:
            channels = {change.channel for change in planned}
            foreseen = {c for c in now if c.kind in SETS and c.channel in channels}
        else:
            now = {change for change in now if change.kind is not Kind.SPREAD}
            foreseen = now & set(planned)
        if foreseen != now:
            self.outcome.changed += len(planned)
            return []
        due = [change for change in now if change.kind is not Kind.FIELD_ABSENT]
        absent = len(now) - len(due)
        self.outcome.for_a_person += absent
        self.outcome.queued += len(due)
        self.outcome.agreed += len(planned) - len(now)
        return due

    def _queue(self, system: str, looks: list[str], settles: list[str]) -> None:
        if looks:
            asked = {"system": system, "keys": looks, "backfill": True, "approved": True}
            self._hands.command("look", asked)
        if settles:
            self._hands.command("settle", {"system": system, "numbers": settles})

    # --- waiting ------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        self._hands.rest()
        before = len(self._open)
        for system in sorted({system for system, _ in self._open}):
            keys = [key for name, key in self._open if name == system]
            due = _due(self._ledger, system, keys)
            up = _is_up(self._ledger, system)
            horizon = to_micros(self._clock.now()) + int(LATER * SECOND)
            for key in keys:
                if key not in due:
                    del self._open[system, key]
                elif due[key] > horizon or not up:
                    self._let_go([(system, key)])
        now = self._clock.monotonic()
        if len(self._open) < before:
            self._progress_at = now
        elif now - self._progress_at > STALLED:
            self._let_go(list(self._open))
        self._tell()

    def _let_go(self, entries: Sequence[tuple[str, str]]) -> None:
        for entry in entries:
            self.outcome.waiting += self._open.pop(entry)

    def _tell(self) -> None:
        counts = self.outcome
        done = counts.queued + counts.agreed + counts.changed + counts.unread + counts.for_a_person
        self._report(done - sum(self._open.values()), sum(self._plan.totals.values()))


def _as_planned(
    holding: Holding | None, facts: SystemFacts, planned: Sequence[PlannedChange]
) -> Holding | None:
    """An entry that is not there does not name its number; the plan does."""
    if holding is None or not holding.gone or not facts.by_number:
        return holding
    return replace(holding, numbers=tuple(dict.fromkeys(n for c in planned for n in c.numbers)))


def _due(ledger: Connection, system: str, keys: Sequence[str]) -> dict[str, int]:
    """When the next look or delivery of each key is due (microseconds); settled ones are left out."""
    found: dict[str, int] = {}
    for chunk in chunks(keys):
        these = f"system = ? AND key IN ({marks(chunk)})"
        rows = ledger.execute(
            "SELECT key, min(due_at) FROM (SELECT key, due_at FROM deliveries WHERE open = 1 "  # noqa: S608
            f"AND {these} UNION ALL SELECT key, due_at FROM looks WHERE {these}) GROUP BY key",
            (system, *chunk, system, *chunk),
        )
        found.update(rows.fetchall())
    return found


def _is_up(ledger: Connection, system: str) -> bool:
    row = ledger.execute("SELECT state FROM systems WHERE system = ?", (system,)).fetchone()
    return row is None or row[0] == State.UP
