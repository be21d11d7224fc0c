"""Credentials and limits: what is about to end, what keeps running out, and when *nothing there* only means
*we may not look*.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from datetime import UTC, date, datetime, time

from dncsync.connector import Aspect, FieldCheck, FieldStatus, ProbeCheck
from dncsync.drift.sighting import Sighting
from dncsync.ledger.writer import Tx
from dncsync.sync import bookmarks

NOTICE_DAYS: Sequence[tuple[int, str]] = ((3, "page"), (14, "warning"), (30, "info"))
"""Days before credentials end, nearest first, and how loudly that is said."""

BLINDING = (
    "cannot-see",
    "field-absent",
    "field-hidden",
    "field-missing",
    "field-renamed",
    "scope-lost",
    "system-unauthorised",
    "unauthorised",
)
"""Kinds of findings while which nothing can be concluded from what a system does not show."""

HOUR = 3_600.0
EXHAUSTED_MINUTES = 10
"""Minutes of an hour with refusals for too many calls, from which on a budget keeps running out."""


def expiring(
    system: str, checks: Sequence[ProbeCheck], configured: date | None, now: datetime
) -> list[Sighting]:
    """Credentials that end within 30 days or have ended, by the vendor's word or the configuration's.

    `now` is aware (UTC). One sighting for each; its words change only when it becomes more urgent.
    """
    ends: dict[str, tuple[datetime, str]] = {
        check.name: (check.expires_at, check.mend) for check in checks if check.expires_at is not None
    }
    if configured is not None:
        mend = "renew them at the vendor, then move credentials_expire in the configuration"
        ends.setdefault("credentials", (datetime.combine(configured, time(), UTC), mend))
    sightings = []
    for name, (moment, mend) in sorted(ends.items()):
        left = (moment - now).days
        for days, severity in NOTICE_DAYS:
            if left < days:
                when = "has ended" if moment <= now else f"ends within {days} days"
                sightings.append(
                    Sighting(
                        "credentials-expiring",
                        system,
                        name,
                        f"{system}: {name} {when} ({moment:%Y-%m-%d})",
                        "credentials that last",
                        f"{when}: {moment:%Y-%m-%d}",
                        mend or "renew it at the vendor and give us the new one",
                        severity=severity,
                    )
                )
                break
    return sightings


def cannot_see(
    tx: Tx, system: str, fields: Sequence[FieldCheck], checks: Sequence[ProbeCheck]
) -> list[Sighting]:
    """The last full reading showed nothing at all while something is hidden from us or a right is missing:
    that is no empty system."""
    hidden = [check.name for check in fields if check.status is FieldStatus.HIDDEN]
    hidden += [check.name for check in checks if check.about is Aspect.SIGHT and not check.ok]
    if not hidden:
        return []
    row = tx.execute(
        "SELECT holdings FROM bookmarks WHERE system = ? AND feed = ? AND done = 1",
        (system, bookmarks.SNAPSHOT),
    ).fetchone()
    if row is None or row[0] > 0:
        return []
    known = tx.execute("SELECT count(*) FROM holdings WHERE system = ? AND gone = 0", (system,)).fetchone()[0]
    names = ", ".join(hidden[:5])
    return [
        Sighting(
            "cannot-see",
            system,
            system,
            f"{system} showed nothing in a full reading, but we may not see {names}: it is not empty",
            f"{known} holdings, as known" if known else "holdings, or an empty system that we may look into",
            f"nothing, while hidden or not permitted: {names}",
            "grant what is missing (see the findings about it); the next full reading tells the rest",
            severity="page",
        )
    ]


def blindness(tx: Tx, system: str) -> tuple[str, ...]:
    """Why absences and empty lists of this system say nothing now, one line for each reason; `()`: it can be
    seen."""
    rows = tx.execute(
        "SELECT summary FROM findings WHERE system = ? AND closed_at IS NULL "
        "AND kind IN (SELECT value FROM json_each(?)) ORDER BY id",
        (system, json.dumps(BLINDING)),
    ).fetchall()
    return tuple(row[0] for row in rows)


class Refusals:
    """Minutes of the last hour in which a vendor refused calls for their number. Not thread-safe."""

    def __init__(self) -> None:
        self._minutes: deque[int] = deque()

    def note(self, now: float) -> None:
        """A call was answered 429. `now`: seconds, monotonic."""
        minute = int(now // 60)
        if not self._minutes or self._minutes[-1] != minute:
            self._minutes.append(minute)

    def sightings(self, system: str, now: float) -> list[Sighting]:
        """What that comes to; empty where the limits are met only now and then."""
        while self._minutes and self._minutes[0] * 60 <= now - HOUR:
            self._minutes.popleft()
        if len(self._minutes) < EXHAUSTED_MINUTES:
            return []
        return [
            Sighting(
                "budget-exhausted",
                system,
                "calls refused",
                f"{system} refuses calls for their number again and again; opt-outs may be late there",
                "a call budget below the vendor's limit",
                f"refused in {EXHAUSTED_MINUTES} or more minutes of an hour",
                "find out who else uses up this account's calls, buy a higher limit, or lower our limits and "
                "polling in the configuration",
                severity="page",
            )
        ]
