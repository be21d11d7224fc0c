"""A frozen system: what it shows clear or absent is not believed until a person says so. It frees nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dncsync.connector import Look
from dncsync.model import Channel
from dncsync.runtime import finding_commands
from dncsync.sync import findings
from dncsync.sync.requests import Refused
from integration.sync.vendors import ABSENT, ANN, BOB, CID, CLEAR, SET, SMS, VOICE
from integration.sync.world import World

BOTH = {"voice", "sms"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Ann is blocked on record 7 and Bob on 8, read back everywhere."""
    made = World(tmp_path)
    made.crm.put("7", ANN)
    made.crm.put("8", BOB)
    made.settle()
    made.text(ANN)
    made.text(BOB)
    made.settle()
    assert made.crm.flag("7") is made.crm.flag("8") is SET
    return made


def freeze(world: World, system: str = "crm") -> str:
    """Returns the id of the finding that did it."""
    world.do(
        lambda tx: findings.open_finding(tx, world.at, "inverted-flag", system, "voice", "half of it flipped")
    )
    return f"inverted-flag/{system}/voice"


def command(world: World, name: str, **arguments: Any) -> dict[str, Any]:
    """As the daemon does it."""
    carry_out = {"release": finding_commands.release, "resolve": finding_commands.resolve}[name]
    given = {"actor": "jane", "note": "seen", **arguments}
    done: dict[str, Any] = world.do(lambda tx: carry_out(tx, world.at, world.intake, given))
    for system in done.get("compare", ()):
        world.loops[system].snapshot_now()
    return done


def base(world: World, key: str, channel: Channel = VOICE) -> str:
    ((found,),) = world.query(f"SELECT base_{channel} FROM holdings WHERE system = 'crm' AND key = ?", key)
    return str(found)


def doubts(world: World) -> set[str]:
    return {row[0] for row in world.query("SELECT key FROM doubts")}


def unset(world: World, key: str) -> None:
    for channel in (VOICE, SMS):
        world.crm.person(key, CLEAR, channel)


def test_a_clear_is_not_believed_while_the_system_is_frozen(world: World) -> None:
    freeze(world)
    writes, deliveries = len(world.crm.written), len(world.deliveries())
    unset(world, "7")
    world.run(600.0)
    assert base(world, "7") == "set"
    assert (len(world.crm.written), len(world.deliveries())) == (writes, deliveries)
    assert world.findings("cleared-there") == []
    assert world.findings("field-absent") == []
    assert doubts(world) == {"7"}
    assert world.blocked(ANN) == BOTH
    world.assert_ledger_is_whole()


def test_a_reading_by_key_is_believed_no_more_than_a_page(world: World) -> None:
    freeze(world)
    writes = len(world.crm.written)
    for channel in (VOICE, SMS):
        world.crm.rows["7"].flags[channel] = CLEAR
    world.hook("crm", Look("7"))
    world.run(600.0)
    assert [c.op for c in world.crm.calls if c.keys == ("7",)][-1] == "read"
    assert base(world, "7") == "set"
    assert world.crm.written[writes:] == []
    assert world.findings("cleared-there") == world.findings("field-absent") == []
    assert doubts(world) == {"7"}
    world.crm.rows["7"].flags[VOICE] = world.crm.rows["7"].flags[SMS] = SET
    world.hook("crm", Look("7"))
    world.run(60.0)
    assert doubts(world) == set(), "it shows again what we know"


def test_without_a_freeze_the_same_clear_is_put_back(world: World) -> None:
    unset(world, "7")
    world.run(600.0)
    assert world.crm.flag("7") is SET
    assert [f["subject"] for f in world.findings("cleared-there")] == ["7"]


def test_a_page_that_tells_only_what_is_doubted_costs_no_reading(world: World) -> None:
    freeze(world)
    unset(world, "7")
    world.run(120.0)
    calls = len(world.crm.calls)
    world.loops["crm"].snapshot_now()
    world.run(120.0)
    assert [c.op for c in world.crm.calls[calls:] if c.op == "read"] == []


def test_absences_are_not_believed_either(world: World) -> None:
    freeze(world)
    world.crm.rows["7"].flags[VOICE] = ABSENT
    world.crm.rows["8"].gone = True
    world.crm.feed += ["7", "8"]
    world.run(600.0)
    assert base(world, "7") == "set"
    assert base(world, "8") == "set"
    assert world.query("SELECT gone, numbers FROM holdings WHERE key = '8'") == [(0, f'["{BOB}"]')]
    assert doubts(world) == {"7", "8"}
    assert world.blocked(BOB) == BOTH


def test_a_record_that_had_ended_before_stays_so(world: World) -> None:
    world.crm.rows["8"].gone = True
    world.crm.feed.append("8")
    world.run(120.0)
    freeze(world)
    world.crm.feed.append("8")
    world.run(120.0)
    assert world.query("SELECT gone FROM holdings WHERE key = '8'") == [(1,)]
    assert doubts(world) == set()


def test_what_reads_as_set_is_believed_as_always(world: World) -> None:
    world.crm.put("9", CID)
    world.crm.feed.append("9")
    world.settle()
    freeze(world)
    world.crm.person("9", SET)
    world.settle()
    assert world.blocked(CID) == BOTH
    assert world.dialer.flag(f"DNC/{CID}") is SET


def test_a_new_request_is_still_written_and_verified_there(world: World) -> None:
    world.crm.put("9", CID)
    world.crm.feed.append("9")
    world.settle()
    freeze(world)
    world.text(CID)
    world.settle()
    assert world.crm.flag("9") is SET
    assert world.delivery("crm", "9")["state"] == "verified"


