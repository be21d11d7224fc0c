"""The scripted engine of `integration.sync.world` with a canary in it: a second CRM, and a canary number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dncsync.clock import VirtualClock
from dncsync.connector import Look
from dncsync.drift import canary_runs
from dncsync.drift.canary import Canary
from dncsync.drift.canary_origin import OriginWrite
from dncsync.ledger.sqlite import connect_reader
from dncsync.settings import CanarySettings
from dncsync.sync.turn import Pace, SystemLoop
from integration.sync.vendors import Vendor, crm
from integration.sync.world import World

OWN = "+13125550177"
STEP = 5.0


def erp(name: str, clock: VirtualClock) -> Vendor:
    """A second CRM, which tells who set a flag and sends no webhooks."""
    made = crm(name, clock, has_webhooks=False)
    made.tells_who = True
    return made


class CanaryWorld(World):
    """Record c1 of `crm` and e1 of `erp` hold the canary's number; dialer and texts have it by key."""

    def __init__(self, folder: Path, *, fly: bool = False, **settings: Any) -> None:
        """`fly`: by schedule; else only by hand."""
        self.given = CanarySettings(numbers=(OWN,), **{"every": 1.0, **settings})
        self.by_schedule = fly
        self.chores: dict[str, OriginWrite] = {}
        super().__init__(folder, erp=erp)
        self.deaf: set[str] = set()
        """Systems whose feeds bring nothing."""
        self.fed = {"crm": 0, "erp": 0}
        self.hooks = True
        """Whether the CRM's webhooks arrive."""
        self.crm.put("c1", OWN)
        self.erp.put("e1", OWN)
        self.settle()

    @property
    def erp(self) -> Vendor:
        return self.vendors["erp"]

    def open(self) -> None:
        super().open()
        assert self.writer is not None
        self.chores = {
            name: OriginWrite(facts, self.writer, self.clock) for name, facts in self.topology.items()
        }
        self.loops = {
            name: SystemLoop(
                self.topology[name],
                vendor,
                self.writer,
                self.intake,
                self.clock,
                lambda: 0.5,
                pace=Pace(self._snapshot_every),
                chores=(self.chores[name],),
            )
            for name, vendor in self.vendors.items()
        }
        for loop in self.loops.values():
            loop.start()
        self.canary = self._canary()

    def _canary(self) -> Canary:
        return Canary(self.given, self.intake, self.chores)

    def run(self, seconds: float) -> None:
        """Time passes, with the canary's timer and the CRM's webhooks and feeds."""
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            self.step()
            super().run(min(STEP, end - self.clock.monotonic()))
        self.step()

    def step(self) -> None:
        """One tick of the canary's timer; changes at the vendors come to their feeds."""
        for name, fed in self.fed.items():
            vendor = self.vendors[name]
            for _, key, _ in vendor.written[fed:]:
                if name in self.deaf:
                    continue
                vendor.feed.append(key)
                if name == "crm" and self.hooks:
                    self.hook("crm", Look(key))
            self.fed[name] = len(vendor.written)
        if self.by_schedule or self.query("SELECT 1 FROM canary_runs WHERE ended_at IS NULL"):
            self.do(lambda tx: self.canary.step(tx, self.at))

    def begin(self, origin: str | None = None) -> str:
        """A run by hand."""
        begun: str = self.do(lambda tx: self.canary.begin(tx, self.at, origin=origin, actor="jane"))
        return begun

    def shown(self, run_id: str) -> dict[str, Any]:
        """A run as people see it."""
        conn = connect_reader(self.path)
        try:
            found = canary_runs.shown(conn, run_id)
        finally:
            conn.close()
        assert found is not None
        return found

    def fly(self, origin: str | None = None, *, within: float = 7200.0) -> dict[str, Any]:
        """A run by hand, to its end."""
        run_id = self.begin(origin)
        for _ in range(int(within / 60)):
            self.run(60.0)
            if self.shown(run_id)["ended_at"]:
                return self.shown(run_id)
        raise AssertionError(f"not over after {within} s: {self.shown(run_id)}")
