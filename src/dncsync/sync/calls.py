"""Every vendor call of one loop: made in its lane, judged, and felt by the breaker.

Failures come back as values. What a connector raises that is no `VendorError` is a fault of the connector;
its outcome is unknown, like a timeout's.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import TypeVar

from dncsync.budget import Lane
from dncsync.clock import Clock, to_micros
from dncsync.connector import Change, Connector, Failure, FailureKind, Looked, Page, VendorError, Written
from dncsync.ledger.events import NewEvent
from dncsync.ledger.projections import record
from dncsync.ledger.writer import Tx, Writer
from dncsync.sync import findings
from dncsync.sync.breaker import Breaker, State
from dncsync.sync.topology import SystemFacts

log = logging.getLogger(__name__)

T = TypeVar("T")


def no_lanes(lane: Lane) -> AbstractContextManager[None]:
    """For connectors without doors."""
    return contextlib.nullcontext()


class Calls:
    """The one way from a loop to its vendor."""

    def __init__(
        self,
        facts: SystemFacts,
        connector: Connector,
        writer: Writer,
        clock: Clock,
        lanes: Callable[[Lane], AbstractContextManager[None]],
    ) -> None:
        self.connector = connector
        self.breaker = Breaker()
        self._facts = facts
        self._writer = writer
        self._clock = clock
        self._lanes = lanes
        self._not_before = 0.0
        self._background_after = 0.0

    # --- when ---------------------------------------------------------------------------------------

    def wait(self) -> float:
        """Seconds until any call may be made: the breaker's pause, or a limit that even opt-outs met."""
        now = self._clock.monotonic()
        return max(self.breaker.wait(now), self._not_before - now, 0.0)

    def background_wait(self) -> float:
        """Seconds until calls in the background lane may be made."""
        return max(self._background_after - self._clock.monotonic(), 0.0)

    # --- the calls ------------------------------------------------------------------------------------

    def write(self, changes: Sequence[Change], lane: Lane) -> list[Written]:
        """What is known of each change; those that the vendor did not answer share the call's failure."""
        results: list[Written] = []
        failure = self._collect(results, lambda: self.connector.write(changes), lane)
        answered = {result.key for result in results}
        if failure is not None:
            results += [Written(c.key, failure) for c in changes if c.key not in answered]
        else:
            self._judge([result.failure for result in results])
        return results

    def read(self, keys: Sequence[str], lane: Lane) -> list[Looked]:
        """One result for each key, whatever happened."""
        results: list[Looked] = []
        failure = self._collect(results, lambda: self.connector.read(keys), lane)
        if failure is None:
            self._judge([result.failure for result in results])
        silent = failure or Failure(FailureKind.UNKNOWN, "the answer did not name this item")
        answered = {result.key for result in results if result.holding is not None or result.failure}
        return [
            *(r for r in results if r.key in answered),
            *(Looked(key, failure=silent) for key in keys if key not in answered),
        ]

    def find(self, number: str) -> list[Looked] | Failure:
        """Records of a number, or why they could not be searched."""
        results: list[Looked] = []
        failure = self._collect(results, lambda: self.connector.find(number), Lane.OPT_OUT)
        if failure is None:
            self._judge([])
        return results if failure is None else failure

    def page(self, pages: Iterator[Page]) -> Page | Failure | None:
        """The next page of a feed; None: it ended without a last page."""
        found: list[Page] = []
        failure = self._collect(found, lambda: islice(pages, 1), Lane.BACKGROUND)
        if failure is not None:
            return failure
        self._judge([])
        return found[0] if found else None

    def ask(self, question: Callable[[], T]) -> T | Failure:
        """A chore's own call, e.g. `connector.describe`, in the background lane; its failure as a value."""
        found: list[T] = []
        failure = self._collect(found, lambda: (question(),), Lane.BACKGROUND)
        if failure is not None:
            return failure
        self._judge([])
        return found[0]

    def _collect(self, into: list[T], call: Callable[[], Iterable[T]], lane: Lane) -> Failure | None:
        try:
            with self._lanes(lane):
                into.extend(call())
        except VendorError as error:
            failure = error.failure
        except Exception as error:
            log.exception("the connector failed in a way it should not", extra={"system": self._facts.name})
            failure = Failure(FailureKind.UNKNOWN, f"the connector itself failed ({type(error).__name__})")
        else:
            return None
        self._failed(failure, lane)
        return failure

    # --- judgement --------------------------------------------------------------------------------------

    def _judge(self, failures: Sequence[Failure | None]) -> None:
        """A call in which every single item failed for a reason that is not the item's is a failed call."""
        kinds = {failure.kind if failure else None for failure in failures}
        first = failures[0] if failures else None
        if first is not None and len(kinds) == 1 and FailureKind.REJECTED not in kinds:
            self._failed(first, Lane.BACKGROUND)
        elif self.breaker.succeeded():
            self._say_state()
        else:
            self.breaker.failures = 0

    def _failed(self, failure: Failure, lane: Lane) -> None:
        now = self._clock.monotonic()
        if failure.kind is FailureKind.RATE_LIMITED:
            until = now + (failure.retry_after or 1.0)
            self._background_after = max(self._background_after, until)
            if lane is Lane.OPT_OUT:
                self._not_before = max(self._not_before, until)
        if self.breaker.failed(failure, now):
            self._say_state()

    def _say_state(self) -> None:
        at = to_micros(self._clock.now())
        log.warning(
            "system is %s",
            self.breaker.state,
            extra={"system": self._facts.name, "reason": self.breaker.reason},
        )
        self._writer.call(lambda tx: self.note_state(tx, at))

    def note_state(self, tx: Tx, at: int) -> None:
        """Writes the breaker's state into the ledger, with the finding that an outage is."""
        system, state, reason = self._facts.name, self.breaker.state, self.breaker.reason
        payload = {"vendor": self._facts.vendor, "state": state, "reason": reason}
        record(tx, NewEvent("system.changed", at, payload, system=system))
        for kind, bad, words in (
            ("system-down", State.DOWN, "does not answer"),
            ("system-unauthorised", State.UNAUTHORISED, "refuses our credentials or permissions"),
        ):
            if state is bad:
                summary = f"{system} {words}: {reason}"
                findings.open_finding(tx, at, kind, system, system, summary, severity="page", quiet=True)
            else:
                findings.close_finding(tx, at, kind, system, system, "it answers again")
