"""Users of the sandbox, with VICIdial's counting of failed logins (section 2.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from dncsync.clock import Clock
from dncsync_vicidial.sandbox_options import Options

LOCKED_AT = 10
LOCK_SECONDS = 900.0

ALL_RIGHTS = (
    "modify_lists",
    "delete_from_dnc",
    "vdc_agent_api_access",
    "modify_leads",
    "view_reports",
    "download_lists",
)


@dataclass
class User:
    """A row of `vicidial_users`."""

    password: str
    level: int = 8
    active: bool = True
    rights: set[str] = field(default_factory=lambda: set(ALL_RIGHTS))
    reports: bool = True
    """The group may see the report "Download List"."""
    all_campaigns: bool = True
    """The group is allowed all campaigns."""
    failed: int = 0
    last_good: float = 0.0


@dataclass(frozen=True, slots=True)
class Refused:
    """A login that was not taken."""

    code: str
    """BAD, LOCK, IPBLOCK or 2FA."""
    text: str
    """The words, without the `ERROR: ` that the API puts in front."""


class Users:
    """All users. The sandbox holds its lock around every use."""

    def __init__(self, clock: Clock, options: Options) -> None:
        self._clock = clock
        self._options = options
        self.by_name = {options.user: User(options.password)}

    def stripped(self, value: str) -> str:
        """What is left of a user or password: the rest is cut out without a word."""
        return re.sub(r"[^-\w]" if self._options.non_latin else r"[^-_0-9A-Za-z]", "", value)

    def log_in(self, name: str, password: str, address: str) -> User | Refused:
        """`user_authorization` of `functions.php`: the tenth failure locks, also for the right password,
        until 900 s after the last good login; then a wrong one begins at 1 again."""
        name, password = self.stripped(name), self.stripped(password)
        user = self.by_name.get(name)
        # It echoes user and password, as the program does.
        bad = Refused("BAD", f"Login incorrect, please try again: |{name}|{password}|BAD|")
        if user is None or not user.active or user.level < 7:
            return bad
        now = self._clock.now().timestamp()
        if user.failed >= LOCKED_AT and now < user.last_good + LOCK_SECONDS:
            return Refused("LOCK", f"Too many login attempts, try again in 15 minutes: |{name}|LOCK|")
        if password != user.password:
            user.failed = 1 if user.failed >= LOCKED_AT else user.failed + 1
            return bad
        if self._options.api_ip_list and address not in self._options.api_ip_list:
            return Refused("IPBLOCK", f"Your IP Address is not allowed: {address}: ||IPBLOCK|")
        if self._options.two_factor:
            return Refused("2FA", f"Login incorrect, please try again: |{name}|{password}|2FA|")
        user.failed, user.last_good = 0, now
        return user
