"""What ends a block, and what does not: `number unblock` and its refusals (laws 2 and 7; T9, T10)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dncsync.runtime.evidence import refuse_old_evidence
from dncsync.sync.requests import Refused
from integration.cli.making import BLOCKED, FREE, Ran, call, events, refused

NOW = datetime.now(UTC)
GOOD = {
    "--actor": "jane",
    "--reason": "asked to be called again",
    "--basis": "written",
    "--evidence": "consent.pdf",
    "--evidence-date": (NOW + timedelta(hours=14)).date().isoformat(),  # today, somewhere
}


@pytest.fixture
def consent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "consent.pdf").write_bytes(b"please call me again")
    (tmp_path / "empty.pdf").touch()
    return tmp_path / "consent.pdf"


def unblock(
    ledger: Path, changed: Mapping[str, str | None] | None = None, *more: str, number: str = BLOCKED
) -> Ran:
    options = {**GOOD, "--evidence-date": (NOW - timedelta(minutes=5)).isoformat(), **(changed or {})}
    flags = [part for name, value in options.items() if value is not None for part in (name, value)]
    return call("number", "unblock", number, *flags, *more, "--ledger", ledger)


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("value", [None, "", "  "], ids=["left out", "empty", "blank"])
def test_nothing_of_the_reversal_may_be_missing(
    name: str, value: str | None, ledger: Path, consent: Path
) -> None:
    before = events(ledger)
    missing_file = name == "--evidence" and value == ""
    refused(unblock(ledger, {name: value}), "no such file" if missing_file else f"missing: {name}")
    assert events(ledger) == before
    assert call("number", "check", BLOCKED, "--ledger", ledger).code == 3


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"--basis": "ebr"}, ["'ebr'", "signed, written, recorded_verbal", "OVR-02"]),
        ({"--basis": "Signed"}, ["'Signed'"]),
        ({"--evidence": "none.pdf"}, ["none.pdf", "no such file"]),
        ({"--evidence": "empty.pdf"}, ["empty.pdf", "empty"]),
        ({"--evidence": "."}, ["no such file"]),
        ({"--evidence-date": "2019-05-01"}, ["2019-05-01", "not later", "CON-04"]),
        ({"--evidence-date": (NOW - timedelta(hours=2)).isoformat()}, ["not later"]),
        ({"--evidence-date": (NOW + timedelta(days=3)).date().isoformat()}, ["future"]),
        ({"--evidence-date": (NOW + timedelta(hours=1)).isoformat()}, ["future"]),
        ({"--evidence-date": "11/21/2026"}, ["ISO 8601", "2026-11-21"]),
        ({"--evidence-date": "2026-11-21T10:00"}, ["ISO 8601", "zone"]),
        ({"--evidence-date": "\0"}, ["ISO 8601"]),
    ],
    ids=[
        "ebr",
        "case",
        "no-file",
        "empty-file",
        "folder",
        "older",
        "hours-before",
        "in-days",
        "in-an-hour",
        "american",
        "no-zone",
        "nul",
    ],
)
@pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=["for real", "dry run"])
def test_what_does_not_end_a_block(
    changed: dict[str, str], words: list[str], more: list[str], ledger: Path, consent: Path
) -> None:
    """T9, T10; and a dry run refuses what the real one would."""
    before = events(ledger)
    refused(unblock(ledger, changed, *more), *words)
    assert events(ledger) == before
    assert call("number", "check", BLOCKED, "--ledger", ledger).code == 3


def test_a_number_that_is_not_blocked(ledger: Path, consent: Path) -> None:
    refused(unblock(ledger, number=FREE), "not blocked")
    refused(unblock(ledger, {}, "--dry-run", number=FREE), "not blocked")


def test_a_dry_run_records_nothing(ledger: Path, consent: Path) -> None:
    before = events(ledger)
    ran = unblock(ledger, {}, "--dry-run", "--json")
    assert ran.code == 0
    assert ran.json["would"] == "unblock"
    assert call("number", "block", FREE, "--actor", "jane", "--dry-run", "--ledger", ledger).code == 0
    assert events(ledger) == before
    assert unblock(ledger).code == 0, "and the real one is then taken"


def test_one_channel_ends_and_the_other_stands(ledger: Path, consent: Path) -> None:
    assert unblock(ledger, {}, "--channel", "sms").code == 0
    assert call("number", "check", BLOCKED, "--channel", "sms", "--ledger", ledger).code == 0
    assert call("number", "check", BLOCKED, "--channel", "voice", "--ledger", ledger).code == 3


def test_consent_is_measured_against_the_latest_of_several_requests(ledger: Path, consent: Path) -> None:
    """The first block is an hour old, the second of now: a document from between them ends neither."""
    assert call("number", "block", BLOCKED, "--actor", "joe", "--ledger", ledger).code == 0
    refused(unblock(ledger, {"--evidence-date": (NOW - timedelta(minutes=30)).isoformat()}), "not later")


def test_an_old_list_does_not_make_newer_consent_old(ledger: Path, consent: Path, tmp_path: Path) -> None:
    """What counts is when the consumer asked, not when we heard of it."""
    (tmp_path / "list.csv").write_text(f"number,requested_at\n{FREE},2019-05-01\n", encoding="utf-8")
    assert call("import", tmp_path / "list.csv", "--ledger", ledger).code == 0
    assert unblock(ledger, {"--evidence-date": "2022-02-02"}, number=FREE).code == 0


BLOCK_AT = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)  # on the evening before in New York
LATER = datetime(2026, 11, 25, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("2026-11-20", False),
        ("2026-11-21", False),
        ("2026-11-22", True),
        ("20261122", True),
        ("2026-W47-7", True),
        ("2026-11-21T20:00-05:00", False),
        ("2026-11-21T20:01-05:00", True),
        ("2026-11-22T01:00Z", False),
        ("2026-11-22T01:00:01Z", True),
        ("2026-11-25T00:00:01Z", False),
        ("2026-11-25", True),
        ("2026-11-26", False),
    ],
)
def test_a_date_is_later_than_the_day_and_an_instant_later_than_the_moment(text: str, good: bool) -> None:
    if good:
        refuse_old_evidence(text, BLOCK_AT, LATER)
    else:
        with pytest.raises(Refused):
            refuse_old_evidence(text, BLOCK_AT, LATER)


def test_a_document_of_the_same_day_is_told_how_to_count() -> None:
    with pytest.raises(Refused, match=r"give its time too, e\.g\. 2026-11-21T21:00-05:00"):
        refuse_old_evidence("2026-11-21", BLOCK_AT, LATER)
