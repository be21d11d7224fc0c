"""Several systems under virtual time, in one process: real connectors, real loops, sandboxes in process.

Each system has a local time that only its own calls and sleeps move; the system whose next turn is due first
goes next. Webhooks arrive at their times, also while a call is under way, as they do in a daemon of threads.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import httpx

from dncsync.clock import Clock, to_micros
from dncsync.connector import WebhookRequest, plugin
from dncsync.ledger.writer import DirectWriter, Writer
from dncsync.policy import Policies
from dncsync.runtime.systems import Connected, connect
from dncsync.sync.requests import Intake
from dncsync.sync.topology import SystemFacts, Topology
from dncsync.sync.turn import Chore, SystemLoop
from dncsync.testing.sandbox import OutgoingWebhook, Sandbox

START = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
HOOK = "https://dnc.example.com/hooks/{}"
HOOK_SECONDS = 0.3
"""From a change at a vendor to its webhook."""


class LocalClock:
    """One system's time: moves when that system waits or calls, and lets arrivals in on the way."""

    def __init__(self, arrive: Callable[[float], None]) -> None:
        self._elapsed = 0.0
        self._arrive = arrive

    def now(self) -> datetime:
        return START + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            until = self._elapsed + seconds
            self._arrive(until)
            self.reach(until)

    def reach(self, until: float) -> None:
        """Not before `until` (seconds since the start)."""
        self._elapsed = max(self._elapsed, until)


class Wire(httpx.BaseTransport):
    """The way to one sandbox: takes time, and remembers when each call of which kind was sent."""

    def __init__(self, vendor: str, box: Sandbox, clock: LocalClock, rng: Random, seconds: float) -> None:
        self.sent: dict[str, list[float]] = {}
        """Limit or kind of call -> when (seconds since the start)."""
        self._vendor = vendor
        self._inner = box.transport()
        self._clock = clock
        self._rng = rng
        self._seconds = seconds

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        for kind in kinds_of(self._vendor, request):
            self.sent.setdefault(kind, []).append(self._clock.monotonic())
        there, back = (self._seconds * self._rng.uniform(0.25, 0.75) for _ in range(2))
        self._clock.sleep(there)
        response = self._inner.handle_request(request)
        self._clock.sleep(back)
        return response


def kinds_of(vendor: str, request: httpx.Request) -> Iterable[str]:
    """The limits that a call counts against, and `feed` for one that looks for changes."""
    path = request.url.path
    if vendor == "hubspot":
        yield "search" if path.endswith("/search") else "burst"
        if b'"BETWEEN"' in request.read():
            yield "feed"
    elif vendor == "twilio":
        yield "api"
        yield "consents" if path.endswith("/Consents/Bulk") else "feed"
    elif vendor == "salesforce":
        yield "logins" if path.endswith("/oauth2/token") else "daily"
        if "SystemModstamp >" in request.url.params.get("q", ""):
            yield "feed"
    else:
        yield "calls"


