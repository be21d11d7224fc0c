"""The rules and their built-in defaults.

Each rule names the rows of `regulation.md` that it stands for, and how far it may be moved: freely, only in
the stricter direction (for some counsel may approve more), or not at all. What a file leaves out has the
default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from dncsync.model import Channel
from dncsync.policy.kinds import ACTIONS, Action

REVOKE_ALL: Final = date(2027, 1, 31)
"""REV-10: the day on which the waiver of the revoke-all rule ends."""


class Change(StrEnum):
    """How far a rule may be moved."""

    FREE = "y"
    UP = "up"
    """Only in the stricter direction of its limit."""
    FIXED = "n"


@dataclass(frozen=True, slots=True)
class Law:
    """What stands behind a rule, and its limits (inclusive)."""

    ids: str
    """Rows of regulation.md, separated by spaces; LAW-9 is the house's own (mass changes ask first)."""
    change: Change = Change.FREE
    least: int | None = None
    most: int | date | None = None
    counsel: bool = False
    """Whether an entry in `counsel_approved` may go beyond `most`."""


UP: Final = Change.UP
FIXED: Final = Change.FIXED


class Table(BaseModel):
    """A table of the file: unknown keys and other types are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Medium: TypeAlias = Literal["voice", "sms", "mms", "rcs", "ringless"]
Restore: TypeAlias = Literal["restore_and_report"]
_Media: TypeAlias = Annotated[tuple[Medium, ...], Field(strict=False)]
MessageClass: TypeAlias = Literal["package_delivery", "healthcare_exempt", "financial_exempt"]
STATE_MONTHS: Final = {"TX": 12, "TN": 12}
_CHANNEL_OF: Final[Mapping[str, Channel]] = {
    "voice": Channel.VOICE,
    "ringless": Channel.VOICE,
    "sms": Channel.SMS,
    "mms": Channel.SMS,
    "rcs": Channel.SMS,
}


class DeadlineOverrides(Table):
    """Business days for exempted message classes; never more than the general deadline."""

    package_delivery: Annotated[int, Law("REV-06", UP, 0, 6, counsel=True)] = 6
    healthcare_exempt: Annotated[int, Law("REV-06", UP, 0, 0, counsel=True)] = 0
    financial_exempt: Annotated[int, Law("REV-06", UP, 0, 0, counsel=True)] = 0


class SlaSeconds(Table):
    """Internal goals per class of system, in seconds from receipt."""

    ledger: Annotated[int, Law("REV-05", least=1)] = 1
    dialer: Annotated[int, Law("REV-05", least=1)] = 60
    sms: Annotated[int, Law("REV-05", least=1)] = 60
    crm: Annotated[int, Law("REV-05", least=1)] = 900
    all: Annotated[int, Law("REV-05 SEED-01 SEED-18", UP, 1, 86_400, counsel=True)] = 86_400


class Confirmation(Table):
    """The one text that may follow an opt-out. dncsync sends none; it reports who did."""

    max: Annotated[int, Law("REV-07", UP, 0, 1)] = 1
    window_seconds: Annotated[int, Law("REV-07", UP, 0, 300, counsel=True)] = 300
    marketing: Annotated[Literal["forbidden"], Law("REV-07", FIXED)] = "forbidden"
    clarify: Annotated[bool, Law("REV-08")] = False


class Ebr(Table):
    """Established business relationship: lifts a registry block, never an internal one."""

    transaction_months: Annotated[int, Law("EBR-01", UP, 0, 18)] = 18
    inquiry_months: Annotated[int, Law("EBR-02", UP, 0, 3)] = 3
    state_overrides: Annotated[
        dict[str, int], AfterValidator(lambda given: STATE_MONTHS | given), Law("EBR-06", UP)
    ] = Field(default_factory=lambda: dict(STATE_MONTHS))
    """Months per state. A file adds states, and may shorten the built-in ones."""


class Override(Table):
    """Permission for one record in spite of a block."""

    ttl_months: Annotated[int, Law("OVR-04", UP, 1, 12)] = 12
    document: Annotated[Literal["required"], Law("OVR-01", FIXED)] = "required"
    attestation: Annotated[Literal["required"], Law("OVR-01", FIXED)] = "required"
    ebr_lifts_internal: Annotated[Literal[False], Law("OVR-02 SEED-13", FIXED)] = False


class Rnd(Table):
    """The FCC's Reassigned Numbers Database."""

    enabled: Annotated[bool, Law("RND-01")] = False
    rely_on_no_days: Annotated[int, Law("RND-03", UP, 1, 31, counsel=True)] = 31
    void_consent_on_yes: Annotated[Literal[True], Law("RND-09", FIXED)] = True
    release_block_on_yes: Annotated[Literal[False], Law("RND-09", FIXED)] = False


