"""What becomes of a delivery: proved, settled by reading, tried again for ever; never claimed, never lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dncsync.clock import from_micros
from dncsync.connector import Failure, FailureKind
from dncsync.model import ProofLevel
from dncsync.sync.observe import observe
from integration.sync.vendors import (
    ANN,
    BOB,
    CLEAR,
    LOCKED_OUT,
    REFUSED,
    SET,
    SILENT,
    SMS,
    UNREACHABLE,
    VOICE,
    crm,
    dialer,
)
from integration.sync.world import DAY, World, policy

Make = Callable[..., World]


@pytest.fixture
def known(world: World) -> World:
    """Record 7 has Ann's number; everything was read once."""
    world.crm.put("7", ANN)
    world.settle()
    return world


# --- the four stamps ------------------------------------------------------------------------------------


def test_a_stop_ends_verified_wherever_it_can_be_read_and_accepted_where_it_cannot(known: World) -> None:
    known.text(ANN)
    known.settle()

    assert known.proofs(ANN) == {
        ("crm", "7", "voice"): ProofLevel.VERIFIED,
        ("crm", "7", "sms"): ProofLevel.VERIFIED,
        ("dialer", f"DNC/{ANN}", "voice"): ProofLevel.VERIFIED,
        ("sms", f"MG1/{ANN}", "sms"): ProofLevel.ACCEPTED,
        ("sms", f"MG2/{ANN}", "sms"): ProofLevel.ACCEPTED,
    }


def test_the_stamps_come_in_order_and_verified_is_after_a_reading(make_world: Make) -> None:
    world = make_world(crm=lambda name, clock: crm(name, clock, read_after=5.0))
    world.crm.put("7", ANN)
    world.settle()
    world.text(ANN)
    world.settle()

    delivery = world.delivery("crm", "7")
    assert delivery["known_at"] <= delivery["sent_at"] <= delivery["accepted_at"] < delivery["verified_at"]
    (reading,) = [r for r in world.crm.readings if r[2][VOICE] is SET]
    assert reading[0] >= world.crm.written[-1][0] + 5.0
    assert delivery["vendor_ref"] == "ref-7"


def test_a_system_that_cannot_be_read_is_never_verified(known: World) -> None:
    known.text(ANN)
    known.run(3600.0)

    assert {d["state"] for d in known.deliveries("sms")} == {"accepted"}
    assert {d["verified_at"] for d in known.deliveries("sms")} == {None}
    assert "read" not in known.sms.ops()


def test_the_goal_of_a_delivery_is_that_of_its_kind_of_system(known: World) -> None:
    known.text(ANN)

    goals = {d["system"]: (d["deadline"] - d["known_at"]) / 1e6 for d in known.deliveries()}
    assert goals == {"crm": 900.0, "dialer": 60.0, "sms": 60.0}


def test_a_record_with_two_channels_is_one_change(known: World) -> None:
    known.text(ANN)
    known.settle()

    assert [(key, wants) for _, key, wants in known.crm.written] == [("7", {VOICE: SET, SMS: SET})]


def test_a_batch_is_counted_in_records_and_not_in_channels(make_world: Make) -> None:
    """The fewest possible calls: six records fit two calls of three, also where each has two flags."""
    world = make_world(crm=lambda name, clock: crm(name, clock, write_batch=3))
    for key in "123456":
        world.crm.put(key, ANN)
    world.settle()
    world.crm.calls.clear()

    world.text(ANN)
    world.settle()

    writes = [call.keys for call in world.crm.calls if call.op == "write"]
    assert writes == [("1", "2", "3"), ("4", "5", "6")]


def test_a_batch_is_never_larger_than_the_vendor_takes(make_world: Make) -> None:
    """Also where each record has only one channel to write."""
    world = make_world(
        policy=policy(channels="separate"), crm=lambda name, clock: crm(name, clock, write_batch=3)
    )
    for key in "1234567":
        world.crm.put(key, ANN)
    world.settle()
    world.crm.calls.clear()

    world.block(ANN, VOICE)
    world.settle()

    writes = [len(call.keys) for call in world.crm.calls if call.op == "write"]
    assert writes == [3, 3, 1]


