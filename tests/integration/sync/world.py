"""An engine on a real ledger file, with vendors that do what a test tells them: `world.crm`, `world.dialer`,
`world.sms`. Nothing in here is random; time moves only when a test moves it.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from dncsync.budget import Lane
from dncsync.clock import VirtualClock, to_micros
from dncsync.connector import (
    Capabilities,
    Change,
    Failure,
    FailureKind,
    FieldCheck,
    Look,
    Looked,
    Page,
    Probe,
    Says,
    Statement,
    Unit,
    VendorError,
    Webhook,
    WebhookRefused,
    WebhookRequest,
    Written,
)
from dncsync.ledger import projections, reading
from dncsync.ledger.rebuild import compare
from dncsync.ledger.sqlite import connect_reader
from dncsync.ledger.verify import verify
from dncsync.ledger.writer import DirectWriter
from dncsync.model import Channel, Flag, Holding, OptOutKind, Provenance, Role
from dncsync.policy import Policies, Policy, Sync
from dncsync.sync.catching_up import CatchUp
from dncsync.sync.observe import Tally
from dncsync.sync.requests import Ask, Intake, Reversal
from dncsync.sync.topology import SystemFacts, Topology
from dncsync.sync.turn import Pace, SystemLoop

VOICE, SMS = Channel.VOICE, Channel.SMS
SET, CLEAR, ABSENT = Flag.SET, Flag.CLEAR, Flag.ABSENT

ANN, BOB, CID, DEB, EVE = (f"+1312555010{i}" for i in range(5))
"""Five people's numbers, in Chicago."""

UNREACHABLE = Failure(FailureKind.TRANSIENT, "cannot connect")
SILENT = Failure(FailureKind.UNKNOWN, "no answer")
BUSY = Failure(FailureKind.RATE_LIMITED, "too many calls", retry_after=20.0)
LOCKED_OUT = Failure(FailureKind.UNAUTHORISED, "the token was revoked")
REFUSED = Failure(FailureKind.REJECTED, "the record is locked", code="LOCKED")

DAY = 86_400.0


