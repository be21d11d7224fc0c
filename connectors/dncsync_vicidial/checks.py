"""What `doctor` asks: can this build, this user and this configuration do the job? Nothing here writes.

A right is tested by calling a function without its required fields: the program checks rights before fields
(section 2.1), so the answer tells whether the right is there, and nothing is done.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from dncsync.clock import Clock
from dncsync.connector import (
    Aspect,
    Failure,
    FailureKind,
    FieldCheck,
    FieldStatus,
    Probe,
    ProbeCheck,
    VendorError,
)
from dncsync_vicidial.answers import Answer, Version, Word, listed, refusal
from dncsync_vicidial.client import VicidialClient
from dncsync_vicidial.fields import ADD_SINCE, DELETE_SINCE
from dncsync_vicidial.listing import may_download
from dncsync_vicidial.settings import INTERNAL, VicidialSettings

RESERVED = "3125550100"
"""A number that nobody has (555-01xx)."""

NO_SUCH_FUNCTION = "dncsync_no_such_function"

MOST_CLOCK_SKEW = 300.0

_USER = "Admin > Users > (the API user): User Level 8 or more"
_AGENT_API = f"{_USER}, Agent API Access = 1"
_LEADS = f"{_AGENT_API}, Modify Leads = 1; or set purge_hopper = false"
_MEND = {
    "check_phone_number": _AGENT_API,
    "add_dnc_phone": f"{_USER}, Modify Lists = 1",
    "delete_dnc_phone": f"{_USER}, Modify Lists = 1, Delete From DNC Lists = 1",  # noqa: S608
    "lead_search": _LEADS,
    "update_lead": _LEADS,
    "campaigns_list": f"{_AGENT_API}, View Reports = 1",
}


def describe(
    client: VicidialClient, settings: VicidialSettings, wildcards: Mapping[str, set[str]]
) -> tuple[FieldCheck, ...]:
    """Functions by build, the answer parser, the call time, each list. Raises `VendorError`."""
    version = client.version()
    checks = [
        _build(version),
        _function("add_dnc_phone", ADD_SINCE, version),
        _function("delete_dnc_phone", DELETE_SINCE, version),
        _parser(client),
        *_internal_list(client, settings),
    ]
    campaigns = [name for name in settings.lists if name != INTERNAL]
    if campaigns:
        known = client.campaigns()
        checks += [_campaign(name, known) for name in campaigns]
    return (*checks, *(_wildcards(name, wildcards[name]) for name in settings.lists if wildcards.get(name)))


def _function(name: str, since: str, version: Version) -> FieldCheck:
    there = version.build >= since
    return FieldCheck(
        name=f"function {name}",
        status=FieldStatus.OK if there else FieldStatus.MISSING,
        expected=f"build {since} or newer",
        seen=f"{'in' if there else 'not in'} build {version.build}",
        mend="" if there else f"upgrade VICIdial: {name} came with build {since}",
    )


def _build(version: Version) -> FieldCheck:
    """Always in order; its fingerprint tells when the program itself was exchanged (section 7). Day and time
    apart: together they would read, and be masked, as a phone number."""
    day, _, hour = version.build.partition("-")
    return FieldCheck(
        name="build",
        status=FieldStatus.OK,
        expected="the build that answers were checked with",
        seen=f"{version.version}, build {version.build}",
        fingerprint={"version": version.version, "build_day": day, "build_time": hour},
    )


def _parser(client: VicidialClient) -> FieldCheck:
    answer = client.ask(NO_SUCH_FUNCTION)
    readable = _is_no_function(answer)
    return FieldCheck(
        name="wording of answers",
        status=FieldStatus.OK if readable else FieldStatus.CHANGED,
        expected="an unknown function is refused in the words we know",
        seen="known" if readable else "other words",
        mend="" if readable else "this build answers in another way; report it with its build number",
    )


def _internal_list(client: VicidialClient, settings: VicidialSettings) -> tuple[FieldCheck, ...]:
    answer = _check_reserved(client, settings)
    call_time_known = not answer.says("NOT A VALID CALL TIME")
    name = settings.local_call_time
    checks = [
        FieldCheck(
            name=f"call time {name}",
            status=FieldStatus.OK if call_time_known else FieldStatus.MISSING,
            expected="an id under Admin > Call Times",
            seen="known" if call_time_known else "not known there",
            mend=""
            if call_time_known
            else f"add the call time {name}, or set local_call_time to one there is",
        )
    ]
    if INTERNAL in settings.lists:
        read = listed(answer, RESERVED, internal=True) is not None
        status = FieldStatus.OK if read else FieldStatus.HIDDEN
        checks.append(
            FieldCheck(
                name=f"list {INTERNAL}",
                status=status if call_time_known else FieldStatus.HIDDEN,
                expected="numbers can be looked up",
                seen="numbers can be looked up" if read else "numbers cannot be looked up",
                mend="" if read else _MEND["check_phone_number"],
            )
        )
    return tuple(checks)


def _campaign(name: str, known: Mapping[str, bool]) -> FieldCheck:
    if name in known:
        return FieldCheck(
            name=f"list {name}",
            status=FieldStatus.OK,
            expected="a campaign",
            seen="active" if known[name] else "there, not active",
            fingerprint={"campaign": name},
        )
    like = difflib.get_close_matches(name, known, n=3) or [k for k in known if k.upper() == name.upper()]
    hint = f"; like it: {', '.join(like)}" if like else ""
    return FieldCheck(
        name=f"list {name}",
        status=FieldStatus.MISSING if known else FieldStatus.HIDDEN,
        expected="a campaign",
        seen=f"not among the {len(known)} campaigns that the API user sees{hint}",
        mend=f"correct {name} in `lists`, or allow its campaign to the API user's group (Allowed Campaigns); "
        "until then nothing is written to it",
    )


def _wildcards(name: str, rows: set[str]) -> FieldCheck:
    shown = ", ".join(sorted(rows)[:5])
    return FieldCheck(
        name=f"list {name}: area codes",
        status=FieldStatus.OK,
        expected="entries that block an area code are kept apart from numbers, and never touched",
        seen=f"{len(rows)} at the last listing: {shown}{' ...' if len(rows) > 5 else ''}",
    )


def probe(client: VicidialClient, settings: VicidialSettings, clock: Clock) -> Probe:
    """Raises `VendorError` where VICIdial cannot be reached; what a person must mend is a check."""
    version = client.version()
    skew = (version.server_time - clock.now()).total_seconds()
    checks = [
        ProbeCheck("version", True, f"{version.version}, build {version.build}"),
        ProbeCheck(
            "clock",
            abs(skew) <= MOST_CLOCK_SKEW,
            f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} ours",
            "" if abs(skew) <= MOST_CLOCK_SKEW else "set the clocks of both machines by NTP",
        ),
        _transport(settings),
    ]
    login, *excess = _login(client)
    checks += [login, *excess]
    if login.ok:
        checks += _rights(client, settings)
    checks += [
        ProbeCheck(
            "oddity", False, f"{what}, {times} times", "see the connector's README, section 'Oddities'"
        )
        for what, times in client.take_oddities()
    ]
    parts = urlsplit(settings.api)
    return Probe(f"{parts.netloc}{parts.path}", tuple(checks), version.server_time)


def _transport(settings: VicidialSettings) -> ProbeCheck:
    if settings.base_url.startswith("https:"):
        return ProbeCheck("transport", True, "https")
    # Common inside a closed network, so it is said and not refused.
    return ProbeCheck(
        "transport",
        True,
        "http: the password crosses the network unencrypted; make base_url https:// outside a closed network",
    )


def _login(client: VicidialClient) -> list[ProbeCheck]:
    """The login; and, where the user may call any function, that it may do too much: the program looks at the
    user's list of functions before it looks for the function (section 2.1)."""
    try:
        answer = client.ask(NO_SUCH_FUNCTION)
    except VendorError as error:
        if error.failure.kind is not FailureKind.UNAUTHORISED:
            raise
        return [ProbeCheck("login", False, "refused", error.failure.message, Aspect.CREDENTIALS)]
    if not _is_no_function(answer):
        failure = refusal(answer, "an unknown function")
        return [ProbeCheck("login", False, failure.message, "this build answers in words we do not know")]
    login = ProbeCheck("login", True, "accepted", about=Aspect.CREDENTIALS)
    if not answer.says("NO FUNCTION SPECIFIED"):
        return [login]
    mend = f"Admin > Users > (the API user) > API Allowed Functions: only {' '.join(sorted(_MEND))}"
    seen = "more than needed: the API user may call every function"
    return [login, ProbeCheck("allowed functions", True, seen, mend, Aspect.EXCESS)]


