"""Is the portal as we need it? The field contract and a harmless probe, with how to mend what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

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
from dncsync_hubspot.client import Json, Wire
from dncsync_hubspot.errors import Refused
from dncsync_hubspot.settings import FlagProperty, HubSpotSettings, Shape

CLOCK_SLACK = 60.0
"""Seconds by which our clock may differ from HubSpot's."""
V3_ENDS = datetime(2027, 9, 30, tzinfo=UTC)
"""After September 2027 v1 to v3 get no fixes (sheet 1.2)."""
NEEDED_SCOPES = frozenset(
    {
        "crm.objects.contacts.read",
        "crm.objects.contacts.write",
        "crm.schemas.contacts.read",
    }
)
SENSITIVE = "crm.objects.contacts."
"""Sensitive data has scopes of its own, whose names changed before (sheet 1.4); none of them is called more
than needed."""
_TEXT = ("string", "phone_number")
# A single checkbox is an enumeration too, but its "true" gives no reason.
_REASON = ("string", "enumeration/select", "enumeration/radio", "enumeration/checkbox")
_WHERE = "Settings > Data Management > Properties > Contact properties"


@dataclass(frozen=True, slots=True)
class Need:
    """One property as the configuration needs it."""

    name: str
    types: tuple[str, ...]
    """Acceptable `type/fieldType`, or `type` alone."""
    options: tuple[str, ...] = ()
    """Option values that must exist."""
    writable: bool = True
    option: str = ""
    """The option of the configuration that names it."""

    @property
    def words(self) -> str:
        """What is needed, in HubSpot's words."""
        text = " or ".join(self.types)
        if self.options:
            text += f" with option values {', '.join(repr(o) for o in self.options)}"
        return text if self.writable else f"{text} (only read)"


def needs_of(settings: HubSpotSettings) -> tuple[Need, ...]:
    """The field contract of a configuration."""
    needs: dict[str, Need] = {}
    for channel, flag in settings.flags.items():
        before = needs.get(flag.property)
        need = replace(_need(flag), option=f"flags.{channel}.property")
        if before is not None:  # two options of one multi-checkbox
            need = replace(before, options=tuple(dict.fromkeys((*before.options, *need.options))))
        needs[flag.property] = need
        if flag.opted_in_property:
            option = f"flags.{channel}.opted_in_property"
            needs[flag.opted_in_property] = Need(flag.opted_in_property, need.types, option=option)
    for name in settings.phone_properties:
        needs[name] = Need(name, _TEXT, writable=False, option="phone_properties")
    for option, types in (("source", ("string",)), ("request_id", ("string",)), ("date", ("date",))):
        if text := getattr(settings.companions, option):
            needs[text] = Need(text, types, option=f"companions.{option}")
    if reason := settings.companions.reason:
        needs[reason] = Need(reason, _REASON, writable=False, option="companions.reason")
    return tuple(needs.values())


def _need(flag: FlagProperty) -> Need:
    if flag.shape is Shape.CHECKBOX:
        values = (*flag.true_values[:1], *((flag.clear_value,) if flag.clear_value else ()))
        options = values or ("true", "false")
        return Need(flag.property, ("enumeration/booleancheckbox", "bool/booleancheckbox"), options)
    if flag.shape is Shape.ENUMERATION:
        cleared = (flag.clear_value,) if flag.clear_value else ()
        types = ("enumeration/select", "enumeration/radio", "enumeration/booleancheckbox")
        return Need(flag.property, types, (*flag.true_values, *flag.false_values, *cleared))
    if flag.shape is Shape.MULTI_CHECKBOX:
        return Need(flag.property, ("enumeration/checkbox",), flag.true_values)
    return Need(flag.property, ("datetime",) if flag.with_time else ("date",))


# --- the field contract ---------------------------------------------------------------------------------


def describe(wire: Wire, settings: HubSpotSettings) -> tuple[FieldCheck, ...]:
    """Each needed property against HubSpot's definitions; one call when all is well."""
    present = {str(d.get("name")): d for d in wire.definitions()}
    needs = needs_of(settings)
    archived: dict[str, Json] = {}
    if any(need.name not in present for need in needs):
        archived = {str(d.get("name")): d for d in wire.definitions(archived=True)}
    taken = {need.name for need in needs}
    checks = []
    for need in needs:
        if need.name in present:
            checks.append(compare(need, present[need.name]))
        else:
            candidates = [d for name, d in present.items() if name not in taken]
            checks.append(_missing(need, archived.get(need.name), candidates, wire))
    return tuple(checks)


