"""What a turn does first, and how a system in trouble is spared: seen in the order of the vendor's calls."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dncsync.budget import Lane
from dncsync.connector import Failure, FailureKind, Look
from dncsync.ledger.writer import Tx
from dncsync.sync.breaker import AUTH_PAUSE, FIRST_PAUSE, State
from integration.sync.vendors import (
    ANN,
    BOB,
    BUSY,
    CID,
    CLEAR,
    LOCKED_OUT,
    SET,
    SILENT,
    UNREACHABLE,
    VOICE,
    Call,
    crm,
    dialer,
)
from integration.sync.world import World

Make = Callable[..., World]


@pytest.fixture
def alone(make_world: Make) -> World:
    """A CRM by itself: what falls due there is done there. Ten records, every one read once."""
    world = make_world(without=("dialer", "sms"), crm=lambda name, clock: crm(name, clock, read_after=0.0))
    world.crm.put("7", ANN)
    for key in range(10, 19):
        world.crm.put(str(key), f"+1312555{key}00")
    world.settle()
    world.crm.calls.clear()
    return world


# --- the order of a turn --------------------------------------------------------------------------------


def test_an_opt_out_overtakes_a_running_snapshot(alone: World) -> None:
    """It falls due while the second page is read; the write is the very next call."""
    asked: list[str] = []

    def stop(call: Call) -> None:
        if alone.crm.ops().count("snapshot") == 2 and not asked:
            asked.append(alone.block(ANN))

    alone.crm.before_call = stop
    alone.loops["crm"].snapshot_now()
    alone.work()

    ops = alone.crm.ops()
    second = [i for i, op in enumerate(ops) if op == "snapshot"][1]
    assert ops[second + 1] == "write"
    assert ops.count("snapshot") == 5, "and the snapshot goes on to its end"


@pytest.mark.parametrize("during", ["read", "changes", "snapshot"])
def test_at_most_one_call_is_made_between_an_opt_out_being_due_and_its_write(
    alone: World, during: str
) -> None:
    """Whatever the loop is doing at that moment, with all kinds of work waiting."""
    alone.crm.page_size = 1
    for key in ("10", "11", "12"):
        alone.crm.feed += [key] * 3
        alone.hook("crm", Look(key))
    due_before: list[int] = []

    def stop(call: Call) -> None:
        if call.op == during and not due_before:
            due_before.append(len(alone.crm.calls))
            alone.block(ANN)

    alone.crm.before_call = stop
    alone.loops["crm"].snapshot_now()
    alone.run(60.0)

    (index,) = due_before  # the call in hand is number `index`, counted from 1
    following = alone.crm.calls[index]
    assert (following.op, following.keys) == ("write", ("7",))


def test_opt_outs_are_written_before_reversals_and_reversals_before_backfill(alone: World) -> None:
    alone.block(BOB)
    alone.crm.put("8", BOB)
    alone.crm.put("9", CID)
    alone.loops["crm"].snapshot_now()
    alone.settle()
    assert alone.crm.flag("8") is SET
    alone.crm.calls.clear()
    alone.imported(CID)
    alone.clock.advance(60.0)
    alone.reverse(BOB)
    alone.block(ANN)
    alone.work()

    writes = [call.keys for call in alone.crm.calls if call.op == "write"]
    assert writes == [("7",), ("8",), ("9",)]


def test_the_nearest_deadline_goes_first(make_world: Make) -> None:
    world = make_world(
        without=("dialer", "sms"), crm=lambda name, clock: crm(name, clock, write_batch=1, read_after=3600.0)
    )
    for key, number in (("1", ANN), ("2", BOB), ("3", CID)):
        world.crm.put(key, number)
    world.settle()
    world.crm.calls.clear()
    for number in (CID, ANN, BOB):
        world.block(number)
        world.clock.advance(0.001)

    world.work()

    assert [call.keys for call in world.crm.calls if call.op == "write"] == [("3",), ("1",), ("2",)]


def test_only_fresh_opt_outs_and_their_receipts_use_the_kept_share_of_the_budget(alone: World) -> None:
    alone.block(ANN)
    alone.loops["crm"].snapshot_now()
    alone.settle()
    alone.reverse(ANN)
    alone.settle()

    lanes = {(call.op, call.lane) for call in alone.crm.calls}
    assert lanes == {
        ("write", Lane.OPT_OUT),
        ("read", Lane.OPT_OUT),
        ("read", Lane.BACKGROUND),  # before the clear
        ("write", Lane.BACKGROUND),  # the clear
        ("changes", Lane.BACKGROUND),
        ("snapshot", Lane.BACKGROUND),
    }
    assert [call.lane for call in alone.crm.calls if call.op == "write"] == [Lane.OPT_OUT, Lane.BACKGROUND]


# --- law 6: a quiet world -------------------------------------------------------------------------------


def test_law_6_turns_in_a_quiet_world_write_nothing_and_append_nothing(world: World) -> None:
    world.crm.put("7", ANN, BOB)
    world.crm.person("7", SET)
    world.text(CID)
    world.settle()
    world.run(60.0)
    before, writes = world.events(), [len(v.written) for v in world.vendors.values()]

    for _ in range(50):
        for name in world.vendors:
            world.turn(name)
        world.clock.advance(7.0)

    assert world.kinds(before) == []
    assert [len(v.written) for v in world.vendors.values()] == writes


def test_a_quiet_turn_makes_no_call_and_says_how_long_to_sleep(alone: World) -> None:
    alone.run(5.0)
    calls = len(alone.crm.calls)

    wait = alone.turn("crm")

    assert len(alone.crm.calls) == calls
    assert 0.0 < wait <= alone.crm.capabilities.poll_every


# --- the breaker ----------------------------------------------------------------------------------------


def test_three_failed_calls_open_the_breaker_and_the_ledger_says_so(alone: World) -> None:
    alone.crm.calls_fail("write", UNREACHABLE, times=10)
    alone.crm.calls_fail("changes", UNREACHABLE, times=10)
    alone.block(ANN)
    for call in range(3):
        assert alone.state("crm") == ("up", ""), f"after {call} failed calls"
        alone.run_until_calls(call + 1)

    assert alone.state("crm") == ("down", "cannot connect")
    (finding,) = alone.findings("system-down")
    assert finding["severity"] == "page"


def test_while_the_breaker_is_open_no_call_is_made_and_then_one_probe_at_a_time(alone: World) -> None:
    alone.crm.calls_fail("changes", UNREACHABLE, times=100)
    alone.crm.calls_fail("write", UNREACHABLE, times=5)
    alone.crm.calls_fail("read", UNREACHABLE, times=100)
    alone.block(ANN)
    alone.hook("crm", Look("10"))
    alone.run_until_calls(3)
    assert alone.state("crm")[0] == "down"
    alone.crm.calls.clear()

    assert alone.turn("crm") == pytest.approx(FIRST_PAUSE, abs=0.01)
    assert alone.crm.calls == []
    calls = []
    for _ in range(4):
        alone.clock.advance(alone.turn("crm"))
        alone.crm.calls.clear()
        wait = alone.turn("crm")
        calls.append(len(alone.crm.calls))
        assert wait > 0.0

    assert calls == [1, 1, 1, 1]


def test_a_probe_that_is_answered_ends_the_outage_and_its_finding(alone: World) -> None:
    alone.crm.calls_fail("write", UNREACHABLE, times=4)
    alone.crm.calls_fail("changes", UNREACHABLE, times=4)
    alone.block(ANN)
    alone.run(120.0)

    assert alone.state("crm") == ("up", "")
    assert alone.findings("system-down") == []
    assert alone.kinds().count("system.changed") == 3, "up, down, up: each said once"
    assert alone.crm.flag("7") is SET


def test_refused_credentials_pause_the_system_and_page_somebody(alone: World) -> None:
    alone.crm.calls_fail("write", LOCKED_OUT, times=2)
    alone.block(ANN)
    alone.turn("crm")

    assert alone.state("crm") == ("unauthorised", "the token was revoked")
    assert [f["severity"] for f in alone.findings("system-unauthorised")] == ["page"]
    calls = len(alone.crm.calls)
    alone.run(AUTH_PAUSE - 1.0)
    assert len(alone.crm.calls) == calls, "hammering locks accounts"
    alone.run(2 * AUTH_PAUSE)
    assert alone.crm.flag("7") is SET


def test_an_outage_that_the_last_process_saw_ends_in_the_next(alone: World) -> None:
    alone.crm.calls_fail("changes", UNREACHABLE, times=100)
    alone.run(120.0)
    assert alone.state("crm")[0] == "down"

    alone.crm.calm()
    alone.restart()
    alone.run(30.0)

    assert alone.state("crm") == ("up", "")
    assert alone.findings("system-down") == []


def test_one_systems_outage_holds_up_no_other(world: World) -> None:
    world.crm.put("7", ANN)
    world.settle()
    for op in ("write", "read", "changes", "snapshot"):
        world.crm.calls_fail(op, UNREACHABLE, times=1000)
    world.run(60.0)
    world.text(ANN)
    world.run(10.0)

    assert world.dialer.flag(f"DNC/{ANN}") is SET
    assert {d["state"] for d in world.deliveries("sms")} == {"accepted"}
    assert {d["state"] for d in world.deliveries("crm")} == {"due"}


def test_items_that_all_fail_alike_are_a_failed_call(alone: World) -> None:
    alone.crm.item_fails("write", "7", SILENT, times=3)
    alone.crm.item_fails("read", "7", SILENT, times=3)
    alone.block(ANN)
    while alone.state("crm")[0] == "up" and alone.clock.monotonic() < 600:
        alone.clock.advance(max(0.001, alone.turn("crm")))

    assert alone.state("crm")[0] == "down"


# --- rate limits ----------------------------------------------------------------------------------------


def test_a_rate_limit_on_background_work_pauses_background_work_only(alone: World) -> None:
    alone.loops["crm"].snapshot_now()
    alone.crm.calls_fail("snapshot", BUSY)
    alone.work()
    assert alone.crm.ops()[-1] == "snapshot"
    alone.crm.calls.clear()

    alone.block(ANN)
    alone.run(19.0)
    assert alone.crm.flag("7") is SET
    assert alone.delivery("crm", "7")["state"] == "verified"
    assert set(alone.crm.ops()) == {"write", "read"}

    alone.run(60.0)
    assert "snapshot" in alone.crm.ops()
    assert "changes" in alone.crm.ops()
    assert alone.state("crm") == ("up", ""), "a vendor that says `too many` is there"


def test_a_rate_limit_is_no_outage_however_often_it_comes(alone: World) -> None:
    alone.crm.calls_fail("changes", BUSY, times=20)
    alone.run(600.0)

    assert alone.state("crm") == ("up", "")
    assert alone.findings() == []


def test_a_snapshot_that_breaks_off_goes_on_where_it_was(alone: World) -> None:
    alone.loops["crm"].snapshot_now()
    alone.turn("crm")
    alone.crm.calls_fail("snapshot", Failure(FailureKind.TRANSIENT, "bad gateway"))
    alone.turn("crm")
    assert [f["kind"] for f in alone.findings()] == ["snapshot-failed"]
    alone.crm.calls.clear()

    alone.run(300.0)

    cursors = [call.keys[0] for call in alone.crm.calls if call.op == "snapshot"]
    assert cursors[0] == "11", "the page before ended there"
    assert alone.findings() == []


def test_a_connector_that_raises_what_it_should_not_loses_nothing(
    alone: World, caplog: pytest.LogCaptureFixture
) -> None:
    def crash(call: Call) -> None:
        if call.op == "write" and alone.crm.ops().count("write") < 3:
            raise KeyError("+13125550100")

    alone.crm.before_call = crash
    alone.block(ANN)
    alone.settle()

    assert alone.delivery("crm", "7")["state"] == "verified"
    errors = alone.query("SELECT payload FROM events WHERE kind = 'deliveries.failed'")
    assert all(ANN not in row[0] for row in errors)
    assert "KeyError" in errors[0][0]


def test_a_clear_waits_for_background_time_and_an_opt_out_does_not(alone: World) -> None:
    alone.block(ANN)
    alone.settle()
    alone.crm.calls_fail("changes", BUSY)
    alone.run(11.0)
    alone.reverse(ANN)
    alone.block(BOB)
    alone.crm.put("8", BOB)
    alone.run(5.0)
    assert alone.crm.flag("7") is SET, "a clear is never urgent"

    alone.settle()

    assert alone.crm.flag("7") is CLEAR


# --- from a commit straight to an idle loop -------------------------------------------------------------


def head_of(world: World) -> int:
    return int(world.query("SELECT max(seq) FROM events")[0][0])


def test_an_opt_out_that_finds_its_loop_idle_is_sent_without_a_second_commit(alone: World) -> None:
    alone.block(ANN)

    assert alone.delivery("crm", "7")["state"] == "sent", "recorded as being sent when it became known"
    assert alone.crm.ops() == []

    head = head_of(alone)
    heads: list[int] = []
    alone.crm.before_call = lambda call: heads.append(head_of(alone))
    alone.turn("crm")

    assert alone.crm.ops()[0] == "write"
    assert heads[0] == head


def test_a_process_killed_before_it_sent_what_it_was_given_reads_and_sends_again(alone: World) -> None:
    alone.block(ANN)
    alone.restart()
    alone.settle()

    assert alone.crm.flag("7") is SET
    assert alone.delivery("crm", "7")["state"] == "verified"
    assert alone.crm.ops().index("read") < alone.crm.ops().index("write"), "settled by reading first"


def test_what_was_rolled_back_is_not_given(alone: World) -> None:
    def fail(tx: Tx) -> None:
        alone.intake.block(tx, alone.at, ANN, VOICE, actor="admin", source="admin")
        raise RuntimeError("the caller gives up")

    with pytest.raises(RuntimeError, match="gives up"):
        alone.do(fail)
    alone.work()
    assert alone.crm.ops() == []

    alone.block(ANN)
    alone.settle()
    assert alone.delivery("crm", "7")["state"] == "verified"


def test_of_two_opt_outs_between_turns_the_second_goes_with_the_next_batch(alone: World) -> None:
    alone.block(ANN)
    alone.block("+13125551000")

    states = [alone.delivery("crm", key)["state"] for key in ("7", "10")]
    assert states == ["sent", "due"]
    alone.turn("crm")

    assert alone.crm.ops()[:2] == ["write", "write"]


def test_a_loop_that_may_not_call_is_given_nothing(alone: World) -> None:
    alone.crm.calls_fail("read", LOCKED_OUT)
    alone.hook("crm", Look("7"))
    alone.work()
    assert alone.loops["crm"].breaker.state is State.UNAUTHORISED

    alone.block(ANN)

    assert alone.delivery("crm", "7")["state"] == "due"
    alone.settle()
    assert alone.delivery("crm", "7")["state"] == "verified"


@pytest.mark.parametrize("again", [False, True])
def test_a_block_that_is_reversed_before_its_loop_sent_it_ends_as_the_last_word(
    alone: World, again: bool
) -> None:
    alone.block(ANN)
    alone.reverse(ANN)
    assert alone.delivery("crm", "7")["state"] == "superseded"
    if again:
        alone.block(ANN)

    alone.settle()

    assert alone.crm.flag("7") is (SET if again else CLEAR)
    assert [d["state"] for d in alone.deliveries("crm", "7") if d["open"]] == []
    assert alone.deliveries("crm", "7", "voice")[0]["state"] == "superseded"


def test_a_reversal_that_overtakes_a_write_to_a_mute_system_takes_it_back(make_world: Make) -> None:
    world = make_world(without=("crm", "sms"), dialer=lambda name, clock: dialer(name, clock, can_read=False))
    world.settle()
    world.block(ANN)
    world.reverse(ANN)

    world.settle()

    assert world.dialer.flag(f"DNC/{ANN}") is CLEAR
