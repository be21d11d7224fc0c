"""Which policy is in force on a day, and what a person should look at that day."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Final

from dncsync.policy.limits import PolicyError
from dncsync.policy.values import Policy

VERIFIED_FOR_DAYS: Final = 60
"""REV-13: after so many days somebody should look whether the rules have changed."""
WATCH_FROM: Final = date(2027, 1, 1)
"""REV-13: the revoke-all waiver ends soon after; a policy verified before this day needs another look."""


class NoticeKind(StrEnum):
    """What a person should look at, though the policy works."""

    UNVERIFIED = "unverified"
    """Nobody compared it with the law for too long (REV-13)."""
    UNREVIEWED = "unreviewed"
    """No counsel reviewed it."""


@dataclass(frozen=True, slots=True)
class Notice:
    kind: NoticeKind
    text: str


@dataclass(frozen=True, slots=True)
class Amendment:
    """The whole policy from one day on."""

    since: date
    why: str
    policy: Policy


@dataclass(frozen=True, slots=True)
class Policies:
    """A policy file: the policy, and its amendments in the order of their days."""

    first: Policy = field(default_factory=Policy)
    amendments: tuple[Amendment, ...] = ()

    def on(self, day: date) -> Policy:
        """The policy in force on `day`.

        From `revoke_all_mandatory_from` on a narrow scope without counsel's approval reads as global, so that
        a daemon that runs across that day becomes stricter by itself.
        """
        policy = self._written_for(day)
        if _narrow_too_long(policy, day):
            rules = policy.rules.model_copy(update={"scope_on_stop": "global"})
            policy = policy.model_copy(update={"rules": rules})
        return policy

    def check(self, today: date) -> tuple[Notice, ...]:
        """To be called at every start. Raises PolicyError for a scope too narrow for `today` (REV-10)."""
        policy = self._written_for(today)
        if _narrow_too_long(policy, today):
            since = policy.rules.revoke_all_mandatory_from
            text = f'rules.scope_on_stop = "narrow": not allowed from {since} on (REV-10); set "global", or '
            raise PolicyError([text + 'name who approved it under [counsel_approved] "rules.scope_on_stop"'])
        notices = []
        verified = policy.verified_on
        age = (today - verified).days
        if age < 0 or age > VERIFIED_FOR_DAYS or verified < WATCH_FROM <= today:
            when = f"{age} days ago" if age >= 0 else "which is in the future"
            text = f"the policy was last compared with the law on {verified}, {when} (REV-13)"
            notices.append(Notice(NoticeKind.UNVERIFIED, text))
        if not policy.reviewed_by.strip():
            notices.append(Notice(NoticeKind.UNREVIEWED, "no counsel has reviewed the policy (reviewed_by)"))
        return tuple(notices)

    def _written_for(self, day: date) -> Policy:
        return [self.first, *(amended.policy for amended in self.amendments if amended.since <= day)][-1]


def _narrow_too_long(policy: Policy, day: date) -> bool:
    rules = policy.rules
    return (
        rules.scope_on_stop == "narrow"
        and day >= rules.revoke_all_mandatory_from
        and "rules.scope_on_stop" not in policy.counsel_approved
    )
