"""The one way out of a block: a reversal with actor, reason, basis and evidence, as the commands take it."""

from __future__ import annotations

from typing import Any

import pytest

from dncsync.runtime import commands
from dncsync.sync.requests import Refused
from integration.sync.vendors import ANN, BOB, CLEAR, SET, SMS, UNREACHABLE, VOICE
from integration.sync.world import DAY, World


def unblock(world: World, **changes: Any) -> dict[str, Any]:
    arguments = {
        "number": ANN,
        "actor": "ada",
        "reason": "asked to be called",
        "basis": "signed",
        "evidence_name": "form.pdf",
        "evidence_sha256": "0" * 64,
        "evidence_date": (world.clock.now().date()).isoformat(),
        **changes,
    }
    answer: dict[str, Any] = world.do(
        lambda tx: commands.run(tx, world.at, world.intake, "unblock", arguments)
    )
    return answer


@pytest.fixture
def blocked(world: World) -> World:
    """Ann said STOP three days ago."""
    world.crm.put("7", ANN)
    world.text(ANN)
    world.settle()
    world.clock.advance(3 * DAY)
    return world


def test_a_reversal_ends_the_blocks_and_is_kept_with_its_papers(blocked: World) -> None:
    assert unblock(blocked)["reversal"].startswith("V")
    blocked.settle()

    assert blocked.may_contact(ANN, VOICE)
    assert blocked.may_contact(ANN, SMS)
    assert blocked.crm.flag("7") is CLEAR
    assert blocked.query("SELECT actor, reason, basis, evidence_name FROM reversals") == [
        ("ada", "asked to be called", "signed", "form.pdf")
    ]


@pytest.mark.parametrize("basis", ["ebr", "purchase", "inquiry", "transactional", "", "SIGNED?"])
def test_t9_a_business_relationship_ends_no_internal_block(blocked: World, basis: str) -> None:
    before = blocked.events()

    with pytest.raises(Refused):
        unblock(blocked, basis=basis)

    assert blocked.events() == before
    assert not blocked.may_contact(ANN)


@pytest.mark.parametrize("missing", ["actor", "reason", "basis", "evidence_name", "evidence_sha256"])
def test_a_reversal_without_its_papers_is_refused(blocked: World, missing: str) -> None:
    with pytest.raises(Refused, match="missing"):
        unblock(blocked, **{missing: "  "})

    assert not blocked.may_contact(ANN)


def test_t10_a_document_dated_before_the_block_ends_nothing(blocked: World) -> None:
    before = blocked.events()

    with pytest.raises(Refused):
        unblock(blocked, evidence_date="2026-11-20")

    assert blocked.events() == before
    assert not blocked.may_contact(ANN)


def test_a_number_that_is_not_blocked_has_nothing_to_end(blocked: World) -> None:
    with pytest.raises(Refused, match="not blocked"):
        unblock(blocked, number=BOB)


def test_a_reversal_of_one_channel_leaves_the_other(blocked: World) -> None:
    unblock(blocked, channels=["voice"])
    blocked.settle()

    assert (blocked.may_contact(ANN, VOICE), blocked.may_contact(ANN, SMS)) == (True, False)
    assert (blocked.crm.flag("7", VOICE), blocked.crm.flag("7", SMS)) == (CLEAR, SET)


def test_a_new_request_after_a_reversal_blocks_again(blocked: World) -> None:
    unblock(blocked)
    blocked.settle()

    blocked.text(ANN, "stop texting me")
    blocked.settle()

    assert not blocked.may_contact(ANN)
    assert blocked.crm.flag("7") is SET


def test_a_request_made_on_a_record_ends_with_the_last_of_its_blocks(world: World) -> None:
    world.crm.put("7", ANN, BOB)
    world.crm.person("7", SET)
    world.settle()
    world.clock.advance(DAY)

    world.reverse(ANN)
    assert [r["ended_at"] for r in world.requests()] == [None], "Bob's block still stands on it"
    world.settle()
    assert world.crm.flag("7") is SET

    world.reverse(BOB)
    world.settle()

    assert world.requests()[0]["ended_at"] is not None
    assert world.crm.flag("7") is CLEAR
    assert world.may_contact(ANN)
    assert world.may_contact(BOB)


# --- what a reversal does there -------------------------------------------------------------------------


@pytest.fixture
def known(world: World) -> World:
    """Record 7 has Ann's number; everything was read once."""
    world.crm.put("7", ANN)
    world.settle()
    return world


@pytest.fixture
def suppressed(known: World) -> World:
    """Ann said STOP, and everything that can be read is verified."""
    known.text(ANN)
    known.settle()
    return known


def test_a_reversal_clears_only_after_a_fresh_reading(suppressed: World) -> None:
    suppressed.crm.calls.clear()
    suppressed.reverse(ANN)
    suppressed.settle()

    assert suppressed.crm.flag("7", VOICE) is suppressed.crm.flag("7", SMS) is CLEAR
    ops = [call.op for call in suppressed.crm.calls if "7" in call.keys]
    assert ops == ["read", "write", "read"]
    assert suppressed.may_contact(ANN)


