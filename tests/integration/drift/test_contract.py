"""The contract watch over time: what it takes for normal, what it tells, and what it does not conclude."""

from __future__ import annotations

import json
from pathlib import Path

from dncsync.drift.credentials import blindness
from dncsync.drift.sighting import record_baseline
from dncsync.ledger.writer import Tx
from dncsync.testing.faults import FaultKind
from integration.drift.site import EVERY, Site
from integration.drift.test_switches import QUIET

FLAG = "contacts.do_not_call"


def portal(folder: Path, **options: object) -> Site:
    site = Site(folder, "hubspot", contacts=12, **{**QUIET["hubspot"], **options})
    site.settle_down()
    return site


def test_a_baseline_is_recorded_once_and_not_at_each_look(tmp_path: Path) -> None:
    site = portal(tmp_path)
    recorded = "SELECT count(*) FROM events WHERE kind = 'baseline.recorded'"
    site.live(10 * EVERY)
    before = site.ask("SELECT count(*) FROM events")
    assert site.ask(recorded)[0][0] > 0
    site.open()
    site.live(10 * EVERY)
    assert site.ask("SELECT count(*) FROM events") == before, "ten looks at a steady world write nothing"


def test_a_renamed_field_tells_all_that_a_person_needs(tmp_path: Path) -> None:
    site = portal(tmp_path)
    exposed = site.sandbox.numbers(3)[1]
    site.block(exposed)
    site.live(120)
    well = site.at
    site.sandbox.faults.add(FaultKind.RENAMED_FIELD, to="hands_off_do_not_call")
    site.sandbox.faults.clear()
    site.sandbox.faults.add(FaultKind.RENAMED_FIELD, to="do_not_call_old")
    site.live(EVERY)

    (finding,) = site.findings("field-renamed")
    detail = json.loads(finding["detail"])
    assert (finding["subject"], finding["severity"]) == (FLAG, "page")
    assert "do_not_call_old" in detail["seen"]
    assert "set flags.voice.property to 'do_not_call_old'" in detail["mend"]
    assert detail["since"] <= well, "it began after it was last seen to be well"
    assert detail["exposed"]["numbers"] == 1
    assert site.ask(detail["exposed"]["query"]) == [(exposed,)]

    site.live(4 * EVERY)
    assert site.findings("field-renamed")[0]["count"] == 1, "what lasts is said once"


def test_when_it_holds_again_everything_is_read_anew(tmp_path: Path) -> None:
    """What people ticked meanwhile could not be read, and no feed brings it again."""
    site = portal(tmp_path)
    site.sandbox.faults.add(FaultKind.RENAMED_FIELD, to="do_not_call_old")
    number = site.sandbox.numbers(5)[4]
    site.sandbox.opt_out(number)
    site.live(EVERY + 60)
    assert {"field-renamed", "field-absent"} <= site.open_kinds()
    assert site.ask("SELECT number FROM blocks WHERE number = ?", number) == []

    site.sandbox.faults.clear()
    site.live(2 * EVERY)
    assert site.reads_again == 1
    assert site.open_kinds() == set()
    (finding,) = site.findings("field-renamed")
    assert finding["closed_by"] == "describe shows the field as needed again"
    assert set(site.ask("SELECT number FROM blocks WHERE number = ?", number)) == {(number,)}


def test_a_reading_that_shows_the_field_again_heals_what_a_reading_found(tmp_path: Path) -> None:
    """Also where it came and went between two looks at the contract."""
    site = portal(tmp_path)
    first, second = site.sandbox.numbers(6)[4:]
    site.sandbox.faults.add(FaultKind.RENAMED_FIELD)
    site.sandbox.opt_out(first)
    site.live(120)
    assert site.open_kinds() == {"field-absent"}
    site.sandbox.faults.clear()
    site.sandbox.opt_out(second)
    site.live(120)
    assert site.open_kinds() == set()
    assert site.findings("field-absent")[0]["closed_by"] == "a reading shows the field again"


def test_a_fault_whose_figures_move_is_said_once(tmp_path: Path) -> None:
    site = portal(tmp_path)
    site.sandbox.daily, site.sandbox._spent = 100_000, 92_500  # type: ignore[attr-defined]
    site.live(4 * EVERY)
    (finding,) = site.findings("budget-low")
    assert (finding["subject"], finding["count"]) == ("daily calls", 1)


def test_a_definition_that_changed_and_still_does_is_told_until_it_is_accepted(tmp_path: Path) -> None:
    site = portal(tmp_path)
    site.sandbox.faults.add(FaultKind.NEW_OPTION, option="Maybe")
    site.live(EVERY)
    (finding,) = site.findings("field-changed")
    detail = json.loads(finding["detail"])
    assert detail["expected"] == 'options: ["true", "false"]'
    assert detail["seen"] == 'options: ["true", "false", "Maybe"]'

    accepted = detail["baseline"]

    def accept(tx: Tx) -> None:
        record_baseline(
            tx,
            site.at,
            accepted["detector"],
            site.vendor,
            accepted["subject"],
            accepted["value"],
            actor="ann",
        )

    site.writer.call(accept)
    site.live(EVERY)
    assert site.open_kinds() == set()