class RetentionYears(Table):
    """Evidence is kept at least so long after the last event."""

    evidence: Annotated[int, Law("PRI-09", UP, least=5)] = 5
    calls: Annotated[int, Law("PRI-09", UP, least=5)] = 5
    consent: Annotated[int, Law("PRI-09", UP, least=5)] = 5
    registry_access: Annotated[int, Law("PRI-09", UP, least=5)] = 5


class Calendars(Table):
    """Which business days count: see `dncsync.deadlines.Calendar`."""

    alarm: Annotated[Literal["mon_fri"], Law("CLK-01", FIXED)] = "mon_fri"
    report: Annotated[Literal["us_federal", "mon_fri"], Law("CLK-01")] = "us_federal"


class Rules(Table):
    """Regulation section 12, under the same names."""

    honor_deadline_business_days: Annotated[int, Law("REV-05 INT-03 SEED-02", UP, 0, 10)] = 10
    honor_deadline_overrides: DeadlineOverrides = DeadlineOverrides()
    sla_seconds: SlaSeconds = SlaSeconds()
    confirmation: Confirmation = Confirmation()
    scope_on_stop: Annotated[Literal["global", "narrow"], Law("REV-10", UP, counsel=True)] = "global"
    revoke_all_mandatory_from: Annotated[date, Law("REV-10", UP, None, REVOKE_ALL, counsel=True)] = REVOKE_ALL
    channels_on_stop: Annotated[_Media, Law("REV-12 SEED-12")] = ("voice", "sms", "mms", "rcs", "ringless")
    channels_on_voice_dnc: Annotated[_Media, Law("SEED-12")] = ("voice", "ringless", "sms", "mms", "rcs")
    transactional_after_stop: Annotated[Literal["blocked", "allowed"], Law("REV-11")] = "blocked"
    entity_scope: Annotated[Literal["tenant"], Law("INT-07", FIXED)] = "tenant"
    internal_block_ttl: Annotated[Literal["never"], Law("INT-08", FIXED)] = "never"
    internal_min_years: Annotated[int, Law("INT-08", UP, least=5)] = 5
    registry_max_age_days: Annotated[int, Law("REG-03 CLK-10", UP, 1, 31)] = 30
    registry_min_download_interval_hours: Annotated[int, Law("NDA-05", UP, least=24)] = 24
    registry_uncovered: Annotated[Literal["block"], Law("REG-04", FIXED)] = "block"
    registry_full_reconcile_days: Annotated[int, Law("NDA-11", least=1)] = 28
    ebr: Ebr = Ebr()
    override: Override = Override()
    rnd: Rnd = Rnd()
    flag_cleared_without_evidence: Annotated[Restore, Law("CON-06", FIXED)] = "restore_and_report"
    retention_years: RetentionYears = RetentionYears()
    identifier_mode: Annotated[Literal["plain", "hmac"], Law("PRI-03 PRI-07")] = "plain"
    calendars: Calendars = Calendars()
    on_error: Annotated[Literal["fail_closed"], Law("T15", FIXED)] = "fail_closed"


class Sync(Table):
    """How requests spread between systems (design section 3)."""

    channels: Annotated[Literal["unified", "separate"], Law("REV-12 SEED-12")] = "unified"
    """`unified`: a request also blocks what `channels_on_stop` or `channels_on_voice_dnc` lists."""
    coverage: Annotated[Literal["record", "person"], Law("SEED-11")] = "record"
    """`person`: a blocked number extends by one hop to the other numbers of the records that hold it."""
    shared_line_limit: Annotated[int, Law("SEED-11", least=1)] = 5
    """A number on more records than this is a shared line: `person` does not extend from it."""
    reversal_authorities: Annotated[tuple[str, ...], Field(strict=False), Law("CON-04 CON-06")] = ()
    """Names of systems in which a clear with a reason is a reversal. Everywhere else it is drift."""
    start_restores: Annotated[Literal["programme", "nothing"], Law("SEED-15")] = "programme"
    """What START does: `programme` lifts what the same number stopped by text on that sender, no more."""


class BlocksFuse(Table):
    """How many new blocks one system may bring by being read, before their spread waits (design law 9)."""

    count: Annotated[int, Law("LAW-9", least=1)] = 500
    percent: Annotated[float, Field(gt=0, le=100), Law("LAW-9")] = 5.0
    """Of the holdings known of that system."""
    least: Annotated[int, Law("LAW-9", least=1)] = 50
    """The share does not count below so many."""
    window_seconds: Annotated[int, Law("LAW-9", least=1)] = 600
    approvals: Annotated[int, Law("LAW-9", least=1, most=2)] = 1


