"""One vendor's sandbox in process, its real connector, a ledger, and all that looks for drift at the wire.
Time moves only when a test moves it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from pydantic import SecretStr

from dncsync.clock import VirtualClock, to_micros
from dncsync.connector import plugin
from dncsync.drift import endings, not_kept
from dncsync.drift.contract import ContractWatch
from dncsync.drift.wire import WireWatch
from dncsync.ledger.sqlite import connect_reader
from dncsync.ledger.writer import DirectWriter, Tx
from dncsync.model import Channel
from dncsync.policy import Policies
from dncsync.runtime.systems import connect
from dncsync.sync.deliveries import settle_numbers
from dncsync.sync.requests import Ask, Intake
from dncsync.sync.topology import Topology
from dncsync.sync.turn import Pace, SystemLoop
from dncsync.testing.sandbox import Sandbox

EVERY = 900.0
"""Seconds between two looks at the contract."""
LEARN_FOR = 600.0
STEP = 60.0
"""Seconds between two runs of the jobs."""


class Site:
    """`site.live(seconds)` is all that a daemon would do with this system meanwhile."""

    def __init__(
        self,
        folder: Path,
        vendor: str,
        *,
        contacts: int = 40,
        settings: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.clock = VirtualClock()
        chance = Random(3)
        made = plugin(vendor)
        self.sandbox: Sandbox = made.sandbox()(seed=3, contacts=contacts, clock=self.clock, **options)
        config, secrets = self.sandbox.settings("http://sandbox.test")
        hidden = {name: SecretStr(value) for name, value in secrets.items()}
        self.settings = made.settings.model_validate({**config, **hidden, **(settings or {})})
        self.path = folder / "ledger.sqlite"
        self.writer = DirectWriter(self.path, create=True, durable=False, now=self.at)
        self.wire = WireWatch(self.clock, learn_for=LEARN_FOR)
        self.connected = connect(
            vendor, self.settings, self.clock, transport=self.sandbox.transport(), observe=self.wire
        )
        self.vendor = vendor
        self.intake = Intake(
            Policies(), Topology({vendor: self.connected.facts}), salt=lambda: chance.randbytes(16)
        )
        self.endings = endings.declared(vendor)
        self.reads_again = 0
        self.open()

    @property
    def at(self) -> int:
        return to_micros(self.clock.now())

    def open(self) -> None:
        """A process begins: nothing is remembered but the ledger."""
        facts, connector = self.connected.facts, self.connected.connector
        self.contract = ContractWatch(
            facts,
            connector,
            self.writer,
            self.clock,
            every=EVERY,
            credentials_expire=self.settings.credentials_expire,
            read_again=self._read_again,
        )
        self.loop = SystemLoop(
            facts,
            connector,
            self.writer,
            self.intake,
            self.clock,
            lambda: 0.5,
            lanes=self.connected.lanes,
            pace=Pace(86_400.0),
            chores=[self.contract],
        )
        self.loop.start()

    def _read_again(self) -> None:
        self.reads_again += 1
        self.loop.snapshot_now()

    # --- time ---------------------------------------------------------------------------------------

    def live(self, seconds: float) -> None:
        """The loop turns and the jobs run for so long."""
        until = self.clock.now() + timedelta(seconds=seconds)
        while self.clock.now() < until:
            for _ in range(300):
                if self.loop.turn() > 0:
                    break
            self.jobs()
            self.clock.advance(STEP)

    def jobs(self) -> None:
        """What the daemon's timer does."""
        self.writer.call(self._jobs)

    def _jobs(self, tx: Tx) -> None:
        self.wire.check(tx, self.at)
        not_kept.check(tx, self.at, [self.vendor])
        endings.check(tx, self.at, {self.vendor: self.settings}, self.endings)

    def settle_down(self) -> None:
        """Long enough for every baseline."""
        self.live(2 * EVERY + 60)

    def block(self, number: str) -> None:
        """A request from elsewhere."""
        channel = next(iter(self.connected.facts.capabilities.channels))
        ask = Ask(
            channel=Channel(channel), numbers=(number,), number=number, record=None, scope="", source="test"
        )

        def take(tx: Tx) -> None:
            touched = self.intake.record(tx, self.at, None, [ask])
            settle_numbers(tx, self.at, self.intake.topology, self.intake.goals, touched)

        self.writer.call(take)

    # --- what there is ------------------------------------------------------------------------------

    def ask(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        conn = connect_reader(self.path)
        try:
            return list(conn.execute(sql, params).fetchall())
        finally:
            conn.close()

    def open_kinds(self, *, without: Sequence[str] = ()) -> set[str]:
        """Kinds of the findings that are open now."""
        rows = self.ask("SELECT DISTINCT kind FROM findings WHERE closed_at IS NULL")
        return {kind for (kind,) in rows} - set(without)

    def findings(self, kind: str) -> list[dict[str, Any]]:
        """All findings of a kind, healed ones too."""
        names = ("subject", "severity", "summary", "detail", "count", "closed_at", "closed_by")
        rows = self.ask(f"SELECT {', '.join(names)} FROM findings WHERE kind = ? ORDER BY id", kind)
        return [dict(zip(names, row, strict=True)) for row in rows]
