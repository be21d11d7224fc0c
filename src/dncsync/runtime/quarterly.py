"""The quarter's report, made by the daemon itself in the first days of the next quarter.

One that was missed, because no daemon ran or it was killed half way, is made or resumed at the next look:
what is due is read from the ledger, never from a timer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import structlog

from dncsync.clock import Clock, from_micros
from dncsync.ledger.sqlite import reading
from dncsync.ledger.writer import WriterClosed
from dncsync.policy import Policies
from dncsync.reconcile import quarter
from dncsync.reconcile.period import Span
from dncsync.runtime import reconciling
from dncsync.runtime.systems import Connected
from dncsync.settings import Settings

log = structlog.get_logger("dncsync.quarterly")


class Quarterly:
    """Looks whether a report is due, and makes it in a thread of its own: it may take a minute, and neither a
    timer nor the end of the daemon waits for it."""

    def __init__(
        self,
        settings: Settings,
        policies: Policies,
        systems: Callable[[], Iterable[Connected]],
        command: quarter.Commands,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._policies = policies
        self._systems = systems
        self._command = command
        self._clock = clock
        self._thread: threading.Thread | None = None

    def look(self) -> None:
        """Begins the report that is due, unless one is being made."""
        if self._thread is not None and self._thread.is_alive():
            return
        span = self.due()
        if span is None:
            return
        self._thread = threading.Thread(target=self._make, args=(span,), name="reconciliation", daemon=True)
        self._thread.start()

    def due(self) -> Span | None:
        """The quarter whose report is due; None: there is none."""
        with reading(self._settings.ledger.path) as conn:
            created = conn.execute("SELECT value FROM meta WHERE key = 'created'").fetchone()
            made = conn.execute("SELECT period FROM reconciliations WHERE completed_at IS NOT NULL")
            names = [row[0] for row in made]
        if created is None:
            return None
        return reconciling.due(self._settings, self._clock.now(), from_micros(int(created[0])), names)

    def join(self, timeout: float) -> None:
        """Waits for the report that is being made, `timeout` seconds at most."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _make(self, span: Span) -> None:
        try:
            wish = reconciling.wish(
                self._settings,
                self._policies,
                self._systems(),
                span,
                actor=reconciling.ACTOR_BY_SCHEDULE,
                today=self._clock.now().date(),
            )
            done = quarter.reconcile(self._settings.ledger.path, self._command, self._clock, wish)
        except WriterClosed:
            return  # the next start resumes it
        except Exception as error:
            log.error("the quarter's report was not made; it is tried again", error=str(error), exc_info=True)
        else:
            log.info("the quarter's report is made", period=span.name, folder=str(done.folder))
