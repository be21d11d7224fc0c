"""Credentials that end, and budgets that keep running out."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from dncsync.connector import ProbeCheck
from dncsync.drift.credentials import EXHAUSTED_MINUTES, HOUR, Refusals, expiring

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("left", "severity", "words"),
    [
        (timedelta(days=29), "info", "ends within 30 days"),
        (timedelta(days=13), "warning", "ends within 14 days"),
        (timedelta(days=2), "page", "ends within 3 days"),
        (timedelta(hours=-1), "page", "has ended"),
    ],
)
def test_a_vendors_date_is_told_louder_as_it_comes_nearer(left: timedelta, severity: str, words: str) -> None:
    check = ProbeCheck("certificate", True, "valid", "make a new one", expires_at=NOW + left)
    (one,) = expiring("crm", [check], None, NOW)
    assert (one.subject, one.severity, one.mend) == ("certificate", severity, "make a new one")
    assert one.seen.startswith(words)


def test_what_lasts_long_enough_is_not_told() -> None:
    check = ProbeCheck("certificate", True, "valid", expires_at=NOW + timedelta(days=31))
    assert expiring("crm", [check, ProbeCheck("clock", True, "")], None, NOW) == []


def test_a_configured_day_stands_beside_the_vendors() -> None:
    (one,) = expiring("crm", [], date(2026, 11, 30), NOW)
    assert (one.subject, one.severity) == ("credentials", "warning")
    assert "credentials_expire" in one.mend


def test_limits_that_are_met_now_and_then_are_no_drift() -> None:
    refusals = Refusals()
    for call in range(1000):  # a burst: all in the same minutes
        refusals.note(call * 0.1)
    assert refusals.sightings("crm", 100.0) == []


def test_limits_that_are_met_again_and_again_are_told_until_an_hour_is_quiet() -> None:
    refusals = Refusals()
    for minute in range(EXHAUSTED_MINUTES):
        assert refusals.sightings("crm", minute * 60.0) == []
        refusals.note(minute * 60.0)
    now = (EXHAUSTED_MINUTES - 1) * 60.0
    (one,) = refusals.sightings("crm", now)
    assert (one.kind, one.severity) == ("budget-exhausted", "page")
    assert refusals.sightings("crm", now + HOUR) == []
