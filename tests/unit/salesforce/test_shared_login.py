"""The session that all calls share."""

from __future__ import annotations

import itertools

import pytest

from dncsync.clock import VirtualClock
from dncsync.connector import Failure, FailureKind, VendorError
from dncsync_salesforce.login import FIRST_PAUSE, LONGEST_PAUSE, Login, Session


class Org:
    """Hands out sessions, and counts."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.asked = 0
        self.refusing = False
        self.login = Login(self.fetch, self.clock)

    def fetch(self) -> Session:
        self.asked += 1
        if self.refusing:
            raise VendorError(Failure(FailureKind.UNAUTHORISED, "invalid_client"))
        return Session(f"token {self.asked}", "acme.my.salesforce.com")


def test_a_late_caller_with_the_old_session_gets_the_new_one_without_another_login() -> None:
    org = Org()
    old = org.login.session()
    new = org.login.renewed(old)
    assert org.login.renewed(old) == new == org.login.session()
    assert org.asked == 2


def test_a_new_session_that_is_refused_ends_the_attempts_for_a_while() -> None:
    org = Org()
    new = org.login.renewed(org.login.session())
    with pytest.raises(VendorError) as caught:
        org.login.renewed(new)
    assert caught.value.failure.kind is FailureKind.UNAUTHORISED
    for _ in range(20):
        with pytest.raises(VendorError):
            org.login.session()
    assert org.asked == 2
    org.clock.advance(FIRST_PAUSE)
    org.login.session()
    assert org.asked == 3


def test_a_refused_login_is_tried_less_and_less_often() -> None:
    org = Org()
    org.refusing = True
    times = []
    for _ in itertools.repeat(None, 8_000):
        before = org.asked
        with pytest.raises(VendorError):
            org.login.session()
        if org.asked > before:
            times.append(org.clock.monotonic())
        org.clock.advance(1)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert gaps == [60, 120, 240, 480] + [LONGEST_PAUSE] * (len(gaps) - 4)


def test_a_session_that_worked_may_be_renewed_again_and_again() -> None:
    org = Org()
    for _ in range(10):
        session = org.login.session()
        org.login.worked()
        assert org.login.renewed(session) != session
        org.login.worked()
