"""After an add, leads of the number that are loaded already are taken out of the hopper (section 5.2)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dncsync.testing.faults import FaultKind
from dncsync_vicidial import hopper
from integration.vicidial.world import World, failures

Make = Callable[..., World]


def oddities(world: World) -> str:
    return " ".join(check.seen for check in world.connector.probe().checks if check.name == "oddity")


def test_loaded_leads_are_taken_out(world: World) -> None:
    number, other = world.number(), world.number(1)
    for _ in range(3):
        world.sandbox.add_contact([number], hopper="READY")
    world.sandbox.add_contact([other], hopper="READY")

    assert failures(world.stop(number)) == []

    assert (world.sandbox.in_hopper(number), world.sandbox.in_hopper(other)) == (0, 1)


def test_a_number_that_was_listed_already_is_purged_too(world: World) -> None:
    """An agent's disposition lists the number and leaves its other leads loaded."""
    number = world.number()
    world.sandbox.opt_out(number)
    world.sandbox.add_contact([number], hopper="READY")

    assert failures(world.stop(number)) == []

    assert world.sandbox.in_hopper(number) == 0


def test_a_release_purges_nothing(world: World) -> None:
    world.release(world.number())

    assert world.calls("lead_search", "update_lead") == 0


def test_one_search_serves_a_batch_and_numbers_without_leads_cost_nothing_more(world: World) -> None:
    numbers = [world.number(i) for i in range(16)]
    world.sandbox.add_contact([numbers[3]], hopper="READY")
    world.sandbox.add_contact([numbers[9]])

    assert failures(world.stop(*numbers)) == []

    assert (world.calls("add_dnc_phone"), world.calls("lead_search"), world.calls("update_lead")) == (
        16,
        1,
        2,
    )
    assert world.sandbox.in_hopper(numbers[3]) == 0


@pytest.mark.parametrize("status", ["INCALL", "DONE", "HOLD", "DNC"])
def test_a_lead_that_cannot_be_taken_out_is_no_failure(world: World, status: str) -> None:
    number = world.number()
    world.sandbox.add_contact([number], hopper=status)

    assert failures(world.stop(number)) == []

    assert world.sandbox.in_hopper(number) == 1


@pytest.mark.parametrize("zero_rows", [True, False])
def test_a_search_that_is_cut_in_silence_is_repeated_number_by_number(
    make_world: Make, monkeypatch: pytest.MonkeyPatch, zero_rows: bool
) -> None:
    monkeypatch.setattr(hopper, "MOST_LEADS", 3)
    world = make_world(zero_rows=zero_rows)
    numbers = [world.number(i) for i in range(3)]
    for number in numbers:
        for _ in range(2):
            world.sandbox.add_contact([number], hopper="READY")

    assert failures(world.stop(*numbers)) == []

    assert [world.sandbox.in_hopper(number) for number in numbers] == [0, 0, 0]
    assert world.calls("lead_search") == 4


def test_a_missing_right_fails_no_delivery_and_is_told_by_the_probe(world: World) -> None:
    number = world.number()
    world.sandbox.add_contact([number], hopper="READY")
    world.sandbox.users.by_name["dncsync"].rights.discard("modify_leads")

    assert failures(world.stop(number)) == []

    assert world.listed(number)
    assert hopper.NO_RIGHT in oddities(world)


def test_a_purge_that_fails_is_done_with_the_read_back(world: World) -> None:
    number = world.number()
    world.sandbox.add_contact([number], hopper="READY")
    world.sandbox.faults.add(FaultKind.RESET_BEFORE, after=1, times=1)

    assert failures(world.stop(number)) == []
    assert world.sandbox.in_hopper(number) == 1
    world.read(number)

    assert world.sandbox.in_hopper(number) == 0
    searches = world.calls("lead_search")
    world.read(number)
    assert world.calls("lead_search") == searches


def test_an_add_whose_answer_was_lost_is_purged_too(world: World) -> None:
    number = world.number()
    world.sandbox.add_contact([number], hopper="READY")
    world.sandbox.faults.add(FaultKind.RESET_AFTER, times=1)

    assert len(failures(world.stop(number))) == 1

    assert world.sandbox.in_hopper(number) == 0


def test_the_purge_can_be_switched_off(make_world: Make) -> None:
    world = make_world(purge_hopper=False)
    world.sandbox.add_contact([world.number()], hopper="READY")

    world.stop(world.number())

    assert world.sandbox.in_hopper(world.number()) == 1
    assert world.calls("lead_search", "update_lead") == 0


def test_a_status_on_a_lead_lists_no_number(world: World) -> None:
    """Why `update_lead status=DNC` is never used: it marks that lead and nothing else."""
    number = world.number()
    lead = world.sandbox.add_contact([number])
    world.connector._client.ask("update_lead", lead_id=lead, status="DNC")

    assert not world.listed(number)
