"""The probe, and the watch over the org's API allocation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dncsync.budget import Lane
from dncsync.connector import Change, FailureKind, ProbeCheck, VendorError
from dncsync.model import Channel, Flag

Make = Callable[..., Any]
SET = {Channel.VOICE: Flag.SET}


def check(o: Any, name: str) -> ProbeCheck:
    (found,) = [c for c in o.connector.probe().checks if c.name == name]
    assert isinstance(found, ProbeCheck)
    return found


def test_a_healthy_org_passes_and_is_named(org: Make) -> None:
    o = org(contacts=3, person_accounts=True)
    probe = o.connector.probe()
    assert all(c.ok for c in probe.checks)
    assert probe.account == o.sandbox.org_id
    assert probe.server_time is not None
    assert {c.name for c in probe.checks} >= {"API version", "log-in", "access to Contact", "clock"}


def test_a_wrong_secret_is_a_failed_check_that_says_what_to_do(org: Make) -> None:
    o = org()
    o.sandbox.client_secret = "another one"
    found = check(o, "log-in")
    assert not found.ok
    assert "client_secret" in found.seen
    assert "README" in found.mend


def test_an_org_that_cannot_be_reached_is_no_verdict_on_credentials(org: Make) -> None:
    o = org()
    o.sandbox.faults.add("reset-before")
    with pytest.raises(VendorError) as caught:
        o.connector.probe()
    assert caught.value.failure.kind is FailureKind.TRANSIENT


def test_a_version_that_is_no_longer_served_is_told_before_it_fails(org: Make) -> None:
    o = org(settings={"api_version": "99.0"})
    found = check(o, "API version")
    assert not found.ok
    assert found.mend == "set api_version to 68.0"
    assert not check(o, "access to Contact").ok


def test_a_warning_header_becomes_a_notice(org: Make) -> None:
    words = "This API is deprecated and will be removed by Summer '28."
    o = org(warning=words)
    list(o.connector.snapshot(None))
    found = check(o, "notice")
    assert not found.ok
    assert words in found.seen


def test_an_object_without_permission_is_named(org: Make) -> None:
    o = org()
    o.sandbox.schema.no_object.add("Lead")
    found = check(o, "access to Lead")
    assert not found.ok
    assert "Modify All" in found.mend
    assert check(o, "access to Contact").ok


def test_a_clock_that_is_off_is_told(org: Make) -> None:
    o = org()
    honest = o.sandbox.clock.now
    from datetime import timedelta

    from dncsync.clock import VirtualClock

    o.sandbox.clock = VirtualClock(honest() + timedelta(minutes=10))
    assert not check(o, "clock").ok


@pytest.mark.parametrize("readable", [True, False])
def test_the_allocation_is_told_with_or_without_the_limits_resource(org: Make, readable: bool) -> None:
    o = org(limits_readable=readable, daily_limit=15_000)
    found = check(o, "API calls of 24 hours")
    assert found.ok
    assert "of 15000" in found.seen
    o.sandbox.spend(14_900)
    list(o.connector.changes(None))
    assert not check(o, "API calls of 24 hours").ok


def test_the_budget_learns_the_allocation_from_the_usage_header(org: Make) -> None:
    o = org(daily_limit=15_000)
    list(o.connector.snapshot(None))
    assert o.doors[0].budget.usage()["daily"][1] == 15_000


@pytest.mark.parametrize("per_app", [True, False])
def test_the_last_calls_of_the_allocation_are_kept_for_opt_outs(org: Make, per_app: bool) -> None:
    o = org(daily_limit=10_000, per_app_usage=per_app)
    key = o.sandbox.add_contact(["+12025550101"])
    o.sandbox.spend(9_600)
    list(o.connector.changes(None))
    o.clock.advance(1)
    refused = []
    for _ in range(20):
        try:
            list(o.connector.changes(None))
        except VendorError as error:
            refused.append(error.failure)
    assert refused
    assert {f.kind for f in refused} == {FailureKind.RATE_LIMITED}
    assert all(f.retry_after and f.retry_after <= 300 for f in refused)
    door = o.doors[0]
    with door.on_behalf_of(Lane.OPT_OUT):
        (written,) = o.connector.write([Change(key, SET)])
    assert written.failure is None
    assert o.sandbox.record(key)["DoNotCall"] == 1


def test_polling_goes_on_by_itself_once_the_allocation_has_freed(org: Make) -> None:
    o = org(daily_limit=10_000)
    o.sandbox.spend(9_600)
    list(o.connector.changes(None))
    o.clock.advance(86_401)
    o.sandbox.opt_out("+12025550101")
    pages = list(o.connector.changes(None))
    assert pages[-1].more is False


def test_an_exhausted_allocation_is_rate_limited_and_not_a_lost_permission(org: Make) -> None:
    o = org(daily_limit=3)
    failures = []
    for _ in range(4):
        try:
            list(o.connector.snapshot(None))
        except VendorError as error:
            failures.append(error.failure)
    assert {f.kind for f in failures} == {FailureKind.RATE_LIMITED}
