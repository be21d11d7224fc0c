"""An engine on a real ledger file, with vendors that do what a test tells them: `world.crm`, `world.dialer`,
`world.sms`. Nothing in here is random; time moves only when a test moves it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from dncsync.clock import VirtualClock, to_micros
from dncsync.connector import (
    Look,
    Says,
    Statement,
    Webhook,
)
from dncsync.ledger import projections, reading
from dncsync.ledger.rebuild import compare
from dncsync.ledger.sqlite import connect_reader
from dncsync.ledger.verify import verify
from dncsync.ledger.writer import DirectWriter
from dncsync.model import Channel, OptOutKind
from dncsync.policy import Policies, Policy, Sync
from dncsync.sync.catching_up import CatchUp
from dncsync.sync.observe import Tally
from dncsync.sync.requests import Ask, Intake, Reversal
from dncsync.sync.topology import SystemFacts, Topology
from dncsync.sync.turn import Pace, SystemLoop
from integration.sync.vendors import SMS, VOICE, Vendor, crm, dialer, texts

DAY = 86_400.0


class World:
    """The engine, its ledger and its vendors."""

    def __init__(
        self,
        folder: Path,
        *,
        policy: Policy | None = None,
        snapshot_every: float = DAY,
        company_zone: str = "America/New_York",
        start: datetime | None = None,
        without: Sequence[str] = (),
        **vendors: Callable[[str, VirtualClock], Vendor],
    ) -> None:
        self.clock = VirtualClock(start) if start else VirtualClock()
        self.path = folder / "ledger.sqlite"
        self.policy = policy or Policy()
        made = {"crm": crm, "dialer": dialer, "sms": texts, **vendors}
        self.vendors = {name: make(name, self.clock) for name, make in made.items() if name not in without}
        self._snapshot_every = snapshot_every
        self._company_zone = company_zone
        self._messages = 0
        self._salts = 0
        self.writer: DirectWriter | None = None
        self.open()

    @property
    def crm(self) -> Vendor:
        return self.vendors["crm"]

    @property
    def dialer(self) -> Vendor:
        return self.vendors["dialer"]

    @property
    def sms(self) -> Vendor:
        return self.vendors["sms"]

    # --- the process --------------------------------------------------------------------------------

    def open(self) -> None:
        """A process begins on what the last one left on disk; it takes no turn yet."""
        self.writer = DirectWriter(self.path, create=True, durable=False, now=self.at)
        self.topology = self._topology()
        self.intake = Intake(
            Policies(self.policy), self.topology, company_zone=self._company_zone, salt=self._salt
        )
        self.loops = {
            name: SystemLoop(
                self.topology[name],
                vendor,
                self.writer,
                self.intake,
                self.clock,
                lambda: 0.5,
                lanes=vendor.lanes,
                pace=Pace(self._snapshot_every),
            )
            for name, vendor in self.vendors.items()
        }
        for loop in self.loops.values():
            loop.start()

    def catch_up(self) -> None:
        """What the daemon does at its start for whatever was recorded while none ran."""
        assert self.writer is not None
        pass_over = CatchUp(self.writer, self.intake, self.clock)
        while pass_over.step():
            pass

    def close(self) -> None:
        """The process ends, in whatever state."""
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def restart(self) -> None:
        """kill -9, and begun again from disk."""
        self.close()
        self.open()
        self.catch_up()

    def _topology(self) -> Topology:
        return Topology(
            {
                name: SystemFacts(name, "scripted", "US", vendor.capabilities, vendor.keys_for)
                for name, vendor in self.vendors.items()
            }
        )

    def _salt(self) -> bytes:
        self._salts += 1
        return self._salts.to_bytes(16, "big")

    # --- time ---------------------------------------------------------------------------------------

    @property
    def at(self) -> int:
        """Now, in the ledger's microseconds."""
        return to_micros(self.clock.now())

    def turn(self, name: str) -> float:
        """One turn of one system."""
        return self.loops[name].turn()

    def work(self, *names: str) -> None:
        """Turns of these systems (all, without names) until nothing is due at this moment."""
        for _ in range(500):
            if not [name for name in names or self.vendors if self.turn(name) == 0.0]:
                return
        raise AssertionError("500 rounds of turns, and still there is more to do")

    def run(self, seconds: float) -> None:
        """Time passes; whatever falls due is done when it falls due."""
        end = self.clock.monotonic() + seconds
        for _ in range(1000 + int(10 * seconds)):
            waits = [max(0.001, self.turn(name)) for name in self.vendors]
            left = end - self.clock.monotonic()
            if left <= 0:
                return
            self.clock.advance(min(left, *waits))
        raise AssertionError(f"a loop spins: {self.open_work()}")

    def run_until_calls(self, count: int, name: str = "crm") -> None:
        """Turns of one system, in time, until so many calls were made."""
        while len(self.vendors[name].calls) < count:
            wait = self.turn(name)
            if len(self.vendors[name].calls) < count:
                self.clock.advance(max(0.001, wait))

    def settle(self) -> None:
        """Half a minute, so that all feeds are read, and then until nothing is open; at most four hours."""
        self.run(30.0)
        for _ in range(240):
            if not self.open_work():
                return
            self.run(60.0)
        raise AssertionError(f"still open after four hours: {self.open_work()}")

    def open_work(self) -> list[tuple[Any, ...]]:
        """Deliveries and looks that are not done."""
        return self.query(
            "SELECT system, key, channel, state, last_error FROM deliveries WHERE open = 1 "
            "UNION ALL SELECT system, key, 'look', '', '' FROM looks"
        )

    def lose_cache(self, *tables: str, system: str = "%") -> None:
        """Rows of tables that are no projection are gone: the file was damaged, or restored from events."""
        for table in tables:
            statement = f"DELETE FROM {table} WHERE system LIKE ?"
            self.do(lambda tx, sql=statement: tx.execute(sql, (system,)) and None)  # type: ignore[misc]

    # --- what comes in --------------------------------------------------------------------------------

    def do(self, work: Callable[[Any], Any]) -> Any:
        """One transaction."""
        assert self.writer is not None
        return self.writer.call(work)

    def statement(
        self,
        number: str,
        text: str = "STOP",
        *,
        scope: str = "MG1",
        says: Says | None = None,
        ref: str | None = None,
        source: str = "sms-inbound",
        evidence_only: bool = False,
    ) -> Statement:
        """What the SMS vendor would bring."""
        self._messages += 1
        return Statement(
            ref or f"SM{self._messages}",
            number,
            SMS,
            self.clock.now(),
            text,
            says,
            scope,
            source,
            evidence_only,
        )

    def hear(self, said: Statement, system: str = "sms") -> OptOutKind | None:
        """It arrives."""
        heard: OptOutKind | None = self.do(
            lambda tx: self.intake.hear(tx, self.at, self.topology[system], said)
        )
        return heard

    def text(self, number: str, text: str = "STOP", **options: Any) -> OptOutKind | None:
        """A consumer texts, and the vendor's webhook brings it."""
        return self.hear(self.statement(number, text, **options))

    def hook(self, system: str, *signals: Look | Statement, nonce: str = "") -> int:
        """An authentic webhook."""
        webhook = Webhook(tuple(signals), nonce)
        taken: int = self.do(lambda tx: self.intake.take_webhook(tx, self.at, self.topology[system], webhook))
        return taken

    def block(self, number: str, channel: Channel = VOICE) -> str:
        """An admin blocks."""
        request: str = self.do(
            lambda tx: self.intake.block(tx, self.at, number, channel, actor="ada", source="admin")
        )
        return request

    def imported(self, number: str) -> None:
        """A list that existed before us brings this number; what follows from it is backfill."""
        ask = Ask(VOICE, (number,), number, source="import")

        def take(tx: Any) -> None:
            self.intake.settle(tx, self.at, self.intake.record(tx, self.at, None, [ask]), backfill=True)

        self.do(take)

    def reverse(self, number: str, *channels: Channel) -> str:
        """An admin ends a number's blocks, with papers."""
        reversal = Reversal(
            number,
            channels or (VOICE, SMS),
            "ada",
            "asked to be called",
            "signed",
            "form.pdf",
            "0" * 64,
            self.clock.now().isoformat(),
        )
        reversal_id: str = self.do(lambda tx: self.intake.reverse(tx, self.at, reversal)).id
        return reversal_id

    def tally(self, name: str) -> Tally:
        """What the readings of one system came to so far."""
        return self.loops[name].tally

    # --- what the ledger says -------------------------------------------------------------------------

    def query(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        """Rows, from a connection that can only read."""
        conn = connect_reader(self.path)
        try:
            return list(conn.execute(sql, params).fetchall())
        finally:
            conn.close()

    def events(self) -> int:
        """How many events the ledger has."""
        return int(self.query("SELECT count(*) FROM events")[0][0])

    def kinds(self, after: int = 0) -> list[str]:
        """The kinds of the events past a sequence number."""
        return [row[0] for row in self.query("SELECT kind FROM events WHERE seq > ? ORDER BY seq", after)]

    def blocked(self, number: str) -> set[str]:
        """The channels on which the number is blocked."""
        rows = self.query("SELECT channel FROM blocks WHERE number = ? AND ended_seq IS NULL", number)
        return {row[0] for row in rows}

    def requests(self) -> list[dict[str, Any]]:
        """All requests, in the ledger's order."""
        return self._dicts("SELECT * FROM requests ORDER BY event_seq, id")

    def deliveries(self, system: str = "%", key: str = "%", channel: str = "%") -> list[dict[str, Any]]:
        """Deliveries with their stamps, in order."""
        return self._dicts(
            "SELECT * FROM deliveries WHERE system LIKE ? AND key LIKE ? AND channel LIKE ? ORDER BY id",
            system,
            key,
            channel,
        )

    def delivery(self, system: str, key: str, channel: Channel = VOICE) -> dict[str, Any]:
        """The one delivery that there is."""
        (found,) = self.deliveries(system, key, channel)
        return found

    def findings(self, kind: str = "%") -> list[dict[str, Any]]:
        """Findings that are open."""
        return self._dicts("SELECT * FROM findings WHERE kind LIKE ? AND closed_at IS NULL ORDER BY id", kind)

    def state(self, name: str) -> tuple[str, str]:
        """What the ledger says of a system, and why."""
        (found,) = self.query("SELECT state, reason FROM systems WHERE system = ?", name)
        return (found[0], found[1])

    def may_contact(self, number: str, channel: Channel = VOICE) -> bool:
        """What the check says."""
        conn = connect_reader(self.path)
        try:
            return bool(reading.verdict(conn, number, channel)["contact"])
        finally:
            conn.close()

    def proofs(self, number: str) -> dict[tuple[str, str, str], str]:
        """(system, key, channel) -> what may be claimed."""
        conn = connect_reader(self.path)
        try:
            shown = reading.number(conn, number)
        finally:
            conn.close()
        return {(d["system"], d["key"], d["channel"]): d["proof"] for d in shown["deliveries"]}

    def assert_ledger_is_whole(self) -> None:
        """Law 8: the chain verifies, and a rebuild gives the same bytes."""
        assert verify(self.path).problems == ()
        assert compare(self.path, projections).differences == ()

    def _dicts(self, sql: str, *params: Any) -> list[dict[str, Any]]:
        conn = connect_reader(self.path)
        try:
            cursor = conn.execute(sql, params)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        finally:
            conn.close()


def policy(**rules: Any) -> Policy:
    """The default policy with other values in its `sync` table."""
    return Policy(sync=Sync(**rules))
