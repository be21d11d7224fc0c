"""Whether a document can end a block: only consent later than the consumer's "stop" (CON-04, OVR-03)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from dncsync.sync.requests import Refused

COMPANY_ZONE = ZoneInfo("America/New_York")
"""Where the days of requests and documents are counted."""
EASTERNMOST = timedelta(hours=14)
"""A document may bear the date of any place; nowhere is it later than there."""


def refuse_old_evidence(text: str, blocked: datetime, now: datetime) -> None:
    """Raises `Refused` unless the document is later than the block and not of the future.

    `text`: an ISO 8601 date, or for a document of the block's own day an instant with a zone. `blocked`: when
    the latest request that would end was made; `now`: both with a zone.
    """
    day, instant = _read(text)
    if instant is not None:
        future, late_enough = instant > now, instant > blocked
    else:
        future = day > (now.astimezone(UTC) + EASTERNMOST).date()
        late_enough = day > blocked.astimezone(COMPANY_ZONE).date()
    if future:
        raise Refused(f"evidence date {text!r} is in the future; give the document's own date")
    if late_enough:
        return
    asked = blocked.astimezone(COMPANY_ZONE)
    hint = ""
    if instant is None and day == asked.date():
        hint = "; for a document of the same day give its time too, e.g. " + (
            f"{(asked + timedelta(hours=1)).isoformat(timespec='minutes')}"
        )
    raise Refused(
        f"the evidence of {text} is not later than the request of {asked:%Y-%m-%d %H:%M %Z}; only newer "
        f"consent ends a block (CON-04){hint}"
    )


def _read(text: str) -> tuple[date, datetime | None]:
    """The day, and the instant where one is given."""
    try:
        return date.fromisoformat(text), None
    except ValueError:
        pass
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise Refused(
            f"evidence date {text!r} is not ISO 8601; give the document's date, e.g. 2026-11-21, or its time "
            "with a zone, e.g. 2026-11-21T15:30-05:00"
        )
    return instant.date(), instant