@dataclass(slots=True)
class Row:
    """A record or list entry as the vendor holds it."""

    numbers: tuple[str, ...] = ()
    flags: dict[Channel, Flag] = field(default_factory=dict)
    marks: Counter[Channel] = field(default_factory=Counter)
    """How often each flag was written."""
    provenance: dict[Channel, Provenance] = field(default_factory=dict)
    gone: bool = False
    became: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One vendor call: what was asked for, in which lane of the budget."""

    op: str
    keys: tuple[str, ...] = ()
    lane: Lane | None = None


@dataclass
class Vendor:
    """One connected account under the test's control; `rows` is the vendor's own truth."""

    name: str
    clock: VirtualClock
    capabilities: Capabilities
    lists: tuple[str, ...] = ()
    """List or programme names, for a vendor of unit NUMBER."""
    page_size: int = 2
    marks: bool = True
    """Whether holdings carry, for each channel, a mark that moves with every setting."""
    tells_who: bool = False
    """Whether a reading by key says who set a flag."""

    rows: dict[str, Row] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    readings: list[tuple[float, str, dict[Channel, Flag]]] = field(default_factory=list)
    """(when, key, flags) of every holding that was read by key."""
    written: list[tuple[float, str, dict[Channel, Flag]]] = field(default_factory=list)
    """(when, key, wants) of every change that reached the vendor."""
    feed: list[str | Statement] = field(default_factory=list)
    """What `changes` brings: keys, and what people said."""
    hidden: set[str] = field(default_factory=set)
    """Keys that listings leave out."""
    stale: dict[str, Holding] = field(default_factory=dict)
    """What listings and feeds show instead of the truth."""
    before_call: Callable[[Call], None] = field(default=lambda call: None)

    lane: Lane | None = None
    _failures: dict[str, deque[Failure]] = field(default_factory=lambda: defaultdict(deque))
    _item_failures: dict[tuple[str, str], deque[Failure | None]] = field(
        default_factory=lambda: defaultdict(deque)
    )
    _after: deque[Failure] = field(default_factory=deque)
    _dropped: deque[str] = field(default_factory=deque)

    # --- what a test sets up ----------------------------------------------------------------------

    def put(self, key: str, *numbers: str, **flags: Flag) -> Row:
        """A record with these numbers; flags by channel name, else clear."""
        held = {c: flags.get(c.value, CLEAR) for c in self.capabilities.channels}
        self.rows[key] = Row(numbers, held)
        return self.rows[key]

    def person(self, key: str, flag: Flag, channel: Channel = VOICE, who: str = "Rita") -> None:
        """A person ticks (SET) or unticks (CLEAR) there; also when nothing changes, the mark moves."""
        row = self.rows.setdefault(key, Row((key.rpartition("/")[2],)))
        row.flags[channel] = flag
        row.marks[channel] += 1
        row.provenance[channel] = Provenance(who, "CRM_UI", self.clock.now(), ours=False)
        self.feed.append(key)

    def calls_fail(self, op: str, failure: Failure, times: int = 1) -> None:
        """The next calls of this kind fail as a whole; nothing happens there."""
        self._failures[op].extend([failure] * times)

    def item_fails(self, op: str, key: str, failure: Failure, times: int = 1) -> None:
        """This item fails in the next calls that have it."""
        self._item_failures[op, key].extend([failure] * times)

    def item_is_left_out(self, op: str, key: str, times: int = 1) -> None:
        """The answer does not name this item; a write happens all the same."""
        self._item_failures[op, key].extend([None] * times)

    def answer_is_lost(self, failure: Failure = SILENT) -> None:
        """The next write happens, and its answer never comes."""
        self._after.append(failure)

    def drops(self, key: str, times: int = 1) -> None:
        """The next writes of this key are accepted and not kept."""
        self._dropped.extend([key] * times)

    def calm(self) -> None:
        """No more misfortune."""
        for script in (self._failures, self._item_failures, self._after, self._dropped):
            script.clear()

    # --- what a test asks ---------------------------------------------------------------------------

    def flag(self, key: str, channel: Channel = VOICE) -> Flag:
        """What the vendor holds in truth."""
        row = self.rows.get(key)
        return CLEAR if row is None else row.flags.get(channel, ABSENT)

    def ops(self) -> list[str]:
        """The kinds of calls made, in order."""
        return [call.op for call in self.calls]

    # --- the contract -------------------------------------------------------------------------------

    def keys_for(self, number: str) -> tuple[str, ...]:
        return tuple(f"{name}/{number}" for name in self.lists)

    def write(self, changes: Sequence[Change]) -> Iterator[Written]:
        self._call("write", *(change.key for change in changes))
        results = [self._write(change) for change in changes]
        if self._after:
            raise VendorError(self._after.popleft())
        yield from (result for result in results if result is not None)

    def _write(self, change: Change) -> Written | None:
        failed, failure = self._next(("write", change.key))
        if failed and failure is not None:
            return Written(change.key, failure)
        self.written.append((self.clock.monotonic(), change.key, dict(change.wants)))
        if change.key in self._dropped:
            self._dropped.remove(change.key)
        else:
            self._keep(change.key, change.wants)
        return None if failed else Written(change.key, ref=f"ref-{change.key}")

    def _keep(self, key: str, wants: Mapping[Channel, Flag]) -> None:
        row = self.rows.setdefault(key, Row((key.rpartition("/")[2],)))
        for channel, flag in wants.items():
            if row.flags.get(channel) is not flag:
                row.flags[channel] = flag
                row.marks[channel] += 1
                row.provenance[channel] = Provenance("dncsync", "INTEGRATION", self.clock.now(), ours=True)

    def read(self, keys: Sequence[str]) -> Iterator[Looked]:
        self._call("read", *keys)
        for key in keys:
            failed, failure = self._next(("read", key))
            if failed and failure is not None:
                yield Looked(key, failure=failure)
            elif not failed:
                holding = self._holding(key, told=self.tells_who)
                self.readings.append((self.clock.monotonic(), key, dict(holding.flags)))
                yield Looked(key, holding)

    def find(self, number: str) -> Iterator[Looked]:
        self._call("find", number)
        for key, row in self.rows.items():
            if number in row.numbers and not row.gone:
                yield Looked(key, self._listed(key))

    def snapshot(self, cursor: str | None) -> Iterator[Page]:
        while True:
            self._call("snapshot", cursor or "")
            keys = sorted(k for k, row in self.rows.items() if not row.gone and k not in self.hidden)
            if self.capabilities.unit is Unit.NUMBER:
                keys = [k for k in keys if SET in self.rows[k].flags.values()]
            keys = [k for k in keys if k > (cursor or "")]
            page, more = keys[: self.page_size], len(keys) > self.page_size
            cursor = page[-1] if page else cursor or ""
            yield Page(tuple(self._listed(key) for key in page), cursor, more, total=len(self.rows))
            if not more:
                return

    def changes(self, cursor: str | None) -> Iterator[Page]:
        since = int(cursor or 0)
        self._call("changes", str(since))
        found = self.feed[since : since + self.page_size]
        end = since + len(found)
        yield Page(
            tuple(self._listed(key) for key in found if isinstance(key, str)),
            str(end),
            end < len(self.feed),
            statements=tuple(said for said in found if isinstance(said, Statement)),
        )

    def parse_webhook(self, request: WebhookRequest) -> Webhook:
        raise WebhookRefused(404, "tests hand webhooks over themselves")

    def describe(self) -> tuple[FieldCheck, ...]:
        return ()

    def probe(self) -> Probe:
        return Probe(self.name, ())

    def close(self) -> None:
        pass

    def _call(self, op: str, *keys: str) -> None:
        self.clock.advance(0.001)  # no two calls in the same instant
        call = Call(op, keys, self.lane)
        self.calls.append(call)
        self.before_call(call)
        if self._failures[op]:
            raise VendorError(self._failures[op].popleft())

    def _next(self, script: tuple[str, str]) -> tuple[bool, Failure | None]:
        waiting = self._item_failures.get(script)
        return (True, waiting.popleft()) if waiting else (False, None)

    def _listed(self, key: str) -> Holding:
        return self.stale.get(key) or self._holding(key, told=False)

    def _holding(self, key: str, *, told: bool) -> Holding:
        row = self.rows.get(key)
        if row is None or row.gone:
            return Holding(key, {}, gone=True, became=row.became if row else None)
        by_number = self.capabilities.unit is Unit.NUMBER
        missing = CLEAR if by_number else ABSENT
        return Holding(
            key,
            {c: row.flags.get(c, missing) for c in self.capabilities.channels},
            row.numbers,
            revisions={c: str(row.marks[c]) for c in row.flags} if self.marks else {},
            provenance=dict(row.provenance) if told else {},
        )

    @contextmanager
    def lanes(self, lane: Lane) -> Iterator[None]:
        """Notes in which lane of the budget a call is made."""
        self.lane = lane
        try:
            yield
        finally:
            self.lane = None


def crm(name: str, clock: VirtualClock, **changes: Any) -> Vendor:
    """A CRM whose records say both channels."""
    options: dict[str, Any] = {"has_webhooks": True, "write_batch": 3, "read_batch": 4, **changes}
    return Vendor(name, clock, Capabilities(Unit.RECORD, Role.CRM, frozenset({VOICE, SMS}), **options))


def dialer(name: str, clock: VirtualClock, **changes: Any) -> Vendor:
    """A dialer with one list, without a feed."""
    options: dict[str, Any] = {"can_poll": False, "has_webhooks": True, "write_batch": 3, **changes}
    capabilities = Capabilities(Unit.NUMBER, Role.DIALER, frozenset({VOICE}), **options)
    return Vendor(name, clock, capabilities, lists=("DNC",), marks=False)


def texts(name: str, clock: VirtualClock, **changes: Any) -> Vendor:
    """An SMS vendor with two programmes, which cannot be read, listed or cleared."""
    options: dict[str, Any] = {"can_clear": False, "can_read": False, "can_list": False, **changes}
    capabilities = Capabilities(Unit.NUMBER, Role.SMS, frozenset({SMS}), has_webhooks=True, **options)
    return Vendor(name, clock, capabilities, lists=("MG1", "MG2"), marks=False)


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
        while True:
            waits = [max(0.001, self.turn(name)) for name in self.vendors]
            left = end - self.clock.monotonic()
            if left <= 0:
                return
            self.clock.advance(min(left, *waits))

    def run_until_calls(self, count: int, name: str = "crm") -> None:
        """Turns of one system, in time, until so many calls were made."""
        while len(self.vendors[name].calls) < count:
            wait = self.turn(name)
            if len(self.vendors[name].calls) < count:
                self.clock.advance(max(0.001, wait))

    def settle(self) -> None:
        """Half a minute, so that all feeds are read, and then until nothing is open; at most two days."""
        self.run(30.0)
        for _ in range(2000):
            if not self.open_work():
                return
            self.run(60.0)
        raise AssertionError(f"still open after two days: {self.open_work()}")

    def open_work(self) -> list[tuple[Any, ...]]:
        """Deliveries and looks that are not done."""
        return self.query(
            "SELECT system, key, channel, state, last_error FROM deliveries WHERE open = 1 "
            "UNION ALL SELECT system, key, 'look', '', '' FROM looks"
        )

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
            number, channels or (VOICE, SMS), "ada", "asked to be called", "signed", "form.pdf", "0" * 64
        )
        reversal_id: str = self.do(lambda tx: self.intake.reverse(tx, self.at, reversal))
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
