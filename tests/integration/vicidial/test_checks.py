"""probe() and describe(): what is wrong, and how to mend it in VICIdial's own words."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dncsync.connector import FieldStatus, VendorError
from dncsync.testing.faults import FaultKind
from integration.vicidial.world import World

Make = Callable[..., World]


def ill(world: World) -> dict[str, str]:
    """Failed lines of the probe: name -> mend."""
    return {check.name: check.mend for check in world.connector.probe().checks if not check.ok}


def faulty(world: World) -> dict[str, tuple[FieldStatus, str]]:
    """Fields that are not in order."""
    fields = world.connector.describe()
    return {f.name: (f.status, f.mend) for f in fields if f.status is not FieldStatus.OK}


def test_a_healthy_site_has_nothing_to_mend_and_is_left_as_it_was(make_world: Make) -> None:
    world = make_world(contacts=100, lists=("SYSTEM_INTERNAL", "SALES"))
    before = world.sandbox.store.rows("SYSTEM_INTERNAL")

    assert ill(world) == {}
    assert faulty(world) == {}

    probe = world.connector.probe()
    assert probe.account == "dialer.test/vicidial"
    assert probe.server_time is not None
    assert abs((world.clock.now() - probe.server_time).total_seconds()) < 10
    assert world.sandbox.store.rows("SYSTEM_INTERNAL") == before
    assert world.sandbox.store.lists_with("3125550100") == []


@pytest.mark.parametrize(
    ("right", "names"),
    [
        ("modify_lists", {"function add_dnc_phone", "function delete_dnc_phone"}),
        ("delete_from_dnc", {"function delete_dnc_phone"}),
        ("modify_leads", {"function lead_search", "function update_lead"}),
        ("view_reports", {"function campaigns_list"}),
        ("download_lists", {"list download"}),
        (
            "vdc_agent_api_access",
            {
                "function check_phone_number",
                "function lead_search",
                "function update_lead",
                "function campaigns_list",
            },
        ),
    ],
)
def test_each_missing_right_is_named_with_its_remedy(make_world: Make, right: str, names: set[str]) -> None:
    world = make_world(lists=("SYSTEM_INTERNAL", "SALES"))
    world.sandbox.users.by_name["dncsync"].rights.discard(right)

    found = ill(world)

    assert set(found) == names
    assert all("= 1" in mend for mend in found.values())
    assert not any("list -" in mend for mend in found.values()), "the list that cannot exist is our affair"


@pytest.mark.parametrize("in_order", [True, False])
def test_the_right_to_download_is_tested_without_a_list(make_world: Make, in_order: bool) -> None:
    """The order of the page's checks is UNCONFIRMED: in the other order the right shows only in use."""
    world = make_world(contacts=1000, rights_before_campaigns=in_order)
    assert ill(world) == {}
    world.sandbox.users.by_name["dncsync"].rights.discard("download_lists")

    assert set(ill(world)) == ({"list download"} if in_order else set())


def test_a_user_with_few_functions_is_told_which_are_missing(make_world: Make) -> None:
    world = make_world(allowed_functions=("check_phone_number", "lead_search", "update_lead"))

    assert set(ill(world)) == {"function add_dnc_phone", "function delete_dnc_phone"}


@pytest.mark.parametrize(
    ("build", "missing"),
    [
        ("240302-0803", {"function delete_dnc_phone"}),
        ("191113-1757", {"function add_dnc_phone", "function delete_dnc_phone"}),
    ],
)
def test_an_old_build_is_named(make_world: Make, build: str, missing: set[str]) -> None:
    world = make_world(build=build)

    assert set(ill(world)) == missing
    found = faulty(world)
    assert set(found) == missing
    assert all(mend.startswith("upgrade VICIdial") for _, mend in found.values())


def test_a_misspelt_campaign_is_named_with_those_like_it(make_world: Make) -> None:
    world = make_world(lists=("SYSTEM_INTERNAL", "SALSE"))

    (found,) = [f for f in world.connector.describe() if f.status is not FieldStatus.OK]

    assert (found.name, found.status) == ("list SALSE", FieldStatus.MISSING)
    assert "like it: SALES" in found.seen
    assert "nothing is written" in found.mend


@pytest.mark.parametrize(
    ("fault", "status"),
    [(FaultKind.HIDDEN_FIELD, FieldStatus.HIDDEN), (FaultKind.RENAMED_FIELD, FieldStatus.MISSING)],
)
def test_a_campaign_that_is_hidden_or_renamed_is_described(
    make_world: Make, fault: FaultKind, status: FieldStatus
) -> None:
    world = make_world(lists=("SALES",), campaigns=("SALES",))
    world.sandbox.faults.add(fault, name="SALES")

    assert {name: state for name, (state, _) in faulty(world).items()} == {"list SALES": status}


def test_a_call_time_that_the_site_lacks_is_named(make_world: Make) -> None:
    world = make_world(call_times=("9am-9pm",))

    found = faulty(world)

    assert found["call time 24hours"][0] is FieldStatus.MISSING
    assert "local_call_time" in found["call time 24hours"][1]
    (looked,) = world.read(world.number())
    assert looked.failure is not None
    assert "NOT A VALID CALL TIME" in looked.failure.message


def test_a_wrong_clock_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real = world.sandbox.api._version
    monkeypatch.setattr(world.sandbox.api, "_version", lambda: real().replace("EPOCH: 1", "EPOCH: 2"))

    assert "clock" in ill(world)


def test_something_else_at_base_url_is_no_vicidial(make_world: Make) -> None:
    world = make_world(settings={"base_url": "http://dialer.test/elsewhere"})

    with pytest.raises(VendorError, match="404"):
        world.connector.probe()


def test_plain_http_is_said_and_not_refused(world: World) -> None:
    (check,) = [check for check in world.connector.probe().checks if check.name == "transport"]

    assert check.ok
    assert "unencrypted" in check.seen
    assert "https://" in check.seen


def test_every_line_of_the_doctor_makes_sense_by_itself(make_world: Make) -> None:
    """Shown as `name: seen`; a pronoun or a bare minus sign says nothing there."""
    world = make_world(lists=("SYSTEM_INTERNAL", "SALES"))
    seen = {check.name: check.seen for check in world.connector.probe().checks}
    seen |= {check.name: check.seen for check in world.connector.describe()}

    assert seen["list SYSTEM_INTERNAL"] == "numbers can be looked up"
    assert seen["wording of answers"] == "known"
    assert "-0" not in seen["clock"]
    assert not any(words.startswith(("they ", "it ")) for words in seen.values())
