"""Which time a reconciliation is about: quarters and other spans of days, with their instants in a zone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dncsync.clock import to_micros

_QUARTER = re.compile(r"(\d{4})[ -]?[Qq]([1-4])")
_DAY = timedelta(days=1)
LONGEST_DAYS = 366 * 2
"""Of one report; what is longer is no period that anybody audits, and its charts would show nothing."""


class NoPeriod(ValueError):
    """The text names no period; `str()` is one line that says how to name one."""


@dataclass(frozen=True, slots=True)
class Span:
    """Whole days in one zone."""

    name: str
    first: date
    last: date
    """Inclusive."""
    zone: str

    @property
    def starts_at(self) -> int:
        """Microseconds UTC."""
        return _midnight(self.first, self.zone)

    @property
    def ends_at(self) -> int:
        """The first instant after it, in microseconds UTC."""
        return _midnight(self.last + _DAY, self.zone)

    def days(self, until: int) -> Iterator[tuple[date, int, int]]:
        """(day, its start, its end) in microseconds, up to the day that `until` falls in, whose end it is. A
        day has 23 or 25 hours where the clocks change."""
        day = self.first
        while day <= self.last:
            start, end = _midnight(day, self.zone), _midnight(day + _DAY, self.zone)
            if start >= until:
                return
            yield day, start, min(end, until)
            day += _DAY


def quarter(text: str, zone: str) -> Span:
    """`2026Q3` (also `2026-Q3`, `2026q3`). Raises `NoPeriod`."""
    found = _QUARTER.fullmatch(text.strip())
    if found is None:
        raise NoPeriod(f"{text!r} is no quarter; write it as 2026Q3")
    year, number = int(found[1]), int(found[2])
    if not 1970 <= year < 9000:
        raise NoPeriod(f"{text!r} is no quarter of our time; write it as 2026Q3")
    first = date(year, 3 * number - 2, 1)
    following = date(year + number // 4, 3 * number % 12 + 1, 1)
    return Span(f"{year}Q{number}", first, following - _DAY, _known(zone))


def days(first: date, last: date, zone: str) -> Span:
    """Any days, `last` included; a whole quarter gets its name. Raises `NoPeriod`."""
    if last < first:
        raise NoPeriod(f"the period ends on {last}, before it begins on {first}")
    if (last - first).days >= LONGEST_DAYS:
        raise NoPeriod(f"a period has at most {LONGEST_DAYS} days; make a report of each quarter")
    if not date(1970, 1, 1) <= first or last.year >= 9000:
        raise NoPeriod("a period lies between 1970 and 8999")
    whole = quarter(f"{first.year}Q{(first.month + 2) // 3}", zone)
    if (whole.first, whole.last) == (first, last):
        return whole
    name = str(first) if first == last else f"{first} to {last}"
    return Span(name, first, last, _known(zone))


def before(day: date, zone: str) -> Span:
    """The last whole quarter before `day`: what is reported on in the first days of a quarter."""
    first_of_this = date(day.year, 3 * ((day.month - 1) // 3) + 1, 1)
    last = first_of_this - _DAY
    return quarter(f"{last.year}Q{(last.month + 2) // 3}", zone)


def _known(zone: str) -> str:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise NoPeriod(f"{zone!r} is no IANA time zone, e.g. America/New_York") from None
    return zone


def _midnight(day: date, zone: str) -> int:
    """The first instant of the day: where the clocks go forward at midnight, that is 01:00 (a time that does
    not exist is read by the offset before the change, which gives just that instant)."""
    return to_micros(datetime.combine(day, time(0), ZoneInfo(zone)).astimezone(UTC))
