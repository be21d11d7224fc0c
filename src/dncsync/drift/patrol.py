"""The patrol: every detector that reads the ledger, one after the other, over every system.

Each looks on a read-only connection of its own; what it says is settled in a short transaction, and where it
says what the ledger holds already there is none. So webhooks never wait for a detector, and a detector that
fails, or takes too long, keeps no other from its work.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from dncsync.clock import Clock, to_micros
from dncsync.drift.by_hand import BlockWithoutRequest, DuplicateNotation, LostOnConversion
from dncsync.drift.inverted import Inverted
from dncsync.drift.ledger_detector import LedgerDetector
from dncsync.drift.listing import Listing
from dncsync.drift.sighting import Blind, record_baseline, settle
from dncsync.drift.silence import Silence
from dncsync.drift.volume import Volume
from dncsync.ledger.sqlite import Connection, reading
from dncsync.ledger.writer import Tx, Writer
from dncsync.sync import activity
from dncsync.sync.topology import SystemFacts

log = logging.getLogger(__name__)

CHECK_EVERY = 900.0
"""Seconds between two patrols, where the settings say nothing else."""
PATIENCE = 120.0
"""Seconds that one detector may look at one system."""
DAY = 86_400_000_000
"""Microseconds."""
_STEPS = 20_000
"""Of SQLite's machine, between two looks at the clock."""


def detectors() -> list[LedgerDetector]:
    """All of them, those that read least first."""
    return [
        Silence(),
        Volume(),
        Inverted(),
        Listing(),
        LostOnConversion(),
        BlockWithoutRequest(),
        DuplicateNotation(),
    ]


class Patrol:
    """Runs the detectors; `run` is called by one thread at a time."""

    def __init__(
        self,
        path: Path,
        writer: Writer,
        systems: Mapping[str, SystemFacts],
        clock: Clock,
        *,
        watchers: Sequence[LedgerDetector] | None = None,
        patience: float = PATIENCE,
        read: Callable[[], AbstractContextManager[Connection]] | None = None,
    ) -> None:
        """`patience`: seconds for one look. `read`: opens a connection that sees one moment; by default a new
        one to `path` each time."""
        self._read = read or partial(reading, path)
        self._writer = writer
        self._systems = systems
        self._clock = clock
        self._detectors = list(detectors() if watchers is None else watchers)
        self._patience = patience
        self._next = dict.fromkeys(range(len(self._detectors)), 0.0)
        self._swept = 0
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Has a pass that is under way end at once; none begins any more. Safe to call from any thread."""
        self._stopping.set()

    def run(self) -> None:
        """One pass. Raises nothing: what goes wrong is logged, and tried again with the next pass."""
        for place, detector in enumerate(self._detectors):
            if self._clock.monotonic() < self._next[place]:
                continue
            self._next[place] = self._clock.monotonic() + detector.every
            for facts in self._systems.values():
                if self._stopping.is_set():
                    return
                try:
                    self._look(detector, facts)
                except Blind as blind:
                    log.debug("a detector could not look", extra={"system": facts.name, "why": str(blind)})
                except Exception:
                    if not self._stopping.is_set():
                        log.exception(
                            "a detector failed; the others go on",
                            extra={"system": facts.name, "detector": type(detector).__name__},
                        )
        if self._at() - self._swept > DAY:
            self._swept = self._at()
            self._writer.call(partial(activity.sweep, at=self._swept))

    def _look(self, detector: LedgerDetector, facts: SystemFacts) -> None:
        at, kinds = self._at(), detector.kinds
        with self._read() as conn:
            until = self._clock.monotonic() + self._patience
            conn.set_progress_handler(
                lambda: self._stopping.is_set() or self._clock.monotonic() > until, _STEPS
            )
            try:
                seen = detector.look(conn, at, facts)
                nothing = not seen.sightings and not seen.baselines and not _open(conn, facts.name, kinds)
            finally:
                conn.set_progress_handler(None, 0)
        if nothing:
            return

        def tell(tx: Tx) -> None:
            for name, subject, value in seen.baselines:
                record_baseline(tx, at, name, facts.name, subject, value)
            settle(tx, at, facts.name, kinds, seen.sightings, detector.healed)

        self._writer.call(tell)

    def _at(self) -> int:
        return to_micros(self._clock.now())


def _open(conn: Connection, system: str, kinds: Sequence[str]) -> bool:
    """Whether there is a finding that might be closed."""
    return any(
        conn.execute(
            "SELECT 1 FROM findings WHERE kind = ? AND system = ? AND closed_at IS NULL LIMIT 1",
            (kind, system),
        ).fetchone()
        for kind in kinds
    )