def _rights(client: VicidialClient, settings: VicidialSettings) -> list[ProbeCheck]:
    """One harmless call for each function that will be used."""

    def fields_asked_for(answer: Answer) -> bool:
        return answer.says("YOU MUST USE ALL REQUIRED FIELDS")

    def looked_up(answer: Answer) -> bool:
        return listed(answer, RESERVED, internal=True) is not None

    def searched(answer: Answer) -> bool:
        return answer.word is Word.ROW or answer.says("NO MATCHES FOUND")

    def anything_but_a_refusal(answer: Answer) -> bool:
        return refusal(answer, "update_lead").code not in ("permission", "no-function")

    nothing = {"phone_number": "", "campaign_id": INTERNAL}
    no_lead = {"lead_id": "0", "no_update": "Y"}
    search = {"search_method": "PHONE_NUMBER", "phone_number": RESERVED, "records": "1", "header": "NO"}
    checks = [
        _right("check_phone_number", lambda: _check_reserved(client, settings), looked_up),
        _right("add_dnc_phone", lambda: client.ask("add_dnc_phone", **nothing), fields_asked_for),
        _right("delete_dnc_phone", lambda: client.ask("delete_dnc_phone", **nothing), fields_asked_for),
    ]
    if settings.purge_hopper:
        checks += [
            _right("lead_search", lambda: client.ask("lead_search", **search), searched),
            _right("update_lead", lambda: client.ask("update_lead", **no_lead), anything_but_a_refusal),
        ]
    if any(name != INTERNAL for name in settings.lists):
        checks.append(_campaigns_right(client))
    page = may_download(client)
    checks.append(
        ProbeCheck(
            "list download",
            page is None,
            "allowed" if page is None else "refused",
            _words(page),
            Aspect.SIGHT,
        )
    )
    return checks


