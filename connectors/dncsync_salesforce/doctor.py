"""The probe: who we are, what we may do, how long the API version lives, how much allocation is left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dncsync.connector import Aspect, FailureKind, Probe, ProbeCheck, VendorError
from dncsync_salesforce.client import NEARLY, OrgClient
from dncsync_salesforce.fields import Kind
from dncsync_salesforce.schema import Schema
from dncsync_salesforce.settings import SalesforceSettings
from dncsync_salesforce.soql import select

TOO_MUCH = {
    "PermissionsModifyAllData": "Modify All Data",
    "PermissionsManageUsers": "Manage Users",
    "PermissionsCustomizeApplication": "Customize Application",
    "PermissionsAuthorApex": "Author Apex",
}
"""Fields of UserPermissionAccess -> their labels in Setup."""
SKEW = 60.0
"""Seconds by which our clock may differ: JWT log-ins and the change feed's margin lean on it."""


def probe(
    client: OrgClient, schema: Schema, configured: Sequence[Kind], settings: SalesforceSettings
) -> Probe:
    """See `Connector.probe`. Raises `VendorError` where the org cannot be reached; refused credentials are a
    failed check."""
    checks: list[ProbeCheck] = [_version(client, settings)]
    try:
        client.sign_in()
    except VendorError as error:
        if error.failure.kind is not FailureKind.UNAUTHORISED:
            raise
        mend = "see 'Set up the org' in the connector's README: app, flow, Run As user, scope api"
        checks.append(ProbeCheck("log-in", False, error.failure.message, mend, Aspect.CREDENTIALS))
        return Probe("", tuple(checks), client.vendor_now())
    flow = "client credentials" if settings.client_secret else "JWT bearer"
    seen = f"{flow}, user {client.user_id or 'not told'}"
    checks.append(ProbeCheck("log-in", True, seen, about=Aspect.CREDENTIALS))
    checks += _objects(schema, configured)
    checks += _excess(client)
    checks.append(_allocation(client))
    skew = client.skew
    if skew is not None:
        seconds = abs(skew.total_seconds())
        checks.append(
            ProbeCheck(
                "clock",
                seconds <= SKEW,
                f"{seconds:.0f} s apart",
                "" if seconds <= SKEW else "run an NTP client",
            )
        )
    for notice in client.notices:
        checks.append(
            ProbeCheck(
                "notice", False, notice, "raise api_version before the vendor removes this one", Aspect.NOTICE
            )
        )
    return Probe(client.org_id, tuple(checks), client.vendor_now())


def _version(client: OrgClient, settings: SalesforceSettings) -> ProbeCheck:
    try:
        served = client.versions()
    except VendorError as error:
        if error.failure.kind is not FailureKind.REJECTED:
            raise
        mend = "check domain: it is the org's My Domain"
        return ProbeCheck("API version", False, error.failure.message, mend)
    ok = settings.api_version in served
    newest = served[-1] if served else "none"
    seen = f"{settings.api_version} {'is served' if ok else 'is not served'}; newest {newest}"
    return ProbeCheck("API version", ok, seen, "" if ok else f"set api_version to {newest}", Aspect.VERSION)


def _objects(schema: Schema, configured: Sequence[Kind]) -> Iterator[ProbeCheck]:
    schema.forget()
    persons = None
    for kind in configured:
        name = f"access to {kind.name}"
        try:
            if kind.name == "PersonAccount":
                persons = schema.has_person_accounts()
                if not persons:
                    yield ProbeCheck(name, True, "the org has no person accounts")
                    continue
            described = schema.describe(kind.sobject)
        except VendorError as error:
            if error.failure.kind not in (FailureKind.UNAUTHORISED, FailureKind.REJECTED):
                raise
            mend = f"grant the integration user Read, Edit, View All and Modify All on {kind.sobject}"
            yield ProbeCheck(name, False, error.failure.message, mend, Aspect.SIGHT)
            continue
        may = described.get("queryable") is not False and described.get("updateable") is not False
        seen = "may read and edit" if may else "may not edit"
        mend = "" if may else f"grant the integration user Edit on {kind.sobject}"
        yield ProbeCheck(name, may, seen, mend, Aspect.SCOPE)


def _excess(client: OrgClient) -> Iterator[ProbeCheck]:
    """Rights over the whole org that no sync needs; every user may ask for its own (UserPermissionAccess, API
    41.0 and later). Where it cannot be asked, nothing is said."""
    try:
        rows = client.all_rows(select(", ".join(TOO_MUCH), "UserPermissionAccess"))
    except VendorError as error:
        if error.failure.kind not in (FailureKind.UNAUTHORISED, FailureKind.REJECTED):
            raise
        return
    more = [words for name, words in TOO_MUCH.items() if rows and rows[0].get(name) is True]
    if more:
        mend = (
            "Setup > Permission Sets > (the integration user's) > System Permissions, and its profile: "
            f"untick {', '.join(more)}"
        )
        seen = f"more than needed: {', '.join(more)}"
        yield ProbeCheck("system permissions", True, seen, mend, Aspect.EXCESS)


def _allocation(client: OrgClient) -> ProbeCheck:
    try:
        used, allowed = client.daily_allocation()
    except VendorError as error:  # the limits resource may need View Setup; the usage header does not
        if error.failure.kind not in (FailureKind.UNAUTHORISED, FailureKind.REJECTED) or client.usage is None:
            raise
        used, allowed = client.usage
    ok = used < allowed * NEARLY
    mend = "" if ok else "other integrations use the org's API calls up: buy API calls, or poll less often"
    return ProbeCheck("API calls of 24 hours", ok, f"{used} of {allowed} used", mend, Aspect.LIMIT)