class FirstReadFuse(Table):
    """The same while a system of records is read in full for the first time: history is being imported, and
    only a share that no history has (an inverted flag) is stopped. A list has no such share."""

    percent: Annotated[float, Field(gt=0, le=100), Law("LAW-9")] = 25.0
    least: Annotated[int, Law("LAW-9", least=1)] = 50
    approvals: Annotated[int, Law("LAW-9", least=1, most=2)] = 1


class LedgerFuse(Table):
    """How many new blocks may come by reading and by imports together, from everywhere."""

    count: Annotated[int, Law("LAW-9", least=1)] = 10_000
    window_seconds: Annotated[int, Law("LAW-9", least=1)] = 3_600
    approvals: Annotated[int, Law("LAW-9", least=1, most=2)] = 1


class ClearsFuse(Table):
    """How many numbers may be unblocked, before further reversals wait."""

    count: Annotated[int, Law("LAW-9 CON-06", least=1)] = 50
    percent: Annotated[float, Field(gt=0, le=100), Law("LAW-9 CON-06")] = 1.0
    """Of the blocked numbers."""
    least: Annotated[int, Law("LAW-9 CON-06", least=1)] = 10
    window_seconds: Annotated[int, Law("LAW-9 CON-06", least=1)] = 3_600
    approvals: Annotated[int, Law("LAW-9 CON-06", least=1, most=2)] = 1


class Fuses(Table):
    """Mass changes ask first (design law 9). What a person says (a STOP, a disposition, a request taken by
    hand) never counts and never waits."""

    new_blocks: BlocksFuse = BlocksFuse()
    first_read: FirstReadFuse = FirstReadFuse()
    ledger: LedgerFuse = LedgerFuse()
    clears: ClearsFuse = ClearsFuse()
    systems: Annotated[dict[str, BlocksFuse], Law("LAW-9")] = Field(default_factory=dict)
    """Name of a system to its own limits in place of `new_blocks`."""


class DueDays(Table):
    """Days within which a person must have dealt with a finding, by severity."""

    page: Annotated[int, Law("design-7", least=1)] = 1
    warning: Annotated[int, Law("design-7", least=1)] = 7
    info: Annotated[int, Law("design-7", least=1)] = 30
    review: Annotated[int, Law("REV-03", UP, 1, 1)] = 1
    """Of an ambiguous message (regulation section 11: one business day; a day is never longer)."""


class Drift(Table):
    """What follows from a finding (design section 7)."""

    actions: Annotated[dict[str, Action], AfterValidator(lambda given: {**ACTIONS, **given})] = Field(
        default_factory=lambda: dict(ACTIONS)
    )
    """Kind of finding -> what follows. A file changes the kinds it names."""
    flap_minutes: Annotated[int, Law("design-7", least=0)] = 60
    """A finding that comes back within so many minutes after it closed is the same trouble still."""
    due_days: DueDays = DueDays()


class Policy(Table):
    """What is in force on one day. `Policy()` is the built-in default."""

    policy_schema: Literal[1] = 1
    verified_on: Annotated[date, Law("REV-13")] = date(2026, 11, 21)
    """When somebody last compared these rules with the law."""
    reviewed_by: str = ""
    """Name of the counsel who reviewed it; empty shows a banner in reports."""
    rules: Rules = Rules()
    sync: Sync = Sync()
    fuses: Fuses = Fuses()
    drift: Drift = Drift()
    counsel_approved: dict[str, str] = Field(default_factory=dict)
    """Path of a rule to who approved going beyond its limit and where that is written."""

    def business_days(self, message_class: MessageClass | None = None) -> int:
        """Business days to honour a request (REV-05), for messages of an exempted class (REV-06)."""
        days = self.rules.honor_deadline_business_days
        if message_class is None:
            return days
        return min(days, int(getattr(self.rules.honor_deadline_overrides, message_class)))


def blocked_channels(policy: Policy, requested: frozenset[Channel]) -> frozenset[Channel]:
    """The channels that a request blocks: never fewer than it was made on (REV-12, SEED-12)."""
    if policy.sync.channels == "separate":
        return requested
    spread: set[str] = set()
    if Channel.SMS in requested:
        spread.update(policy.rules.channels_on_stop)
    if Channel.VOICE in requested:
        spread.update(policy.rules.channels_on_voice_dnc)
    return requested | {_CHANNEL_OF[medium] for medium in spread}
