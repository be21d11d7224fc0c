"""Planning, applying, applying again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dncsync.ledger import verify
from dncsync.model import Flag
from dncsync.sync import plan_file
from dncsync.testing.faults import FaultKind
from integration.resync.sites import Run, Site, box, kinds_of

# --- plan and apply -------------------------------------------------------------------------------------


def test_a_plan_changes_nothing_and_applying_it_makes_the_world_agree(small: Site, run: Run) -> None:
    before = small.written()
    code, plan, _ = run(small, "--plan", str(small.plan))
    assert code == 3
    assert small.written() == before
    assert kinds_of(small) == []
    assert plan["systems"]["hubspot"]["holdings"] == 303
    imports = plan["totals"]["import"]
    assert imports == plan["changes"] - plan["totals"]["spread"]
    assert all("•" in n for row in plan["sample"] for n in row["numbers"])
    assert not any("3125550101" in row["key"] for row in plan["sample"])

    code, done, _ = run(small, "--apply", str(small.plan), "--actor", "jane")
    assert (code, done["changed"], done["waiting"]) == (0, 0, 0)
    assert done["queued"] + done["agreed"] == plan["changes"]  # some spreads come by themselves
    assert small.suppressed("+13125550101") == {"hubspot": {Flag.SET}, "vicidial": {Flag.SET}}
    assert small.suppressed("+13125550102") == {"hubspot": {Flag.CLEAR}, "vicidial": {Flag.CLEAR}}
    kinds = kinds_of(small)
    assert (kinds.count("plan.begun"), kinds.count("plan.applied")) == (1, 1)
    assert verify.verify(small.ledger).ok

    code, again, _ = run(small, "--plan", str(small.folder / "second.jsonl"))
    assert (code, again["changes"]) == (0, 0)


def test_applying_twice_finds_everything_done(small: Site, run: Run) -> None:
    run(small, "--plan", str(small.plan))
    run(small, "--apply", str(small.plan), "--actor", "jane")
    before, events_before = small.written(), len(kinds_of(small))
    code, done, _ = run(small, "--apply", str(small.plan), "--actor", "jane")
    assert (code, done["queued"]) == (0, 0)
    assert done["agreed"] == sum(plan_file.read(small.plan).totals.values())
    assert small.written() == before
    assert kinds_of(small)[events_before:] == ["plan.begun", "plan.applied"]


def test_with_dry_run_applying_reads_and_decides_and_does_nothing(small: Site, run: Run) -> None:
    run(small, "--plan", str(small.plan))
    before = small.written()
    code, done, _ = run(small, "--apply", str(small.plan), "--actor", "jane", "--dry-run")
    totals = plan_file.read(small.plan).totals
    assert (code, done["queued"], done["spread"]) == (0, totals["import"], totals["spread"])
    assert small.written() == before
    assert kinds_of(small) == []


def test_what_changed_since_the_plan_is_left_alone(small: Site, run: Run) -> None:
    run(small, "--plan", str(small.plan))
    hubspot = small.boxes["hubspot"]
    hubspot.undo("+13125550101")  # planned as an import; now there is nothing to import
    hubspot.opt_out("+13125550102")  # not in the plan at all
    code, done, _ = run(small, "--apply", str(small.plan), "--actor", "jane")
    assert code == 0
    assert done["agreed"] >= 2
    assert small.suppressed("+13125550101") == {"hubspot": {Flag.CLEAR}, "vicidial": {Flag.CLEAR}}
    assert small.suppressed("+13125550102") == {"hubspot": {Flag.SET}, "vicidial": {Flag.CLEAR}}


def test_a_record_that_got_another_number_is_left_alone_and_said_so(small: Site, run: Run) -> None:
    hubspot: Any = small.boxes["hubspot"]
    key = hubspot.truth("+13125550101")[0].key
    run(small, "--plan", str(small.plan))
    with hubspot.lock:
        from dncsync_hubspot.sandbox_portal import Source

        hubspot.change(hubspot.living(int(key)), {"mobilephone": "+13125550109"}, Source.by("userId:1"))
    code, done, _ = run(small, "--apply", str(small.plan), "--actor", "jane")
    assert (code, done["changed"]) == (3, 1)
    assert small.suppressed("+13125550101")["vicidial"] == {Flag.CLEAR}


def test_what_was_undone_or_never_told_is_put_back_suppressed_and_added(small: Site, run: Run) -> None:
    hubspot, vicidial = small.boxes["hubspot"], small.boxes["vicidial"]
    run(small, "--plan", str(small.plan))
    run(small, "--apply", str(small.plan), "--actor", "jane")
    hubspot.undo("+13125550101")
    vicidial.undo("+13125550101")
    # Without a daemon a request is recorded, and no system hears of it.
    code, *_ = run(small, "+13125550102", "--actor", "jane", command="number block")
    assert code == 0
    second = str(small.folder / "second.jsonl")
    code, plan, _ = run(small, "--plan", second)
    assert code == 3
    assert plan["systems"]["hubspot"]["changes"] == {"put-back": 1, "suppress": 1}
    assert plan["systems"]["vicidial"]["changes"] == {"put-back": 1, "add": 1}
    code, done, _ = run(small, "--apply", second, "--actor", "jane")
    assert (code, done["queued"]) == (0, 4)
    for number in ("+13125550101", "+13125550102"):
        assert small.suppressed(number) == {"hubspot": {Flag.SET}, "vicidial": {Flag.SET}}


def test_a_vendor_that_does_not_answer_is_left_for_the_next_run(
    small: Site, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dncsync.sync.full_read.LONGEST_WAIT", 0.01)
    run(small, "vicidial", "hubspot", "--plan", str(small.plan))
    small.boxes["vicidial"].faults.add(FaultKind.STATUS, status=503)
    code, done, _ = run(small, "--apply", str(small.plan), "--actor", "jane")
    assert code == 3
    assert done["unread"] >= 5
    assert small.suppressed("+13125550101")["hubspot"] == {Flag.SET}
    small.boxes["vicidial"].faults.clear()
    code, done, _ = run(small, "--apply", str(small.plan), "--actor", "jane")
    assert (code, done["unread"]) == (0, 0)
    assert small.suppressed("+13125550101")["vicidial"] == {Flag.SET}


def test_a_system_that_cannot_be_listed_is_named_with_the_reason(
    small: Site, run: Run, tmp_path: Path
) -> None:
    twilio = box("twilio")
    with twilio.serve() as url:
        urls = dict.fromkeys(small.boxes, "http://127.0.0.1:9")
        at = Site(tmp_path, {"twilio": twilio}, {**urls, "twilio": url})
        code, _, said = run(at, "--plan", str(at.plan))
    assert code == 1
    assert "twilio cannot be listed" in said