def test_idle_loops_are_handed_what_the_commit_made_known_but_not_that_of_whoever_said_it(
    known: World,
) -> None:
    """The vendor that took the STOP knows it: the others are told first, each in its one commit."""
    for loop in known.loops.values():
        loop.turn()
    before = known.events()
    known.text(ANN)

    sent = {d["system"]: d["sent_at"] is not None for d in known.deliveries()}
    assert sent == {"crm": True, "dialer": True, "sms": False}
    kinds = [kind for kind in known.kinds(before) if kind.startswith("deliveries.")]
    assert kinds == ["deliveries.opened", "deliveries.sent"], "one event each, for all systems"
    known.settle()
    assert all(d["sent_at"] is not None for d in known.deliveries())


def test_what_a_person_did_before_our_first_write_is_no_receipt_of_ours(known: World) -> None:
    """Law 4: verified means that we wrote it and read it afterwards; this delivery had nothing to do."""
    known.crm.calls_fail("write", UNREACHABLE, times=10)
    known.topology.handovers.clear()  # its loop is busy
    known.text(ANN)
    delivery = known.delivery("crm", "7")
    assert delivery["sent_at"] is None
    known.crm.person("7", SET, VOICE)
    known.do(
        lambda tx: observe(
            tx,
            known.at,
            known.intake,
            known.topology["crm"],
            [known.crm._holding("7", told=True)],
            fresh=True,
            jitter=lambda: 0.5,
        )
    )

    delivery = known.delivery("crm", "7")
    assert (delivery["state"], delivery["verified_at"]) == ("moot", None)
    assert known.proofs(ANN)["crm", "7", "voice"] == ProofLevel.UNCONFIRMED


# --- failures of every kind -----------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [UNREACHABLE, REFUSED, LOCKED_OUT, SILENT])
@pytest.mark.parametrize("op", ["write", "read", "changes", "snapshot"])
def test_no_failure_of_any_call_loses_a_delivery(known: World, op: str, failure: Failure) -> None:
    known.crm.calls_fail(op, failure, times=4)
    known.loops["crm"].snapshot_now()
    known.text(ANN)

    known.settle()

    assert known.crm.flag("7", VOICE) is known.crm.flag("7", SMS) is SET
    assert {d["state"] for d in known.deliveries("crm")} == {"verified"}
    known.run(3600.0)
    assert known.findings() == [], "all is well again, and says so"


def test_a_transient_failure_waits_longer_each_time_and_never_more_than_a_quarter_hour(known: World) -> None:
    known.crm.item_fails("write", "7", UNREACHABLE, times=30)
    known.crm.put("8", BOB)
    known.text(ANN)

    waits = []
    for _ in range(14):
        known.turn("crm")
        delivery = known.delivery("crm", "7")
        waits.append((delivery["due_at"] - known.at) / 1e6)
        known.clock.advance(max(waits[-1], known.loops["crm"].breaker.wait(known.clock.monotonic())))

    assert waits[:4] == pytest.approx([1.5, 3.0, 6.0, 12.0], abs=0.01)
    assert max(waits) == pytest.approx(675.0), "half of 900 s is jitter, and the test's jitter is one half"
    assert waits == sorted(waits)
    assert delivery["attempts"] == 14
    assert delivery["open"] == 1


def test_law_5_there_is_no_last_attempt(known: World) -> None:
    known.crm.item_fails("write", "7", UNREACHABLE, times=1000)
    known.text(ANN)
    known.run(0.25 * DAY)

    delivery = known.delivery("crm", "7")
    assert delivery["open"] == 1
    assert delivery["attempts"] > 30
    assert delivery["due_at"] <= known.at + 900 * 1_000_000


def test_a_rejected_item_gets_a_finding_and_is_tried_again(known: World) -> None:
    known.crm.put("8", ANN)
    known.loops["crm"].snapshot_now()
    known.settle()
    known.crm.item_fails("write", "7", REFUSED, times=2)
    known.text(ANN)
    known.run(60.0)

    (finding,) = known.findings("rejected")
    assert (finding["subject"], finding["owner"]) == ("7", "compliance")
    assert "the record is locked" in finding["summary"]
    assert known.delivery("crm", "8")["state"] == "verified", "the others of the batch go on"
    delivery = known.delivery("crm", "7")
    assert (delivery["state"], delivery["open"]) == ("due", 1)
    assert delivery["last_error"] == "rejected: the record is locked"

    known.settle()

    assert known.crm.flag("7") is SET
    assert known.delivery("crm", "7")["state"] == "verified"


