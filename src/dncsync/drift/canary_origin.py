"""The write with which a canary run begins: made at the vendor by its own loop, and past the deliveries.

Nothing marks it as ours in the cache. So the change comes in by the same feeds, the same reading and the same
judgement as one that a person makes there, and what is measured is what a consumer would get.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dncsync.budget import Lane
from dncsync.clock import Clock, to_micros
from dncsync.connector import Change, Failure, FailureKind, Looked
from dncsync.drift.canary_runs import Run, open_run
from dncsync.ledger.events import NewEvent
from dncsync.ledger.projections import record
from dncsync.ledger.writer import Tx, Writer
from dncsync.model import Flag, Holding
from dncsync.sync.calls import Calls
from dncsync.sync.canary_marks import ACTOR, SOURCE
from dncsync.sync.deliveries import look
from dncsync.sync.topology import SystemFacts

TRY_AGAIN = 15.0
"""Seconds until a call that failed is made again."""
ABSENT_AGAIN = 60.0
"""Seconds until a field that did not show is looked for again."""

REFUSED, ABSENT, TAKEN, GONE = "refused", "absent", "taken", "gone"
"""Why an origin was not written: it refuses; the field does not show; it is set already; the record ended."""


class OriginWrite:
    """A chore of one system's loop (`sync.turn.Chore`): a run's write there, then a look whether it was kept.

    Whatever is left to do is read from the ledger, so a run goes on after a crash.
    """

    def __init__(self, facts: SystemFacts, writer: Writer, clock: Clock) -> None:
        self._facts = facts
        self._writer = writer
        self._clock = clock
        self._due = math.inf

    def offer(self) -> None:
        """There is something to do, now or at the time that a failed attempt named. From any thread."""
        if self._due == math.inf:
            self._due = 0.0

    def wait(self) -> float:
        """Seconds until it wants to run; infinity: there is nothing to do."""
        return max(0.0, self._due - self._clock.monotonic())

    def run(self, calls: Calls) -> None:
        """At most one reading and one write."""
        self._due = math.inf
        run = self._writer.call(lambda tx: open_run(tx, self._facts.name))
        if run is None or run.reversed_at is not None:
            return
        if run.written_at is None and run.refused is None:
            self._write(run, calls)
        elif run.refused is None and run.kept in (None, Flag.ABSENT):
            self._check(run, calls)

    # --- the write ------------------------------------------------------------------------------------

    def _write(self, run: Run, calls: Calls) -> None:
        holding = self._read(run, calls)
        if holding is None:
            return
        stage, words = self._obstacle(run, holding)
        if stage:
            self._note(run, "canary.written", {"refused": stage, "words": words})
            if stage in (TAKEN, GONE):
                at = self._at()
                self._writer.call(lambda tx: look(tx, at, self._facts.name, [run.origin_key]))
            return
        if holding.flags.get(run.on) is not Flag.SET:
            if not self._note(run, "canary.writing", {}):
                return  # the run was given up meanwhile
            change = Change(run.origin_key, {run.on: Flag.SET}, request_id=run.id, source=SOURCE)
            (result, *_) = calls.write([change], Lane.BACKGROUND)
            if result.failure is not None:
                self._failed(run, result.failure)
                return
        # Else an attempt whose outcome was unknown has landed.
        self._note(run, "canary.written", {})
        self._due = self._clock.monotonic() + max(self._facts.capabilities.read_after, 1.0)

    def _obstacle(self, run: Run, holding: Holding) -> tuple[str, str]:
        if holding.gone and not self._facts.by_number:
            return GONE, "the canary's record is not there any more"
        shows = holding.flags.get(run.on, Flag.CLEAR if holding.gone else Flag.ABSENT)
        if shows is Flag.ABSENT:
            return ABSENT, f"the field for {run.channel} does not show on the canary's record"
        if shows is Flag.SET and run.writing_at is None:
            return TAKEN, "the canary's record says do not contact already: somebody set it there"
        return "", ""

    def _failed(self, run: Run, failure: Failure) -> None:
        if failure.kind is FailureKind.REJECTED:
            self._note(run, "canary.written", {"refused": REFUSED, "words": failure.message})
        else:  # nothing happened, or nobody knows: the next attempt reads first
            self._due = self._clock.monotonic() + max(TRY_AGAIN, failure.retry_after or 0.0)

    # --- the look afterwards ----------------------------------------------------------------------------

    def _check(self, run: Run, calls: Calls) -> None:
        """Not taken in: it is the feeds that are to bring it."""
        holding = self._read(run, calls)
        if holding is None:
            return
        shows = holding.flags.get(run.on, Flag.CLEAR if holding.gone else Flag.ABSENT)
        if shows != run.kept:
            self._note(run, "canary.kept", {"shows": shows})
        if shows is Flag.ABSENT:
            self._due = self._clock.monotonic() + ABSENT_AGAIN

    def _read(self, run: Run, calls: Calls) -> Holding | None:
        found = calls.ask(lambda: list(calls.connector.read([run.origin_key])))
        looked = Looked(run.origin_key) if isinstance(found, Failure) or not found else found[0]
        if looked.holding is None:
            self._due = self._clock.monotonic() + TRY_AGAIN
        return looked.holding

    def _note(self, run: Run, kind: str, payload: Mapping[str, Any]) -> bool:
        """Records it, unless the run has ended. Whether it was recorded."""
        at = self._at()

        def note(tx: Tx) -> bool:
            now = open_run(tx, self._facts.name)
            if now is None or now.id != run.id:
                return False
            event = NewEvent(
                kind,
                at,
                {"id": run.id, **payload},
                number=run.number,
                system=self._facts.name,
                actor=ACTOR,
            )
            record(tx, event)
            return True

        return self._writer.call(note)

    def _at(self) -> int:
        return to_micros(self._clock.now())
