"""Drift planted in a quiet world with a canary: how many check intervals until a finding names it?

The real HubSpot, Salesforce and VICIdial connectors against their sandboxes, in one process under virtual
time. In half of the worlds everybody's number is quiet, in the others people opt out meanwhile. One seed: one
drift in one system, planted at a random moment of an ordinary round.
"""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.virtual import START, VirtualWorld
from dncsync.clock import Clock, to_micros
from dncsync.drift.canary import Canary
from dncsync.drift.canary_origin import OriginWrite
from dncsync.drift.canary_telling import KINDS, LATE, LOST, NO_WEBHOOK, Stage
from dncsync.ledger.writer import Writer
from dncsync.settings import CanarySettings
from dncsync.sync.topology import SystemFacts
from dncsync.testing.faults import FaultKind
from dncsync.testing.sandbox import OutgoingWebhook, seeded_number

OWN = "+13125550177"
EVERY = 1800.0
"""Seconds between two rounds: the check interval. By default it is a day; a short one leaves less room."""
TICK = 15.0
CONTACTS = 12
KINDS_OF_DRIFT: dict[str, tuple[FaultKind, ...]] = {
    "hubspot": (
        FaultKind.RENAMED_FIELD,
        FaultKind.HIDDEN_FIELD,
        FaultKind.DROPPED_WRITE,
        FaultKind.SILENT_WEBHOOKS,
    ),
    "salesforce": (FaultKind.RENAMED_FIELD, FaultKind.HIDDEN_FIELD, FaultKind.DROPPED_WRITE),
    "vicidial": (FaultKind.DROPPED_WRITE,),
}
"""VICIdial's list has no field to rename or hide, and no webhook for what an API writes."""
PLANTS = tuple((system, kind) for system, kinds in KINDS_OF_DRIFT.items() for kind in kinds)
STAGES = {
    FaultKind.RENAMED_FIELD: {Stage.REFUSED, Stage.ABSENT},
    FaultKind.HIDDEN_FIELD: {Stage.REFUSED, Stage.ABSENT},
    FaultKind.DROPPED_WRITE: {Stage.NOT_KEPT},
    FaultKind.SILENT_WEBHOOKS: {Stage.NO_WEBHOOK},
}
"""What names each drift."""


@dataclass(frozen=True, slots=True)
class Found:
    """What became of one seed."""

    seed: int
    system: str
    drift: str
    intervals: float | None
    """From planting to the finding that names it, in check intervals; None: not within three."""
    finding: str
    false_alarms: tuple[str, ...]
    """Canary findings that were there before anything was planted."""
    runs: int
    """Runs that had ended well before."""


class CanaryWorld(VirtualWorld):
    """Three systems with the canary's test records, people who opt out now and then, and the timer."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.seed = seed
        self.rng = Random(f"canary drift {seed}")
        shared = {"seed": seed, "contacts": CONTACTS}
        options: dict[str, dict[str, Any]] = {
            "hubspot": {
                **shared,
                "index_lag": 5.0,
                "index_jitter": 20.0,
                "config": {"poll_seconds": 30.0},
            },
            "salesforce": {**shared, "visibility_delay": (0.0, 60.0), "config": {"poll_every": 60.0}},
            "vicidial": shared,
        }
        self.chores: dict[str, OriginWrite] = {}
        super().__init__(folder, options, seed=seed, chores=self._chore)
        self.boxes["hubspot"].add_contact([OWN])
        self.boxes["salesforce"].add_contact([OWN])
        given = CanarySettings(numbers=(OWN,), every=EVERY / 3600)
        self.canary = Canary(given, self.intake, self.chores)
        self._tick_at(1.0)
        if seed % 2:
            self._people()

    def _chore(self, facts: SystemFacts, writer: Writer, clock: Clock) -> tuple[OriginWrite]:
        self.chores[facts.name] = OriginWrite(facts, writer, clock)
        return (self.chores[facts.name],)

    def _sender(self, name: str) -> Any:
        """With the fault that the kit's own sender has."""
        send = super()._sender(name)

        def unless_silent(hook: OutgoingWebhook) -> None:
            if not self.boxes[name].faults.take(FaultKind.SILENT_WEBHOOKS):
                send(hook)

        return unless_silent

    def _tick_at(self, when: float) -> None:
        def tick() -> None:
            at = to_micros(START) + int(when * 1e6)
            self.writer.call(lambda tx: self.canary.step(tx, at))
            self._tick_at(when + TICK)

        self.at(when, tick)

    def _people(self) -> None:
        when = 600.0
        for index in self.rng.sample(range(CONTACTS), 4):
            when += self.rng.expovariate(1 / 900.0)
            self.opt_out(self.rng.choice(sorted(self.boxes)), seeded_number(self.seed, index), when)

    def moment(self) -> float:
        """When the drift is planted: at any time of the second round, in a third of the worlds while its runs
        are under way."""
        if self.rng.random() < 1 / 3:
            return 2 * EVERY + self.rng.uniform(0.0, 150.0)
        return EVERY * self.rng.uniform(1.2, 2.4)

    def findings(self, *kinds: str) -> list[tuple[str, str, str]]:
        """(kind, system, stage) of the open canary findings."""
        wanted = kinds or KINDS
        return self.query(
            "SELECT kind, system, detail ->> 'stage' FROM findings WHERE closed_at IS NULL AND kind IN "
            f"({','.join('?' * len(wanted))})",
            *wanted,
        )


def plant_of(seed: int) -> tuple[str, FaultKind]:
    """What is planted: every pair of system and drift in its turn."""
    return PLANTS[seed % len(PLANTS)]


def hunt(seed: int) -> Found:
    """One world. Deterministic."""
    system, kind = plant_of(seed)
    with (
        tempfile.TemporaryDirectory(prefix="dncsync-canary-") as folder,
        CanaryWorld(Path(folder), seed) as w,
    ):
        planted = w.moment()
        w.run(planted)
        false_alarms = tuple("/".join(map(str, row)) for row in w.findings())
        good = int(w.query("SELECT count(*) FROM canary_runs WHERE outcome = 'good'")[0][0])
        w.boxes[system].faults.add(kind)
        named: list[tuple[str, str, str]] = []

        def found() -> bool:
            named[:] = [
                row
                for row in w.findings(LATE, LOST, NO_WEBHOOK)
                if row[1] == system and row[2] in STAGES[kind]
            ]
            return bool(named)

        w.run(planted + 3 * EVERY, stop=found, every=1)
        took = (w.now - planted) / EVERY if found() else None
        shown = "/".join(map(str, named[0])) if named else str(w.findings())
        return Found(seed, system, str(kind), took, shown, false_alarms, good)


def quietly(seed: int) -> Found:
    """`hunt` without the engine's warnings; for a pool of processes."""
    logging.disable(logging.CRITICAL)
    try:
        return hunt(seed)
    finally:
        logging.disable(logging.NOTSET)
