"""Canary runs on a real ledger, with vendors that do what a test tells them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dncsync.connector import Failure, FailureKind, Look
from dncsync.drift.canary_ground import NotNow
from dncsync.sync.requests import Refused
from integration.drift.canary_world import OWN, CanaryWorld
from integration.sync.vendors import ABSENT, ANN, CLEAR, REFUSED, SET, VOICE


@pytest.fixture
def world(tmp_path: Path) -> Iterator[CanaryWorld]:
    made = CanaryWorld(tmp_path)
    yield made
    made.close()


def pair(run: dict[str, Any], system: str) -> dict[str, Any]:
    (found,) = [each for each in run["pairs"] if each["system"] == system]
    return found


def stages(world: CanaryWorld) -> dict[tuple[str, str, str], str]:
    """(kind, system, subject) -> stage, of the open canary findings."""
    return {
        (f["kind"], f["system"], f["subject"]): json.loads(f["detail"]).get("stage", "")
        for f in world.findings("canary-%")
    }


# --- a good run -----------------------------------------------------------------------------------------


def test_a_run_arrives_everywhere_and_is_taken_back(world: CanaryWorld) -> None:
    before = world.events()
    run = world.fly("crm")
    assert run["outcome"] == "good"
    assert run["webhook"] == "arrived"
    assert {p["system"]: p["expects"] for p in run["pairs"]} == {
        "crm": "origin",
        "dialer": "verified",
        "erp": "verified",
        "sms": "accepted, cannot be read",
    }
    for system in ("dialer", "erp"):
        assert 0 < pair(run, system)["seconds"] < 30
        assert pair(run, system)["cleared_seconds"] is not None
    assert pair(run, "sms")["seconds"] is not None
    assert pair(run, "sms")["cleared_at"] is None
    assert [world.crm.flag("c1"), world.erp.flag("e1"), world.dialer.flag(f"DNC/{OWN}")] == [CLEAR] * 3
    assert world.blocked(OWN) == set()
    assert world.open_work() == []
    assert world.findings() == []
    kinds = world.kinds(before)
    assert kinds.index("canary.begun") < kinds.index("canary.writing") < kinds.index("canary.written")
    assert kinds.index("canary.seen") < kinds.index("reversal.recorded") < kinds.index("canary.ended")
    world.close()
    world.assert_ledger_is_whole()


def test_the_origins_write_passes_the_deliveries_and_comes_in_by_the_feed(world: CanaryWorld) -> None:
    """Else nothing would be measured: no delivery, no mark that it is ours, and a request nonetheless."""
    run = world.fly("erp")
    sets = [d for d in world.deliveries("erp") if d["want"] == "set" and d["channel"] == "voice"]
    assert sets == []
    (request,) = world.requests()
    assert (request["source"], request["actor"], request["origin_system"]) == (
        "canary",
        "dncsync canary",
        "erp",
    )
    assert run["requests"] == [request["id"]]


def test_the_reversal_is_documented_and_is_of_the_runs_own_request(world: CanaryWorld) -> None:
    run = world.fly("crm")
    (row,) = world.query(
        "SELECT actor, basis, reason, evidence_name, evidence_sha256 FROM reversals WHERE number = ?", OWN
    )
    begun = world.query("SELECT hex(hash), seq FROM events WHERE kind = 'canary.begun'")[0]
    assert row[:2] == ("dncsync canary", "canary")
    assert run["id"] in row[2]
    assert run["id"] in row[3]
    assert f"event {begun[1]}" in row[3]
    assert row[4] == begun[0].lower()


def test_what_cannot_be_taken_back_is_told_once(world: CanaryWorld) -> None:
    world.fly("crm")
    again = world.fly("erp")
    assert pair(again, "sms")["expects"] == "standing"
    assert "cannot be taken back" in pair(again, "sms")["why"]
    told = [d for d in world.deliveries("sms") if d["want"] == "set"]
    assert len(told) == 2, "both programmes, in the first run only"


# --- real requests --------------------------------------------------------------------------------------


def test_a_real_request_for_the_number_is_not_taken_back(world: CanaryWorld) -> None:
    run_id = world.begin("crm")
    world.run(5.0)
    real = world.block(OWN)
    world.run(120.0)
    run = world.shown(run_id)
    assert run["outcome"] == "kept"
    assert real in run["note"]
    assert world.blocked(OWN) == {"voice", "sms"}
    assert world.query("SELECT count(*) FROM reversals")[0][0] == 0
    assert world.crm.flag("c1") is SET
    with pytest.raises(Refused, match="a request stands"):
        world.begin("erp")


def test_a_persons_tick_during_a_run_is_that_persons_request(world: CanaryWorld) -> None:
    """The vendor says who: it is no canary's, whatever run is open."""
    world.begin("erp")
    world.chores["erp"].offer()
    while world.erp.flag("e1") is not SET:
        world.turn("erp")
    world.erp.person("e1", SET)
    world.run(60.0)
    assert [r["source"] for r in world.requests()] == ["CRM_UI"]
    assert world.blocked(OWN) == {"voice", "sms"}


