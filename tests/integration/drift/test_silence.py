"""Webhooks that went quiet while polling finds changes, in an engine that runs."""

from __future__ import annotations

import json

from dncsync.connector import Look
from dncsync.drift.sighting import record_baseline
from dncsync.drift.silence import Silence
from dncsync.sync.activity import HOUR
from integration.drift.patrols import CHECK, count, detail, patrol
from integration.sync.vendors import SET
from integration.sync.world import World

RECORDS = 12


def in_order(world: World, *, weeks: int = 3) -> None:
    """A CRM whose webhooks have announced nearly everything for weeks."""
    for record in range(RECORDS):
        world.crm.put(f"r{record}", f"+13125550{100 + record}")
    for hour in range(1, weeks * 168):
        count(world, "crm", hour, webhooks=4, webhook_signals=4, polled_changes=hour % 20 == 0)
    world.settle()


def tick(world: World, first: int, last: int, *, hooks: bool) -> None:
    """People tick these records; with `hooks` the vendor says so."""
    for record in range(first, last):
        world.crm.person(f"r{record}", SET)
        if hooks:
            world.hook("crm", Look(f"r{record}"))
    world.settle()


def test_silence_is_found_within_two_checks_of_opt_outs_that_went_unannounced(world: World) -> None:
    in_order(world)
    watch = patrol(world, Silence())
    watch.run()
    tick(world, 0, 5, hooks=False)
    watch.run()
    assert world.findings("webhooks-silent") == [], "a webhook may still come"
    world.run(CHECK)
    watch.run()
    told = detail(world, "webhooks-silent")
    assert told["seen"] == "at least 5 changes since the last webhook"
    assert "subscription" in told["mend"]
    assert told["since"] is not None


def test_it_heals_when_webhooks_come_again(world: World) -> None:
    in_order(world)
    watch = patrol(world, Silence())
    tick(world, 0, 5, hooks=False)
    watch.run()
    world.run(CHECK)
    watch.run()
    assert world.findings("webhooks-silent")
    tick(world, 5, 6, hooks=True)
    watch.run()
    assert world.findings("webhooks-silent") == []
    (closed,) = world.query("SELECT closed_by FROM findings WHERE kind = 'webhooks-silent'")
    assert closed == ("webhooks announce changes again",)


def test_webhooks_that_come_after_the_poll_are_not_silent(world: World) -> None:
    in_order(world)
    watch = patrol(world, Silence())
    tick(world, 0, 5, hooks=False)
    watch.run()
    for record in range(5):
        world.hook("crm", Look(f"r{record}"))
    for _ in range(4):
        world.run(CHECK)
        watch.run()
    assert world.findings("webhooks-silent") == []


def test_a_night_without_any_change_is_no_silence(world: World) -> None:
    in_order(world)
    watch = patrol(world, Silence())
    for _ in range(12):
        world.run(3600)
        watch.run()
    assert world.findings("webhooks-silent") == []


def test_a_system_that_announces_little_is_held_to_its_own_baseline(world: World) -> None:
    for record in range(RECORDS):
        world.crm.put(f"r{record}", f"+13125550{100 + record}")
    for hour in range(1, 3 * 168):
        count(world, "crm", hour, polled_changes=5)
        count(world, "crm", hour, webhooks=1, webhook_signals=1)
        count(world, "crm", hour, polled_changes=5 if hour % 12 == 0 else 0)
    world.settle()
    watch = patrol(world, Silence())
    watch.run()
    tick(world, 0, 5, hooks=False)
    for _ in range(3):
        world.run(CHECK)
        watch.run()
    assert world.findings("webhooks-silent") == []


def test_webhooks_for_other_things_alone_do_not_hide_a_lost_subscription(world: World) -> None:
    in_order(world)
    watch = patrol(world, Silence())
    watch.run()
    world.do(lambda tx: tx.execute("DELETE FROM activity WHERE hour > ?", (world.at // HOUR - 8,)) and None)
    for hour in range(6):
        count(world, "crm", hour, polled_changes=6)
        count(world, "crm", hour, webhooks=1, webhook_signals=1)
    watch.run()
    world.run(CHECK)
    watch.run()
    assert "fewer that one did" in detail(world, "webhooks-silent")["seen"]


def test_what_is_ordinary_is_recorded_once_and_not_with_every_check(world: World) -> None:
    in_order(world)
    watch = patrol(world, Silence())
    for _ in range(6):
        watch.run()
        world.run(8 * 3600)
    assert world.kinds().count("baseline.recorded") == 1
    ((value,),) = world.query("SELECT value FROM baselines WHERE detector = 'silence'")
    assert json.loads(value)["share"] < 0.05


def test_what_a_person_accepted_is_silent_for_good(world: World) -> None:
    in_order(world)
    watch = patrol(world, Silence())
    tick(world, 0, 5, hooks=False)
    watch.run()
    world.run(CHECK)
    watch.run()
    offered = detail(world, "webhooks-silent")["baseline"]

    def accept(tx: object) -> None:
        record_baseline(
            tx, world.at, offered["detector"], "crm", offered["subject"], offered["value"], actor="ada"
        )  # type: ignore[arg-type]

    world.do(accept)
    watch.run()
    assert world.findings("webhooks-silent") == []


def test_a_finding_survives_a_restart_of_the_process(world: World) -> None:
    in_order(world)
    watch = patrol(world, Silence())
    tick(world, 0, 5, hooks=False)
    watch.run()
    world.run(CHECK)
    watch.run()
    world.restart()
    patrol(world, Silence()).run()
    assert world.findings("webhooks-silent")


def test_an_open_finding_is_not_told_again_with_every_check(world: World) -> None:
    in_order(world)
    watch = patrol(world, Silence())
    tick(world, 0, 5, hooks=False)
    for _ in range(20):
        watch.run()
        world.run(CHECK)
    assert world.kinds().count("finding.opened") == 1


def test_an_import_of_which_no_webhook_speaks_is_ordinary_where_it_happens_now_and_then(world: World) -> None:
    in_order(world)
    hour = world.at // HOUR
    for days in (5, 11):
        gone = (hour - 24 * days,)
        world.do(lambda tx, gone=gone: tx.execute("DELETE FROM activity WHERE hour = ?", gone) and None)
        count(world, "crm", 24 * days, polled_changes=8)
    watch = patrol(world, Silence())
    watch.run()
    tick(world, 0, 6, hooks=False)
    watch.run()
    world.run(CHECK)
    watch.run()
    assert world.findings("webhooks-silent") == []
    tick(world, 6, 11, hooks=False)
    watch.run()
    world.run(CHECK)
    watch.run()
    assert world.findings("webhooks-silent"), "but not more than ever before"
