"""One shared log-in, never a storm (sheet 2.4, 2.6, 14.2)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from dncsync.connector import Change, FailureKind, VendorError
from dncsync.model import Channel, Flag

SET = {Channel.VOICE: Flag.SET}
Make = Callable[..., Any]


def failure(call: Callable[[], Any]) -> Any:
    with pytest.raises(VendorError) as caught:
        call()
    return caught.value.failure


def test_building_a_connector_makes_no_call(org: Make) -> None:
    assert not org().sandbox.calls


def test_one_login_serves_every_operation(org: Make) -> None:
    o = org(contacts=30)
    list(o.connector.snapshot(None))
    list(o.connector.changes(None))
    o.connector.probe()
    assert o.sandbox.sessions.made == 1


@pytest.mark.parametrize("auth", ["client-credentials", "jwt"])
def test_both_flows_log_in(org: Make, auth: str) -> None:
    o = org(contacts=5, auth=auth)
    assert sum(len(p.holdings) for p in o.connector.snapshot(None)) == 5


def test_an_expired_session_is_renewed_once_and_the_call_repeated(org: Make) -> None:
    o = org(contacts=10)
    list(o.connector.snapshot(None))
    o.sandbox.sessions.expire()
    assert o.look("Contact/0035g0000000001AAA").gone is False
    assert o.sandbox.sessions.made == 2


def test_a_write_survives_an_expired_session(org: Make) -> None:
    o = org()
    key = o.sandbox.add_contact(["+12025550101"])
    o.look(key)
    o.sandbox.sessions.expire()
    (written,) = o.connector.write([Change(key, SET)])
    assert written.failure is None
    assert o.boxes("+12025550101") == {key: Flag.SET}


def test_headers_survive_a_relogin(org: Make) -> None:
    """The SDK drops them (sheet 0.2); a dropped allowSave would make a duplicate rule win."""
    o = org()
    key = o.sandbox.add_contact(["+12025550101"])
    o.sandbox.duplicate_rule[key] = True
    o.look(key)
    o.sandbox.faults.add("expired-token", method="PATCH", after=1, times=1)
    (written,) = o.connector.write([Change(key, SET)])
    assert written.failure is None
    assert o.sandbox.sessions.made == 2
    assert o.boxes("+12025550101") == {key: Flag.SET}


def test_a_bulk_job_survives_an_expired_session(org: Make) -> None:
    """The SDK's bulk client never logs in again (sheet 0.4)."""
    o = org(contacts=6_000, settings={"bulk_threshold": 100})
    o.sandbox.faults.add("expired-token", path="jobs/query", after=1, times=1)
    o.sandbox.faults.add("expired-token", path="results", after=1, times=1)
    assert sum(len(p.holdings) for p in o.connector.snapshot(None)) == 6_000


def test_a_session_refused_for_ever_ends_as_unauthorised_with_few_logins(org: Make) -> None:
    o = org(contacts=5)
    o.sandbox.sessions.refuse_all = "new-too"
    for _ in range(30):
        assert failure(lambda: list(o.connector.snapshot(None))).kind is FailureKind.UNAUTHORISED
        o.clock.advance(1)
    assert o.sandbox.sessions.made == 2
    o.clock.advance(3_600)
    for _ in range(60):
        failure(lambda: list(o.connector.snapshot(None)))
        o.clock.advance(60)
    assert o.sandbox.sessions.made <= 2 + 7
    o.sandbox.sessions.refuse_all = ""
    o.clock.advance(900)
    assert sum(len(p.holdings) for p in o.connector.snapshot(None)) == 5


def test_not_valid_for_the_rest_api_is_never_answered_by_a_login(org: Make) -> None:
    o = org(contacts=5)
    o.sandbox.sessions.refuse_all = "rest"
    assert failure(lambda: list(o.connector.snapshot(None))).kind is FailureKind.UNAUTHORISED
    assert o.sandbox.sessions.made == 1


def test_an_html_401_is_a_failure_and_no_traceback(org: Make) -> None:
    o = org(contacts=5)
    o.sandbox.sessions.refuse_all = "html"
    assert failure(lambda: list(o.connector.snapshot(None))).kind is FailureKind.UNAUTHORISED


def test_threads_that_meet_an_expired_session_log_in_once(org: Make) -> None:
    o = org(contacts=50)
    list(o.connector.snapshot(None))
    o.sandbox.sessions.expire()
    start = threading.Barrier(8)
    gone: list[bool] = []

    def look() -> None:
        start.wait()
        gone.append(o.look("Contact/0035g0000000001AAA").gone)

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gone == [False] * 8
    assert o.sandbox.sessions.made == 2


@pytest.mark.parametrize(
    ("problem", "word"),
    [
        (("invalid_client", "invalid client credentials"), "client_secret"),
        (("invalid_grant", "no client credentials user enabled"), "Run As"),
        (("invalid_app_access", "user is not admin approved to access this app"), "permission set"),
        (("app_not_found", "External client app is not installed in this org"), "install"),
    ],
)
def test_a_refused_login_says_how_to_mend_it(org: Make, problem: tuple[str, str], word: str) -> None:
    o = org()
    o.sandbox.sessions.app_problem = problem
    found = failure(lambda: list(o.connector.snapshot(None)))
    assert found.kind is FailureKind.UNAUTHORISED
    assert word in found.message
    assert o.sandbox.client_secret not in found.message


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 200, "body": "[]"},
        {"kind": "status", "status": 200, "body": '{"access_token": "x"}'},
        {"kind": "html", "status": 200},
        {"kind": "html", "status": 502},
        {"kind": "truncated"},
        {"kind": "reset-before"},
        {"kind": "reset-after"},
    ],
)
def test_a_login_that_breaks_is_transient_also_for_a_write(org: Make, fault: dict[str, Any]) -> None:
    o = org()
    key = o.sandbox.add_contact(["+12025550101"])
    o.sandbox.faults.add(**fault, path="oauth2/token", times=1)
    (written,) = o.connector.write([Change(key, SET)])
    assert written.failure is not None
    assert written.failure.kind is FailureKind.TRANSIENT
    (written,) = o.connector.write([Change(key, SET)])
    assert written.failure is None


def test_a_key_that_cannot_sign_is_told_without_being_shown(org: Make) -> None:
    o = org(contacts=1, auth="jwt")
    rotten = "-----BEGIN {0}-----\nnot base64 at all\n-----END {0}-----".format("PRIVATE" + " KEY")
    from pydantic import SecretStr

    connector = o.again()
    object.__setattr__(connector._settings, "private_key", SecretStr(rotten))
    found = failure(lambda: list(connector.snapshot(None)))
    assert found.kind is FailureKind.UNAUTHORISED
    assert "private_key" in found.message
    assert "base64" not in found.message


def test_another_instance_host_never_leads_away_from_base_url(org: Make) -> None:
    o = org(contacts=3, instance_url="https://na1.salesforce.com")
    assert sum(len(p.holdings) for p in o.connector.snapshot(None)) == 3
