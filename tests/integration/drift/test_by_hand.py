"""The three questions that are asked of whole systems."""

from __future__ import annotations

from dncsync.drift.by_hand import (
    DUPLICATE,
    LOST,
    UNASKED,
    BlockWithoutRequest,
    DuplicateNotation,
    LostOnConversion,
)
from integration.drift.patrols import detail, patrol
from integration.sync.vendors import ANN, BOB, CID, CLEAR, SET
from integration.sync.world import World


def ask(world: World) -> None:
    patrol(world, DuplicateNotation(), BlockWithoutRequest(), LostOnConversion()).run()


def settled(world: World) -> None:
    """An ordinary world: a request made there, one that we wrote, one that was reversed, a merge in order."""
    world.crm.put("asked", ANN, voice=SET)
    world.crm.put("ours", BOB)
    world.crm.put("merged", CID, voice=SET)
    world.crm.put("winner", CID)
    world.dialer.put("DNC/8005550199", "8005550199", voice=SET)
    world.dialer.put("DNC/555*", "555*", voice=SET)
    world.settle()
    world.block(BOB)
    world.settle()
    world.crm.rows["merged"].gone, world.crm.rows["merged"].became = True, "winner"
    world.crm.feed.append("merged")
    world.settle()


def test_an_ordinary_world_has_nothing_to_tell(world: World) -> None:
    settled(world)
    ask(world)
    world.reverse(BOB)
    world.settle()
    ask(world)
    assert [f["kind"] for f in world.findings() if f["kind"] in (DUPLICATE, UNASKED, LOST)] == []


def test_one_number_in_several_notations_is_told_without_the_number(world: World) -> None:
    world.crm.put("a", "(312) 555-0100")
    world.crm.put("b", "+1 312 555 0100")
    world.crm.put("c", BOB)
    world.crm.put("d", BOB)
    world.settle()
    ask(world)
    told = detail(world, DUPLICATE)
    assert told["seen"] == "at least 1 numbers"
    (found,) = world.findings(DUPLICATE)
    assert "1 numbers" in found["summary"]
    assert "2 records, e.g. a, b" in found["summary"]
    assert "555" not in found["summary"] + found["detail"], "no phone number"
    assert found["severity"] == "info"


def test_it_heals_when_the_notations_are_one(world: World) -> None:
    world.crm.put("a", "(312) 555-0100")
    world.crm.put("b", "+1 312 555 0100")
    world.settle()
    ask(world)
    assert world.findings(DUPLICATE)
    world.crm.rows["a"].numbers = ("+1 312 555 0100",)
    world.crm.feed.append("a")
    world.settle()
    ask(world)
    assert world.findings(DUPLICATE) == []


def test_a_block_that_nothing_explains_is_told(world: World) -> None:
    settled(world)
    world.do(
        lambda tx: (
            tx.execute(
                "INSERT INTO holdings (system, key, numbers, base_voice, revision, gone, seen_at) "
                "VALUES ('crm', 'stray', '[]', 'set', '', 0, 0), ('crm', 'clear', '[]', 'clear', '', 0, 0), "
                "('crm', 'ended', '[]', 'set', '', 1, 0)"
            )
            and None
        )
    )
    ask(world)
    (found,) = world.findings(UNASKED)
    assert "1 holdings of crm" in found["summary"]
    assert "(e.g. stray)" in found["summary"]


def test_an_unexplained_entry_of_a_list_is_told_masked(world: World) -> None:
    settled(world)
    world.do(
        lambda tx: (
            tx.execute(
                "INSERT INTO holdings (system, key, numbers, base_voice, revision, gone, seen_at) "
                "VALUES ('dialer', 'DNC/+13125550188', '[\"+13125550188\"]', 'set', '', 0, 0)"
            )
            and tx.execute(
                "INSERT INTO holding_numbers VALUES ('+13125550188', 'dialer', 'DNC/+13125550188')"
            )
            and None
        )
    )
    ask(world)
    (found,) = world.findings(UNASKED)
    assert found["system"] == "dialer"
    assert "3125550188" not in found["summary"] + found["detail"]


def test_a_flag_that_a_conversion_lost_is_told_until_it_is_put_back(world: World) -> None:
    world.crm.put("lead", ANN, voice=SET)
    world.crm.put("contact", ANN)
    world.settle()
    assert world.crm.flag("contact") is SET
    world.crm.put("other", BOB)
    world.crm.feed.append("other")
    world.settle()
    world.crm.rows["lead"].gone, world.crm.rows["lead"].became = True, "other"
    world.crm.feed.append("lead")
    world.do(
        lambda tx: tx.execute("UPDATE holdings SET became = 'other', gone = 1 WHERE key = 'lead'") and None
    )
    ask(world)
    (found,) = world.findings(LOST)
    assert "(e.g. other)" in found["summary"]
    world.settle()
    assert world.crm.flag("other") is SET, "the request follows the record"
    ask(world)
    assert world.findings(LOST) == []


def test_a_reversed_flag_on_an_ended_record_is_not_lost(world: World) -> None:
    world.crm.put("lead", ANN, voice=SET)
    world.crm.put("contact", ANN)
    world.settle()
    world.crm.rows["lead"].gone, world.crm.rows["lead"].became = True, "contact"
    world.crm.feed.append("lead")
    world.settle()
    world.reverse(ANN)
    world.settle()
    assert world.crm.flag("contact") is CLEAR
    ask(world)
    assert world.findings(LOST) == []
