"""The embedded runtime: one process, one thread per system, APScheduler for the clock, SQLite for everything
that must survive.

APScheduler is a timer and nothing more: no work lives in it. What is due is always read from the ledger.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from prometheus_client import CollectorRegistry

from dncsync import policy
from dncsync.clock import Clock, SystemClock, to_micros
from dncsync.connector import Webhook, WebhookRequest
from dncsync.drift import endings, not_kept
from dncsync.drift.canary import Canary
from dncsync.drift.canary_origin import OriginWrite
from dncsync.drift.contract import ContractWatch
from dncsync.drift.patrol import Patrol
from dncsync.drift.wire import WireWatch
from dncsync.http import WireCall
from dncsync.ledger import checkpoint
from dncsync.ledger.sqlite import Error, LedgerError
from dncsync.ledger.writer import GroupWriter, Tx, Writer, WriterClosed
from dncsync.policy import Policies
from dncsync.reconcile.slices import Slices
from dncsync.redaction import Redactor
from dncsync.runtime import canary_command, commands
from dncsync.runtime.control import ControlServer
from dncsync.runtime.metrics import LedgerMetrics, WireMetrics
from dncsync.runtime.quarterly import Quarterly
from dncsync.runtime.systems import Connected, connect_all
from dncsync.settings import Settings
from dncsync.sync import findings, fuse_decisions, watch
from dncsync.sync.catching_up import CatchUp
from dncsync.sync.requests import Intake
from dncsync.sync.topology import Topology
from dncsync.sync.turn import Chore, Pace, SystemLoop
from dncsync.web.server import Server
from dncsync.web.webhooks import UnknownSystem, create_app

log = structlog.get_logger("dncsync.daemon")

ANSWERS_EVERY = 60
"""Seconds between two comparisons of what answers look like."""
CANARY_EVERY = 5
"""Seconds between two steps of a canary run."""
LONG = "long"
"""Jobs that may take minutes."""
WATCH_EVERY = 30
"""Seconds between looks at the clocks of open deliveries."""
ERROR_PAUSE = 5.0
"""Seconds a loop rests after an error of our own, e.g. a full disk."""
STOP_WITHIN = 8.0
"""Seconds that calls in hand get to end in; the service manager's patience is 10."""
_TRIAL = "INSERT INTO nonces VALUES ('', 'trial', ?) ON CONFLICT DO UPDATE SET seen_at = excluded.seen_at"
READY_FOR = 1.0
"""Seconds that one trial of the ledger answers for, however often strangers ask."""