def test_a_block_of_ours_that_is_not_kept_is_contradicted(world: World) -> None:
    """Law 4: a freeze makes no receipt out of a reading that denies it."""
    world.crm.put("9", CID)
    world.crm.feed.append("9")
    world.settle()
    freeze(world)
    world.crm.drops("9", times=3)
    world.text(CID)
    world.run(5.0)
    delivery = world.delivery("crm", "9")
    assert (delivery["verified_at"], delivery["open"]) == (None, 1)
    assert world.tally("crm").contradicted > 0
    world.settle()
    assert world.delivery("crm", "9")["verified_at"] is not None


def test_our_own_clear_is_not_verified_before_the_release(world: World) -> None:
    freeze(world)
    world.reverse(ANN)
    calls = len(world.crm.calls)
    world.run(3600.0)
    reads = [c for c in world.crm.calls[calls:] if c.op == "read"]
    assert len(reads) < 10, "nobody asks every minute for what cannot be believed"
    cleared = [d for d in world.deliveries("crm", "7") if d["want"] == "clear"]
    assert cleared
    assert {d["verified_at"] for d in cleared} == {None}
    assert {d["open"] for d in cleared} == {1}
    command(world, "release", system="crm")
    world.settle()
    assert world.crm.flag("7") is CLEAR
    assert all(d["verified_at"] for d in world.deliveries("crm", "7") if d["want"] == "clear")
    world.assert_ledger_is_whole()


def test_nor_where_the_cache_was_lost(world: World) -> None:
    freeze(world)
    world.reverse(ANN)
    world.run(30.0)
    world.lose_cache("holdings", "holding_numbers", system="crm")
    world.run(3600.0)
    assert [d["verified_at"] for d in world.deliveries("crm", "7") if d["want"] == "clear"] == [None, None]


def test_somebody_who_asks_again_meanwhile_ends_blocked(world: World) -> None:
    """Our clear was not believed, so the base still says set; the block written after it was not kept."""
    freeze(world)
    world.reverse(ANN)
    world.run(120.0)
    assert world.crm.flag("7") is CLEAR
    world.crm.drops("7", times=2)
    world.text(ANN)
    world.run(120.0)
    assert world.crm.flag("7") is SET
    assert {d["state"] for d in world.deliveries("crm", "7") if d["want"] == "set"} == {"verified"}


@pytest.mark.parametrize("how", ["release", "resolve"])
def test_after_the_release_everything_is_put_right(world: World, how: str) -> None:
    """Law 3: every readable system that holds a blocked number ends suppressed and verified."""
    finding = freeze(world)
    unset(world, "7")
    world.crm.rows["8"].flags[VOICE] = CLEAR
    world.crm.feed.append("8")
    world.run(600.0)
    assert doubts(world) == {"7", "8"}
    if how == "release":
        assert command(world, "release", system="crm")["compare"] == ["crm"]
        assert [f["id"] for f in world.findings("inverted-flag")] == [finding], "its cause is not mended yet"
    else:
        assert command(world, "resolve", id=finding)["released"] == "crm"
        assert world.findings("inverted-flag") == []
    world.settle()
    assert world.crm.flag("7") is world.crm.flag("8") is SET
    assert {d["state"] for d in world.deliveries("crm") if d["want"] == "set"} == {"verified"}
    assert doubts(world) == set()
    ((who, note),) = world.query("SELECT ended_by, note FROM freezes")
    assert (who, note) == ("jane", "seen")
    world.assert_ledger_is_whole()


def test_a_freeze_outlives_the_process(world: World) -> None:
    freeze(world)
    world.restart()
    unset(world, "7")
    world.run(600.0)
    world.restart()
    world.run(600.0)
    assert base(world, "7") == "set"
    assert world.findings("cleared-there") == []
    command(world, "release", system="crm")
    world.restart()  # the command to compare is lost with the process; the doubts are not
    world.settle()
    assert world.crm.flag("7") is SET


def test_nothing_but_a_person_ends_a_freeze(world: World) -> None:
    freeze(world)
    world.do(lambda tx: findings.close_finding(tx, world.at, "inverted-flag", "crm", "voice", "it is back"))
    (found,) = world.findings("inverted-flag")
    assert found["healed_by"] == "it is back"
    before = world.events()
    world.do(lambda tx: findings.close_finding(tx, world.at, "inverted-flag", "crm", "voice", "it is back"))
    assert world.events() == before, "it is said once"
    unset(world, "7")
    world.run(300.0)
    assert base(world, "7") == "set"
    command(world, "release", system="crm")
    assert world.findings("inverted-flag") == [], "it had healed, and nothing waits any more"
    with pytest.raises(Refused, match="not frozen"):
        command(world, "release", system="crm")
    world.assert_ledger_is_whole()


def test_a_second_reason_keeps_it_frozen(world: World) -> None:
    first = freeze(world)
    world.do(lambda tx: findings.open_finding(tx, world.at, "inverted-flag", "crm", "sms", "that too"))
    command(world, "resolve", id=first)
    unset(world, "7")
    world.run(300.0)
    assert base(world, "7") == "set"
    assert len(command(world, "release", system="crm")["findings"]) == 1


def test_an_entry_that_left_a_frozen_list_is_not_added_again_before_the_release(world: World) -> None:
    key = f"DNC/{ANN}"
    freeze(world, "dialer")
    world.dialer.person(key, CLEAR)
    world.loops["dialer"].snapshot_now()
    world.run(600.0)
    assert world.dialer.flag(key) is CLEAR
    assert doubts(world) == {key}
    command(world, "release", system="dialer")
    world.settle()
    assert world.dialer.flag(key) is SET


def test_another_system_is_not_frozen(world: World) -> None:
    freeze(world, "dialer")
    unset(world, "7")
    world.run(600.0)
    assert world.crm.flag("7") is SET
