"""The policy: regulation section 12 and design section 3 as typed, dated values with their sources.

Each rule names the rows of `regulation.md` that it stands for, and how far it may be moved: freely, only in
the stricter direction (for some counsel may approve more), or not at all. What a file leaves out has the
built-in default.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from dncsync.model import Channel

VERIFIED_FOR_DAYS: Final = 60
"""REV-13: after so many days somebody should look whether the rules have changed."""
REVOKE_ALL: Final = date(2027, 1, 31)
"""REV-10: the day on which the waiver of the revoke-all rule ends."""
WATCH_FROM: Final = date(2027, 1, 1)
"""REV-13: the revoke-all waiver ends soon after; a policy verified before this day needs another look."""


class PolicyError(ValueError):
    """A policy that cannot be used. One line; `problems` holds one line for each fault."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(problems[0] + more)


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
    """Rows of regulation.md, separated by spaces."""
    change: Change = Change.FREE
    least: int | None = None
    most: int | date | None = None
    counsel: bool = False
    """Whether an entry in `counsel_approved` may go beyond `most`."""


UP: Final = Change.UP
FIXED: Final = Change.FIXED


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Medium: TypeAlias = Literal["voice", "sms", "mms", "rcs", "ringless"]
Restore: TypeAlias = Literal["restore_and_report"]
_Media: TypeAlias = Annotated[tuple[Medium, ...], Field(strict=False)]
MessageClass: TypeAlias = Literal["package_delivery", "healthcare_exempt", "financial_exempt"]
_STATE_MONTHS: Final = {"TX": 12, "TN": 12}
_CHANNEL_OF: Final[Mapping[str, Channel]] = {
    "voice": Channel.VOICE,
    "ringless": Channel.VOICE,
    "sms": Channel.SMS,
    "mms": Channel.SMS,
    "rcs": Channel.SMS,
}


class DeadlineOverrides(_Table):
    """Business days for exempted message classes; never more than the general deadline."""

    package_delivery: Annotated[int, Law("REV-06", UP, 0, 6, counsel=True)] = 6
    healthcare_exempt: Annotated[int, Law("REV-06", UP, 0, 0, counsel=True)] = 0
    financial_exempt: Annotated[int, Law("REV-06", UP, 0, 0, counsel=True)] = 0


class SlaSeconds(_Table):
    """Internal goals per class of system, in seconds from receipt."""

    ledger: Annotated[int, Law("REV-05", least=1)] = 1
    dialer: Annotated[int, Law("REV-05", least=1)] = 60
    sms: Annotated[int, Law("REV-05", least=1)] = 60
    crm: Annotated[int, Law("REV-05", least=1)] = 900
    all: Annotated[int, Law("REV-05 SEED-01 SEED-18", UP, 1, 86_400, counsel=True)] = 86_400


class Confirmation(_Table):
    """The one text that may follow an opt-out. dncsync sends none; it reports who did."""

    max: Annotated[int, Law("REV-07", UP, 0, 1)] = 1
    window_seconds: Annotated[int, Law("REV-07", UP, 0, 300, counsel=True)] = 300
    marketing: Annotated[Literal["forbidden"], Law("REV-07", FIXED)] = "forbidden"
    clarify: Annotated[bool, Law("REV-08")] = False


class Ebr(_Table):
    """Established business relationship: lifts a registry block, never an internal one."""

    transaction_months: Annotated[int, Law("EBR-01", UP, 0, 18)] = 18
    inquiry_months: Annotated[int, Law("EBR-02", UP, 0, 3)] = 3
    state_overrides: Annotated[
        dict[str, int], AfterValidator(lambda given: _STATE_MONTHS | given), Law("EBR-06", UP)
    ] = Field(default_factory=lambda: dict(_STATE_MONTHS))
    """Months per state. A file adds states, and may shorten the built-in ones."""


class Override(_Table):
    """Permission for one record in spite of a block."""

    ttl_months: Annotated[int, Law("OVR-04", UP, 1, 12)] = 12
    document: Annotated[Literal["required"], Law("OVR-01", FIXED)] = "required"
    attestation: Annotated[Literal["required"], Law("OVR-01", FIXED)] = "required"
    ebr_lifts_internal: Annotated[Literal[False], Law("OVR-02 SEED-13", FIXED)] = False


class Rnd(_Table):
    """The FCC's Reassigned Numbers Database."""

    enabled: Annotated[bool, Law("RND-01")] = False
    rely_on_no_days: Annotated[int, Law("RND-03", UP, 1, 31, counsel=True)] = 31
    void_consent_on_yes: Annotated[Literal[True], Law("RND-09", FIXED)] = True
    release_block_on_yes: Annotated[Literal[False], Law("RND-09", FIXED)] = False


class RetentionYears(_Table):
    """Evidence is kept at least so long after the last event."""

    evidence: Annotated[int, Law("PRI-09", UP, least=5)] = 5
    calls: Annotated[int, Law("PRI-09", UP, least=5)] = 5
    consent: Annotated[int, Law("PRI-09", UP, least=5)] = 5
    registry_access: Annotated[int, Law("PRI-09", UP, least=5)] = 5


class Calendars(_Table):
    """Which business days count: see `dncsync.deadlines.Calendar`."""

    alarm: Annotated[Literal["mon_fri"], Law("CLK-01", FIXED)] = "mon_fri"
    report: Annotated[Literal["us_federal", "mon_fri"], Law("CLK-01")] = "us_federal"


class Rules(_Table):
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


class Sync(_Table):
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


class Policy(_Table):
    """What is in force on one day. `Policy()` is the built-in default."""

    policy_schema: Literal[1] = 1
    verified_on: Annotated[date, Law("REV-13")] = date(2026, 11, 21)
    """When somebody last compared these rules with the law."""
    reviewed_by: str = ""
    """Name of the counsel who reviewed it; empty shows a banner in reports."""
    rules: Rules = Rules()
    sync: Sync = Sync()
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


