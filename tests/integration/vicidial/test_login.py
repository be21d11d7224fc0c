"""The lock-out is never provoked, and nothing echoed by VICIdial leaks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dncsync.connector import FailureKind, Looked, VendorError, Written
from dncsync.testing.faults import FaultKind
from integration.vicidial.world import World, failures

Make = Callable[..., World]
WRONG = "wrong-but-wellformed_1"


def failed(world: World) -> int:
    return world.sandbox.users.by_name["dncsync"].failed


def test_the_sandbox_locks_after_ten_failures_also_for_the_right_password(world: World) -> None:
    """The trap itself, as `functions.php` has it."""
    users, name, right = world.sandbox.users, "dncsync", world.sandbox.site.password

    def code(password: str) -> str:
        return getattr(users.log_in(name, password, ""), "code", "ok")

    assert code(right) == "ok"
    assert [code(WRONG) for _ in range(10)] == ["BAD"] * 10
    assert [code(right), code(WRONG)] == ["LOCK", "LOCK"]
    world.clock.sleep(900)
    assert code(WRONG) == "BAD"
    assert failed(world) == 1
    assert code(right) == "ok"
    assert failed(world) == 0


@pytest.mark.parametrize("parallel", [1, 8])
def test_a_wrong_password_is_tried_once(make_world: Make, parallel: int) -> None:
    world = make_world(settings={"password": WRONG, "parallel": parallel, "calls_per_second": 500})
    numbers = [world.number(i) for i in range(16)]

    results: list[Written | Looked] = [*world.stop(*numbers), *world.read(*numbers)]
    with pytest.raises(VendorError) as snapshot:
        world.snapshot()
    world.clock.sleep(86_400)
    results += world.read(world.number())
    probe = world.connector.probe()

    assert {f.kind for f in failures(results)} == {snapshot.value.failure.kind} == {FailureKind.UNAUTHORISED}
    assert len(failures(results)) == len(results)
    assert [check.ok for check in probe.checks if check.name == "login"] == [False]
    assert failed(world) == 1


def test_a_wrong_password_in_the_list_download_is_tried_once(make_world: Make) -> None:
    world = make_world(settings={"password": WRONG})

    for _ in range(3):
        with pytest.raises(VendorError) as refused:
            world.snapshot()
        assert refused.value.failure.code == "BAD"

    assert failed(world) == 1


def test_a_password_changed_while_calls_are_in_flight_cannot_lock_the_account(make_world: Make) -> None:
    world = make_world(parallel=8, calls_per_second=500)
    assert failures(world.read(world.number())) == []
    world.sandbox.users.by_name["dncsync"].password = "somebody-changed-it"

    for _ in range(5):
        results = world.stop(*[world.number(i) for i in range(16)])
        assert len(failures(results)) == 16

    assert 1 <= failed(world) <= 8


def test_a_locked_user_is_left_alone_for_sixteen_minutes(world: World) -> None:
    assert failures(world.read(world.number())) == []
    user = world.sandbox.users.by_name["dncsync"]
    user.failed = 10

    (first,) = failures(world.stop(world.number()))
    calls = world.calls()
    world.clock.sleep(600)
    (second,) = failures(world.stop(world.number()))

    assert (first.kind, first.code) == (FailureKind.UNAUTHORISED, "LOCK")
    assert first.retry_after is not None
    assert second.retry_after is not None
    assert first.retry_after > 900 > second.retry_after > 300
    assert world.calls() == calls
    world.clock.sleep(361)
    assert failures(world.stop(world.number())) == []
    assert user.failed == 0


def test_an_address_that_is_not_allowed_is_unauthorised_and_counts_no_failure(make_world: Make) -> None:
    world = make_world(api_ip_list=("203.0.113.5",))

    (failure,) = failures(world.read(world.number()))

    assert (failure.kind, failure.code) == (FailureKind.UNAUTHORISED, "IPBLOCK")
    assert failed(world) == 0
    world.sandbox.site.api_ip_list = ()
    assert failures(world.read(world.number())) == []


def test_two_factor_is_told_apart_from_a_wrong_password(make_world: Make) -> None:
    world = make_world(two_factor=True)

    (failure,) = failures(world.read(world.number()))

    assert failure.code == "2FA"
    assert "two-factor" in failure.message


def test_an_echoed_password_and_numbers_never_reach_a_message(make_world: Make) -> None:
    world = make_world(settings={"password": WRONG}, contacts=1000)
    with pytest.raises(VendorError) as refused:
        world.snapshot()
    said = [str(refused.value), str(world.connector.probe())]
    for fault in (None, FaultKind.LOST_PERMISSION):
        for build in ("241004-1518", "191113-1757"):
            other = make_world(build=build, settings={} if fault else {"password": WRONG})
            if fault:
                other.sandbox.faults.add(fault)
            number = other.number()
            answers: list[Written | Looked] = [*other.stop(number), *other.release(number)]
            answers += [*other.read(number), *other.read("+442071838750")]
            assert len(failures(answers)) == 4
            said += [failure.message for failure in failures(answers)]

    text = " ".join(said)
    assert WRONG not in text
    assert "3125551000" not in text
    assert "2071838750" not in text


def test_secrets_are_never_in_urls(world: World) -> None:
    world.stop(world.number())
    world.read(world.number())
    world.snapshot()
    world.connector.probe()

    assert world.sandbox.secrets_in_urls == 0
    assert world.sandbox.calls["GET /vicidial/non_agent_api.php"] == 0
    assert {call.route for call in world.wire} == {
        "dialer.test/vicidial/non_agent_api.php",
        "dialer.test/vicidial/list_download.php",
    }