def test_a_field_that_the_connector_chose_by_itself_and_finds_no_more_is_told(tmp_path: Path) -> None:
    site = Site(tmp_path, "salesforce", contacts=12, **QUIET["salesforce"])
    site.settle_down()
    site.sandbox.schema.hidden.add(("Contact", "HomePhone"))  # type: ignore[attr-defined]
    site.live(EVERY)
    (finding,) = site.findings("field-missing")
    assert finding["subject"] == "Contact.HomePhone"
    assert json.loads(finding["detail"])["baseline"]["value"] is None


def test_another_build_of_the_dialer_is_told(tmp_path: Path) -> None:
    site = Site(tmp_path, "vicidial", contacts=12, **QUIET["vicidial"])
    site.settle_down()
    site.sandbox.site.build = "251231-0900"  # type: ignore[attr-defined]
    site.live(EVERY)
    (finding,) = site.findings("field-changed")
    assert finding["subject"] == "build"
    assert json.loads(finding["detail"])["seen"] == 'build_day: "251231"; build_time: "0900"'


def test_what_could_not_be_looked_at_neither_opens_nor_heals(tmp_path: Path) -> None:
    site = portal(tmp_path)
    site.sandbox.faults.add(FaultKind.HIDDEN_FIELD)
    site.live(EVERY)
    assert site.open_kinds() == {"field-hidden"}
    site.sandbox.faults.clear()
    site.sandbox.faults.add(FaultKind.STATUS, path="/properties", status=500)
    site.live(2 * EVERY)
    assert "field-hidden" in site.open_kinds(), "a server error is no word about the field"
    site.sandbox.faults.clear()
    site.live(EVERY)
    assert site.open_kinds() == set()


def test_a_restart_remembers_what_is_wrong_and_since_when(tmp_path: Path) -> None:
    site = portal(tmp_path)
    site.sandbox.faults.add(FaultKind.HIDDEN_FIELD)
    site.live(EVERY)
    before = site.findings("field-hidden")
    site.open()
    site.live(2 * EVERY)
    assert site.findings("field-hidden") == before
    site.sandbox.faults.clear()
    site.live(EVERY)
    assert site.open_kinds() == set()


def test_a_refused_login_is_not_taken_for_missing_fields(tmp_path: Path) -> None:
    site = portal(tmp_path)
    site.sandbox.faults.add(FaultKind.EXPIRED_TOKEN)
    site.live(2 * EVERY)
    assert site.open_kinds() == {"system-unauthorised"}
    reasons = site.writer.call(lambda tx: blindness(tx, site.vendor))
    assert len(reasons) == 1
    assert "refuses our credentials" in reasons[0]


def test_credentials_that_only_the_probe_finds_refused_are_told_and_stop_nothing(tmp_path: Path) -> None:
    """The account's description may need a right of its own; our own calls go on."""
    site = portal(tmp_path)
    site.sandbox.faults.add(FaultKind.STATUS, path="/account-info", status=401)
    site.live(EVERY + 300)
    assert site.open_kinds() == {"unauthorised"}
    number = site.sandbox.numbers(3)[1]
    site.block(number)
    site.live(120)
    assert {truth.flag for truth in site.sandbox.truth(number)} == {"set"}


def test_an_empty_full_reading_while_something_is_hidden_is_cannot_see(tmp_path: Path) -> None:
    empty = Site(tmp_path, "hubspot", contacts=0)
    empty.settle_down()
    assert empty.open_kinds() == set(), "an empty portal that can be seen is an empty portal"
    empty.sandbox.faults.add(FaultKind.HIDDEN_FIELD)
    empty.live(EVERY)
    assert empty.open_kinds() == {"field-hidden", "cannot-see"}
    (finding,) = empty.findings("cannot-see")
    assert "not empty" in finding["summary"]
    assert FLAG in finding["summary"]


# --- writes that are accepted and not kept ------------------------------------------------------------------


def test_a_system_that_keeps_nothing_is_one_finding_and_heals_with_the_last_write(tmp_path: Path) -> None:
    site = Site(tmp_path, "hubspot", contacts=60, **QUIET["hubspot"])
    site.settle_down()
    site.sandbox.faults.add(FaultKind.DROPPED_WRITE, by="workflow")
    for number in site.sandbox.numbers(41)[1:]:
        site.block(number)
    site.live(180)
    (often,) = site.findings("not-kept-often")
    assert often["severity"] == "page"
    detail = json.loads(often["detail"])
    assert detail["exposed"]["numbers"] >= 30
    singles = len(site.findings("not-kept"))
    for number in site.sandbox.numbers(51)[41:]:
        site.block(number)
    site.live(2 * EVERY)
    assert len(site.findings("not-kept")) == singles, "single records are not told any more"
    assert site.findings("not-kept-often")[0]["count"] == 1

    site.sandbox.faults.clear()
    site.live(2 * EVERY)
    assert site.open_kinds() == set()
    assert site.findings("not-kept-often")[0]["closed_by"] == "every write was read back as written"


def test_a_few_writes_that_are_not_kept_are_single_cases(tmp_path: Path) -> None:
    site = portal(tmp_path)
    site.sandbox.faults.add(FaultKind.DROPPED_WRITE, by="workflow")
    for number in site.sandbox.numbers(4)[1:]:
        site.block(number)
    site.live(300)
    assert site.open_kinds() == {"not-kept"}
    assert "a workflow changed it back" in site.findings("not-kept")[0]["summary"]
