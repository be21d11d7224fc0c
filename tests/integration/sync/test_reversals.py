"""The one way out of a block: a reversal with actor, reason, basis and evidence, as the commands take it."""

from __future__ import annotations

from typing import Any

import pytest

from dncsync.runtime import commands
from dncsync.sync.requests import Refused
from integration.sync.world import ANN, BOB, CLEAR, DAY, SET, SMS, VOICE, World


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