def test_a_reversal_is_not_written_where_the_reading_before_it_fails(suppressed: World) -> None:
    suppressed.crm.item_fails("read", "7", UNREACHABLE, times=3)
    suppressed.crm.calls.clear()
    suppressed.reverse(ANN)
    suppressed.turn("crm")

    assert suppressed.crm.ops() == ["read"]
    assert suppressed.crm.flag("7") is SET
    suppressed.settle()
    assert suppressed.crm.flag("7") is CLEAR


def test_somebody_who_ticks_again_after_the_reversal_wins(suppressed: World) -> None:
    suppressed.reverse(ANN)
    suppressed.crm.person("7", CLEAR)
    suppressed.crm.person("7", SET)
    suppressed.settle()

    assert suppressed.crm.flag("7") is SET
    assert not suppressed.may_contact(ANN)
    assert suppressed.requests()[-1]["record_key"] == "7"


def test_somebody_who_ticks_while_our_clear_is_under_way_wins(suppressed: World) -> None:
    """Between our clear and the reading after it."""

    def tick(call: object) -> None:
        if suppressed.crm.ops()[-2:] == ["write", "read"] and suppressed.crm.flag("7") is CLEAR:
            suppressed.crm.person("7", SET)

    suppressed.crm.before_call = tick
    suppressed.crm.calls.clear()
    suppressed.reverse(ANN)
    suppressed.settle()

    assert suppressed.crm.flag("7") is SET
    assert not suppressed.may_contact(ANN)


def test_a_reversal_of_one_of_two_blocked_numbers_clears_nothing_on_their_record(world: World) -> None:
    world.crm.put("7", ANN, BOB)
    world.settle()
    world.text(ANN)
    world.text(BOB)
    world.settle()

    world.reverse(ANN)
    world.settle()

    assert world.crm.flag("7") is SET
    assert world.dialer.flag(f"DNC/{ANN}") is CLEAR
    assert world.dialer.flag(f"DNC/{BOB}") is SET
    assert (world.may_contact(ANN), world.may_contact(BOB)) == (True, False)


def test_a_system_that_cannot_take_a_block_away_gets_a_finding_and_no_delivery(suppressed: World) -> None:
    writes = len(suppressed.sms.written)
    suppressed.reverse(ANN)
    suppressed.settle()

    (finding,) = suppressed.findings("cannot-clear")
    assert (finding["system"], finding["severity"]) == ("sms", "info")
    assert [d for d in suppressed.deliveries("sms") if d["want"] == "clear"] == []
    assert suppressed.sms.written[writes:] == []


def test_a_reversal_while_the_block_is_still_under_way_ends_clear(known: World) -> None:
    known.crm.tells_who = True
    known.crm.answer_is_lost()
    known.text(ANN)
    known.turn("crm")
    known.reverse(ANN)
    known.settle()

    assert known.crm.flag("7", VOICE) is known.crm.flag("7", SMS) is CLEAR
    assert [d["state"] for d in known.deliveries("crm", "7", "voice")] == ["superseded", "verified"]


def test_where_nobody_says_who_set_it_an_unanswered_block_outlives_its_reversal(known: World) -> None:
    """Our late write, or a person's newer tick: in an unknown order do-not-contact wins (CON-05). Reversed
    once more it ends clear, since the flag has been read by then."""
    known.crm.answer_is_lost()
    known.text(ANN)
    known.turn("crm")
    known.reverse(ANN)
    known.settle()

    assert known.crm.flag("7", VOICE) is known.crm.flag("7", SMS) is SET
    assert not known.may_contact(ANN)
    assert {r["source"] for r in known.requests() if r["record_key"] == "7"} == {"record-flag"}

    known.reverse(ANN)
    known.settle()
    assert known.crm.flag("7", VOICE) is known.crm.flag("7", SMS) is CLEAR
    assert known.may_contact(ANN)


def test_a_block_that_was_answered_is_known_as_ours_and_ends_with_its_reversal(known: World) -> None:
    known.text(ANN)
    known.turn("crm")
    assert known.delivery("crm", "7")["accepted_at"] is not None
    known.reverse(ANN)
    known.settle()

    assert known.crm.flag("7", VOICE) is known.crm.flag("7", SMS) is CLEAR
    assert known.may_contact(ANN)


def test_a_stop_while_the_reversal_is_still_under_way_ends_set(suppressed: World) -> None:
    suppressed.reverse(ANN)
    suppressed.crm.answer_is_lost()
    suppressed.turn("crm")
    suppressed.text(ANN, "please stop texting me")
    opened = suppressed.deliveries("crm", "7", "voice")[-1]
    assert (opened["want"], opened["open"]) == ("set", 1), "the clear may land yet, so it is set again anyway"
    suppressed.settle()

    assert suppressed.crm.flag("7", VOICE) is suppressed.crm.flag("7", SMS) is SET
    assert not suppressed.may_contact(ANN)
