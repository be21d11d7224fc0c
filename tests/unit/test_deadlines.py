"""The legal clock: every vector of regulation section 8, and what must hold for any request."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dncsync.deadlines import (
    Calendar,
    add_business_days,
    clock_start,
    deadlines,
    federal_holidays,
    is_business_day,
)
from dncsync.numbers import US_ZONES

CHICAGO = "America/Chicago"


def day(text: str) -> date:
    return date.fromisoformat(text)


@pytest.mark.parametrize(
    ("receipt", "strict", "federal"),
    [
        ("2026-11-20", "2026-12-04", "2026-12-07"),  # Thanksgiving 26 Nov
        ("2026-11-21", "2026-12-04", "2026-12-07"),  # a Saturday is as good as the Friday before
        ("2026-11-22", "2026-12-04", "2026-12-07"),
        ("2026-11-23", "2026-12-07", "2026-12-08"),
        ("2026-12-18", "2027-01-01", "2027-01-05"),  # 25 Dec and 1 Jan, both Fridays
        ("2026-06-26", "2026-07-10", "2026-07-13"),  # 4 Jul 2026 is a Saturday, observed on the Friday
        ("2026-11-02", "2026-11-16", "2026-11-17"),  # Veterans Day
        ("2027-01-04", "2027-01-18", "2027-01-19"),  # Martin Luther King's birthday
    ],
)
def test_vectors_of_section_8(receipt: str, strict: str, federal: str) -> None:
    noon = datetime.combine(day(receipt), datetime.min.time(), ZoneInfo(CHICAGO)) + timedelta(hours=12)
    found = deadlines(noon, [CHICAGO], 10)
    assert (found.strict_day, found.federal_day) == (day(strict), day(federal))
    assert add_business_days(day(receipt), 10, Calendar.STRICT) == day(strict)
    assert add_business_days(day(receipt), 10, Calendar.FEDERAL) == day(federal)


def test_t21_near_midnight_the_earlier_date_wins() -> None:
    received = datetime(2026, 11, 22, 22, 0, tzinfo=ZoneInfo("America/Los_Angeles"))
    assert received.astimezone(UTC) == datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
    by_utc = deadlines(received, [], 10)
    assert (by_utc.strict_day, by_utc.federal_day) == (day("2026-12-07"), day("2026-12-08"))
    found = deadlines(received, ["America/Los_Angeles"], 10)
    assert (found.strict_day, found.federal_day) == (day("2026-12-04"), day("2026-12-07"))
    # The alarm is the start of that day in the earliest zone, here UTC; late is its end there (CLK-05).
    assert found.strict == datetime(2026, 12, 4, 0, 0, tzinfo=UTC)
    assert found.strict_end == datetime(2026, 12, 5, 0, 0, tzinfo=UTC)
    assert found.federal == datetime(2026, 12, 7, 0, 0, tzinfo=UTC)
    assert found.federal_end == datetime(2026, 12, 8, 0, 0, tzinfo=UTC)
    assert found.zones == ("America/Los_Angeles", "UTC")


def test_a_company_east_of_utc_starts_the_day_first() -> None:
    found = deadlines(datetime(2026, 11, 24, 12, 0, tzinfo=UTC), [CHICAGO, "Europe/Berlin"], 10)
    assert found.strict == datetime(2026, 12, 7, 23, 0, tzinfo=UTC)  # 8 Dec 00:00 in Berlin
    assert found.strict_day == day("2026-12-08")


@pytest.mark.parametrize(
    ("year", "observed"),
    [
        (2027, "2027-06-18"),  # 19 Jun is a Saturday
        (2027, "2027-07-05"),  # 4 Jul is a Sunday
        (2027, "2027-12-24"),  # 25 Dec is a Saturday
        (2027, "2027-12-31"),  # for 1 Jan 2028, a Saturday
        (2026, "2026-07-03"),
    ],
)
def test_weekend_holidays_are_observed_on_the_nearest_weekday(year: int, observed: str) -> None:
    assert day(observed) in federal_holidays(year)


def test_the_holidays_of_two_years() -> None:
    assert sorted(d.isoformat()[5:] for d in federal_holidays(2026)) == [
        "01-01", "01-19", "02-16", "05-25", "06-19", "07-03", "09-07", "10-12", "11-11", "11-26", "12-25",
    ]  # fmt: skip
    # 1 January 2028 is observed in 2027, so 2028 has ten.
    assert sorted(d.isoformat()[5:] for d in federal_holidays(2028)) == [
        "01-17", "02-21", "05-29", "06-19", "07-04", "09-04", "10-09", "11-10", "11-23", "12-25",
    ]  # fmt: skip


def test_a_one_off_closure_and_a_state_holiday_count_as_business_days() -> None:
    assert is_business_day(day("2026-12-24"), Calendar.FEDERAL)
    assert is_business_day(day("2026-11-27"), Calendar.FEDERAL)
    assert not is_business_day(day("2026-11-26"), Calendar.FEDERAL)
    assert is_business_day(day("2026-11-26"), Calendar.STRICT)


def test_package_delivery_notices_have_six_days_and_health_care_none() -> None:
    received = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)  # REV-06
    assert deadlines(received, [CHICAGO], 6).strict_day == day("2026-12-01")
    at_once = deadlines(received, [CHICAGO], 0)
    assert at_once.strict_day == at_once.federal_day == day("2026-11-23")
    assert at_once.strict == received
    assert at_once.strict_end == datetime(2026, 11, 24, 0, 0, tzinfo=UTC)


def test_the_clock_starts_with_the_consumer_not_with_the_late_webhook() -> None:
    spoke = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
    heard = spoke + timedelta(days=3)
    assert clock_start(heard, spoke) == spoke
    assert clock_start(spoke, heard) == spoke  # a vendor's clock in our future is wrong
    assert clock_start(heard) == heard


@pytest.mark.parametrize(
    ("received", "zones", "count", "complaint"),
    [
        (datetime(2026, 11, 23), [], 10, "time zone"),
        (datetime(2026, 11, 23, tzinfo=UTC), [], -1, "negative"),
        (datetime(1, 1, 1, tzinfo=UTC), [CHICAGO], 10, "the year 1 is"),
        (datetime.max.replace(tzinfo=UTC), [CHICAGO], 10, "the year 9999 is"),
        (datetime(2026, 11, 23, tzinfo=UTC), ["America/Chikago"], 10, "'America/Chikago' is not an IANA"),
        (datetime(2026, 11, 23, tzinfo=UTC), ["../etc/passwd"], 10, "not an IANA"),
        (datetime(2026, 11, 23, tzinfo=UTC), [""], 10, "not an IANA"),
    ],
)
def test_bad_input_is_named(received: datetime, zones: list[str], count: int, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        deadlines(received, zones, count)


INSTANTS = st.datetimes(datetime(2024, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))
ZONES = st.lists(
    st.sampled_from([*US_ZONES, "Pacific/Guam", "Pacific/Pago_Pago", "Europe/Berlin"]), max_size=4
)
COUNTS = st.integers(0, 10)


@given(INSTANTS, ZONES, COUNTS)
@example(datetime(2026, 11, 23, 6, 0, tzinfo=UTC), ["America/Los_Angeles"], 1)
def test_the_instants_are_in_order_and_never_before_receipt(
    received: datetime, zones: list[str], count: int
) -> None:
    found = deadlines(received, zones, count)
    assert received <= found.strict <= found.strict_end <= found.federal_end
    assert found.strict <= found.federal <= found.federal_end
    assert found.strict_day <= found.federal_day
    if count:
        assert is_business_day(found.strict_day, Calendar.STRICT)
        assert is_business_day(found.federal_day, Calendar.FEDERAL)


@given(INSTANTS, ZONES, st.sampled_from(US_ZONES), COUNTS)
def test_another_candidate_zone_never_makes_a_deadline_later(
    received: datetime, zones: list[str], more: str, count: int
) -> None:
    fewer, found = deadlines(received, zones, count), deadlines(received, [*zones, more], count)
    assert found.strict <= fewer.strict
    assert found.strict_end <= fewer.strict_end
    assert found.federal <= fewer.federal
    assert found.federal_end <= fewer.federal_end


@given(INSTANTS, ZONES, st.integers(0, 9))
def test_a_shorter_time_is_never_later_and_a_later_receipt_never_earlier(
    received: datetime, zones: list[str], count: int
) -> None:
    shorter, longer = deadlines(received, zones, count), deadlines(received, zones, count + 1)
    assert shorter.strict_day < longer.strict_day
    assert shorter.federal_day < longer.federal_day
    after = deadlines(received + timedelta(hours=7), zones, count)
    assert after.strict_day >= shorter.strict_day
    assert after.federal_day >= shorter.federal_day


@given(st.dates(date(2021, 1, 1), date(2060, 1, 1)), st.integers(1, 30), st.sampled_from(Calendar))
def test_exactly_so_many_business_days_lie_after_day_zero(
    start: date, count: int, calendar: Calendar
) -> None:
    last = add_business_days(start, count, calendar)
    passed = (start + timedelta(days=n) for n in range(1, (last - start).days + 1))
    assert sum(is_business_day(d, calendar) for d in passed) == count
    assert is_business_day(last, calendar)


@given(st.integers(2021, 2200))
def test_every_year_observes_its_holidays_on_weekdays(year: int) -> None:
    holidays = federal_holidays(year)
    assert 10 <= len(holidays) <= 12
    assert all(d.weekday() < 5 and d.year == year for d in holidays)