def compare(need: Need, definition: Json) -> FieldCheck:
    """A property that is there: its type, options and writability."""
    mark = fingerprint(definition)
    kind = f"{mark['type']}/{mark['fieldType']}"
    missing = [option for option in need.options if option not in mark["options"]]
    status, seen, mend = FieldStatus.OK, kind, ""
    if mark["type"] == "bool":
        missing = []  # `bool` has true and false without saying so
    if not any(wanted in (kind, mark["type"]) for wanted in need.types):
        status = FieldStatus.CHANGED
        mend = f"in {_WHERE}, make {need.name} a property of type {need.words}, or name another property"
    elif missing:
        status = FieldStatus.CHANGED
        seen = f"{kind} with option values {', '.join(repr(o) for o in mark['options']) or 'none'}"
        names = ", ".join(repr(o) for o in missing)
        mend = f"in {_WHERE} > {need.name}, add the option {names} (the internal value, not the label)"
    elif need.writable and (mark["readOnlyValue"] or mark["calculated"]):
        status, seen = FieldStatus.READ_ONLY, f"{kind}, read-only or calculated"
        mend = (
            f"{need.name} is owned by HubSpot, a calculation or a workflow; choose a property users can edit"
        )
    return FieldCheck(f"contacts.{need.name}", status, need.words, seen, mend, mark)


def fingerprint(definition: Json) -> dict[str, Any]:
    """The parts of a definition whose change changes what a value means (sheet 6.1, D3 to D5)."""
    metadata = definition.get("modificationMetadata")
    options = definition.get("options")
    return {
        "type": str(definition.get("type", "")),
        "fieldType": str(definition.get("fieldType", "")),
        "options": [str(o.get("value", "")) for o in options or [] if isinstance(o, dict)],
        "calculated": bool(definition.get("calculated")),
        "readOnlyValue": bool(metadata.get("readOnlyValue")) if isinstance(metadata, dict) else False,
        "archived": bool(definition.get("archived")),
        "hidden": bool(definition.get("hidden")),
        "dataSensitivity": str(definition.get("dataSensitivity", "non_sensitive")),
    }


def _missing(need: Need, archived: Json | None, present: Sequence[Json], wire: Wire) -> FieldCheck:
    name = f"contacts.{need.name}"
    label = str(archived.get("label", "")) if archived is not None else ""
    successor = next((d for d in present if _resembles(need, d, label)), None)
    if archived is not None and successor is None:
        mend = f"restore {need.name} in {_WHERE} > Archived properties (possible for 90 days)"
        return FieldCheck(
            name,
            FieldStatus.MISSING,
            need.words,
            "archived",
            mend,
            fingerprint(archived) | {"archived": True},
        )
    sensitive = wire.sensitive_definition(need.name)
    if sensitive is not None:
        scopes = "crm.objects.contacts.sensitive.read" + (" and .write" if need.writable else "")
        mend = (
            f"grant the app {scopes} (names may end in .v2), "
            "or use a property that is not sensitive; sensitivity cannot be taken off a property"
        )
        seen = "sensitive data, left out of answers"
        return FieldCheck(name, FieldStatus.HIDDEN, need.words, seen, mend, fingerprint(sensitive))
    if successor is not None:
        other = str(successor.get("name"))
        seen = f"{'archived' if archived is not None else 'gone'}; {other} looks alike"
        mend = f"if {other} took its place, set {need.option} to {other!r} in the configuration; else " + (
            f"restore {need.name} in {_WHERE} > Archived properties"
            if archived
            else f"create {need.name} again"
        )
        return FieldCheck(name, FieldStatus.RENAMED, need.words, seen, mend)
    mend = (
        f"create it in {_WHERE} > Create property: internal name {need.name}, {need.words}; if it exists, "
        "the app may lack the scope crm.objects.contacts.sensitive.read"
    )
    return FieldCheck(name, FieldStatus.MISSING, need.words, "not there", mend)


def _resembles(need: Need, definition: Json, label: str = "") -> bool:
    """A property with nearly this name or label, or the label that the archived one has, and the needed type:
    HubSpot cannot rename (sheet 2.4)."""
    if fingerprint(definition)["calculated"]:
        return False
    if not any(w.split("/")[0] == str(definition.get("type")) for w in need.types):
        return False
    letters = _letters(need.name)
    likely = (_letters(str(definition.get("name", ""))), _letters(str(definition.get("label", ""))))
    if label and _letters(label) == likely[1]:
        return True
    return any(one and (one.startswith(letters) or letters.startswith(one)) for one in likely)


def _letters(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())


# --- the probe --------------------------------------------------------------------------------------------