def test_a_record_that_is_set_already_is_not_written(world: CanaryWorld) -> None:
    world.crm.person("c1", SET)
    world.crm.feed.clear()  # nobody told us yet
    run = world.fly("crm")
    assert run["outcome"] == "broken off"
    assert "somebody set it" in run["note"]
    assert all(VOICE not in wants for _, _, wants in world.crm.written)
    assert [r["source"] for r in world.requests()] != ["canary"]


# --- drift: each stage is named -------------------------------------------------------------------------


def test_a_refused_write_is_named(world: CanaryWorld) -> None:
    world.crm.item_fails("write", "c1", REFUSED, times=99)
    run = world.fly("crm")
    assert run["outcome"] == "lost"
    assert stages(world) == {("canary-lost", "crm", "crm to us"): "refused"}
    world.crm.calm()
    assert world.fly("crm")["outcome"] == "good"
    assert stages(world) == {}, "closed by the next good run"


def test_a_field_that_does_not_show_at_the_origin_is_named(world: CanaryWorld) -> None:
    world.crm.rows["c1"].flags[VOICE] = ABSENT
    assert world.fly("crm")["outcome"] == "lost"
    assert stages(world) == {("canary-lost", "crm", "crm to us"): "field absent"}
    assert world.crm.written == []


def test_a_write_that_the_origin_drops_is_named(world: CanaryWorld) -> None:
    world.crm.drops("c1")
    run = world.fly("crm")
    assert run["outcome"] == "lost"
    assert stages(world)["canary-lost", "crm", "crm to us"] == "accepted, not kept"
    assert world.requests() == []


def test_a_write_that_a_target_drops_is_named_and_healed(world: CanaryWorld) -> None:
    world.dialer.drops(f"DNC/{OWN}", times=99)
    run_id = world.begin("crm")
    world.run(75.0)
    assert stages(world) == {("canary-late", "dialer", "crm to dialer"): "accepted, not kept"}
    world.run(150.0)
    assert ("canary-lost", "dialer", "crm to dialer") in stages(world)
    assert ("canary-late", "dialer", "crm to dialer") not in stages(world)
    world.dialer.calm()
    world.settle()
    world.run(600.0)
    assert world.shown(run_id)["outcome"] == "lost"
    assert pair(world.shown(run_id), "dialer")["lost"]
    assert world.fly("erp")["outcome"] == "good"
    assert ("canary-lost", "dialer", "crm to dialer") in stages(world), "another pair says nothing of it"
    assert world.fly("crm")["outcome"] == "good"
    assert stages(world) == {}


def test_a_block_that_is_not_taken_back_is_named_and_no_run_uses_that_place(world: CanaryWorld) -> None:
    run_id = world.begin("crm")
    world.run(10.0)
    assert world.shown(run_id)["reversed_at"]
    world.dialer.drops(f"DNC/{OWN}", times=99)
    world.run(200.0)
    assert stages(world) == {("canary-late", "dialer", "crm to dialer"): "accepted, not kept"}
    assert "the end of the block" in world.findings("canary-%")[0]["summary"]
    world.run(400.0)
    run = world.shown(run_id)
    assert (run["outcome"], run["note"]) == ("late", "not yet taken back in dialer")
    beside = world.fly("erp")
    assert beside["outcome"] == "good"
    assert pair(beside, "dialer")["expects"] == "skipped"
    assert "not settled" in pair(beside, "dialer")["why"]
    world.dialer.calm()
    world.settle()
    assert world.dialer.flag(f"DNC/{OWN}") is CLEAR
    assert world.fly("crm")["outcome"] == "good"
    assert stages(world) == {}


def test_a_hidden_field_at_a_target_is_named(world: CanaryWorld) -> None:
    world.erp.rows["e1"].flags[VOICE] = ABSENT
    world.erp.drops("e1", times=99)
    world.begin("crm")
    world.run(910.0)
    assert stages(world)["canary-late", "erp", "crm to erp"] == "field absent"


def test_webhooks_that_are_silent_are_named_though_polling_brought_it(world: CanaryWorld) -> None:
    world.hooks = False
    run = world.fly("crm")
    assert run["outcome"] == "late"
    assert run["webhook"] == "silent"
    assert stages(world) == {("canary-no-webhook", "crm", "crm to us"): "no webhook"}
    assert "polling brought it" in world.findings("canary-%")[0]["summary"]
    world.hooks = True
    assert world.fly("crm")["outcome"] == "good"
    assert stages(world) == {}


def test_feeds_that_are_silent_are_named_and_the_write_is_taken_back_all_the_same(world: CanaryWorld) -> None:
    world.deaf = {"erp"}
    run_id = world.begin("erp")
    world.run(910.0)
    assert stages(world) == {("canary-late", "erp", "erp to us"): "not seen by the feed"}
    assert world.erp.flag("e1") is SET
    world.run(3000.0)
    run = world.shown(run_id)
    assert run["outcome"] == "late"
    assert world.erp.flag("e1") is CLEAR
    assert world.blocked(OWN) == set()


