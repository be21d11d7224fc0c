"""One seeded world: vendors, people, a daemon that dies, and the laws once it is quiet again."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import TypeVar

from dncsync.clock import VirtualClock, to_micros
from dncsync.ledger import events
from dncsync.ledger.sqlite import connect_reader
from dncsync.ledger.writer import DirectWriter, Tx
from dncsync.policy import Policies
from dncsync.sync.catching_up import CatchUp
from dncsync.sync.requests import Intake
from dncsync.sync.topology import SystemFacts, Topology
from dncsync.sync.turn import Chore, Pace, SystemLoop
from simulation.approvals import SMALL, Approver
from simulation.laws import SCAN, LawBroken, check_acknowledged, check_laws, check_quiet
from simulation.people import People
from simulation.vendors import Killed, KillSwitch, Vendor, crm, dialer, sms

T = TypeVar("T")

HOUR = 3600.0
ACTING = 1.2 * HOUR
"""How long people act and vendors misbehave."""


class MortalWriter(DirectWriter):
    """The process may die between any two commits."""

    def __init__(self, kill: KillSwitch, path: Path, now: int) -> None:
        super().__init__(path, create=True, durable=False, now=now)
        self._kill = kill

    def submit(self, fn: Callable[[Tx], T]) -> Future[T]:
        self._kill.here()
        done = super().submit(fn)
        self._kill.here()
        return done


class World:
    """Everything of one seed."""

    acknowledge_first = False
    """A mutation: 2xx before the commit."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.rng = Random(seed)
        self.clock = VirtualClock()
        self.kill = KillSwitch()
        self.path = folder / "ledger.sqlite"
        self.trace: list[str] = []
        self.hubspot = crm("hubspot", self.clock, self._fork(), self.kill)
        self.salesforce = crm("salesforce", self.clock, self._fork(), self.kill)
        self.dialer = dialer(self.clock, self._fork(), self.kill)
        self.sms = sms(self.clock, self._fork(), self.kill)
        self.vendors: list[Vendor] = [self.hubspot, self.salesforce, self.dialer, self.sms]
        self.numbers = [f"+1312555{i:04d}" for i in range(100, 100 + self.rng.randint(4, 9))]
        self.acknowledged: dict[str, str] = {}
        """Webhook reference -> number, of what we said 2xx to."""
        self.blocked_ever: dict[str, float] = {}
        """Number -> when a person last acted so that it must be blocked (read from the vendor's truth)."""
        self.reversed_at: dict[str, float] = {}
        self.last_set: dict[str, float] = {}
        """Number -> when a person last asked for it anywhere."""
        self.ticked: dict[tuple[str, str], float] = {}
        """Record -> since when a person's tick stands there, that no person took away."""
        self.writer: DirectWriter | None = None
        self.loops: dict[str, SystemLoop] = {}
        self.wanted: dict[str, float] = {}
        self.deaths = 0
        self.people = People(self)
        self.approver = Approver(self) if seed % 3 == 0 else None
        """In every third world the fuses are small, and somebody decides what waits."""
        self.people.populate()

    def _fork(self) -> Random:
        return Random(self.rng.random())

    def note(self, what: str) -> None:
        """One line of the story."""
        self.trace.append(f"{self.clock.monotonic():9.1f}  {what}")

    # --- the daemon ----------------------------------------------------------------------------------

    def start(self) -> None:
        """A process starts on what the last one left on disk."""
        self.writer = MortalWriter(self.kill, self.path, to_micros(self.clock.now()))
        facts = {
            vendor.name: SystemFacts(vendor.name, "sim", "US", vendor.capabilities, vendor.keys_for)
            for vendor in self.vendors
        }
        rng = self._fork()
        topology = Topology(facts, wake=self._wake)
        salts = self._fork()
        policies = SMALL if self.approver is not None else Policies()
        self.intake = Intake(policies, topology, salt=lambda: salts.randbytes(16))
        self.loops = {
            vendor.name: SystemLoop(
                facts[vendor.name],
                vendor,
                self.writer,
                self.intake,
                self.clock,
                rng.random,
                pace=Pace(snapshot_every=SCAN),
                chores=self.chores_of(facts[vendor.name]),
            )
            for vendor in self.vendors
        }
        self.wanted = dict.fromkeys(self.loops, 0.0)
        for loop in self.loops.values():
            loop.start()
        pass_over = CatchUp(self.writer, self.intake, self.clock)
        while pass_over.step():
            pass

    def chores_of(self, facts: SystemFacts) -> Sequence[Chore]:
        """What a system's loop does for others: nothing in this world."""
        return ()

    def die(self) -> None:
        """kill -9: nothing is said, nothing is finished."""
        self.deaths += 1
        self.note("the daemon is killed")
        assert self.writer is not None
        self.writer.close()
        self.writer = None
        check_acknowledged(self)

    def _wake(self, systems: object) -> None:
        for name in list(self.wanted):
            self.wanted[name] = min(self.wanted[name], self.clock.monotonic())

    def mortal(self, work: Callable[[], object]) -> bool:
        """Runs a piece of the daemon; False: it died in it, and was started again."""
        try:
            work()
        except Killed:
            self.die()
            self.start()
            return False
        return True

    # --- what happens -----------------------------------------------------------------------------------

    def run(self) -> None:
        """The whole life of one world. Raises `LawBroken`."""
        self.mortal(self.start)
        self._act_for(ACTING)
        for vendor in self.vendors:
            vendor.trouble.calm()
        self.kill.left = None
        self.note("calm: no more misfortune, no more people")
        if self.approver is not None:
            for _ in range(3):  # what was lost is found by the next full read, and may trip a fuse again
                self.let_pass(SCAN)
                self.approver.decide_all()
        self.let_pass(2 * SCAN + 1.1 * HOUR)
        check_quiet(self)
        check_laws(self)

    def _act_for(self, seconds: float) -> None:
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            self.people.misfortune()
            self.people.act()
            if self.approver is not None:
                self.approver.act()
            self.let_pass(self.rng.expovariate(1 / 60.0))

    def let_pass(self, seconds: float) -> None:
        """Time goes by: loops take their turns, webhooks arrive."""
        end = self.clock.monotonic() + seconds
        while True:
            due, work = self._next()
            if due > end:
                self.clock.advance(end - self.clock.monotonic())
                return
            self.clock.advance(due - self.clock.monotonic())
            work()

    def _next(self) -> tuple[float, Callable[[], None]]:
        name = min(self.wanted, key=lambda n: self.wanted[n])
        soonest: tuple[float, Callable[[], None]] = (self.wanted[name], lambda: self._turn(name))
        for vendor in self.vendors:
            for hook in vendor.hooks:
                if hook[0] < soonest[0]:
                    soonest = (hook[0], lambda v=vendor, h=hook: self._deliver(v, h))  # type: ignore[misc]
        return soonest

    def _turn(self, name: str) -> None:
        loop = self.loops[name]

        def turn() -> None:
            wait = loop.turn()
            self.wanted[name] = self.clock.monotonic() + max(wait, 0.01)

        self.mortal(turn)

    def _deliver(self, vendor: Vendor, hook: tuple[float, object]) -> None:
        vendor.hooks.remove(hook)  # type: ignore[arg-type]
        webhook = hook[1]
        said = [s for s in webhook.signals if hasattr(s, "ref")]  # type: ignore[attr-defined]

        def take() -> None:
            facts = self.intake.topology[vendor.name]
            at = to_micros(self.clock.now())
            assert self.writer is not None
            if self.acknowledge_first:
                self.acknowledged |= {statement.ref: statement.number for statement in said}
            self.writer.call(lambda tx: self.intake.take_webhook(tx, at, facts, webhook))  # type: ignore[arg-type]
            self.acknowledged |= {statement.ref: statement.number for statement in said}

        if not self.mortal(take) and self.rng.random() < 0.8:
            vendor.hooks.append((self.clock.monotonic() + 30.0, webhook))  # type: ignore[arg-type]

    def fingerprint(self) -> str:
        """The same seed gives the same ledger."""
        conn = connect_reader(self.path)
        try:
            return hashlib.sha256(events.head(conn).hash).hexdigest()
        finally:
            conn.close()


@contextmanager
def world(seed: int) -> Iterator[World]:
    """A world in a folder of its own, in memory where the machine has such a place."""
    shm = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="dncsync-sim-", dir=shm if shm.is_dir() else None))
    made = World(seed, folder)
    try:
        yield made
    finally:
        if made.writer is not None:
            made.writer.close()
        shutil.rmtree(folder, ignore_errors=True)


def simulate(seed: int, on_start: Callable[[World], None] = lambda world: None) -> World:
    """Runs one seed. Raises `LawBroken`."""
    with world(seed) as made:
        on_start(made)
        made.run()
        return made


__all__ = ["LawBroken", "World", "simulate", "world"]