def probe(wire: Wire, settings: HubSpotSettings, now: datetime) -> Probe:
    """At most five calls, none of which changes anything. Raises `VendorError` only when HubSpot cannot be
    reached at all."""
    checks: list[ProbeCheck] = []
    account: Mapping[str, Any] = {}
    try:
        account = wire.account()
        portal = str(account.get("portalId", "unknown"))
        seen = f"portal {portal}, {account.get('accountType', '')}"
        checks.append(ProbeCheck("access token", True, seen, about=Aspect.CREDENTIALS))
    except VendorError as error:
        if error.failure.kind is not FailureKind.UNAUTHORISED:
            raise
        # 403: the token is good, but not for account information, which no sync needs.
        refused = isinstance(error, Refused) and error.status == 403
        about = Aspect.SCOPE if refused else Aspect.CREDENTIALS
        mend = _scope_mend(error.failure)
        checks.append(ProbeCheck("access token", False, error.failure.message, mend, about))
    checks.append(_tried("scope crm.objects.contacts.read", lambda: wire.page(None, ("hs_object_id",), 1)))
    checks.append(_tried("search", wire.try_search))
    checks.append(_tried("property definitions", wire.definitions))
    checks.append(_write_scope(wire))
    checks += _excess(wire, settings)
    checks.append(_portal(settings, str(account.get("portalId", ""))))
    checks.append(_api(settings, now))
    checks.append(_clock(wire, now))
    checks.append(_burst(wire, settings))
    if wire.daily_seen is not None:
        left, daily = wire.daily_seen
        mend = "find out which app spends the day's calls, or buy the API Limit Increase"
        seen = f"{left} of {daily} left"
        checks.append(ProbeCheck("daily calls", left > daily * 0.1, seen, mend, Aspect.LIMIT))
    if settings.client_secret is None:
        checks.append(ProbeCheck("webhooks", True, "not set up (no client_secret): changes come by polling"))
    return Probe(str(account.get("portalId", "unknown")), tuple(checks), wire.last_date)


def _tried(name: str, call: Callable[[], object]) -> ProbeCheck:
    try:
        call()
    except VendorError as error:
        if error.failure.kind not in (FailureKind.UNAUTHORISED, FailureKind.REJECTED):
            raise
        return ProbeCheck(name, False, error.failure.message, _scope_mend(error.failure), Aspect.SIGHT)
    return ProbeCheck(name, True, "works", about=Aspect.SIGHT)


def _write_scope(wire: Wire) -> ProbeCheck:
    """An update of nobody: 403 without the scope. HubSpot may take it or call it invalid; both will do."""
    name = "scope crm.objects.contacts.write"
    try:
        error = wire.try_empty_update()
    except VendorError as failed:
        return ProbeCheck(name, False, failed.failure.message, _scope_mend(failed.failure))
    if error is not None and error.status in (401, 403):
        return ProbeCheck(name, False, error.failure.message, _scope_mend(error.failure), Aspect.SCOPE)
    ok = error is None or error.status == 400
    return ProbeCheck(name, ok, "works" if error is None else "understood", about=Aspect.SCOPE)


def _excess(wire: Wire, settings: HubSpotSettings) -> list[ProbeCheck]:
    """Scopes beyond those that are needed, where HubSpot tells them (sheet 1.3: UNCONFIRMED)."""
    granted = wire.granted_scopes()
    if granted is None:
        return []
    more = sorted(
        scope for scope in granted - NEEDED_SCOPES if not scope.startswith(SENSITIVE) and scope != "oauth"
    )
    if not more:
        return []
    mend = (
        "in HubSpot, Settings > Integrations > Service Keys (or your private app) > Scopes, take out "
        f"{', '.join(more)}: a key that leaks should open no more than it must"
    )
    return [ProbeCheck("scopes", True, f"more than needed: {', '.join(more)}", mend, Aspect.EXCESS)]


def _scope_mend(failure: Failure) -> str:
    if failure.kind is not FailureKind.UNAUTHORISED:
        return "try again; if it stays, look at status.hubspot.com"
    return (
        "in HubSpot, Settings > Integrations > Service Keys (or your private app): check that the key is "
        "active and has crm.objects.contacts.read, crm.objects.contacts.write and crm.schemas.contacts.read"
    )


def _portal(settings: HubSpotSettings, portal: str) -> ProbeCheck:
    wrong = bool(settings.portal_id and portal and settings.portal_id != portal)
    mend = f"the token belongs to portal {portal}; portal_id says {settings.portal_id}" if wrong else ""
    return ProbeCheck("portal", not wrong, portal or "unknown", mend)


def _api(settings: HubSpotSettings, now: datetime) -> ProbeCheck:
    ended = settings.api == "v3" and now > V3_ENDS
    seen = settings.api + (" (unsupported after September 2027)" if settings.api == "v3" else "")
    mend = 'set api = "2026-03"' if ended else ""
    return ProbeCheck("API paths", not ended, seen, mend, Aspect.VERSION)


def _clock(wire: Wire, now: datetime) -> ProbeCheck:
    if wire.last_date is None:
        return ProbeCheck("clock", True, "HubSpot's answers carry no date")
    skew = (now - wire.last_date).total_seconds()
    mend = "set this machine's clock (NTP): webhook signatures older than 5 minutes are refused"
    return ProbeCheck("clock", abs(skew) <= CLOCK_SLACK, f"{skew:+.0f} s from HubSpot's", mend)


def _burst(wire: Wire, settings: HubSpotSettings) -> ProbeCheck:
    seen = wire.burst_seen
    if seen is None:
        return ProbeCheck("call limit", True, f"HubSpot does not say; using {settings.burst_limit} in 10 s")
    ok = seen >= settings.burst_limit
    return ProbeCheck("call limit", ok, f"{seen} in 10 s", f"set burst_limit = {seen}" if not ok else "")