# --- dated policies ----------------------------------------------------------------------------------------


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


# --- reading -----------------------------------------------------------------------------------------------


def load(path: Path) -> Policies:
    """Reads a policy file. Raises PolicyError, its line beginning with the path."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError([f"{path}: cannot be read: {error}"]) from error
    except PolicyError as error:
        raise PolicyError([f"{path}: {problem}" for problem in error.problems]) from error


def parse(text: str) -> Policies:
    """Reads the TOML text of a policy. Raises PolicyError."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # tomllib lets both through
        raise PolicyError([f"not valid TOML: {error}"]) from error
    changes = document.pop("amendments", [])
    first = _policy(document)
    if not isinstance(changes, list) or not all(isinstance(change, dict) for change in changes):
        raise PolicyError(["amendments: write each one as a table [[amendments]]"])
    amendments: list[Amendment] = []
    for number, change in enumerate(changes, start=1):
        where = f"amendments, number {number}"
        since = change.pop("from", None)
        why = change.pop("why", "")
        if not isinstance(since, date) or isinstance(since, datetime) or not isinstance(why, str):
            raise PolicyError(
                [f"{where}: needs `from`, a date such as 2027-02-01, and may have `why`, a text"]
            )
        if amendments and since <= amendments[-1].since:
            raise PolicyError([f"{where}: from {since} is not after {amendments[-1].since}"])
        document = _merged(document, change)
        try:
            amendments.append(Amendment(since, why, _policy(document)))
        except PolicyError as error:
            raise PolicyError([f"{where}: {problem}" for problem in error.problems]) from error
    return Policies(first, tuple(amendments))


def _policy(document: dict[str, Any]) -> Policy:
    try:
        policy = Policy.model_validate(document)
    except ValidationError as error:
        raise PolicyError([_explain(dict(fault)) for fault in error.errors()]) from None
    if problems := list(_beyond(policy)):
        raise PolicyError(problems)
    return policy


def _merged(document: dict[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(document)
    for key, value in change.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a policy with its value and source, e.g. for `policy show`."""

    path: str
    value: object
    law: Law


def rules_of(policy: Policy) -> Iterator[Rule]:
    """Every rule in `policy`, in the order of the file."""
    yield from _walk(policy, "")


def _walk(table: _Table, prefix: str) -> Iterator[Rule]:
    for name, info in type(table).model_fields.items():
        value = getattr(table, name)
        if isinstance(value, _Table):
            yield from _walk(value, f"{prefix}{name}.")
        for law in info.metadata:
            if isinstance(law, Law):
                yield Rule(prefix + name, value, law)


_LAWS: Final[Mapping[str, Law]] = {rule.path: rule.law for rule in rules_of(Policy())}


def _beyond(policy: Policy) -> Iterator[str]:
    """One line for each value that is looser than its limit allows."""
    for rule in rules_of(policy):
        path, value, law, shown = rule.path, rule.value, rule.law, _shown(rule.value)
        if isinstance(value, int) and law.least is not None and value < law.least:
            yield f"{path} = {shown}: at least {law.least} ({law.ids})"
        elif law.most is not None and value > law.most:  # type: ignore[operator]
            if not law.counsel:
                yield f"{path} = {shown}: at most {law.most} ({law.ids})"
            elif path not in policy.counsel_approved:
                yield f'{path} = {shown}: more than {law.most} ({law.ids}) needs [counsel_approved] "{path}"'
        elif isinstance(value, tuple) and len(set(value)) < len(value):
            yield f"{path}: lists a name twice"
    rules = policy.rules
    for path, own in (("channels_on_stop", "sms"), ("channels_on_voice_dnc", "voice")):
        if own not in getattr(rules, path):
            yield f'rules.{path}: must list "{own}" itself (REV-12)'
    for state, months in rules.ebr.state_overrides.items():
        most = _STATE_MONTHS.get(state, rules.ebr.transaction_months)
        if not 0 <= months <= most:
            yield f"rules.ebr.state_overrides.{state} = {_shown(months)}: from 0 to {most} (EBR-06)"
    for path, who in policy.counsel_approved.items():
        if path not in _LAWS or not _LAWS[path].counsel:
            yield f'counsel_approved: "{path}" is no rule that counsel can lift'
        elif not who.strip():
            yield f'counsel_approved: "{path}" must say who approved it and where that is written'


def _shown(value: object) -> str:
    """A value as the file has it, cut to what fits on a line."""
    try:
        text = str(value) if isinstance(value, date) else json.dumps(value, default=str)
    except ValueError:  # an integer of thousands of digits
        return "a huge number"
    return text if len(text) <= 60 else text[:57] + "..."


_PLAIN_WORDS: Final = {"model_type": "must be a table", "tuple_type": "must be a list"}


def _explain(fault: Mapping[str, Any]) -> str:
    """One line for a fault that pydantic found."""
    path, shown = ".".join(str(part) for part in fault["loc"]), _shown(fault["input"])
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(path, [*_LAWS, *Policy.model_fields], n=1)
        return f"{path}: unknown key" + (f"; did you mean {near[0]}?" if near else "")
    law = _LAWS.get(path)
    source = f" ({law.ids})" if law else ""
    if fault["type"] == "literal_error":
        wanted = fault["ctx"]["expected"].replace("False", "false").replace("True", "true")
        return f"{path} = {shown}: must be {wanted}{source}"
    words = fault["msg"].replace("Input should be", "must be")
    return f"{path} = {shown}: {_PLAIN_WORDS.get(fault['type'], words)}{source}"
