"""The simulated world of the laws with a canary in it: its number on one record of each CRM, and runs all the
time. In every fourth world people ask for the canary's own number, too.

People leave the canary's records alone: where a vendor does not say who ticked one, a tick during a run
cannot be told from the run's own write.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from dncsync.clock import to_micros
from dncsync.connector import Look, Webhook
from dncsync.drift.canary import Canary
from dncsync.drift.canary_origin import OriginWrite
from dncsync.ledger.sqlite import connect_reader
from dncsync.settings import CanarySettings
from dncsync.sync.topology import SystemFacts
from simulation.people import People
from simulation.vendors import Crm, Row
from simulation.world import World

OWN = "+13125550099"
KEY = "900"
TICK = 20.0


class Neighbours(People):
    """They do not touch the canary's records."""

    def act(self) -> None:
        crms = [self.world.hubspot, self.world.salesforce]
        aside = [crm.rows.pop(KEY) for crm in crms]
        try:
            super().act()
        finally:
            for crm, row in zip(crms, aside, strict=True):
                crm.rows[KEY] = row


class CanaryWorld(World):
    """A world in which the canary's timer runs until the calm, and open runs to their end."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.chores: dict[str, OriginWrite] = {}
        self.flying = True
        super().__init__(seed, folder)
        for crm in (self.hubspot, self.salesforce):
            crm.rows[KEY] = Row(KEY, [OWN])
            crm._set = _announcing(crm)  # type: ignore[method-assign]
        if seed % 4 == 0:
            self.numbers.append(OWN)
        self.people.__class__ = Neighbours

    def chores_of(self, facts: SystemFacts) -> tuple[OriginWrite]:
        assert self.writer is not None
        self.chores[facts.name] = OriginWrite(facts, self.writer, self.clock)
        return (self.chores[facts.name],)

    def start(self) -> None:
        super().start()
        self.canary = Canary(CanarySettings(numbers=(OWN,), every=0.1), self.intake, self.chores)

    def _act_for(self, seconds: float) -> None:
        super()._act_for(seconds)
        self.flying = False

    def let_pass(self, seconds: float) -> None:
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            super().let_pass(min(TICK, end - self.clock.monotonic()))
            self.mortal(self._step)

    def _step(self) -> None:
        assert self.writer is not None
        at = to_micros(self.clock.now())
        sql = "SELECT 1 FROM canary_runs WHERE ended_at IS NULL"
        if self.flying or self.writer.call(lambda tx: tx.execute(sql, ()).fetchone()):
            self.writer.call(lambda tx: self.canary.step(tx, at))

    def outcomes(self) -> set[str]:
        """How its runs ended."""
        conn = connect_reader(self.path)
        try:
            rows = conn.execute("SELECT DISTINCT ifnull(outcome, 'under way') FROM canary_runs").fetchall()
        finally:
            conn.close()
        return {row[0] for row in rows}


def _announcing(crm: Crm) -> Callable[..., None]:
    """The canary's record has a webhook for every change, whoever makes it, as real vendors do."""
    keep = crm._set

    def write(key: str, flag: bool, *, by: str) -> None:
        keep(key, flag, by=by)
        if key == KEY:
            crm._hook(Webhook((Look(KEY),)))

    return write


def simulate(seed: int) -> set[str]:
    """Runs one world. Returns how its canary runs ended. Raises `LawBroken`."""
    shm = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="dncsync-canary-", dir=shm if shm.is_dir() else None))
    made = CanaryWorld(seed, folder)
    try:
        made.run()
        return made.outcomes()
    finally:
        if made.writer is not None:
            made.writer.close()
        shutil.rmtree(folder, ignore_errors=True)
