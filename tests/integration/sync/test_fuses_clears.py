"""Law 9, the other way: too many reversals at once are not carried out until their plan is approved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dncsync.policy import ClearsFuse, Fuses, Policy
from dncsync.runtime import commands
from dncsync.sync import fuse_plan
from dncsync.sync.requests import Refused
from integration.sync.vendors import CLEAR, SET
from integration.sync.world import DAY, World

MakeWorld = Callable[..., World]
NUMBERS = [f"+13125552{i:03d}" for i in range(6)]


def policy(approvals: int = 1) -> Policy:
    """Three an hour."""
    return Policy(fuses=Fuses(clears=ClearsFuse(count=3, percent=100, least=1000, approvals=approvals)))


@pytest.fixture
def office(make_world: MakeWorld) -> World:
    return furnished(make_world(policy=policy()))


def furnished(world: World) -> World:
    """Six people who said STOP three days ago."""
    for i, number in enumerate(NUMBERS):
        world.crm.put(str(i), number)
    world.settle()
    for number in NUMBERS:
        world.text(number)
    world.settle()
    world.clock.advance(3 * DAY)
    world.settle()
    return world


def run(world: World, name: str, **arguments: Any) -> dict[str, Any]:
    done: dict[str, Any] = world.do(lambda tx: commands.run(tx, world.at, world.intake, name, arguments))
    return done


def unblock(world: World, number: str, actor: str = "ada") -> dict[str, Any]:
    """As `dncsync number unblock` does."""
    return run(
        world,
        "unblock",
        number=number,
        actor=actor,
        reason="asked to be called",
        basis="signed",
        evidence_name=f"{number[-3:]}.pdf",
        evidence_sha256="0" * 64,
        evidence_date=world.clock.now().date().isoformat(),
    )


def the_fuse(world: World) -> Any:
    return world.do(lambda tx: fuse_plan.fuses(tx, every=True))[-1]


def approve(world: World, by: str = "jane") -> dict[str, Any]:
    fuse = the_fuse(world)
    shown = world.do(lambda tx: fuse_plan.show(tx, fuse, 5))
    done = run(world, "approve-plan", id=fuse.id, by=by, sha256=shown.revision.sha256)
    while done["state"] == "approved" and run(world, "apply-plan")["left"]:
        pass
    world.settle()
    return done


def free(world: World) -> set[str]:
    return {number for number in NUMBERS if world.may_contact(number)}


def test_three_are_carried_out_and_the_fourth_waits_with_all_after_it(office: World) -> None:
    answers = [unblock(office, number) for number in NUMBERS]
    office.settle()

    assert [("waits_for" in answer) for answer in answers] == [False] * 3 + [True] * 3
    assert {answer.get("waits_for") for answer in answers[3:]} == {the_fuse(office).id}
    assert free(office) == set(NUMBERS[:3])
    assert [office.crm.flag(str(i)) for i in range(6)] == [CLEAR] * 3 + [SET] * 3
    (finding,) = office.findings("fuse-tripped")
    assert finding["severity"] == "page"


def test_a_reversal_that_waits_is_not_taken_twice(office: World) -> None:
    for number in NUMBERS[:4]:
        unblock(office, number)
    with pytest.raises(Refused, match="waits for approval already"):
        unblock(office, NUMBERS[3])


def test_reversals_over_a_longer_time_are_no_mass(office: World) -> None:
    for number in NUMBERS:
        assert "waits_for" not in unblock(office, number)
        office.clock.advance(1_300)
    assert free(office) == set(NUMBERS)


def test_approval_carries_all_out_as_they_were_asked_for(office: World) -> None:
    for number in NUMBERS:
        unblock(office, number, actor="ada")
    approve(office)

    assert free(office) == set(NUMBERS)
    assert [office.crm.flag(str(i)) for i in range(6)] == [CLEAR] * 6
    rows = office.query("SELECT actor, basis, evidence_name FROM reversals ORDER BY event_seq")
    assert rows == [("ada", "signed", f"{number[-3:]}.pdf") for number in NUMBERS]
    assert the_fuse(office).state == "applied"
    assert "waits_for" not in unblock_again(office), "what was approved does not count towards the next"


def unblock_again(world: World) -> dict[str, Any]:
    world.text(NUMBERS[0])
    world.clock.advance(60)
    return run(
        world,
        "unblock",
        number=NUMBERS[0],
        actor="ada",
        reason="asked again",
        basis="signed",
        evidence_name="again.pdf",
        evidence_sha256="0" * 64,
        evidence_date=world.clock.now().isoformat(),
    )


def test_whoever_said_stop_again_meanwhile_is_left_out_and_named(office: World) -> None:
    for number in NUMBERS:
        unblock(office, number)
    office.text(NUMBERS[4], "please stop texting me")
    office.settle()
    approve(office)

    assert free(office) == set(NUMBERS) - {NUMBERS[4]}
    fuse = the_fuse(office)
    (left,) = office.do(lambda tx: fuse_plan.left_out(tx, fuse.id))
    assert (left["number"], "newer request" in left["why"]) == (NUMBERS[4], True)
    assert office.crm.flag("4") is SET


def test_a_rejected_plan_leaves_the_blocks_and_the_number_may_be_asked_for_again(office: World) -> None:
    for number in NUMBERS:
        unblock(office, number)
    run(office, "reject-plan", id=the_fuse(office).id, by="jane", reason="forged forms")
    office.settle()

    assert free(office) == set(NUMBERS[:3])
    office.clock.advance(4_000)
    assert "waits_for" not in unblock(office, NUMBERS[5])


def test_whoever_tripped_it_cannot_be_the_only_one_to_approve(make_world: MakeWorld) -> None:
    world = furnished(make_world(policy=policy(approvals=2)))
    for number in NUMBERS:
        unblock(world, number, actor="ada")

    assert approve(world, "Ada")["state"] == "waiting"
    assert approve(world, "ADA").get("already")
    assert free(world) == set(NUMBERS[:3])
    assert approve(world, "jane")["state"] == "approved"
    assert free(world) == set(NUMBERS)


def test_a_death_while_it_is_applied_is_gone_on_with(office: World) -> None:
    from dncsync.sync import fuse_decisions

    for number in NUMBERS:
        unblock(office, number)
    fuse = the_fuse(office)
    shown = office.do(lambda tx: fuse_plan.show(tx, fuse, 5))
    run(office, "approve-plan", id=fuse.id, by="jane", sha256=shown.revision.sha256)
    office.do(lambda tx: fuse_decisions.apply_piece(tx, office.at, office.intake, most=1))
    office.restart()
    assert len(free(office)) == 4
    while office.do(lambda tx: fuse_decisions.apply_piece(tx, office.at, office.intake, most=1)):
        pass
    office.settle()

    assert free(office) == set(NUMBERS)
    assert office.query("SELECT count(*) FROM reversals") == [(6,)]
