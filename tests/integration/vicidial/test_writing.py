"""Adds and deletes: the sandbox's own lists are looked at afterwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dncsync.connector import Change, FailureKind, Looked, Written
from dncsync.model import Channel, Flag
from dncsync.testing.faults import FaultKind
from integration.vicidial.world import API, STOP, World, failures, is_set

Make = Callable[..., World]


def test_a_stop_is_on_the_internal_list_and_reads_back(world: World) -> None:
    number = world.number()

    (written,) = world.stop(number)

    assert written.failure is None
    assert written.ref == "add_dnc_phone DNC NUMBER HAS BEEN ADDED"
    assert world.flags(number) == {"SYSTEM_INTERNAL/3125551000": Flag.SET}
    assert world.sandbox.store.logged("3125551000") == [("-SYSINT-", "add", "dncsync")]
    assert [is_set(looked) for looked in world.read(number)] == [True]


def test_a_stop_is_on_every_configured_list(make_world: Make) -> None:
    world = make_world(lists=("SYSTEM_INTERNAL", "SALES"))
    number = world.number()

    assert failures(world.stop(number)) == []

    assert world.flags(number) == {"SYSTEM_INTERNAL/3125551000": Flag.SET, "SALES/3125551000": Flag.SET}


def test_release_deletes_the_entry(world: World) -> None:
    number = world.number()
    world.stop(number)

    assert failures(world.release(number)) == []

    assert not world.listed(number)
    assert [is_set(looked) for looked in world.read(number)] == [False]


def test_already_exists_is_an_error_line_and_a_success(world: World) -> None:
    number = world.number()
    world.stop(number)

    (again,) = world.stop(number)

    assert again.failure is None
    assert again.ref == "add_dnc_phone DNC NUMBER ALREADY EXISTS"


def test_does_not_exist_is_an_error_line_and_a_success(world: World) -> None:
    (written,) = world.release(world.number())

    assert written.failure is None
    assert written.ref == "delete_dnc_phone DNC NUMBER DOES NOT EXIST"


@pytest.mark.parametrize("separators", ["program", "document"])
def test_separators_that_differ_between_document_and_program_are_not_relied_on(
    make_world: Make, separators: str
) -> None:
    world = make_world(separators=separators)
    world.stop(world.number())

    assert failures(world.stop(world.number())) == []


def test_results_are_per_item_in_the_order_given(world: World) -> None:
    """One bad item among good ones fails alone."""
    keys = [
        "SYSTEM_INTERNAL/3125551000",
        "SYSTEM_INTERNAL/12",
        "OTHER/3125551001",
        "SYSTEM_INTERNAL/3125551002",
    ]

    results = list(world.connector.write([Change(key, STOP) for key in keys]))

    assert [r.key for r in results] == keys
    assert [r.failure.code if r.failure else "" for r in results] == ["", "no-form", "list", ""]
    assert world.listed("+13125551000")
    assert world.listed("+13125551002")


def test_a_number_without_ten_digits_is_rejected_and_never_guessed(world: World) -> None:
    number = "+442071838750"
    assert world.connector.keys_for(number) == ("SYSTEM_INTERNAL/+442071838750",)

    (written,) = world.stop(number)
    (looked,) = world.read(number)

    for failure in (written.failure, looked.failure):
        assert failure is not None
        assert (failure.kind, failure.code) == (FailureKind.REJECTED, "no-form")
        assert "2071838750" not in failure.message
    assert world.calls() == 0


def test_international_form_keeps_the_country_code(make_world: Make) -> None:
    world = make_world(lead_form="international")

    assert failures(world.stop("+442071838750")) == []

    assert world.flags("+442071838750") == {"SYSTEM_INTERNAL/442071838750": Flag.SET}
    (holding,) = world.snapshot()
    assert holding.numbers == ("+442071838750",)


def test_commas_are_never_sent(world: World) -> None:
    """`3125550100,3125550101` would be stored as one value, cut to 18 characters."""
    (written,) = world.connector.write([Change("SYSTEM_INTERNAL/3125550100,3125550101", STOP)])

    assert written.failure is not None
    assert written.failure.code == "no-form"
    assert world.calls("add_dnc_phone") == 0


def test_a_change_of_another_channel_costs_no_call(world: World) -> None:
    (written,) = world.connector.write([Change("SYSTEM_INTERNAL/3125551000", {Channel.SMS: Flag.SET})])

    assert written.failure is None
    assert world.calls() == 0


# --- campaigns: VICIdial takes any id and says SUCCESS ------------------------------------------------------


def test_the_sandbox_accepts_an_unknown_campaign_as_the_program_does(world: World) -> None:
    """The trap itself: SUCCESS, filed under a campaign that does not exist."""
    answer = world.connector._client.ask("add_dnc_phone", phone_number="3125551000", campaign_id="SALSE")

    assert answer.line.startswith("SUCCESS")
    assert world.flags("+13125551000") == {
        "SALSE/3125551000": Flag.SET,
        "SYSTEM_INTERNAL/3125551000": Flag.CLEAR,
    }


def test_a_misspelt_campaign_is_never_written_to(make_world: Make) -> None:
    world = make_world(lists=("SYSTEM_INTERNAL", "SALSE"))
    number = world.number()

    results = world.stop(number)

    assert [(r.key, r.failure.code if r.failure else "") for r in results] == [
        ("SYSTEM_INTERNAL/3125551000", ""),
        ("SALSE/3125551000", "unknown-campaign"),
    ]
    assert world.sandbox.store.lists_with("3125551000") == ["SYSTEM_INTERNAL"]


def test_a_misspelt_campaign_never_reads_as_clear(make_world: Make) -> None:
    world = make_world(lists=("SALSE",))

    (looked,) = world.read(world.number())

    assert looked.holding is None
    assert looked.failure is not None
    assert looked.failure.kind is FailureKind.REJECTED


def test_campaigns_are_asked_for_once_an_hour_and_a_missing_one_every_five_minutes(make_world: Make) -> None:
    world = make_world(lists=("SALES",), campaigns=("RETAIN",))
    world.stop(world.number())
    world.stop(world.number())
    assert world.calls("campaigns_list") == 1

    world.sandbox.site.campaigns = ("RETAIN", "SALES")
    world.clock.sleep(300)
    assert failures(world.stop(world.number())) == []
    world.clock.sleep(3000)
    world.stop(world.number(1))
    assert world.calls("campaigns_list") == 2
    world.clock.sleep(700)
    world.stop(world.number(2))
    assert world.calls("campaigns_list") == 3


def test_campaigns_that_cannot_be_seen_fail_only_their_own_items(make_world: Make) -> None:
    world = make_world(lists=("SYSTEM_INTERNAL", "SALES"))
    world.sandbox.users.by_name["dncsync"].rights.discard("view_reports")

    results = world.stop(world.number())

    assert results[0].failure is None
    assert results[1].failure is not None
    assert results[1].failure.kind is FailureKind.UNAUTHORISED
    assert world.sandbox.store.lists_with("3125551000") == ["SYSTEM_INTERNAL"]


@pytest.mark.parametrize("there", ["SYSTEM_INTERNAL", "SALES"])
def test_an_internal_hit_does_not_hide_the_campaign_s(make_world: Make, there: str) -> None:
    """Asked together, VICIdial answers for the internal list only; so each list is asked by itself."""
    world = make_world(lists=("SYSTEM_INTERNAL", "SALES"))
    world.sandbox.store.add(there, "3125551000")

    assert {x.key: is_set(x) for x in world.read("+13125551000")} == {
        "SYSTEM_INTERNAL/3125551000": there == "SYSTEM_INTERNAL",
        "SALES/3125551000": there == "SALES",
    }


def test_a_campaign_that_uses_another_ones_list_is_never_verified(make_world: Make) -> None:
    """`use_other_campaign_dnc`: the entry is on a list that nobody looks at, and the reading shows it."""
    world = make_world(lists=("SALES",), other_campaign_dnc={"SALES": "RETAIN"})
    number = world.number()

    assert failures(world.stop(number)) == []

    assert world.listed(number)
    assert [is_set(looked) for looked in world.read(number)] == [False]


# --- writes that say yes and do nothing, or whose answer is lost ----------------------------------------


@pytest.mark.parametrize("fault", [FaultKind.DROPPED_WRITE, FaultKind.READ_ONLY_FIELD])
def test_success_without_effect_is_seen_by_reading(world: World, fault: FaultKind) -> None:
    world.sandbox.faults.add(fault)
    number = world.number()

    assert failures(world.stop(number)) == []

    assert not world.listed(number)
    assert [is_set(looked) for looked in world.read(number)] == [False]


@pytest.mark.parametrize("status", [200, 500])
def test_an_empty_answer_is_unknown_and_settled_by_a_look_up(world: World, status: int) -> None:
    """PHP died: the body is empty, and the entry may be there (here it is)."""
    number = world.number()
    world.sandbox.faults.add(FaultKind.STATUS_AFTER, status=status, times=1)

    (written,) = world.stop(number)

    assert written.failure is not None
    assert written.failure.kind is FailureKind.UNKNOWN
    assert written.failure.code in ("empty", "500")
    assert world.calls("add_dnc_phone") == 1
    assert [is_set(looked) for looked in world.read(number)] == [True]


@pytest.mark.parametrize(
    ("fault", "landed"), [(FaultKind.RESET_BEFORE, False), (FaultKind.RESET_AFTER, True)]
)
def test_a_reset_on_a_write_is_unknown_and_not_repeated(world: World, fault: FaultKind, landed: bool) -> None:
    number = world.number()
    world.sandbox.faults.add(fault, times=1)

    (written,) = world.stop(number)

    assert written.failure is not None
    assert written.failure.kind is FailureKind.UNKNOWN
    assert world.sandbox.calls[API] == 2  # the add, and the search for its leads
    assert world.listed(number) is landed
    assert [is_set(looked) for looked in world.read(number)] == [landed]


@pytest.mark.parametrize("status", [200, 502])
def test_an_html_page_is_unknown(world: World, status: int) -> None:
    world.sandbox.faults.add(FaultKind.HTML, status=status, times=1)

    (written,) = world.stop(world.number())

    assert written.failure is not None
    assert written.failure.kind is FailureKind.UNKNOWN


def test_an_answer_cut_in_the_middle_is_unknown(world: World) -> None:
    number = world.number()
    world.sandbox.faults.add(FaultKind.TRUNCATED, times=1)

    (written,) = world.stop(number)

    assert written.failure is not None
    assert (written.failure.kind, written.failure.code) == (FailureKind.UNKNOWN, "unreadable")
    assert world.listed(number)


def test_database_down_is_http_200_and_transient(world: World) -> None:
    world.sandbox.site.mysql_down = True

    results: list[Written | Looked] = [*world.stop(world.number()), *world.read(world.number())]

    assert [failure.kind for failure in failures(results)] == [FailureKind.TRANSIENT] * 2


def test_rate_limits_of_a_proxy_are_honoured(world: World) -> None:
    world.sandbox.faults.add(FaultKind.STATUS, status=429, retry_after=120, times=1)

    (written,) = world.stop(world.number())

    assert written.failure is not None
    assert (written.failure.kind, written.failure.retry_after) == (FailureKind.RATE_LIMITED, 120.0)


def test_lost_rights_are_unauthorised(world: World) -> None:
    world.sandbox.users.by_name["dncsync"].rights.clear()

    results: list[Written | Looked] = [
        *world.stop(world.number()),
        *world.release(world.number()),
        *world.read(world.number()),
    ]

    found = failures(results)
    assert [failure.kind for failure in found] == [FailureKind.UNAUTHORISED] * 3
    assert "ADD DNC NUMBERS" in found[0].message


def test_an_old_build_has_no_delete(make_world: Make) -> None:
    world = make_world(build="240302-0803")
    number = world.number()
    assert failures(world.stop(number)) == []

    (written,) = world.release(number)

    assert written.failure is not None
    assert (written.failure.kind, written.failure.code) == (FailureKind.REJECTED, "no-function")
    assert world.listed(number)


def test_php_warnings_before_the_answer_are_read_past_and_reported(make_world: Make) -> None:
    world = make_world(php_warnings=True)
    number = world.number()

    assert failures(world.stop(number)) + failures(world.read(number)) == []

    assert world.listed(number)
    assert any(check.name == "oddity" and not check.ok for check in world.connector.probe().checks)


# --- several calls at once --------------------------------------------------------------------------------


def test_parallel_calls_keep_order_and_lose_nothing(make_world: Make) -> None:
    world = make_world(parallel=4, calls_per_second=500)
    numbers = [world.number(i) for i in range(world.connector.capabilities.write_batch)]

    written = world.stop(*numbers)
    looked = world.read(*numbers)

    expected = [key for number in numbers for key in world.connector.keys_for(number)]
    assert [w.key for w in written] == [x.key for x in looked] == expected
    assert failures(written) == []
    assert all(is_set(x) for x in looked)
    assert all(world.listed(number) for number in numbers)
