"""A reconciliation as steps: killed between any two it is resumed, and verified when it is recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dncsync.clock import to_micros
from dncsync.ledger import projections, rebuild, verify
from dncsync.ledger.sqlite import sqlite3
from dncsync.policy import Policies
from dncsync.reconcile import period, quarter, report, verifying
from dncsync.reconcile.facts import canonical, read
from dncsync.reconcile.verifying import NotAReport, Verdict
from dncsync.runtime import reconciling
from dncsync.settings import Settings
from dncsync.sync.requests import Refused
from integration.reconcile.small_ledger import DAY, JULY, NEW_YORK, SmallLedger, utc
from integration.reconcile.test_facts import ANN, one_quarter

pytestmark = pytest.mark.usefixtures("plain_files")


class Killed(BaseException):
    """kill -9, as far as a test in one process can have it."""


def reconciled(ledger: SmallLedger) -> quarter.Outcome:
    one_quarter(ledger)
    ledger.holding("dialer", f"D/{ANN}", ANN, voice="set", seen=utc(2026, 10, 1))
    return ledger.reconcile()


# --- steps ------------------------------------------------------------------------------------------------


def test_the_files_are_hashed_into_the_ledger(ledger: SmallLedger) -> None:
    done = reconciled(ledger)
    assert done.folder == ledger.path.parent / "reports" / "2026Q3"
    assert (done.folder / report.FACTS).read_bytes() == canonical(done.facts)
    (row,) = ledger.answer("SELECT files, head_seq, head_hash FROM reconciliations")
    assert json.loads(row[0]) == dict(done.files)
    assert (row[1], row[2]) == (done.facts.integrity.head_seq, done.facts.integrity.head_hash)
    assert verify.verify(ledger.path).ok
    assert rebuild.compare(ledger.path, projections).ok


def test_the_facts_survive_the_way_through_json(ledger: SmallLedger) -> None:
    done = reconciled(ledger)
    again = read((done.folder / report.FACTS).read_bytes())
    assert again == done.facts
    assert canonical(again) == canonical(done.facts)


@pytest.mark.parametrize("last", range(5))
def test_killed_after_any_command_it_is_resumed(ledger: SmallLedger, last: int) -> None:
    """Five commands are given: begin, three comparisons, completed."""
    one_quarter(ledger)
    given: list[str] = []

    def mortal(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if len(given) == last:
            raise Killed
        given.append(name)
        return ledger.command(name, arguments)

    with pytest.raises(Killed):
        quarter.reconcile(ledger.path, mortal, ledger.clock, ledger.wish())
    ledger.clock.advance(3600)
    done = ledger.reconcile()
    assert done.resumed == (last > 0)
    sql = "SELECT count(*), count(DISTINCT system) FROM events WHERE kind = 'reconciliation.compared'"
    assert ledger.answer(sql) == [(3, 3)], "none is done twice"
    assert ledger.answer("SELECT count(*) FROM reconciliations WHERE completed_at IS NULL") == [(0,)]
    assert [path.name for path in (ledger.path.parent / "reports").iterdir()] == ["2026Q3"]
    assert verifying.verify(ledger.path, done.folder).holds


def test_a_recorded_report_is_never_written_over(ledger: SmallLedger) -> None:
    first = reconciled(ledger)
    ledger.clock.advance(60)
    second = ledger.reconcile()
    assert second.run != first.run
    assert second.folder.name == "2026Q3-2"
    assert verifying.verify(ledger.path, first.folder).holds
    assert verifying.verify(ledger.path, second.folder).holds


def test_a_report_is_recorded_only_with_the_head_it_was_made_with(ledger: SmallLedger) -> None:
    done = reconciled(ledger)
    lie = {"run": done.run, "as_of": 0, "head": [1, "00" * 32], "files": {}}
    with pytest.raises(Refused, match="another hash"):
        ledger.command("reconcile-completed", lie)
    with pytest.raises(Refused, match="no reconciliation"):
        ledger.command("reconcile-compared", {"run": "Q0", "system": "crm", "reason": None, "result": None})


def test_a_fresh_reading_that_does_not_come_is_a_line_with_its_reason(ledger: SmallLedger) -> None:
    ledger.system("crm", JULY, "down", "no answer", snapshot=JULY)
    ledger.system("dialer", JULY)
    asked: list[Any] = []

    def command(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if name != "snapshot":
            return ledger.command(name, arguments)
        asked.append(arguments["systems"])
        now = to_micros(ledger.clock.now())
        ledger.record("snapshot.completed", now, {"started_at": now}, system="dialer")
        return {"systems": arguments["systems"]}

    wish = ledger.wish()
    fresh = quarter.Wish(wish.span, wish.seed, wish.inputs, wish.actor, wish.folder, fresh=True)
    done = quarter.reconcile(ledger.path, command, ledger.clock, fresh)
    platforms = {platform.system: platform for platform in done.facts.platforms}
    assert asked == [["crm", "dialer"]], "texts cannot be listed"
    assert platforms["crm"].could_not_be_read == "it could not be read afresh: down (no answer)"
    assert platforms["dialer"].could_not_be_read is None


# --- verifying --------------------------------------------------------------------------------------------


def verdict(ledger: SmallLedger, target: Path) -> Verdict:
    return verifying.verify(ledger.path, target)


def test_it_holds_whatever_came_later(ledger: SmallLedger) -> None:
    done = reconciled(ledger)
    later = utc(2026, 11, 1)
    ledger.request("LATER", ANN, later)
    ledger.record("deliveries.verified", later, {"ids": [5]}, system="dialer")  # Dan's, open in the report
    ledger.request("BACKDATED", ANN, JULY)
    ledger.system("crm", later, "down", "no answer")
    ledger.cache("DELETE FROM holdings")
    for target in (done.folder, done.folder / report.FACTS, done.folder / report.PAGE):
        assert verdict(ledger, target).holds, target


def test_a_page_alone_is_enough(ledger: SmallLedger, tmp_path: Path) -> None:
    done = reconciled(ledger)
    alone = tmp_path / "from-an-email.html"
    alone.write_bytes((done.folder / report.PAGE).read_bytes())
    assert verdict(ledger, alone).holds


def test_an_edited_figure_is_named(ledger: SmallLedger) -> None:
    done = reconciled(ledger)
    path = done.folder / report.FACTS
    facts = json.loads(path.read_bytes())
    facts["processing"]["over_federal"] = 0
    path.write_text(json.dumps(facts))
    found = verdict(ledger, path)
    assert not found.holds
    assert [(d.figure, d.reported, d.ledger) for d in found.differences] == [
        ("processing.over_federal", 0, 1)
    ]
    assert [file.what for file in found.files if not file.ok] == ["changed since it was recorded"]


def test_an_edited_page_or_a_missing_file_is_named(ledger: SmallLedger) -> None:
    done = reconciled(ledger)
    page = done.folder / report.PAGE
    text = page.read_text()
    page.write_text(text + " ")
    assert [file.name for file in verdict(ledger, done.folder).files if not file.ok] == [report.PAGE]
    page.unlink()
    assert [file.what for file in verdict(ledger, done.folder).files if not file.ok] == ["is missing"]


def test_an_edited_event_is_found(ledger: SmallLedger) -> None:
    """Bob's 30 hours become one, in the event and in the projection: the chain tells."""
    done = reconciled(ledger)
    ledger.close()
    conn = sqlite3.connect(ledger.path)
    conn.execute("DROP TRIGGER events_never_change")
    when = JULY + DAY + 30 * 3_600_000_000
    conn.execute("UPDATE events SET at = ? WHERE kind = 'deliveries.verified' AND at = ?", (JULY + DAY, when))
    conn.execute("UPDATE deliveries SET verified_at = ? WHERE verified_at = ?", (JULY + DAY, when))
    conn.commit()
    conn.close()
    found = verdict(ledger, done.folder)
    assert not found.holds
    assert found.problems
    figures = {difference.figure for difference in found.differences}
    assert {"integrity.verified", "processing.done.max_seconds"} <= figures


