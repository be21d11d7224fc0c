"""The watch over clocks: late work becomes a finding, and the finding goes when the work is done."""

from __future__ import annotations

from dncsync.connector import Look
from dncsync.sync import watch
from integration.sync.vendors import ANN, REFUSED, UNREACHABLE
from integration.sync.world import DAY, World


def late(world: World) -> int:
    count: int = world.do(lambda tx: watch.late(tx, world.at))
    return count


def test_nothing_is_late_before_its_goal(world: World) -> None:
    world.crm.put("7", ANN)
    world.settle()
    world.crm.calls_fail("write", UNREACHABLE, times=10_000)
    world.text(ANN)
    world.run(800.0)

    assert late(world) == 0
    assert world.findings("late") == []


def test_what_is_past_its_goal_is_one_finding_per_system(world: World) -> None:
    world.crm.put("7", ANN)
    world.settle()
    world.crm.calls_fail("write", UNREACHABLE, times=10_000)
    world.text(ANN)
    world.run(1000.0)

    assert late(world) == 2, "two channels of one record"
    (finding,) = world.findings("late")
    assert (finding["system"], finding["severity"], finding["owner"]) == ("crm", "page", "compliance")
    assert "the oldest exposure is 1000 s" in finding["summary"]
    before = world.events()
    assert late(world) == 2
    assert world.events() == before, "said once"


def test_the_finding_goes_when_everything_is_in_time_again(world: World) -> None:
    world.crm.put("7", ANN)
    world.settle()
    world.crm.calls_fail("write", UNREACHABLE, times=12)
    world.text(ANN)
    world.run(1000.0)
    late(world)
    world.settle()

    assert late(world) == 0
    assert world.findings("late") == []


def test_deadlines_keep_running_while_the_breaker_is_open(world: World) -> None:
    """Design section 6: a dead vendor is spared, the clock is not."""
    world.crm.put("7", ANN)
    world.settle()
    for op in ("write", "changes", "snapshot", "read"):
        world.crm.calls_fail(op, UNREACHABLE, times=10_000)
    world.text(ANN)
    world.run(1000.0)
    assert world.state("crm")[0] == "down"

    assert late(world) == 2
    assert {f["kind"] for f in world.findings()} == {"late", "system-down"}


def test_an_item_that_is_refused_for_ever_is_late_and_then_at_its_legal_deadline(world: World) -> None:
    world.crm.put("7", ANN)
    world.settle()
    world.crm.item_fails("write", "7", REFUSED, times=10_000)
    world.text(ANN)
    world.run(60.0)
    world.clock.advance(21 * DAY)

    late(world)

    assert {f["kind"] for f in world.findings()} >= {"late", "legal-deadline", "rejected"}


def test_old_nonces_are_swept_and_fresh_ones_kept(world: World) -> None:
    world.hook("sms", Look("x"), nonce="old")
    world.clock.advance(DAY)
    world.hook("sms", Look("x"), nonce="new")
    world.clock.advance(1.0)

    world.do(lambda tx: watch.sweep(tx, world.at))

    assert world.query("SELECT nonce FROM nonces") == [("new",)]
    assert world.hook("sms", Look("x"), nonce="new") == 0
