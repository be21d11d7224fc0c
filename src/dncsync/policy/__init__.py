"""The policy: regulation section 12 and design section 3 as typed, dated values with their sources.

`values` holds the rules and their defaults, `limits` how far each may be moved, `dated` which policy is in
force on a day, and `reading` the file. Use it from here:

    policies = policy.load(Path("policy.toml"))
    policies.check(today)
    policies.on(today).business_days()
"""

from dncsync.policy.dated import VERIFIED_FOR_DAYS, WATCH_FROM, Amendment, Notice, NoticeKind, Policies
from dncsync.policy.limits import PolicyError, Rule, rules_of
from dncsync.policy.reading import load, parse
from dncsync.policy.values import (
    REVOKE_ALL,
    BlocksFuse,
    Calendars,
    Change,
    ClearsFuse,
    Confirmation,
    DeadlineOverrides,
    Drift,
    DueDays,
    Ebr,
    FirstReadFuse,
    Fuses,
    Law,
    LedgerFuse,
    Medium,
    MessageClass,
    Override,
    Policy,
    RetentionYears,
    Rnd,
    Rules,
    SlaSeconds,
    Sync,
    blocked_channels,
)

__all__ = [
    "REVOKE_ALL",
    "VERIFIED_FOR_DAYS",
    "WATCH_FROM",
    "Amendment",
    "BlocksFuse",
    "Calendars",
    "Change",
    "ClearsFuse",
    "Confirmation",
    "DeadlineOverrides",
    "Drift",
    "DueDays",
    "Ebr",
    "FirstReadFuse",
    "Fuses",
    "Law",
    "LedgerFuse",
    "Medium",
    "MessageClass",
    "Notice",
    "NoticeKind",
    "Override",
    "Policies",
    "Policy",
    "PolicyError",
    "RetentionYears",
    "Rnd",
    "Rule",
    "Rules",
    "SlaSeconds",
    "Sync",
    "blocked_channels",
    "load",
    "parse",
    "rules_of",
]
