"""Quarters and days as instants, across changes of clocks and of years."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from dncsync.clock import from_micros, to_micros
from dncsync.reconcile import period
from dncsync.reconcile.period import NoPeriod

NEW_YORK = "America/New_York"


def utc(*parts: int) -> int:
    return to_micros(datetime(*parts, tzinfo=UTC))  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026Q1", date(2026, 1, 1), date(2026, 3, 31)),
        ("2026q2", date(2026, 4, 1), date(2026, 6, 30)),
        ("2026-Q3", date(2026, 7, 1), date(2026, 9, 30)),
        (" 2026 Q4 ", date(2026, 10, 1), date(2026, 12, 31)),
        ("2028Q1", date(2028, 1, 1), date(2028, 3, 31)),
    ],
)
def test_a_quarter_has_its_days(text: str, first: date, last: date) -> None:
    span = period.quarter(text, "UTC")
    assert (span.first, span.last) == (first, last)
    assert span.name == f"{first.year}Q{(first.month + 2) // 3}"


@pytest.mark.parametrize("text", ["2026Q5", "2026Q0", "26Q1", "Q1", "", "0000Q1", "2026Q3x"])
def test_what_is_no_quarter_is_refused(text: str) -> None:
    with pytest.raises(NoPeriod, match="2026Q3"):
        period.quarter(text, "UTC")


def test_a_quarter_begins_and_ends_at_midnight_in_its_zone() -> None:
    span = period.quarter("2026Q4", NEW_YORK)
    assert span.starts_at == utc(2026, 10, 1, 4)  # summer time
    assert span.ends_at == utc(2027, 1, 1, 5)  # winter time


def test_days_are_as_long_as_the_clocks_make_them() -> None:
    span = period.quarter("2026Q4", NEW_YORK)
    lengths = {str(day): (end - start) / 3.6e9 for day, start, end in span.days(span.ends_at)}
    assert lengths.pop("2026-11-01") == 25.0
    assert set(lengths.values()) == {24.0}
    spring = period.quarter("2026Q1", NEW_YORK)
    hours = {str(day): (end - start) / 3.6e9 for day, start, end in spring.days(spring.ends_at)}
    assert hours["2026-03-08"] == 23.0


def test_a_day_without_a_midnight_begins_when_it_does() -> None:
    span = period.days(date(2018, 11, 4), date(2018, 11, 4), "America/Sao_Paulo")
    assert from_micros(span.starts_at) == datetime(2018, 11, 4, 3, tzinfo=UTC)  # 01:00 there
    assert span.ends_at - span.starts_at == 23 * 3_600_000_000


def test_days_end_where_the_facts_end() -> None:
    span = period.quarter("2026Q3", "UTC")
    until = utc(2026, 7, 2, 6)
    assert [(str(day), end) for day, _, end in span.days(until)] == [
        ("2026-07-01", utc(2026, 7, 2)),
        ("2026-07-02", until),
    ]
    assert list(span.days(span.starts_at)) == []


def test_two_dates_that_are_a_quarter_have_its_name() -> None:
    assert period.days(date(2026, 7, 1), date(2026, 9, 30), "UTC").name == "2026Q3"
    assert period.days(date(2026, 7, 1), date(2026, 9, 29), "UTC").name == "2026-07-01 to 2026-09-29"


@pytest.mark.parametrize(
    ("first", "last", "zone", "words"),
    [
        (date(2026, 7, 2), date(2026, 7, 1), "UTC", "before it begins"),
        (date(2020, 1, 1), date(2026, 1, 1), "UTC", "at most"),
        (date(1969, 12, 31), date(1970, 1, 2), "UTC", "between 1970"),
        (date(2026, 7, 1), date(2026, 7, 2), "Mars/Olympus", "no IANA time zone"),
    ],
)
def test_absurd_periods_are_refused(first: date, last: date, zone: str, words: str) -> None:
    with pytest.raises(NoPeriod, match=words):
        period.days(first, last, zone)


@pytest.mark.parametrize(
    ("day", "name"),
    [
        (date(2026, 10, 1), "2026Q3"),
        (date(2026, 12, 31), "2026Q3"),
        (date(2027, 1, 1), "2026Q4"),
        (date(2026, 4, 2), "2026Q1"),
    ],
)
def test_the_quarter_before_a_day(day: date, name: str) -> None:
    assert period.before(day, "UTC").name == name
