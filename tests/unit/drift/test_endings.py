"""The calendar of endings: the connectors' own dates, and what is said at which distance."""

from __future__ import annotations

from datetime import date, timedelta
from types import SimpleNamespace

import pytest

from dncsync.connector import plugins
from dncsync.drift.endings import Ending, calendar, declared, sightings

DAY = date(2027, 9, 30)
V3 = Ending("hubspot", "v3 ends", DAY, "section 1.2", "use dated paths", {"api": ("v3",)})
SYSTEMS = {
    "old": SimpleNamespace(vendor="hubspot", api="v3"),
    "new": SimpleNamespace(vendor="hubspot", api="2026-03"),
    "org": SimpleNamespace(vendor="salesforce"),
}


def said(days: int) -> tuple[str, str] | None:
    """(severity, words) so many days before the ending."""
    entries = calendar(SYSTEMS, DAY - timedelta(days=days), endings=[V3])
    found = sightings(entries)
    return (found[0].severity, found[0].seen) if found else None


def test_an_ending_concerns_only_systems_with_that_setting() -> None:
    (entry,) = calendar(SYSTEMS, date(2027, 9, 1), endings=[V3])
    assert (entry.system, entry.days, entry.mend) == ("old", 29, "use dated paths")


def test_without_systems_every_ending_is_listed_under_its_vendor() -> None:
    (entry,) = calendar({}, DAY, endings=[V3])
    assert (entry.system, entry.days) == ("hubspot", 0)


@pytest.mark.parametrize(
    ("days", "severity", "words"),
    [
        (180, "info", "within 180 days"),
        (90, "warning", "within 90 days"),
        (30, "warning", "within 30 days"),
        (7, "page", "within 7 days"),
        (0, "page", "within 7 days"),
        (-1, "page", "over"),
    ],
)
def test_it_is_said_louder_as_the_day_comes_nearer(days: int, severity: str, words: str) -> None:
    assert said(days) == (severity, f"2027-09-30: {words}")


def test_nothing_is_said_half_a_year_before() -> None:
    assert said(181) is None


def test_the_words_change_only_at_the_four_distances() -> None:
    assert len({said(days) for days in range(180, -1, -1)}) == 4


@pytest.mark.parametrize("vendor", sorted(plugins()))
def test_each_connectors_endings_can_be_read_and_name_their_source(vendor: str) -> None:
    for ending in declared(vendor):
        assert "section" in ending.source
        assert ending.mend
        settings = plugins()[vendor].load().settings.model_fields
        assert set(ending.when) <= set(settings), "a condition on a setting that there is"


def test_hubspots_announced_end_is_known() -> None:
    assert any(e.on == date(2027, 9, 30) and e.when == {"api": ("v3",)} for e in declared("hubspot"))
