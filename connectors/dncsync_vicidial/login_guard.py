"""Keeps a wrong password from locking the API user out for everybody (section 2.2, login rules)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dncsync.clock import Clock
from dncsync.connector import Failure, FailureKind, VendorError
from dncsync_vicidial.answers import Login

LOCK_SECONDS = 960.0
"""A lock ends 900 s after the last good login; a minute more for the two clocks."""

_MESSAGES = {
    Login.BAD: "login refused; not tried again, because the 10th failure locks the user for everybody: "
    "correct user and password, then restart",
    Login.SECOND_FACTOR: "VICIdial wants a second factor of this user; not tried again: exempt the API user "
    "from two-factor login, then restart",
    Login.LOCK: "the user is locked after too many failed logins; no call for 16 minutes",
    Login.IP: "VICIdial does not allow this machine's address: add it to the API IP list of the user group",
}


class LoginGuard:
    """What the last login said. Thread-safe.

    Until one login was good, calls go one at a time: a wrong password is tried once, not once per thread.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._one_at_a_time = threading.RLock()
        self._proven = False
        self._refused: Login | None = None
        self._until: float | None = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Around each call that logs in. Raises `VendorError` (unauthorised) where none may be made now."""
        if self._proven:
            self._check()
            yield
            return
        with self._one_at_a_time:
            self._check()
            yield

    def accepted(self) -> None:
        """An answer came that only a good login gets."""
        with self._lock:
            if self._refused is None:  # an answer that overtook a refusal proves nothing
                self._proven = True

    def refused(self, how: Login) -> Failure:
        """An answer refused the login; what to tell the caller."""
        with self._lock:
            if how is not Login.IP:  # with an address refused the password was right, and nothing is counted
                self._proven = False
                if self._refused in (None, Login.LOCK):
                    self._refused = how
                    locked = how is Login.LOCK
                    self._until = self._clock.monotonic() + LOCK_SECONDS if locked else None
            return self._failure(how)

    def _check(self) -> None:
        with self._lock:
            if self._refused is None:
                return
            if self._until is not None and self._clock.monotonic() >= self._until:
                self._refused = self._until = None
                return
            raise VendorError(self._failure(self._refused))

    def _failure(self, how: Login) -> Failure:
        wait = None
        if how is Login.LOCK:
            wait = max(0.0, (self._until or 0.0) - self._clock.monotonic()) or LOCK_SECONDS
        return Failure(FailureKind.UNAUTHORISED, _MESSAGES[how], how.value, wait)
