"""The probe: what works with these credentials, found out without changing anything."""

from __future__ import annotations

from uuid import uuid4

from dncsync.connector import Aspect, Failure, FailureKind, Probe, ProbeCheck, VendorError
from dncsync_twilio.client import MESSAGING, TwilioClient, json_object
from dncsync_twilio.consents import ENABLE, NOT_ENABLED, read_reply, whole_call_failure
from dncsync_twilio.fields import Consent
from dncsync_twilio.settings import TwilioSettings

NOBODY = "+19"
"""Twilio's own documented example of a contact that is refused (INVALID_CONTACT_ID): it is no number."""
CLOCK_TOLERANCE = 60.0
"""Seconds; the watermark keeps clear of more, but then our dates of consent are off."""


def probe(settings: TwilioSettings, client: TwilioClient) -> Probe:
    """Raises `VendorError` where Twilio gives no answer; what a person must mend is a check."""
    checks = [_account(settings, client)]
    if checks[0].ok:
        checks.append(_clock(client))
        mend = (
            "the API key needs read access to Messages, Messaging Services and Phone Numbers; or leave it out"
        )
        if settings.poll:
            checks.append(_listing(client, client.account_url("/Messages.json"), "message log", mend))
        checks.append(_listing(client, f"{MESSAGING}/v1/Services", "messaging services", mend))
        url = client.account_url("/IncomingPhoneNumbers.json")
        checks.append(_listing(client, url, "phone numbers", mend))
        checks += _excess(settings, client)
    if checks[0].ok or not client.one_login:
        checks.append(_consents(settings, client))
    return Probe(settings.account_sid, tuple(checks), client.server_time)


def _account(settings: TwilioSettings, client: TwilioClient) -> ProbeCheck:
    name = "credentials"
    try:
        account = client.get(client.account_url(".json"))
    except VendorError as error:
        if error.failure.kind not in (FailureKind.UNAUTHORISED, FailureKind.REJECTED):
            raise
        mend = "Console > Account > API keys & tokens: compare Account SID and Auth Token (or the API key)"
        refused = error.failure.kind is FailureKind.UNAUTHORISED
        about = Aspect.CREDENTIALS if refused else Aspect.OTHER
        return ProbeCheck(name, False, error.failure.message, mend, about)
    status = str(account.get("status", "unknown"))
    mend = "" if status == "active" else "Console > Account: settle why the account is not active"
    seen = f"account {status}, type {account.get('type', 'unknown')}"
    return ProbeCheck(name, status == "active", seen, mend, Aspect.CREDENTIALS)


def _excess(settings: TwilioSettings, client: TwilioClient) -> list[ProbeCheck]:
    """A main API key may also make and delete keys, which a standard one may not (UNCONFIRMED; any answer but
    a list of keys says nothing). The Auth Token is needed for consents, and is not judged."""
    if settings.api_key_sid is None:
        return []
    try:
        answer = client.get(client.account_url("/Keys.json"), {"PageSize": 1})
    except VendorError as error:
        if error.failure.kind in (FailureKind.RATE_LIMITED, FailureKind.TRANSIENT):
            raise
        return []
    if not isinstance(answer.get("keys"), list):
        return []
    mend = "Console > Account > API keys & tokens > Create API key: type Standard or Restricted, and use that"
    seen = "more than needed: the API key may manage the account's keys"
    return [ProbeCheck("API key", True, seen, mend, Aspect.EXCESS)]


def _clock(client: TwilioClient) -> ProbeCheck:
    if client.server_time is None:
        return ProbeCheck("clock", True, "Twilio's answers carry no Date header; not compared")
    apart = abs((client.clock.now() - client.server_time).total_seconds())
    mend = "" if apart <= CLOCK_TOLERANCE else "set this machine's clock (chrony or systemd-timesyncd)"
    return ProbeCheck("clock", not mend, f"{apart:.0f} s apart from Twilio's", mend)


def _listing(client: TwilioClient, url: str, name: str, mend: str) -> ProbeCheck:
    try:
        client.get(url, {"PageSize": 1})
    except VendorError as error:
        refused = error.failure.kind is FailureKind.UNAUTHORISED
        about = Aspect.SIGHT if refused else Aspect.OTHER
        return ProbeCheck(name, False, error.failure.message, mend, about)
    return ProbeCheck(name, True, "readable", about=Aspect.SIGHT)


def _consents(settings: TwilioSettings, client: TwilioClient) -> ProbeCheck:
    """A bulk call whose items name a contact that is no number. Twilio documents that each is refused: so the
    answer tells whether the API is enabled and which scopes it does not know, and no consent comes of it."""
    name = "consent API"
    if settings.consent_api == "disabled":
        seen = 'switched off (consent_api = "disabled"): no opt-out is written here'
        mend = "ask Twilio Support or sales for access to the Consent Management API, then switch it on"
        return ProbeCheck(name, False, seen, mend)
    scopes = {uuid4().hex: scope for scope in settings.scopes[:25]}
    try:
        items = [Consent(NOBODY, scope, "opt-out").item(ref) for ref, scope in scopes.items()]
        response = client.post_consents(items)
    except VendorError as error:
        return ProbeCheck(name, False, error.failure.message, "try again; nothing was written")
    if not response.is_success:
        return _consents_failed(settings, whole_call_failure(response))
    verdicts = read_reply(json_object(response), list(scopes), client.drift)
    unknown = [scopes[ref] for ref, verdict in verdicts.items() if _says(verdict, "INVALID_SENDER_ID")]
    if unknown:
        seen = f"does not know the sender {', '.join(unknown)}"
        return ProbeCheck(
            name, False, seen, "compare scopes with Console > Messaging > Services and Phone Numbers"
        )
    if not all(_says(verdict, "INVALID_CONTACT_ID") for verdict in verdicts.values()):
        seen = "answers, but did not refuse an impossible contact as documented"
        return ProbeCheck(name, False, seen, "compare Twilio's changelog of the Consent Management API")
    return ProbeCheck(
        name, True, "enabled; refused an impossible contact as documented, so nothing was written"
    )


def _consents_failed(settings: TwilioSettings, failure: Failure) -> ProbeCheck:
    name = "consent API"
    if failure.code == NOT_ENABLED:
        return ProbeCheck(name, False, failure.message.removesuffix(f": {ENABLE}"), ENABLE, Aspect.SCOPE)
    mend = "try again; nothing was written"
    if failure.kind is FailureKind.UNAUTHORISED:
        mend = "Console > Account Dashboard > Account Info: compare the primary Auth Token"
        if settings.consent_auth == "api_key":
            mend = 'set consent_auth = "auth_token": the Consent API does not take this API key'
    refused = failure.kind is FailureKind.UNAUTHORISED
    return ProbeCheck(name, False, failure.message, mend, Aspect.SCOPE if refused else Aspect.OTHER)


def _says(verdict: Failure | None, word: str) -> bool:
    return verdict is not None and word in verdict.code