class VirtualWorld:
    """Systems named after their vendors, and the ledger between them."""

    def __init__(
        self,
        folder: Path,
        options: Mapping[str, Mapping[str, Any]],
        *,
        seed: int = 1,
        call_seconds: float = 0.15,
        chores: Callable[[SystemFacts, Writer, Clock], Sequence[Chore]] = lambda facts, writer, clock: (),
    ) -> None:
        """`options`: vendor -> options of its sandbox; `config` among them goes to the connector. `chores`:
        of each system's loop."""
        self._rng = Random(seed)
        self._closing = ExitStack()
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._wanted: dict[str, float] = {}
        self._acting: float = 0.0
        self.clocks: dict[str, LocalClock] = {}
        self.boxes: dict[str, Sandbox] = {}
        self.wires: dict[str, Wire] = {}
        self.systems: dict[str, Connected] = {}
        for name, given in options.items():
            clock = self.clocks[name] = LocalClock(self._arrivals)
            config = dict(given.get("config", {}))
            made = plugin(name)
            box = made.sandbox()(clock=clock, **{k: v for k, v in given.items() if k != "config"})
            wire = Wire(name, box, clock, self._rng, call_seconds)
            table, secrets = box.settings("http://sandbox.invalid")
            settings = made.settings.model_validate({**table, **config, **secrets})
            self.boxes[name], self.wires[name] = box, wire
            self.systems[name] = connect(name, settings, clock, transport=wire)
            self._closing.callback(self.systems[name].close)
            box.webhook_url = HOOK.format(name)
            box.send_webhook = self._sender(name)  # type: ignore[method-assign,assignment]
        self.path = folder / "ledger.sqlite"
        self.writer = DirectWriter(self.path, create=True, durable=False, now=to_micros(START))
        self._closing.callback(self.writer.close)
        facts = {name: connected.facts for name, connected in self.systems.items()}
        self.intake = Intake(
            Policies(), Topology(facts, wake=self._wake), salt=lambda: self._rng.randbytes(16)
        )
        self.loops = {
            name: SystemLoop(
                connected.facts,
                connected.connector,
                self.writer,
                self.intake,
                self.clocks[name],
                self._rng.random,
                lanes=connected.lanes,
                chores=chores(connected.facts, self.writer, self.clocks[name]),
            )
            for name, connected in self.systems.items()
        }
        for name, loop in self.loops.items():
            loop.start()
            self._wanted[name] = 0.0

    def close(self) -> None:
        """Lets go of everything."""
        self._closing.close()

    def __enter__(self) -> VirtualWorld:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- time -----------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Seconds since the start, up to which everything has happened."""
        return min(self._ready(name) for name in self.loops)

    def at(self, when: float, act: Callable[[], object]) -> None:
        """Has something happen at that time."""
        heapq.heappush(self._events, (when, next(self._order), act))

    def run(self, until: float, *, stop: Callable[[], bool] = lambda: False, every: int = 20) -> None:
        """Turns and arrivals until then (seconds since the start), or until `stop()`, which is asked after
        every so many turns."""
        for turn in itertools.count(1):
            name = min(self.loops, key=self._ready)
            soonest = self._ready(name)
            if self._events and self._events[0][0] <= min(soonest, until):
                self._arrive_one()
                continue
            if soonest > until:
                return
            self._turn(name, soonest)
            if turn % every == 0 and stop():
                return

    def _ready(self, name: str) -> float:
        return max(self.clocks[name].monotonic(), self._wanted[name])

    def _turn(self, name: str, at: float) -> None:
        clock = self.clocks[name]
        clock.reach(at)
        self._wanted[name] = math.inf  # whoever wakes it from now on is heard after this turn
        before, self._acting = self._acting, at
        wait = self.loops[name].turn()
        self._acting = before
        self._wanted[name] = min(self._wanted[name], clock.monotonic() + wait)

    def _wake(self, systems: Iterable[str]) -> None:
        for name in systems:
            if name in self._wanted:
                self._wanted[name] = min(self._wanted[name], self._acting)

    def _arrivals(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self._arrive_one()

    def _arrive_one(self) -> None:
        when, _, act = heapq.heappop(self._events)
        before, self._acting = self._acting, when
        act()
        self._acting = before

    # --- webhooks -------------------------------------------------------------------------------------

    def _sender(self, name: str) -> Callable[[OutgoingWebhook], None]:
        def send(hook: OutgoingWebhook) -> None:
            when = self.clocks[name].monotonic() + HOOK_SECONDS
            self.at(when, lambda: self._take(name, hook, when))

        return send

    def _take(self, name: str, hook: OutgoingWebhook, when: float) -> None:
        received = START + timedelta(seconds=when)
        headers = {key.lower(): value for key, value in hook.headers.items()}
        request = WebhookRequest(hook.method, hook.url, headers, hook.body, received)
        connected = self.systems[name]
        webhook = connected.connector.parse_webhook(request)
        at = to_micros(received)
        self.writer.call(lambda tx: self.intake.take_webhook(tx, at, connected.facts, webhook))

    def opt_out(self, name: str, number: str, when: float) -> None:
        """At that time somebody opts out there."""

        def act() -> None:
            self.clocks[name].reach(when)
            self.boxes[name].opt_out(number)

        self.at(when, act)

    # --- what it came to ------------------------------------------------------------------------------

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of the ledger."""
        return self.writer.call(lambda tx: tx.execute(sql, values).fetchall())

    def read_in_full(self) -> bool:
        """Whether every system that can be listed was read in full."""
        listed = sum(connected.facts.capabilities.can_list for connected in self.systems.values())
        return int(self.query("SELECT count(*) FROM systems WHERE snapshot_at IS NOT NULL")[0][0]) >= listed

    def is_quiet(self) -> bool:
        """Whether nothing is open."""
        sql = "SELECT EXISTS (SELECT 1 FROM deliveries WHERE open = 1) OR EXISTS (SELECT 1 FROM looks)"
        return not self._events and self.query(sql)[0][0] == 0

    def calls(self, name: str) -> Counter[str]:
        """What the sandbox was asked, by method and rule."""
        counted = self.boxes[name].calls
        return Counter({k: n for k, n in counted.items() if k.partition(" ")[2].startswith("/")})

    def looks_for_changes(self, name: str) -> int:
        """How many of these calls looked for changes: their number follows the clock."""
        return len(self.wires[name].sent.get("feed", []))
