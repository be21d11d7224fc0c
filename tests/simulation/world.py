"""One seeded world: vendors, people, a daemon that dies, and the laws that must hold when it is quiet again."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from dncsync.clock import VirtualClock, to_micros
from dncsync.ledger import events, projections
from dncsync.ledger.rebuild import compare
from dncsync.ledger.sqlite import connect_reader
from dncsync.ledger.verify import verify
from dncsync.ledger.writer import DirectWriter
from dncsync.model import Channel
from dncsync.policy import Policies
from dncsync.sync.requests import Intake, Refused, Reversal
from dncsync.sync.topology import SystemFacts, Topology
from dncsync.sync.turn import Pace, SystemLoop

from simulation.vendors import Crm, Dialer, Killed, KillSwitch, Row, Sms, Vendor, crm, dialer, sms

HOUR = 3600.0
ACTING = 1.2 * HOUR
"""How long people act and vendors misbehave."""
SCAN = 0.6 * HOUR
"""The snapshot interval of the simulated daemon."""


class LawBroken(AssertionError):
    """A law does not hold; `trace` tells the story."""

    def __init__(self, law: int, what: str, trace: list[str]) -> None:
        super().__init__(f"law {law}: {what}")
        self.law = law
        self.trace = trace


class World:
    """Everything of one seed."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.rng = Random(seed)  # noqa: S311
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
        self.writer: DirectWriter | None = None
        self.loops: dict[str, SystemLoop] = {}
        self.wanted: dict[str, float] = {}
        self.deaths = 0
        self._messages = 0
        self._populate()

    def _fork(self) -> Random:
        return Random(self.rng.random())  # noqa: S311

    def note(self, what: str) -> None:
        """One line of the story."""
        self.trace.append(f"{self.clock.monotonic():9.1f}  {what}")

    # --- the vendors' beginning -------------------------------------------------------------------

    def _populate(self) -> None:
        for vendor in (self.hubspot, self.salesforce):
            for i in range(self.rng.randint(2, 14)):
                row = Row(str(100 + i), self.rng.sample(self.numbers, self.rng.choice((0, 1, 1, 1, 2))))
                if self.rng.random() < 0.15:
                    row.numbers.append(self.rng.choice(("N/A", "555-0100 x12", "0000000000")))
                row.flag, row.by = self.rng.random() < 0.1, "person"
                vendor.rows[row.key] = row
                if row.flag:
                    self._asked(row.numbers)
        for number in self.numbers:
            if self.rng.random() < 0.1:
                self.dialer._set(f"LIST/{number}", True, by="person")
                self._asked([number])

    def _asked(self, numbers: list[str]) -> None:
        for number in numbers:
            if number in self.numbers:
                self.last_set[number] = self.clock.monotonic()

    # --- the daemon ----------------------------------------------------------------------------------

    def start(self) -> None:
        """A process starts on what the last one left on disk."""
        self.writer = DirectWriter(self.path, create=True, durable=False, now=to_micros(self.clock.now()))
        facts = {
            vendor.name: SystemFacts(vendor.name, "sim", "US", vendor.capabilities, vendor.keys_for)
            for vendor in self.vendors
        }
        rng = self._fork()
        topology = Topology(facts, wake=self._wake)
        salts = self._fork()
        self.intake = Intake(Policies(), topology, salt=lambda: salts.randbytes(16))
        self.loops = {
            vendor.name: SystemLoop(
                facts[vendor.name],
                vendor,
                self.writer,
                self.intake,
                self.clock,
                rng.random,
                pace=Pace(snapshot_every=SCAN),
            )
            for vendor in self.vendors
        }
        self.wanted = dict.fromkeys(self.loops, 0.0)
        for loop in self.loops.values():
            loop.start()
        after: str | None = ""
        while after is not None:
            last = after
            at = to_micros(self.clock.now())
            after = self.writer.call(lambda tx, last=last, at=at: self.intake.catch_up(tx, at, last))

    def die(self) -> None:
        """kill -9: nothing is said, nothing is finished."""
        self.deaths += 1
        self.note("the daemon is killed")
        assert self.writer is not None
        self.writer.close()
        self.writer = None

    def _wake(self, systems: object) -> None:
        for name in list(self.wanted):
            self.wanted[name] = min(self.wanted[name], self.clock.monotonic())

    def _mortal(self, work: Callable[[], object]) -> bool:
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
        self._mortal(self.start)
        self._act_for(ACTING)
        for vendor in self.vendors:
            vendor.trouble.calm()
        self.kill.left = None
        self.note("calm: no more misfortune, no more people")
        self._pass(2 * SCAN + 1.1 * HOUR)
        self._check_quiet()
        self._check_laws()

    def _act_for(self, seconds: float) -> None:
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            self._misfortune()
            self._people()
            self._pass(self.rng.expovariate(1 / 60.0))

    def _pass(self, seconds: float) -> None:
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

        self._mortal(turn)

    def _deliver(self, vendor: Vendor, hook: tuple[float, object]) -> None:
        vendor.hooks.remove(hook)  # type: ignore[arg-type]
        webhook = hook[1]
        said = [s for s in webhook.signals if hasattr(s, "ref")]  # type: ignore[attr-defined]

        def take() -> None:
            facts = self.intake.topology[vendor.name]
            at = to_micros(self.clock.now())
            assert self.writer is not None
            self.kill.here()
            self.writer.call(lambda tx: self.intake.take_webhook(tx, at, facts, webhook))  # type: ignore[arg-type]
            for statement in said:
                self.acknowledged[statement.ref] = statement.number
            self.kill.here()

        if not self._mortal(take) and self.rng.random() < 0.8:
            vendor.hooks.append((self.clock.monotonic() + 30.0, webhook))  # type: ignore[arg-type]

    def _misfortune(self) -> None:
        vendor = self.rng.choice(self.vendors)
        trouble = vendor.trouble
        trouble.calm()
        for name in (
            "refuse",
            "timeout_before",
            "timeout_after",
            "lose_item",
            "drop_write",
            "reject_item",
            "rate_limit",
            "lose_hook",
            "double_hook",
        ):
            if self.rng.random() < 0.3:
                setattr(trouble, name, self.rng.choice((0.1, 0.3, 0.6)))
        if self.rng.random() < 0.1:
            trouble.down_until = self.clock.monotonic() + self.rng.uniform(10, 900)
        if self.rng.random() < 0.3:
            self.kill.left = self.rng.randint(1, 25)

    def _people(self) -> None:
        act = self.rng.choice(
            (self._stop, self._stop, self._tick, self._tick, self._untick, self._disposition)
            + (self._edit, self._create, self._merge, self._delete, self._reverse, self._start_text)
        )
        act()

    def _stop(self) -> None:
        number = self.rng.choice(self.numbers)
        words = self.rng.choice(("STOP", "STOP", "please stop texting me", "leave me alone"))
        self._text(number, words)
        self._asked([number])

    def _start_text(self) -> None:
        self._text(self.rng.choice(self.numbers), "START")

    def _text(self, number: str, words: str) -> None:
        self._messages += 1
        scope = self.rng.choice(("MG1", "MG2"))
        self.note(f"{number} texts {words!r} to {scope}")
        self.sms.text(f"SM{self._messages}", number, words, scope)

    def _record(self) -> tuple[Crm, Row] | None:
        vendor = self.rng.choice((self.hubspot, self.salesforce))
        rows = [row for row in vendor.rows.values() if not row.gone]
        return (vendor, self.rng.choice(rows)) if rows else None

    def _tick(self) -> None:
        if found := self._record():
            vendor, row = found
            self.note(f"somebody ticks {vendor.name} {row.key} {row.numbers} (was {row.flag})")
            if not row.flag:
                self._asked(row.numbers)
            vendor.person_sets(row.key, True)

    def _untick(self) -> None:
        if found := self._record():
            vendor, row = found
            self.note(f"somebody unticks {vendor.name} {row.key}")
            vendor.person_sets(row.key, False)

    def _disposition(self) -> None:
        number = self.rng.choice(self.numbers)
        key = f"LIST/{number}"
        row = self.dialer.rows.get(key)
        if row is not None and row.flag and self.rng.random() < 0.5:
            self.note(f"somebody deletes {key} from the dialer")
            self.dialer.person_sets(key, False)
            return
        self.note(f"an agent dispositions {number}")
        if row is None or not row.flag:
            self._asked([number])
        self.dialer.person_sets(key, True)

    def _edit(self) -> None:
        if found := self._record():
            vendor, row = found
            vendor._touch(row)
            row.numbers = self.rng.sample(self.numbers, self.rng.choice((1, 1, 2)))
            if row.flag:
                self._asked(row.numbers)
            self.note(f"{vendor.name} {row.key} now has {row.numbers}")

    def _create(self) -> None:
        vendor = self.rng.choice((self.hubspot, self.salesforce))
        key = str(100 + len(vendor.rows))
        row = Row(key, self.rng.sample(self.numbers, 1), flag=self.rng.random() < 0.2, by="person")
        vendor.rows[key] = row
        vendor._touch(row)
        row.shown = (tuple(row.numbers), row.flag, 0)
        if row.flag:
            self._asked(row.numbers)
        self.note(f"{vendor.name} {key} is created with {row.numbers}, flag {row.flag}")

    def _merge(self) -> None:
        vendor = self.rng.choice((self.hubspot, self.salesforce))
        rows = [row for row in vendor.rows.values() if not row.gone]
        if len(rows) > 3:
            loser, winner = self.rng.sample(rows, 2)
            if winner.flag:
                self._asked(loser.numbers)
            self.note(f"{vendor.name} merges {loser.key} into {winner.key}")
            vendor.merge(loser.key, winner.key)

    def _delete(self) -> None:
        if (found := self._record()) and self.rng.random() < 0.3:
            vendor, row = found
            vendor._touch(row)
            row.gone = True
            self.note(f"{vendor.name} {row.key} is deleted")

    def _reverse(self) -> None:
        number = self.rng.choice(self.numbers)
        reversal = Reversal(
            number, (Channel.VOICE, Channel.SMS), "admin", "asked", "written", "form.pdf", "0" * 64
        )

        def reverse() -> None:
            assert self.writer is not None
            at = to_micros(self.clock.now())
            try:
                self.writer.call(lambda tx: self.intake.reverse(tx, at, reversal))
            except Refused:
                return
            self.reversed_at[number] = self.clock.monotonic()
            self.note(f"the blocks of {number} are reversed")

        self._mortal(reverse)

    # --- the laws -----------------------------------------------------------------------------------------

    def _check_quiet(self) -> None:
        """Law 6: a world in which nothing happens sees no write."""
        before = sum(len(vendor.writes) for vendor in self.vendors)
        self._pass(2 * SCAN)
        wrote = sum(len(vendor.writes) for vendor in self.vendors) - before
        self._hold(6, wrote == 0, f"{wrote} writes in a world where nothing happens")

    def _check_laws(self) -> None:
        assert self.writer is not None
        self.writer.close()
        self.writer = None
        conn = connect_reader(self.path)
        try:
            known = {row[0] for row in conn.execute("SELECT ref FROM statements")}
            missing = [ref for ref in self.acknowledged if ref not in known]
            self._hold(1, not missing, f"acknowledged and not in the ledger: {missing}")
            blocked = {
                row[0]
                for row in conn.execute(
                    "SELECT number FROM blocks WHERE channel = 'voice' AND ended_seq IS NULL"
                )
            }
            self._check_ratchet(blocked)
            self._check_suppressed(conn, blocked)
            self._check_claims(conn)
            orphans = conn.execute("SELECT count(*) FROM deliveries WHERE open = 1").fetchone()[0]
            self._hold(5, orphans == 0, f"{orphans} deliveries still open in a healthy world")
            clears = conn.execute(
                "SELECT count(*) FROM blocks WHERE ended_seq IS NOT NULL AND ended_seq NOT IN "
                "(SELECT event_seq FROM reversals)"
            ).fetchone()[0]
            self._hold(2, clears == 0, "a block ended without a reversal")
        finally:
            conn.close()
        report = verify(self.path)
        self._hold(8, not report.problems, f"the chain does not verify: {report.problems[:3]}")
        differences = compare(self.path, projections).differences
        self._hold(8, not differences, f"a rebuild differs: {differences[:3]}")

    def _check_ratchet(self, blocked: set[str]) -> None:
        """Law 2, from the world's side. What was asked is blocked, unless reversed after it can have been
        known; what was reversed long after the last request is free (law 7: no echo counts as newer)."""
        for message_at, said in self.sms.said:
            if said.text != "START" and self.reversed_at.get(said.number, -1.0) < message_at:
                self._hold(2, said.number in blocked, f"{said.number} said {said.text!r} and is not blocked")

    def _check_suppressed(self, conn: object, blocked: set[str]) -> None:
        """Law 3: whatever can be read and holds a blocked number is suppressed, by the vendor's own truth; and
        nothing else is (a block that nobody asked for would be an echo)."""
        records = {
            (row[0], row[1])
            for row in conn.execute(  # type: ignore[attr-defined]
                "SELECT record_system, record_key FROM requests WHERE record_key IS NOT NULL AND ended_seq IS NULL"
            )
        }
        for vendor in (self.hubspot, self.salesforce):
            for row in vendor.rows.values():
                if row.gone:
                    continue
                want = (vendor.name, row.key) in records or any(n in blocked for n in row.numbers)
                self._hold(
                    3, row.flag == want, f"{vendor.name} {row.key} {row.numbers} is {row.flag}, not {want}"
                )
        for number in self.numbers:
            listed = self.dialer.rows.get(f"LIST/{number}")
            on_list = listed is not None and listed.flag
            self._hold(3, on_list == (number in blocked), f"{number} on the dialer's list: {on_list}")
        for number in blocked:
            reversed_at = self.reversed_at.get(number)
            if reversed_at is None:
                continue
            # Whatever a person did up to a lag before the reversal may be known after it, and wins.
            asked = self.last_set.get(number, -1.0) > reversed_at - 2 * SCAN
            covered = any(
                number in row.numbers for v in (self.hubspot, self.salesforce) for row in v.rows.values()
            )
            self._hold(
                7, asked or covered, f"{number} was reversed and nobody asked since, yet it is blocked"
            )

    def _check_claims(self, conn: object) -> None:
        """Law 4: behind every `verified` there is a reading that showed it, made after the write."""
        for vendor in self.vendors:
            rows = conn.execute(  # type: ignore[attr-defined]
                "SELECT key, want, sent_at, verified_at FROM deliveries WHERE system = ? AND verified_at NOT NULL",
                (vendor.name,),
            ).fetchall()
            self._hold(
                4, not rows or vendor.capabilities.can_read, f"{vendor.name} cannot be read, yet is verified"
            )
            start = to_micros(VirtualClock().now())
            for key, want, sent_at, verified_at in rows:
                sent, done = (sent_at - start) / 1e6, (verified_at - start) / 1e6
                seen = [r for r in vendor.readings if r.key == key and sent <= r.at <= done + 1e-6]
                good = bool(seen) and seen[-1].flag == (want == "set")
                self._hold(4, good, f"{vendor.name} {key} is verified {want} at {done:.1f} without a reading")

    def _hold(self, law: int, holds: bool, what: str) -> None:
        if not holds:
            raise LawBroken(law, what, self.trace)

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
    shm = Path("/dev/shm")  # noqa: S108
    folder = Path(tempfile.mkdtemp(prefix="dncsync-sim-", dir=shm if shm.is_dir() else None))
    made = World(seed, folder)
    try:
        yield made
    finally:
        if made.writer is not None:
            made.writer.close()
        shutil.rmtree(folder, ignore_errors=True)


def simulate(seed: int) -> World:
    """Runs one seed. Raises `LawBroken`."""
    with world(seed) as made:
        made.run()
        return made


__all__ = ["Dialer", "LawBroken", "Sms", "World", "simulate", "world"]
