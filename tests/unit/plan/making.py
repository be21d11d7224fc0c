"""What tests of plans have in common: systems, holdings, and a ledger with its engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dncsync.connector import (
    Capabilities,
    Unit,
    Written,
)
from dncsync.ledger.sqlite import connect_reader
from dncsync.ledger.writer import DirectWriter, Tx
from dncsync.model import Channel, Flag, Holding, Role
from dncsync.policy import Policies
from dncsync.sync.observe import observe
from dncsync.sync.plan import Compared, Kind, compare
from dncsync.sync.requests import Intake, Reversal
from dncsync.sync.topology import SystemFacts, Topology
from dncsync.sync.writing import begin_write, end_write

AT = 1_790_000_000_000_000
NUMBERS = [f"+1312555{i:04d}" for i in range(100, 108)]
BOTH = frozenset(Channel)
BLOCKS = dict.fromkeys(Channel, BOTH)
"""Policy `unified`."""


def crm(name: str = "crm") -> SystemFacts:
    return SystemFacts(name, "toy", "US", Capabilities(Unit.RECORD, Role.CRM, BOTH))


def dialer(name: str = "dialer") -> SystemFacts:
    capabilities = Capabilities(Unit.NUMBER, Role.DIALER, frozenset({Channel.VOICE}), can_poll=False)
    return SystemFacts(name, "toy", "US", capabilities, lambda number: (f"LIST/{number}",))


def texts(name: str = "texts") -> SystemFacts:
    """A system with lists of text programmes that can be read."""
    capabilities = Capabilities(Unit.NUMBER, Role.SMS, frozenset({Channel.SMS}))
    return SystemFacts(name, "toy", "US", capabilities, lambda number: (f"PROG/{number}",))


def record(key: str, *numbers: str, voice: Flag = Flag.CLEAR, sms: Flag = Flag.CLEAR) -> Holding:
    return Holding(key, {Channel.VOICE: voice, Channel.SMS: sms}, numbers)


def entry(number: str) -> Holding:
    return Holding(f"LIST/{number}", {Channel.VOICE: Flag.SET}, (number,))


class Ledger:
    """A ledger with systems, and what tests do to it."""

    def __init__(self, folder: Path, *facts: SystemFacts) -> None:
        self.path = folder / "ledger.sqlite"
        self.writer = DirectWriter(self.path, create=True, durable=False, now=AT)
        self.facts = {each.name: each for each in facts}
        self.intake = Intake(Policies(), Topology(self.facts), salt=lambda: b"salt")
        self.at = AT
        self.reader = connect_reader(self.path)

    def do(self, work: Callable[[Tx, int], Any]) -> Any:
        self.at += 1_000_000
        return self.writer.call(lambda tx: work(tx, self.at))

    def saw(self, facts: SystemFacts, *holdings: Holding) -> None:
        """Read by key, and taken in."""
        self.do(lambda tx, at: self.look(tx, at, facts, holdings))

    def look(self, tx: Tx, at: int, facts: SystemFacts, holdings: Sequence[Holding]) -> None:
        observe(tx, at, self.intake, facts, holdings, fresh=True, jitter=lambda: 0.5)

    def told(self, known_to: Topology | None) -> Intake:
        """What is recorded becomes deliveries in these systems; None: in all."""
        return self.intake if known_to is None else Intake(Policies(), known_to)

    def block(
        self, number: str, channel: Channel = Channel.VOICE, *, known_to: Topology | None = None
    ) -> None:
        intake = self.told(known_to)
        self.do(lambda tx, at: intake.block(tx, at, number, channel, actor="jane", source="admin"))

    def unblock(self, number: str, *, known_to: Topology | None = None) -> None:
        papers = ("evidence_name", "evidence_sha256", "evidence_date")
        how = dict.fromkeys(("actor", "reason", "basis", *papers), "x")
        intake, reversal = self.told(known_to), Reversal(number, tuple(Channel), **how)
        self.do(lambda tx, at: intake.reverse(tx, at, reversal))

    def write(self, facts: SystemFacts, want: Flag, *, answered: bool) -> None:
        """Sends what is due; the answer may be lost."""

        def send(tx: Tx, at: int) -> None:
            batch = begin_write(tx, at, facts, want, backfill=False)
            if batch is not None and answered:
                end_write(tx, at, facts, batch, [Written(c.key) for c in batch.changes], lambda: 0.5)

        self.do(send)

    def close(self) -> None:
        self.reader.close()
        self.writer.close()


def look_at(ledger: Ledger, facts: SystemFacts, holdings: Sequence[Holding]) -> Compared:
    return compare(ledger.reader, facts, holdings, BLOCKS)


def kinds(found: Compared) -> list[tuple[str, Kind]]:
    return [(change.key, change.kind) for change in found.changes]