def test_a_rejected_finding_closes_itself_when_the_delivery_is_verified(known: World) -> None:
    known.crm.item_fails("write", "7", REFUSED)
    known.text(ANN)
    known.run(60.0)
    assert len(known.findings("rejected")) == 1

    known.settle()

    assert known.findings("rejected") == []
    assert known.query("SELECT closed_by FROM findings WHERE kind = 'rejected'") == [("read back as wanted",)]


def test_a_rejected_finding_closes_itself_on_acceptance_where_nothing_can_be_read(known: World) -> None:
    known.sms.item_fails("write", f"MG1/{ANN}", REFUSED)
    known.text(ANN)
    known.run(60.0)
    (finding,) = known.findings("rejected")
    assert ANN not in finding["summary"]

    known.settle()

    assert known.findings("rejected") == []
    assert known.query("SELECT closed_by FROM findings WHERE kind = 'rejected'") == [("accepted there",)]


def test_a_rejected_finding_stays_while_another_channel_of_the_record_is_refused(known: World) -> None:
    known.crm.item_fails("write", "7", REFUSED)
    known.text(ANN)
    known.run(60.0)
    known.crm.person("7", SET, VOICE)  # somebody does it by hand, for one channel
    known.run(30.0)
    assert known.crm.flag("7", SMS) is CLEAR

    assert len(known.findings("rejected")) == 1

    known.settle()

    assert known.findings("rejected") == []


def test_the_vendors_retry_after_is_honoured(known: World) -> None:
    slow = Failure(FailureKind.RATE_LIMITED, "slow down", retry_after=77.0)
    known.crm.calls_fail("write", slow)
    known.text(ANN)
    known.turn("crm")

    assert known.delivery("crm", "7")["due_at"] == known.at + 77_000_000
    writes = known.crm.ops().count("write")
    known.run(76.0)
    assert known.crm.ops().count("write") == writes
    known.run(2.0)
    assert known.crm.flag("7") is SET


# --- unknown is settled by reading ----------------------------------------------------------------------


def test_a_timeout_after_the_vendor_kept_it_is_settled_by_reading_and_not_sent_again(known: World) -> None:
    known.crm.answer_is_lost()
    known.text(ANN)
    known.settle()

    assert known.delivery("crm", "7")["state"] == "verified"
    assert known.delivery("crm", "7")["accepted_at"] is None, "nobody ever said yes"
    assert known.crm.ops().count("write") == 1


def test_a_timeout_before_the_vendor_kept_it_is_settled_by_reading_and_sent_again(known: World) -> None:
    known.crm.calls_fail("write", SILENT)
    known.text(ANN)
    known.settle()

    assert known.delivery("crm", "7")["state"] == "verified"
    ops = [call.op for call in known.crm.calls if "7" in call.keys and call.op != "snapshot"]
    assert ops[-4:] == ["write", "read", "write", "read"]


def test_an_item_that_the_answer_does_not_name_is_unknown_and_the_rest_of_the_batch_is_not(
    make_world: Make,
) -> None:
    world = make_world(crm=lambda name, clock: crm(name, clock, write_batch=10))
    world.crm.put("7", ANN)
    world.crm.put("8", ANN)
    world.settle()
    world.crm.item_is_left_out("write", "7")
    world.text(ANN)
    world.turn("crm")

    assert world.delivery("crm", "8")["accepted_at"] is not None
    assert world.delivery("crm", "7")["accepted_at"] is None
    world.settle()
    assert {d["state"] for d in world.deliveries("crm")} == {"verified"}
    assert world.crm.ops().count("write") == 1


def test_an_unknown_outcome_where_nothing_can_be_read_is_said_again(known: World) -> None:
    known.sms.answer_is_lost()
    known.text(ANN)
    known.settle()

    assert {d["state"] for d in known.deliveries("sms")} == {"accepted"}
    assert known.sms.ops().count("write") == 2