def test_an_edited_projection_makes_no_difference(ledger: SmallLedger) -> None:
    """The figures are gathered from the events; `ledger rebuild` is who finds this."""
    done = reconciled(ledger)
    ledger.cache("UPDATE deliveries SET verified_at = known_at")
    assert verdict(ledger, done.folder).holds


def test_what_is_no_report_is_told_so(ledger: SmallLedger, tmp_path: Path) -> None:
    reconciled(ledger)
    for name, text in (("x.json", "{}"), ("y.json", "nonsense"), ("z.pdf", "%PDF")):
        (tmp_path / name).write_text(text)
        with pytest.raises(NotAReport):
            verdict(ledger, tmp_path / name)


def test_a_report_of_another_ledger_is_refused(ledger: SmallLedger, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    other = SmallLedger(folder)
    done = other.reconcile(systems={})
    other.close()
    with pytest.raises(NotAReport, match="recorded no such report"):
        verdict(ledger, done.folder)


# --- the schedule -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "made", "due"),
    [
        (utc(2026, 10, 1, 12), (), None),  # the first day: what was begun on the last has a day to end
        (utc(2026, 10, 2, 3), (), None),  # still the first in New York
        (utc(2026, 10, 2, 12), (), "2026Q3"),
        (utc(2026, 12, 20, 12), (), "2026Q3"),  # nothing ran all quarter: made good at the next start
        (utc(2026, 10, 2, 12), ("2026Q3",), None),
        (utc(2027, 1, 2, 12), ("2026Q3",), "2026Q4"),
        (utc(2026, 7, 2, 12), (), "2026Q2"),
        (utc(2026, 4, 2, 12), (), None),  # before there was a ledger
    ],
)
def test_the_last_quarter_is_due_in_the_first_days_of_the_next(
    now: int, made: tuple[str, ...], due: str | None
) -> None:
    created = datetime(2026, 5, 1, tzinfo=UTC)
    moment = datetime.fromtimestamp(now / 1_000_000, UTC)
    span = reconciling.due(Settings(), moment, created, made)
    assert (span and span.name) == due


def test_what_it_is_made_with_names_policy_and_systems() -> None:
    span = period.quarter("2026Q3", NEW_YORK)
    day = datetime(2026, 10, 2, tzinfo=UTC).date()
    wish = reconciling.wish(Settings(), Policies(), [], span, actor="a", today=day)
    assert wish.seed == 20260930
    assert wish.inputs["policy"]["banner"].startswith("No counsel")
    assert wish.inputs["policy"]["source"] == "the shipped defaults"
