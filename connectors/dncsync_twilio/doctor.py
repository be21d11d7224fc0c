"""The probe: what works with these credentials, found out without changing anything."""

from __future__ import annotations

from uuid import uuid4

from dncsync.connector import Failure, FailureKind, Probe, ProbeCheck, VendorError
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
        return ProbeCheck(name, False, error.failure.message, mend)
    status = str(account.get("status", "unknown"))
    mend = "" if status == "active" else "Console > Account: settle why the account is not active"
    return ProbeCheck(
        name, status == "active", f"account {status}, type {account.get('type', 'unknown')}", mend
    )


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
        return ProbeCheck(name, False, error.failure.message, mend)
    return ProbeCheck(name, True, "readable")


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
        return ProbeCheck(name, False, failure.message.removesuffix(f": {ENABLE}"), ENABLE)
    mend = "try again; nothing was written"
    if failure.kind is FailureKind.UNAUTHORISED:
        mend = "Console > Account Dashboard > Account Info: compare the primary Auth Token"
        if settings.consent_auth == "api_key":
            mend = 'set consent_auth = "auth_token": the Consent API does not take this API key'
    return ProbeCheck(name, False, failure.message, mend)


def _says(verdict: Failure | None, word: str) -> bool:
    return verdict is not None and word in verdict.code