class _LoopThread:
    """Runs one system's turns until told to stop; sleeps only while nothing is due."""

    def __init__(self, loop: SystemLoop) -> None:
        self.loop = loop
        self.wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"system-{loop.facts.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask_to_stop(self) -> None:
        """After the call in hand."""
        self._stop.set()
        self.wake.set()

    def join(self, timeout: float) -> bool:
        """Whether it ended within `timeout` seconds."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        started = False
        while not self._stop.is_set():
            self.wake.clear()
            try:
                if not started:
                    self.loop.start()
                    started = True
                pause = self.loop.turn()
            except WriterClosed:
                return  # the process ends; what was in flight is settled by reading after the next start
            except Exception as error:
                # Ours, not the vendor's: the ledger could not be written. Nothing is lost.
                log.error("the loop rests", system=self.loop.facts.name, error=str(error), exc_info=True)
                pause = ERROR_PAUSE
            if pause > 0:
                self.wake.wait(pause)


class Daemon:
    """Everything that `dncsync run` is. `start` returns when webhooks are taken; `stop` is graceful."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        """Reads the policy and opens nothing yet. Raises `PolicyError`."""
        self.settings = settings
        self.policies = load_policies(settings)
        self._clock = clock or SystemClock()
        self.policies.check(self._clock.now().date())
        self._registry = CollectorRegistry()
        self._wire = WireMetrics(self._registry)
        self._answers = WireWatch(self._clock)
        self._contracts: dict[str, ContractWatch] = {}
        self._redactor = Redactor(settings.secret_values())
        self._threads: dict[str, _LoopThread] = {}
        self._origins: dict[str, OriginWrite] = {}
        self._systems: dict[str, Connected] = {}
        self._closing = contextlib.ExitStack()
        self._trial = threading.Lock()
        self._tried = (-READY_FOR, False)
        self.server: Server | None = None
        self.control: ControlServer | None = None

    # --- life ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Opens the ledger and connects. Raises `LedgerError`, `ListenError` or `UnknownVendor`, and leaves
        nothing running then."""
        with contextlib.ExitStack() as opening:
            ledger = self.settings.ledger.path
            now = to_micros(self._clock.now())
            self.writer: Writer = opening.enter_context(GroupWriter(ledger, create=True, now=now))
            self._systems = connect_all(self.settings.systems, self._clock, observe=self._heard)
            for name in self._systems:
                opening.callback(self._disconnect, name)
            facts = {name: connected.facts for name, connected in self._systems.items()}
            self.topology = Topology(facts, wake=self._wake)
            self.intake = Intake(self.policies, self.topology)
            self._canary = Canary(self.settings.canary, self.intake, self._origins)
            self._registry.register(LedgerMetrics(ledger, self._usage, self._at))
            self._adopt_policy()
            self._start_listening(opening)  # first, since the address may be taken
            self._start_loops(opening)
            self._start_catching_up(opening)
            self._start_schedule(opening)
            self._start_control(opening)
            self._closing = opening.pop_all()
        log.info("running", systems=sorted(self._systems), ledger=str(ledger))

    def stop(self, timeout: float = STOP_WITHIN) -> bool:
        """Takes nothing more, lets calls in hand end, commits, closes the ledger.

        Returns whether all ended within `timeout` seconds. What did not still waits for a vendor: its
        deliveries are `sent` in the ledger and are settled by reading after the next start. Its threads
        cannot be ended, so the caller must then leave with `os._exit`.
        """
        log.info("stopping")
        deadline = self._clock.monotonic() + timeout
        for thread in self._threads.values():
            thread.ask_to_stop()
        if self.server is not None:
            self.server.stop()
        if self.control is not None:
            self.control.stop()
        hung = [
            name
            for name, thread in self._threads.items()
            if not thread.join(max(0.1, deadline - self._clock.monotonic()))
        ]
        self._closing.close()
        log.info("stopped", clean=not hung, **({"still_waiting_for": hung} if hung else {}))
        return not hung

    def _disconnect(self, name: str) -> None:
        """Closes a connector that nobody is inside any more; closing one in use could wait for its vendor."""
        thread = self._threads.get(name)
        if thread is None or thread.join(0.0):
            self._systems[name].close()

    def _start_loops(self, opening: contextlib.ExitStack) -> None:
        pace = Pace(snapshot_every=self.settings.sync.snapshot_every * 3600)
        for name, connected in self._systems.items():
            loop = SystemLoop(
                connected.facts,
                connected.connector,
                self.writer,
                self.intake,
                self._clock,
                random.Random().random,  # noqa: S311  jitter
                lanes=connected.lanes,
                pace=pace,
                chores=self._chores_of(connected),
            )
            self._contracts[name].read_again = loop.snapshot_now
            thread = self._threads[name] = _LoopThread(loop)
            opening.callback(thread.ask_to_stop)
            thread.start()

    def _chores_of(self, connected: Connected) -> list[Chore]:
        """What this system's loop does for others between its own work."""
        facts = connected.facts
        self._origins[facts.name] = OriginWrite(facts, self.writer, self._clock)
        self._contracts[facts.name] = ContractWatch(
            facts,
            connected.connector,
            self.writer,
            self._clock,
            every=self.settings.sync.contract_every,
            credentials_expire=connected.settings.credentials_expire,
        )
        slices = Slices(
            facts,
            self.settings.ledger.path,
            self.writer,
            self._clock,
            within_days=self.settings.reconcile.full_within_days,
        )
        return [self._origins[facts.name], self._contracts[facts.name], slices]

    def _heard(self, call: WireCall) -> None:
        """One vendor call, as a door saw it."""
        self._wire(call)
        self._answers(call)

    def _start_schedule(self, opening: contextlib.ExitStack) -> None:
        scheduler = BackgroundScheduler(
            timezone="UTC",
            # Alarms do not wait behind a look at millions of rows or a plan of thousands of changes.
            executors={"default": ThreadPoolExecutor(2), LONG: ThreadPoolExecutor(2)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        scheduler.add_job(self._in_ledger(watch.late), "interval", seconds=WATCH_EVERY)
        scheduler.add_job(self._apply_plans, "interval", seconds=WATCH_EVERY, executor=LONG)
        scheduler.add_job(self._in_ledger(self._canary.step), "interval", seconds=CANARY_EVERY)
        scheduler.add_job(self._in_ledger(watch.sweep), "cron", hour=4, minute=17)
        patrol = Patrol(self.settings.ledger.path, self.writer, self.topology, self._clock)
        scheduler.add_job(patrol.run, "interval", minutes=self.settings.drift.check_every, executor=LONG)
        scheduler.add_job(self._in_ledger(self._answers.check), "interval", seconds=ANSWERS_EVERY)
        scheduler.add_job(self._in_ledger(self._not_kept), "interval", seconds=WATCH_EVERY)
        self._watch_endings(scheduler)
        scheduler.add_job(self._check_policy, "cron", hour=0, minute=5)
        quarterly = Quarterly(self.settings, self.policies, self._systems.values, self.command, self._clock)
        scheduler.add_job(quarterly.look)  # one that was missed while no daemon ran
        scheduler.add_job(quarterly.look, "cron", minute=20)
        if self.settings.ledger.checkpoint_key is not None:
            scheduler.add_job(self._checkpoint, "cron", hour=0, minute=0)
        scheduler.start()
        opening.callback(scheduler.shutdown, wait=True)
        opening.callback(patrol.stop)

    def _not_kept(self, tx: Tx, at: int) -> None:
        not_kept.check(tx, at, self._systems)

    def _watch_endings(self, scheduler: BackgroundScheduler) -> None:
        """At the start and each night: dates come nearer without anybody doing anything."""
        systems = {name: connected.settings for name, connected in self._systems.items()}
        known = [e for vendor in {s.vendor for s in systems.values()} for e in endings.declared(vendor)]
        job = self._in_ledger(lambda tx, at: endings.check(tx, at, systems, known))
        scheduler.add_job(job)
        scheduler.add_job(job, "cron", hour=0, minute=10)

    def _start_listening(self, opening: contextlib.ExitStack) -> None:
        app = create_app(
            self.handle, self._ready, self._registry, self.settings.public_url, redactor=self._redactor
        )
        self.server = Server(app, self.settings.web.address)
        self.server.start()
        opening.callback(self.server.stop)

    def _start_control(self, opening: contextlib.ExitStack) -> None:
        self.control = ControlServer(self.settings.ledger.path, self.command)
        self.control.start()
        opening.callback(self.control.stop)

    # --- what comes in --------------------------------------------------------------------------------

    def handle(self, system: str, request: WebhookRequest) -> Future[Webhook]:
        """A vendor's webhook; the future resolves after the commit (law 1). Raises `UnknownSystem`,
        `WebhookRefused`."""
        connected = self._systems.get(system)
        if connected is None or not connected.facts.capabilities.has_webhooks:
            raise UnknownSystem(system)
        webhook = connected.connector.parse_webhook(request)
        at = to_micros(request.received_at)

        def take(tx: Tx) -> Webhook:
            self.intake.take_webhook(tx, at, connected.facts, webhook)
            return webhook

        return self.writer.submit(take)

    def command(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """An admin's command, durable when this returns. Raises `Refused`."""
        at = self._at()
        if name == "status":
            return {"budgets": self._usage(), "url": self.server.url if self.server else None}
        if name == "canary":
            return self.writer.call(lambda tx: canary_command.run(tx, at, self._canary, arguments))
        result = self.writer.call(lambda tx: commands.run(tx, at, self.intake, name, arguments))
        for system in result.get("systems" if name == "snapshot" else "compare", ()):
            self._threads[system].loop.snapshot_now()
            self._threads[system].wake.set()
        return result

    # --- inside ---------------------------------------------------------------------------------------

    def _start_catching_up(self, opening: contextlib.ExitStack) -> None:
        """Beside everything else: a ledger of millions must not keep webhooks waiting."""
        stop = threading.Event()

        def catch_up() -> None:
            try:
                pass_over = CatchUp(self.writer, self.intake, self._clock)
                while not stop.is_set() and pass_over.step():
                    pass
            except WriterClosed:
                return  # the next start goes on
            except Exception as error:
                # Not lost: the bookmark stands where it stood, and the daily comparison finds the same.
                log.error("catching up ended early", error=str(error), exc_info=True)

        thread = threading.Thread(target=catch_up, name="catching-up", daemon=True)
        thread.start()
        opening.callback(thread.join, STOP_WITHIN)
        opening.callback(stop.set)

    def _in_ledger(self, step: Callable[[Tx, int], object]) -> Callable[[], None]:
        def job() -> None:
            at = self._at()
            self.writer.call(lambda tx: step(tx, at))

        return job

    def _apply_plans(self) -> None:
        """Goes on with an approved plan that whoever approved it did not see to its end."""
        while True:
            at = self._at()
            done = self.writer.call(lambda tx, at=at: fuse_decisions.apply_piece(tx, at, self.intake))  # type: ignore[misc]
            if done is None:
                break
        self._in_ledger(fuse_decisions.remind)()

    def _checkpoint(self) -> None:
        key = self.settings.ledger.checkpoint_key
        assert key is not None
        at = self._at()
        signer = checkpoint.Signer.load(key)
        taken = self.writer.call(lambda tx: checkpoint.take(tx, signer, at))
        folder = self.settings.ledger.path.with_name(self.settings.ledger.path.name + ".checkpoints")
        folder.mkdir(exist_ok=True)
        checkpoint.write_file(taken, folder / f"{taken.seq:012d}.json")

    def _adopt_policy(self) -> None:
        """An amendment may begin today."""
        at, drift = self._at(), self.policies.on(self._clock.now().date()).drift
        self.writer.call(lambda tx: findings.adopt(tx, at, drift))

    def _check_policy(self) -> None:
        self._adopt_policy()
        for notice in self.policies.check(self._clock.now().date()):
            log.warning("policy", notice=notice.text)

    def _ready(self) -> bool:
        """Whether the ledger really takes a write: an empty transaction would commit on a full disk too."""
        with self._trial:
            when, ready = self._tried
            if self._clock.monotonic() - when < READY_FOR:
                return ready
            at = self._at()

            def write(tx: Tx) -> None:
                tx.execute(_TRIAL, (at,))

            try:
                self.writer.call(write)
                ready = True
            except (LedgerError, Error):
                ready = False
            self._tried = (self._clock.monotonic(), ready)
            return ready

    def _usage(self) -> dict[str, dict[str, tuple[int, int]]]:
        return {name: connected.usage() for name, connected in self._systems.items()}

    def _wake(self, systems: Iterable[str]) -> None:
        for name in systems:
            if name in self._threads:
                self._threads[name].wake.set()

    def _at(self) -> int:
        return to_micros(self._clock.now())


def load_policies(settings: Settings) -> Policies:
    """The configured policy file, or the shipped defaults. Raises `PolicyError`."""
    path: Path | None = settings.policy.file
    return policy.load(path) if path is not None else Policies()


logging.getLogger("apscheduler").setLevel(logging.WARNING)