def test_a_crash_between_the_call_and_its_record_is_settled_by_reading(known: World) -> None:
    """The process dies in the middle of the call, after the vendor committed."""

    class Died(BaseException):
        pass

    def die(call: object) -> None:
        raise Died

    known.crm.before_call = die
    known.text(ANN)
    with pytest.raises(Died):
        known.turn("crm")
    assert known.delivery("crm", "7")["state"] == "sent", "durable before the call"
    known.crm.before_call = lambda call: None
    known.crm._keep("7", {VOICE: SET, SMS: SET})

    known.restart()
    known.settle()

    assert known.delivery("crm", "7")["state"] == "verified"
    assert len(known.requests()) == 1, "what came back after the crash is known as ours"
    assert known.crm.ops().count("write") == 1


# --- accepted and not kept (T14) ------------------------------------------------------------------------


def test_t14_a_write_that_was_accepted_and_not_kept_is_a_finding_and_tried_again(known: World) -> None:
    known.crm.drops("7")
    known.text(ANN)
    known.turn("crm")
    known.run(0.5)

    (finding,) = known.findings("not-kept")
    assert finding["subject"] == "7"
    delivery = known.delivery("crm", "7")
    assert (delivery["verified_at"], delivery["open"]) == (None, 1)
    assert delivery["last_error"] == "read back: clear"
    assert known.proofs(ANN)["crm", "7", "voice"] == ProofLevel.UNCONFIRMED

    known.settle()

    assert known.crm.flag("7") is SET
    assert known.delivery("crm", "7")["state"] == "verified"
    assert known.findings("not-kept") == []


def test_t14_a_write_that_is_never_kept_alarms_at_the_strict_deadline(known: World) -> None:
    from dncsync.sync.watch import late

    known.crm.drops("7", times=10_000)
    known.text(ANN)
    known.run(1000.0)
    deadline = from_micros(known.requests()[0]["deadline_strict"])
    assert known.findings("legal-deadline") == []

    known.clock.advance((deadline - known.clock.now()).total_seconds() + 1.0)
    known.do(lambda tx: late(tx, known.at))

    (finding,) = known.findings("legal-deadline")
    assert (finding["subject"], finding["severity"]) == (known.requests()[0]["id"], "page")
    assert {d["verified_at"] for d in known.deliveries("crm")} == {None}


# --- numbers without a known record ---------------------------------------------------------------------


def test_a_number_that_no_snapshot_has_found_yet_is_searched_for(make_world: Make) -> None:
    world = make_world(without=("dialer", "sms"))
    world.crm.put("7", ANN)
    world.crm.hidden.add("7")
    world.do(lambda tx: tx.execute("UPDATE systems SET snapshot_at = NULL"))
    world.block(ANN)
    world.turn("crm")

    assert ("find", (ANN,)) in [(call.op, call.keys) for call in world.crm.calls]
    world.settle()
    assert world.crm.flag("7") is SET


def test_work_that_was_recorded_while_no_daemon_ran_is_found_by_catching_up(make_world: Make) -> None:
    """The command line blocks numbers on a ledger alone; it knows of no systems."""
    world = make_world(without=("crm", "sms"), dialer=lambda name, clock: dialer(name, clock))
    world.settle()
    whole, world.intake.topology = world.topology, type(world.topology)({})
    for number in (ANN, BOB, "+13125550155"):
        world.block(number)
    assert world.deliveries() == []
    world.intake.topology = whole

    world.restart()
    world.settle()

    assert {d["key"] for d in world.deliveries("dialer")} == {f"DNC/{n}" for n in (ANN, BOB, "+13125550155")}
    assert {d["backfill"] for d in world.deliveries("dialer")} == {1}
    assert world.dialer.flag("DNC/+13125550155") is SET


def test_catching_up_twice_opens_nothing_twice(known: World) -> None:
    known.text(ANN)
    known.settle()
    before = known.events()

    known.catch_up()

    assert known.events() == before


def test_what_a_first_full_read_finds_is_not_searched_for_in_the_same_system(make_world: Make) -> None:
    """Each search is a call at the vendor's lowest limit; the reading under way finds the other records."""
    world = make_world(without=("dialer", "sms"))
    for key in range(10, 16):
        world.crm.put(str(key), f"+1312555{key}00")
        world.crm.person(str(key), SET, VOICE)
    world.crm.put("16", "+13125551000")
    world.settle()

    assert "find" not in world.crm.ops()
    assert len(world.requests()) == 6
    assert world.crm.flag("16") is SET, "another record of one of these numbers"