def test_a_write_that_was_given_up_is_taken_back_when_it_shows_again(world: CanaryWorld) -> None:
    """The origin's field is hidden after it took the write: nobody can see what stands there."""
    world.deaf = {"erp"}
    run_id = world.begin("erp")
    world.run(10.0)
    assert world.shown(run_id)["written_at"]
    world.erp.rows["e1"].flags[VOICE] = ABSENT
    world.run(6000.0)
    assert world.shown(run_id)["outcome"] == "lost"
    world.erp.rows["e1"].flags[VOICE] = SET
    world.hook("erp", Look("e1"))
    world.deaf.clear()
    world.by_schedule = True  # the timer goes on without an open run
    world.run(10.0)
    world.by_schedule = False
    world.run(300.0)
    assert world.requests()[0]["source"] == "canary"
    assert world.requests()[0]["ended_at"] is not None
    assert world.blocked(OWN) == set()
    assert world.erp.flag("e1") is CLEAR


def test_an_origin_that_is_down_costs_no_finding_of_the_canary(world: CanaryWorld) -> None:
    down = Failure(FailureKind.TRANSIENT, "cannot connect")
    for op in ("read", "write", "changes", "snapshot"):
        world.crm.calls_fail(op, down, times=500)
    run = world.fly("crm")
    assert run["outcome"] == "broken off"
    assert stages(world) == {}
    assert [f["kind"] for f in world.findings()] == ["system-down"]


# --- crashes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0.0, 5.0, 10.0, 15.0, 20.0])
def test_a_run_goes_on_after_a_crash(world: CanaryWorld, after: float) -> None:
    run_id = world.begin("crm")
    world.run(after)
    world.restart()
    world.run(300.0)
    assert world.shown(run_id)["outcome"] == "good"
    assert world.crm.flag("c1") is CLEAR
    assert world.blocked(OWN) == set()


def test_a_crash_between_the_write_and_its_answer_is_settled_by_reading(world: CanaryWorld) -> None:
    world.crm.answer_is_lost()
    run_id = world.begin("crm")
    world.run(300.0)
    assert world.shown(run_id)["outcome"] == "good"
    assert len([w for w in world.crm.written if w[2].get(VOICE) is SET]) == 1, "written once"


# --- when it may fly ------------------------------------------------------------------------------------


def test_one_run_at_a_time(world: CanaryWorld) -> None:
    world.begin("crm")
    with pytest.raises(NotNow, match="one at a time"):
        world.begin("erp")


def test_a_number_on_two_records_is_refused(world: CanaryWorld) -> None:
    world.crm.put("c2", OWN)
    world.crm.feed.append("c2")
    world.settle()
    with pytest.raises(Refused, match="on 2 records"):
        world.begin("erp")


def test_a_record_with_somebody_elses_number_is_refused(world: CanaryWorld) -> None:
    world.erp.put("e1", OWN, ANN)
    world.erp.feed.append("e1")
    world.settle()
    with pytest.raises(Refused, match="other numbers"):
        world.begin("crm")


@pytest.mark.parametrize(
    ("origin", "why"),
    [("sms", "cannot be read"), ("dialer", "no feed of changes"), ("nowhere", "takes part")],
)
def test_what_cannot_be_an_origin_says_why(world: CanaryWorld, origin: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        world.begin(origin)


def test_a_system_without_the_record_is_skipped_with_the_reason(world: CanaryWorld) -> None:
    del world.erp.rows["e1"]
    world.hook("erp", Look("e1"))
    world.settle()
    run = world.fly("crm")
    assert run["outcome"] == "good"
    assert pair(run, "erp")["expects"] == "skipped"
    assert "no record there" in pair(run, "erp")["why"]


# --- the schedule ---------------------------------------------------------------------------------------


def test_a_round_begins_in_every_system_that_can(tmp_path: Path) -> None:
    world = CanaryWorld(tmp_path, fly=True)
    world.run(7500.0)
    origins = [row[0] for row in world.query("SELECT origin FROM canary_runs ORDER BY event_seq")]
    assert origins == ["crm", "erp"] * 3 or origins == ["crm", "erp"] * 2 + ["crm"]
    assert {row[0] for row in world.query("SELECT outcome FROM canary_runs WHERE ended_at NOT NULL")} == {
        "good"
    }
    assert world.findings() == []
    world.close()


def test_a_round_that_cannot_begin_is_told_until_it_can(tmp_path: Path) -> None:
    world = CanaryWorld(tmp_path, fly=True)
    world.crm.put("c2", OWN)
    world.crm.feed.append("c2")
    world.run(5400.0)
    (told,) = world.findings("canary-cannot-run")
    assert "on 2 records" in told["summary"]
    assert OWN not in told["summary"] + told["detail"]
    world.crm.rows["c2"].gone = True
    world.crm.feed.append("c2")
    world.run(900.0)
    assert world.findings("canary-cannot-run") == []
    world.close()
