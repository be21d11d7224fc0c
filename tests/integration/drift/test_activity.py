"""What the loops count of each system, hour by hour."""

from __future__ import annotations

from dncsync.connector import Look
from dncsync.sync import activity
from integration.drift.patrols import counted
from integration.sync.vendors import ANN, BOB, CLEAR, SET, UNREACHABLE
from integration.sync.world import World


def followed(world: World) -> World:
    """A record and an entry that are known, and feeds that are read to their end."""
    world.crm.put("r1", ANN)
    world.dialer.put(f"DNC/{BOB}", BOB, voice=SET)
    world.settle()
    world.do(lambda tx: tx.execute("DELETE FROM activity") and None)
    return world


def test_a_change_that_a_webhook_announced_is_none_when_it_is_polled(world: World) -> None:
    followed(world)
    world.crm.person("r1", SET)
    world.hook("crm", Look("r1"))
    world.settle()
    assert counted(world, "crm") == {"webhooks": 1, "webhook_signals": 1, "opt_outs": 1, "flipped_set": 1}


def test_a_change_that_only_a_poll_finds_counts_as_unannounced_once(world: World) -> None:
    followed(world)
    world.crm.person("r1", SET)
    world.settle()
    assert counted(world, "crm") == {
        "polled_changes": 1,
        "unannounced": 1,
        "opt_outs": 1,
        "flipped_set": 1,
    }


def test_a_webhook_begins_the_run_of_unannounced_changes_anew(world: World) -> None:
    followed(world)
    world.crm.person("r1", SET)
    world.settle()
    world.hook("crm", Look("r1"))
    world.settle()
    assert counted(world, "crm")["polled_changes"] == 1
    assert "unannounced" not in counted(world, "crm")


def test_what_we_wrote_ourselves_is_nobodys_change(world: World) -> None:
    followed(world)
    world.block(ANN)
    world.work("crm")
    world.crm.feed.append("r1")
    world.settle()
    assert world.crm.flag("r1") is SET
    assert counted(world, "crm") == {}


def test_a_clear_by_another_hand_is_counted_as_a_flip(world: World) -> None:
    followed(world)
    world.block(ANN)
    world.settle()
    world.crm.person("r1", CLEAR)
    world.settle()
    assert counted(world, "crm")["flipped_clear"] == 1
    assert "flipped_set" not in counted(world, "crm"), "putting it back is our own doing"


def test_what_happened_while_nobody_listened_is_no_failing_of_the_webhooks(world: World) -> None:
    followed(world)
    world.close()
    world.crm.person("r1", SET)
    world.open()
    world.settle()
    assert "polled_changes" not in counted(world, "crm")
    assert counted(world, "crm")["opt_outs"] == 1


def test_neither_is_what_happened_while_the_vendor_could_not_be_reached_for_long(world: World) -> None:
    followed(world)
    world.clock.advance(3600)
    world.crm.person("r1", SET)
    world.settle()
    assert "polled_changes" not in counted(world, "crm")


def test_messages_that_only_the_log_brings_are_unannounced_but_evidence_is_not(world: World) -> None:
    followed(world)
    world.sms.feed += [world.statement(ANN), world.statement(BOB, "", evidence_only=True)]
    world.settle()
    assert counted(world, "sms") == {"polled_changes": 1, "unannounced": 1, "opt_outs": 1}


def test_messages_that_webhooks_bring_are_counted_in_the_same_statement(world: World) -> None:
    followed(world)
    world.hook("sms", world.statement(ANN), world.statement(BOB, "what time is it"), nonce="n1")
    world.hook("sms", world.statement(ANN), nonce="n1")
    assert counted(world, "sms") == {"webhooks": 1, "webhook_signals": 2, "opt_outs": 1}


def test_where_there_is_no_feed_a_listing_shows_what_was_not_announced(world: World) -> None:
    followed(world)
    world.dialer.put(f"DNC/{ANN}", ANN, voice=SET)
    world.loops["dialer"].snapshot_now()
    world.settle()
    assert counted(world, "dialer") == {"polled_changes": 1, "unannounced": 1, "listed": 2}


def test_the_first_listing_of_a_process_announces_nothing(world: World) -> None:
    followed(world)
    world.close()
    world.dialer.put(f"DNC/{ANN}", ANN, voice=SET)
    world.open()
    world.settle()
    assert counted(world, "dialer") == {"listed": 2}


def test_requests_that_a_full_reading_brings_are_no_rate(world: World) -> None:
    world.dialer.put(f"DNC/{ANN}", ANN, voice=SET)
    world.settle()
    assert world.blocked(ANN)
    assert counted(world, "dialer") == {"listed": 1}


def test_hours_that_no_baseline_looks_back_to_are_forgotten(world: World) -> None:
    followed(world)
    world.crm.person("r1", SET)
    world.settle()
    later = world.at + (activity.KEPT + 1) * activity.HOUR
    world.do(lambda tx: activity.sweep(tx, world.at))
    assert counted(world, "crm")
    world.do(lambda tx: activity.sweep(tx, later))
    assert not counted(world, "crm")


def test_a_change_whose_hint_still_waits_to_be_read_was_announced(world: World) -> None:
    followed(world)
    world.crm.person("r1", SET)
    world.crm.item_fails("read", "r1", UNREACHABLE)
    world.hook("crm", Look("r1"))
    world.settle()
    assert world.crm.ops().count("changes") > 3
    assert "polled_changes" not in counted(world, "crm")
