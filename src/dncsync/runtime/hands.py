"""Who does the work that a command asks for: the daemon that holds the ledger, or this process instead."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dncsync.clock import Clock, to_micros
from dncsync.ledger.writer import DirectWriter, Tx, Writer
from dncsync.policy import Policies
from dncsync.runtime import commands, control
from dncsync.runtime.systems import Connected, connect_all
from dncsync.settings import Settings
from dncsync.sync import findings
from dncsync.sync.breaker import State
from dncsync.sync.patience import SECOND
from dncsync.sync.readback import next_due
from dncsync.sync.requests import Intake, Refused
from dncsync.sync.topology import Topology
from dncsync.sync.turn import Pace, SystemLoop

BESIDE_A_DAEMON = 0.2
"""Share of each limit for calls beside a daemon, which takes up to 0.8 of it: never more than all."""
LOOK_EVERY = 0.25
"""Seconds between looks at what the daemon has done."""
LONGEST_REST = 0.5
"""Seconds a loop of ours sleeps at most, so that Ctrl-C is heard."""


def daemon_runs(ledger: Path) -> bool:
    """Whether a daemon holds this ledger and answers."""
    try:
        control.send(ledger, "status", {}, timeout=5.0)
    except control.NoDaemon:
        return False
    return True


class ThroughDaemon:
    """Commands go to the daemon; its loops do the work."""

    def __init__(self, ledger: Path, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    def command(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Raises `Refused`, also where the daemon is gone."""
        try:
            return control.send(self._ledger, name, arguments)
        except control.NoDaemon:
            raise Refused(
                "the daemon has stopped; what it took is in the ledger: start it, and run the same again"
            ) from None

    def rest(self) -> None:
        self._clock.sleep(LOOK_EVERY)


class Here:
    """This process holds the ledger and runs every system's loop by turns, without feeds: what is due is
    done, and nothing new is looked for. Killed at any moment, it leaves what a killed daemon leaves."""

    def __init__(self, settings: Settings, ledger: Path, policies: Policies, clock: Clock) -> None:
        """Raises `LedgerError` where another process holds the ledger, `UnknownVendor`."""
        self._clock = clock
        with contextlib.ExitStack() as opening:
            self._writer: Writer = opening.enter_context(DirectWriter(ledger, now=to_micros(clock.now())))
            drift, at = policies.on(clock.now().date()).drift, to_micros(clock.now())
            self._writer.call(lambda tx: findings.adopt(tx, at, drift))
            self.systems: dict[str, Connected] = connect_all(settings.systems, clock)
            for connected in self.systems.values():
                opening.callback(connected.close)
            self._intake = Intake(policies, Topology({n: c.facts for n, c in self.systems.items()}))
            self._loops = [
                SystemLoop(
                    connected.facts,
                    connected.connector,
                    self._writer,
                    self._intake,
                    clock,
                    random.Random().random,  # noqa: S311  jitter
                    lanes=connected.lanes,
                    pace=Pace(feeds=False),
                )
                for connected in self.systems.values()
            ]
            for loop in self._loops:
                loop.start()
            self._closing = opening.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def command(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Raises `Refused`."""
        at = to_micros(self._clock.now())
        return self._writer.call(lambda tx: commands.run(tx, at, self._intake, name, arguments))

    def rest(self) -> None:
        """One turn of each loop; sleeps only where none has more to do."""
        self._clock.sleep(min([LONGEST_REST, *(loop.turn() for loop in self._loops)]))

    def quiet(self, within: float) -> bool:
        """Whether nothing is due within so many seconds, in any system that answers."""
        until = to_micros(self._clock.now()) + int(within * SECOND)

        def check(tx: Tx) -> bool:
            dues = [next_due(tx, loop.facts) for loop in self._loops if loop.breaker.state is State.UP]
            return all(due is None or due > until for due in dues)

        return self._writer.call(check)
