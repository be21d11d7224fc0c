"""The counts of table `activity` as the detectors read them: rows of hours, gaps filled with zeros."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

from dncsync.clock import from_micros
from dncsync.deadlines import federal_holidays
from dncsync.ledger.sqlite import Connection
from dncsync.sync.activity import HOUR

WEEK = 168
"""Hours."""
LOOK_BACK = 8 * WEEK
"""Hours of history that a baseline is made of."""


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour of one system; see table `activity`."""

    hour: int
    webhooks: int = 0
    webhook_signals: int = 0
    polled_changes: int = 0
    unannounced: int = 0
    opt_outs: int = 0
    flipped_set: int = 0
    flipped_clear: int = 0


_SELECT = (
    "SELECT hour, webhooks, webhook_signals, polled_changes, unannounced, opt_outs, flipped_set, "
    "flipped_clear FROM activity WHERE system = ? AND hour BETWEEN ? AND ? ORDER BY hour"
)


def hours(conn: Connection, system: str, first: int, last: int) -> Iterator[Hour]:
    """The hours from `first` to `last` (since the epoch, inclusive) in which anything was counted."""
    return (Hour(*row) for row in conn.execute(_SELECT, (system, first, last)))


def began(conn: Connection, system: str) -> int | None:
    """The first hour that is remembered of a system."""
    row = conn.execute("SELECT min(hour) FROM activity WHERE system = ?", (system,)).fetchone()
    return None if row[0] is None else int(row[0])


def opt_outs(conn: Connection, system: str, first: int, last: int) -> list[int]:
    """Opt-outs of each hour from `first` to `last`."""
    found = [0] * (last - first + 1)
    rows = conn.execute(
        "SELECT hour, opt_outs FROM activity WHERE system = ? AND hour BETWEEN ? AND ?", (system, first, last)
    )
    for hour, count in rows:
        found[hour - first] = count
    return found


def slot(hour: int) -> int:
    """The hour of the week, 0 to 167; the week begins on a Thursday, as the epoch did (UTC)."""
    return hour % WEEK


@lru_cache(maxsize=4096)
def local_day(hour: int, zone: str) -> date:
    """The day on which an hour began there."""
    return from_micros(hour * HOUR).astimezone(_zone(zone)).date()


@cache
def idle(day: date) -> bool:
    """Whether people are ordinarily away: a federal holiday (5 USC 6103, CLK-03), the day between one and a
    weekend, and the days from Christmas Eve to New Year's Day. A source that is quiet then is not silent."""
    if (day.month, day.day) >= (12, 24) or day == date(day.year, 1, 1):
        return True
    before, after = day - timedelta(days=1), day + timedelta(days=1)
    bridge = (day.weekday() == 4 and _holiday(before)) or (day.weekday() == 0 and _holiday(after))
    return _holiday(day) or bridge


def _holiday(day: date) -> bool:
    return day in federal_holidays(day.year)


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
