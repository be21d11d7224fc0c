"""The circuit breaker of one system: spares a dead vendor, one probe at a time. Pure; times are arguments."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dncsync.connector import Failure, FailureKind


class State(StrEnum):
    """The words of the ledger's `systems` table."""

    UP = "up"
    DOWN = "down"
    UNAUTHORISED = "unauthorised"


FIRST_PAUSE = 2.0
LONGEST_PAUSE = 120.0
"""Seconds between probes of a vendor that does not answer."""
AUTH_PAUSE = 300.0
"""Seconds between probes with refused credentials; hammering them locks accounts."""
TRIP_AFTER = 3
"""Failed calls in a row."""


@dataclass(slots=True)
class Breaker:
    """Counts whole-call failures in a row; open until `until` (seconds, the caller's monotonic clock)."""

    state: State = State.UP
    until: float = 0.0
    failures: int = 0
    reason: str = ""

    def wait(self, now: float) -> float:
        """Seconds until a call may be made; 0.0: now (when not up: as a probe)."""
        return max(0.0, self.until - now) if self.state is not State.UP else 0.0

    def succeeded(self) -> bool:
        """A call was answered. True when that ended an outage."""
        recovered = self.state is not State.UP
        self.state, self.until, self.failures, self.reason = State.UP, 0.0, 0, ""
        return recovered

    def failed(self, failure: Failure, now: float) -> bool:
        """A call failed as a whole. True when that began an outage (or changed its kind)."""
        if failure.kind in (FailureKind.RATE_LIMITED, FailureKind.REJECTED):
            return False  # the vendor is there and answers
        self.failures += 1
        before = self.state
        if failure.kind is FailureKind.UNAUTHORISED:
            self.state, pause = State.UNAUTHORISED, AUTH_PAUSE
        elif self.failures >= TRIP_AFTER:
            self.state = State.DOWN
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (self.failures - TRIP_AFTER))
        else:
            return False
        self.until = now + pause
        self.reason = failure.message
        return self.state is not before
