"""A flag turned round for many holdings at once, in an engine that runs."""

from __future__ import annotations

from dncsync.drift.inverted import INVERTED, Inverted
from dncsync.ledger.events import NewEvent
from dncsync.ledger.projections import record
from integration.drift.patrols import count, detail, patrol
from integration.sync.vendors import CLEAR, SET
from integration.sync.world import World

MANY = 60


def blocked_records(world: World, share: int = 2) -> None:
    """Records of which every `share`-th carries a block."""
    for each in range(MANY):
        flag = SET if each % share == 0 else CLEAR
        world.crm.put(f"r{each:02}", f"+13125550{100 + each}", voice=flag)
    world.settle()


def undo(world: World, flag: object, first: int, last: int) -> None:
    """Somebody's import sets the flag of many records at once."""
    for each in range(first, last):
        world.crm.person(f"r{each:02}", flag)  # type: ignore[arg-type]
    world.settle()


def test_blocks_that_vanish_by_the_dozen_are_named(world: World) -> None:
    blocked_records(world)
    patrol(world, Inverted()).run()
    assert world.findings(INVERTED) == []
    undo(world, CLEAR, 0, MANY)
    patrol(world, Inverted()).run()
    told = detail(world, INVERTED)
    assert (told["system"], told["subject"]) == ("crm", "clear")
    assert told["exposed"]["numbers"] > 0


def test_flags_that_appear_by_the_dozen_are_named_too(world: World) -> None:
    blocked_records(world, share=MANY)
    undo(world, SET, 1, 40)
    patrol(world, Inverted()).run()
    assert detail(world, INVERTED)["subject"] == "set"


def test_a_few_are_people_at_work(world: World) -> None:
    blocked_records(world, share=MANY)
    undo(world, SET, 1, 15)
    patrol(world, Inverted()).run()
    assert world.findings(INVERTED) == []


def test_a_small_share_of_many_is_no_inversion(world: World) -> None:
    blocked_records(world, share=MANY)
    world.do(
        lambda tx: (
            tx.executemany(
                "INSERT INTO holdings (system, key, numbers, revision, gone, seen_at) "
                "VALUES ('crm', ?, '[]', '', 0, 0)",
                [(f"x{i}",) for i in range(800)],
            )
            and None
        )
    )
    undo(world, SET, 1, 40)
    patrol(world, Inverted()).run()
    assert world.findings(INVERTED) == []


def test_a_system_that_is_edited_in_bulk_every_day_has_its_own_measure(world: World) -> None:
    blocked_records(world, share=MANY)
    for day in range(1, 20):
        count(world, "crm", 24 * day, flipped_set=30)
    watch = patrol(world, Inverted())
    watch.run()
    undo(world, SET, 1, 40)
    watch.run()
    assert world.findings(INVERTED) == []


def test_it_stands_until_the_flips_were_turned_back(world: World) -> None:
    blocked_records(world, share=MANY)
    count(world, "crm", 0, flipped_clear=50)
    watch = patrol(world, Inverted())
    watch.run()
    world.clock.advance(30 * 3600)
    watch.run()
    assert detail(world, INVERTED)
    count(world, "crm", 0, flipped_set=49)
    watch.run()
    ((healed,),) = world.query("SELECT healed_at IS NOT NULL FROM findings WHERE kind = ?", INVERTED)
    assert healed


def test_what_a_person_closed_is_not_seen_again(world: World) -> None:
    blocked_records(world, share=MANY)
    count(world, "crm", 0, flipped_clear=50)
    watch = patrol(world, Inverted())
    watch.run()
    payload = {"id": "inverted-flag/crm/clear", "by": "ada"}
    world.do(lambda tx: record(tx, NewEvent("finding.closed", world.at, payload, system="crm")) and None)
    watch.run()
    assert world.findings(INVERTED) == []
    world.clock.advance(3600)
    count(world, "crm", 0, flipped_clear=50)
    watch.run()
    assert world.findings(INVERTED), "but a new one is"
