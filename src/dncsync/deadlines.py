"""The legal clock of a request: business days, federal holidays, time zones (regulation section 8).

The rule says "ten business days from receipt" and does not say what a business day is, nor whose midnight
counts. So two deadlines are kept (CLK-01), and wherever zones disagree the earlier date wins (CLK-04):

* `strict` counts Monday to Friday and knows no holidays. Alarms use it.
* `federal` leaves out the holidays of 5 USC 6103 too. Reports of lateness use it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_DAY = timedelta(days=1)


class Calendar(StrEnum):
    """Which days count. The values are those of policy `calendars`."""

    STRICT = "mon_fri"
    FEDERAL = "us_federal"


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Four instants (UTC) and what they were computed from (CLK-07). All are at or after `received`."""

    received: datetime
    """When the clock started (UTC), see `clock_start`."""
    business_days: int
    zones: tuple[str, ...]
    """The zones that were asked: the consumer's candidates, the company's, UTC."""
    strict_day: date
    """The last business day, by Monday to Friday."""
    strict: datetime
    """The start of that day where it starts first: the alarm (CLK-05)."""
    strict_end: datetime
    """Its end there (the first instant after it): late from here on."""
    federal_day: date
    """The last business day, federal holidays left out. Never before `strict_day`."""
    federal: datetime
    federal_end: datetime
    """Legally late from here on, for reports."""


def deadlines(received: datetime, zones: Sequence[str], business_days: int) -> Deadlines:
    """The deadlines of a request received at `received` (aware), to be honoured within `business_days`.

    `zones` are IANA names: every zone where the consumer may be, and the company's; UTC is always asked too.
    The day of receipt is day 0 (CLK-02), in each zone by its own date; the earliest last day wins (CLK-04).
    With 0 days (REV-06, "immediately") the deadline is the day of receipt, whatever day it is.

    Raises ValueError for a naive or absurd `received`, a negative count or an unknown zone.
    """
    if received.tzinfo is None:
        raise ValueError("received: an instant needs a time zone")
    if not 1970 <= received.year < 9000:
        raise ValueError(f"received: the year {received.year} is no time of a request")
    if business_days < 0:
        raise ValueError(f"business_days: {business_days} is negative")
    received = received.astimezone(UTC)
    asked = tuple(dict.fromkeys((*zones, "UTC")))
    places = [_zone(name) for name in asked]
    days_of_receipt = {received.astimezone(place).date() for place in places}

    def last_day(calendar: Calendar) -> tuple[date, datetime, datetime]:
        day = min(add_business_days(start, business_days, calendar) for start in days_of_receipt)
        start, end = _first_midnight(day, places), _first_midnight(day + _DAY, places)
        return day, max(start, received), max(end, received)

    strict_day, strict, strict_end = last_day(Calendar.STRICT)
    federal_day, federal, federal_end = last_day(Calendar.FEDERAL)
    return Deadlines(
        received=received,
        business_days=business_days,
        zones=asked,
        strict_day=strict_day,
        strict=strict,
        strict_end=strict_end,
        federal_day=federal_day,
        federal=federal,
        federal_end=federal_end,
    )


def clock_start(received_at: datetime, occurred_at: datetime | None = None) -> datetime:
    """When the legal clock starts: the earlier of the vendor's event time and our receipt (CLK-06).

    A webhook that comes late still started when the consumer spoke. An event time in our future is a wrong
    clock and is not used; leave `occurred_at` out where the source cannot be trusted.
    """
    return received_at if occurred_at is None else min(received_at, occurred_at)


def is_business_day(day: date, calendar: Calendar) -> bool:
    """Monday to Friday; with `FEDERAL` not a holiday as observed.

    State holidays and one-off closures are business days: they never make a deadline later (CLK-03).
    """
    if day.weekday() >= 5:
        return False
    return calendar is Calendar.STRICT or day not in federal_holidays(day.year)


@lru_cache(maxsize=4096)
def add_business_days(start: date, count: int, calendar: Calendar) -> date:
    """The `count`-th business day after `start`, which itself is day 0 whatever day it is (CLK-02)."""
    day = start
    while count > 0:
        day += _DAY
        if is_business_day(day, calendar):
            count -= 1
    return day


@cache
def federal_holidays(year: int) -> frozenset[date]:
    """The days of `year` on which a holiday of 5 USC 6103(a) is observed (CLK-03).

    One that falls on a Saturday is observed the Friday before, on a Sunday the Monday after; so the 1 January
    of a next year can be observed on 31 December of this one. Inauguration Day is left out: it is a holiday
    around Washington only, and leaving it out makes deadlines earlier.
    """
    observed = (_observed(day) for of_year in (year, year + 1) for day in _holidays(of_year))
    return frozenset(day for day in observed if day.year == year)


def _holidays(year: int) -> Iterator[date]:
    """The holidays of 5 USC 6103(a) on their own dates."""
    yield date(year, 1, 1)  # New Year's Day
    yield _nth_weekday(year, 1, 0, 3)  # Birthday of Martin Luther King, Jr.
    yield _nth_weekday(year, 2, 0, 3)  # Washington's Birthday
    yield _nth_weekday(year, 6, 0, 1) - 7 * _DAY  # Memorial Day, the last Monday of May
    if year >= 2021:
        yield date(year, 6, 19)  # Juneteenth National Independence Day
    yield date(year, 7, 4)  # Independence Day
    yield _nth_weekday(year, 9, 0, 1)  # Labor Day
    yield _nth_weekday(year, 10, 0, 2)  # Columbus Day
    yield date(year, 11, 11)  # Veterans Day
    yield _nth_weekday(year, 11, 3, 4)  # Thanksgiving Day
    yield date(year, 12, 25)  # Christmas Day


def _nth_weekday(year: int, month: int, weekday: int, n: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))


def _observed(day: date) -> date:
    if day.weekday() == 5:
        return day - _DAY
    return day + _DAY if day.weekday() == 6 else day


def _first_midnight(day: date, places: Iterable[ZoneInfo]) -> datetime:
    """The instant at which `day` starts where it starts first."""
    return min(datetime.combine(day, time(0), place).astimezone(UTC) for place in places)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"zones: {name!r} is not an IANA time zone") from error
