"""What a reading means to the ledger: the ratchet, records that merge and vanish, lists that are short."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from dncsync.connector import Look
from dncsync.model import Holding
from dncsync.sync.observe import observe
from integration.sync.vendors import ABSENT, ANN, BOB, CID, CLEAR, SET, SILENT, SMS, VOICE, crm
from integration.sync.world import World

Make = Callable[..., World]


def blocked_record(world: World, *numbers: str) -> None:
    """Record 7 with a block that we wrote there, verified."""
    world.crm.put("7", *(numbers or (ANN,)))
    world.work()
    world.text(ANN)
    world.settle()
    assert world.crm.flag("7") is SET


# --- the ratchet ----------------------------------------------------------------------------------------


def test_t12_a_flag_cleared_by_an_import_is_restored_with_a_finding_that_names_who_and_when(
    world: World,
) -> None:
    world.crm.tells_who = True
    blocked_record(world)

    world.crm.person("7", CLEAR, who="import-job-9")
    cleared_at = world.clock.now()
    world.settle()

    assert world.crm.flag("7") is SET
    assert not world.may_contact(ANN)
    (finding,) = world.findings("cleared-there")
    assert finding["subject"] == "7"
    detail = json.loads(finding["detail"])
    assert (detail["who"], detail["when"]) == ("import-job-9", cleared_at.isoformat())
    assert "import-job-9" in finding["summary"]
    assert world.deliveries("crm", "7", "voice")[-1]["state"] == "verified"


@pytest.mark.parametrize("channel", [VOICE, SMS])
def test_only_the_channel_that_was_cleared_is_written_again(world: World, channel: str) -> None:
    blocked_record(world)
    writes = len(world.crm.written)

    world.crm.person("7", CLEAR, VOICE if channel == VOICE else SMS)
    world.settle()

    ((_, key, wants),) = world.crm.written[writes:]
    assert (key, wants) == ("7", {channel: SET})
    assert len(world.requests()) == 1, "nobody asked again for what was left alone"


def test_a_deleted_record_clears_nothing_and_wants_nothing(world: World) -> None:
    blocked_record(world)

    world.crm.rows["7"].gone = True
    world.crm.feed.append("7")
    world.settle()

    assert world.blocked(ANN) == {"voice", "sms"}
    assert world.dialer.flag(f"DNC/{ANN}") is SET
    assert world.open_work() == []
    assert [d for d in world.deliveries("crm") if d["want"] == "clear"] == []


def test_a_deleted_record_that_had_a_request_of_its_own_leaves_its_numbers_blocked(world: World) -> None:
    world.crm.put("7", ANN)
    world.crm.person("7", SET)
    world.settle()

    world.crm.rows["7"].gone = True
    world.crm.feed.append("7")
    world.settle()

    assert world.blocked(ANN) == {"voice", "sms"}


def test_a_record_that_comes_back_is_suppressed_again(world: World) -> None:
    blocked_record(world)
    world.crm.rows["7"].gone = True
    world.crm.feed.append("7")
    world.settle()

    row = world.crm.rows["7"]
    row.gone, row.flags = False, {VOICE: CLEAR, SMS: CLEAR}
    world.crm.feed.append("7")
    world.settle()

    assert world.crm.flag("7", VOICE) is world.crm.flag("7", SMS) is SET


@pytest.mark.parametrize("read_back", [True, False])
def test_a_record_that_is_brought_back_with_our_flag_on_it_asks_for_nothing(
    make_world: Make, read_back: bool
) -> None:
    """Whether we had read our write back before it was deleted or not."""
    world = make_world(crm=lambda name, clock: crm(name, clock, read_after=30.0))
    world.crm.put("7", ANN, BOB)
    world.settle()
    world.text(ANN)
    world.run(60.0 if read_back else 5.0)
    assert world.crm.flag("7") is SET

    world.crm.rows["7"].gone = True
    world.hook("crm", Look("7"))
    world.settle()
    world.crm.rows["7"].gone = False
    world.hook("crm", Look("7"))
    world.settle()

    assert world.blocked(BOB) == set()
    assert len(world.requests()) == 1
    assert world.crm.flag("7") is SET


def test_a_merged_record_hands_its_numbers_to_the_survivor_which_ends_suppressed(world: World) -> None:
    world.crm.put("8", BOB)
    blocked_record(world)

    loser, winner = world.crm.rows["7"], world.crm.rows["8"]
    loser.gone, loser.became = True, "8"
    winner.numbers = (BOB, ANN)
    world.hook("crm", Look("7"))
    world.settle()

    assert world.crm.flag("8", VOICE) is world.crm.flag("8", SMS) is SET
    assert world.blocked(ANN) == {"voice", "sms"}
    assert world.blocked(BOB) == set()
    assert world.query("SELECT became, gone FROM holdings WHERE key = '7'") == [("8", 1)]


def test_an_entry_that_a_listing_leaves_out_is_looked_at_and_never_taken_as_removed(
    make_world: Make,
) -> None:
    """Law 9: an empty or short list is never a mass removal."""
    world = make_world(snapshot_every=600.0)
    blocked_record(world)
    world.crm.hidden.add("7")
    world.dialer.hidden.add(f"DNC/{ANN}")
    for vendor in (world.crm, world.dialer):
        vendor.calls.clear()
    writes = len(world.crm.written), len(world.dialer.written)

    world.run(1200.0)

    assert world.blocked(ANN) == {"voice", "sms"}
    assert (len(world.crm.written), len(world.dialer.written)) == writes
    assert ("7",) in [call.keys for call in world.crm.calls if call.op == "read"]
    assert (f"DNC/{ANN}",) in [call.keys for call in world.dialer.calls if call.op == "read"]
    assert world.findings() == []


def test_an_entry_that_was_really_removed_is_put_back(make_world: Make) -> None:
    world = make_world(snapshot_every=600.0)
    blocked_record(world)

    del world.dialer.rows[f"DNC/{ANN}"]
    world.run(1200.0)

    assert world.dialer.flag(f"DNC/{ANN}") is SET
    assert [f["system"] for f in world.findings("cleared-there")] == ["dialer"]
    assert ANN not in world.findings("cleared-there")[0]["summary"]


# --- drift ----------------------------------------------------------------------------------------------


def test_an_absent_field_opens_a_finding_and_clears_nothing(world: World) -> None:
    blocked_record(world)
    writes = len(world.crm.written)

    world.crm.rows["7"].flags[VOICE] = ABSENT
    world.crm.feed.append("7")
    world.run(600.0)

    (finding,) = world.findings("field-absent")
    assert (finding["subject"], finding["severity"]) == ("voice", "page")
    assert world.blocked(ANN) == {"voice", "sms"}
    assert world.crm.written[writes:] == []
    assert world.query("SELECT base_voice FROM holdings WHERE key = '7'") == [("set",)]


def test_a_delivery_onto_an_absent_field_waits_and_is_verified_when_the_field_is_back(world: World) -> None:
    world.crm.put("7", ANN)
    world.work()
    world.text(ANN)
    world.crm.rows["7"].flags = {VOICE: ABSENT, SMS: ABSENT}
    world.crm.drops("7", times=100)
    world.run(300.0)
    assert {d["verified_at"] for d in world.deliveries("crm")} == {None}
    assert all(d["open"] for d in world.deliveries("crm"))
    assert world.crm.ops().count("write") == 1, "it is looked at, not written again and again"

    world.crm.calm()
    world.crm.rows["7"].flags = {VOICE: CLEAR, SMS: CLEAR}
    world.settle()

    assert world.crm.flag("7", VOICE) is world.crm.flag("7", SMS) is SET
    assert [d["state"] for d in world.deliveries("crm")] == ["verified", "verified"]


def test_junk_numbers_are_quarantined_with_a_finding_and_the_others_count(world: World) -> None:
    world.crm.put("7", "N/A", "0000000000", ANN, "", voice=SET)
    world.settle()

    assert world.blocked(ANN) == {"voice", "sms"}
    held = world.query("SELECT raw FROM quarantine ORDER BY raw")
    assert held == [("0000000000",), ("N/A",)]
    assert {f["severity"] for f in world.findings("quarantined")} == {"info"}


# --- echoes and other peoples' flags --------------------------------------------------------------------


def test_the_echo_of_our_write_is_no_request(world: World) -> None:
    blocked_record(world)
    world.crm.feed += ["7", "7"]
    world.hook("crm", Look("7"))
    world.run(120.0)

    assert len(world.requests()) == 1


def test_a_persons_tick_under_our_own_write_is_a_request_where_the_vendor_says_who(world: World) -> None:
    """We are about to write; a person ticks first; our write changes nothing."""
    world.crm.tells_who = True
    world.crm.put("7", ANN, BOB)
    world.work()
    world.text(ANN)
    world.crm.person("7", SET)

    world.settle()

    assert world.blocked(BOB) == {"voice", "sms"}
    assert [r["record_key"] for r in world.requests()] == [None, "7"]


def test_a_persons_tick_under_our_own_write_is_taken_for_ours_where_nobody_says_who(world: World) -> None:
    """The declared ambiguity of `rules.judge`: the record ends suppressed, its other number does not."""
    world.crm.put("7", ANN, BOB)
    world.work()
    world.text(ANN)
    world.crm.person("7", SET)

    world.settle()

    assert world.crm.flag("7") is SET
    assert world.blocked(BOB) == set()


def test_flags_that_were_there_before_us_are_imported_with_what_the_vendor_knows_of_them(
    world: World,
) -> None:
    world.crm.tells_who = True
    world.crm.put("7", ANN)
    world.crm.person("7", SET, who="userId:42")
    world.dialer.rows[f"DNC/{BOB}"] = row = world.crm.put("9", BOB)
    del world.crm.rows["9"]
    row.flags = {VOICE: SET}

    world.settle()

    asked = {r["number"] or r["record_key"]: (r["actor"], r["source"]) for r in world.requests()}
    assert asked == {"7": ("userId:42", "CRM_UI"), BOB: (None, "list-entry")}
    assert world.blocked(ANN) == world.blocked(BOB) == {"voice", "sms"}


def test_a_stale_page_is_only_a_hint(world: World) -> None:
    """A listing that lags behind our write shows the old, clear flag: it is looked at by key, and nothing is
    made of it."""
    world.crm.put("7", ANN)
    world.work()
    world.crm.stale["7"] = Holding("7", {VOICE: CLEAR, SMS: CLEAR}, (ANN,))
    world.text(ANN)
    world.settle()
    writes = len(world.crm.written)

    world.crm.feed += ["7", "7", "7"]
    world.run(120.0)

    assert world.crm.written[writes:] == []
    assert world.findings() == []
    assert world.tally("crm").looked_again >= 1


def test_only_a_fresh_reading_verifies(world: World) -> None:
    """Law 4: a page of changes that shows our value may be older than the write."""
    world.crm.put("7", ANN)
    world.work()
    world.text(ANN)
    page = (Holding("7", {VOICE: SET, SMS: SET}, (ANN,)),)
    world.crm.calls_fail("read", SILENT, times=5)
    world.turn("crm")

    world.do(
        lambda tx: observe(
            tx, world.at, world.intake, world.topology["crm"], page, fresh=False, jitter=lambda: 0.5
        )
    )

    assert {d["verified_at"] for d in world.deliveries("crm")} == {None}
    world.crm.calm()
    world.settle()
    assert [d["state"] for d in world.deliveries("crm")] == ["verified", "verified"]


def test_the_same_holding_twice_in_a_page_is_judged_once(world: World) -> None:
    world.crm.put("7", ANN, voice=SET)
    world.crm.feed += ["7", "7"]
    world.settle()

    assert len(world.requests()) == 1


# --- the cache is only a cache (law 8) ------------------------------------------------------------------


def test_a_lost_cache_of_holdings_is_a_first_run_that_clears_nothing(world: World) -> None:
    world.crm.tells_who = True
    blocked_record(world, ANN, CID)
    world.crm.put("8", BOB)
    world.crm.person("8", SET)
    world.settle()
    writes = len(world.crm.written)
    blocks = "SELECT number, channel, request_id FROM blocks WHERE ended_seq IS NULL"
    before = set(world.query(blocks))

    world.lose_cache("holdings", "holding_numbers", "bookmarks", "looks")
    world.restart()
    world.loops["crm"].snapshot_now()
    world.settle()

    after = set(world.query(blocks))
    assert before <= after
    assert {row[:2] for row in after} == {row[:2] for row in before}, "nobody is blocked who was not"
    assert world.crm.written[writes:] == []
    assert world.crm.flag("7") is world.crm.flag("8") is SET


def test_law_6_a_snapshot_of_a_quiet_world_changes_nothing(make_world: Make) -> None:
    world = make_world(snapshot_every=3600.0)
    blocked_record(world)
    before, writes = world.events(), len(world.crm.written)

    world.run(3600.0)

    assert world.kinds(before) == ["snapshot.completed", "snapshot.completed"]
    assert world.crm.written[writes:] == []


def test_a_cache_that_is_lost_while_a_write_is_under_way_still_knows_the_write_as_ours(world: World) -> None:
    world.crm.put("7", ANN, BOB)
    world.settle()
    world.text(ANN)
    world.lose_cache("holdings")

    world.settle()

    assert world.crm.flag("7") is SET
    assert world.blocked(BOB) == set()
    assert len(world.requests()) == 1


def test_a_tick_on_a_record_that_ended_before_we_saw_it_is_still_somebodys_request(world: World) -> None:
    """A lead that was converted, a contact that was merged: who ticked it asked for its numbers."""
    gone = Holding("7", {VOICE: SET, SMS: CLEAR}, (ANN,), gone=True)
    world.do(
        lambda tx: observe(
            tx, world.at, world.intake, world.topology["crm"], (gone,), fresh=True, jitter=lambda: 0.5
        )
    )
    world.settle()

    assert world.blocked(ANN) == {"voice", "sms"}
    assert world.deliveries("crm") == [], "nothing is written onto a record that ended"
    assert world.dialer.flag(f"DNC/{ANN}") is SET


def test_half_an_emoji_in_a_phone_field_keeps_no_page_out(world: World) -> None:
    world.crm.put("7", "call \ud83d", ANN)
    world.crm.put("8", BOB)
    world.settle()

    world.text(ANN)
    world.text(BOB)
    world.settle()

    assert world.crm.flag("7") is SET
    assert world.crm.flag("8") is SET
    assert world.query("SELECT raw FROM quarantine") == [("call ?",)]