def _right(function: str, ask: Callable[[], Answer], good: Callable[[Answer], bool]) -> ProbeCheck:
    name = f"function {function}"
    try:
        answer = ask()
    except VendorError as error:
        return ProbeCheck(name, False, "no answer", error.failure.message)
    if good(answer):
        return ProbeCheck(name, True, "allowed", about=Aspect.SCOPE)
    failure = refusal(answer, function)
    if failure.code == "permission":
        about = Aspect.SIGHT if function == "check_phone_number" else Aspect.SCOPE
        return ProbeCheck(name, False, failure.message, _MEND[function], about)
    return ProbeCheck(name, False, failure.message, failure.message)


def _campaigns_right(client: VicidialClient) -> ProbeCheck:
    name = "function campaigns_list"
    try:
        seen = client.campaigns()
    except VendorError as error:
        return ProbeCheck(name, False, error.failure.message, _MEND["campaigns_list"], Aspect.SIGHT)
    mend = "" if seen else _MEND["campaigns_list"]
    return ProbeCheck(name, bool(seen), f"{len(seen)} campaigns", mend, Aspect.SIGHT)


def _words(failure: Failure | None) -> str:
    return failure.message if failure is not None else ""


def _check_reserved(client: VicidialClient, settings: VicidialSettings) -> Answer:
    return client.ask(
        "check_phone_number",
        phone_number=RESERVED,
        phone_code="1",
        local_call_time=settings.local_call_time,
        dnc_check="Y",
    )


def _is_no_function(answer: Answer) -> bool:
    """Also a user with a list of allowed functions gets this far only after a good login."""
    return answer.says("NO FUNCTION SPECIFIED") or answer.says(
        "DOES NOT HAVE PERMISSION TO USE THIS FUNCTION"
    )
