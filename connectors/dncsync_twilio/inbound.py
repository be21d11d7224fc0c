"""Webhooks: what Twilio calls us with, taken only when its signature fits (vendor sheet sections 6 and 7).

The words of a message are passed on as they are; the engine reads them (regulation section 11). `OptOutType`
is Twilio's own reading, present only with Advanced Opt-Out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from dncsync.connector import Statement, Webhook, WebhookRefused, WebhookRequest
from dncsync.model import Channel
from dncsync_twilio import signature
from dncsync_twilio.fields import BLOCKED, OPT_OUT_TYPES, blocked, contact_of, scope_of, whole_text
from dncsync_twilio.settings import TwilioSettings

EMPTY_TWIML = b'<?xml version="1.0" encoding="UTF-8"?><Response/>'
"""Twilio has answered the person already; a second confirmation is never sent."""
LARGEST = 256 * 1024
"""Bytes; an inbound text is some 2 kB, an Event Streams batch some dozens."""
MOST_FIELDS = 500
USED = frozenset(
    {
        "AccountSid",
        "Body",
        "ErrorCode",
        "From",
        "MessageSid",
        "MessageStatus",
        "MessagingServiceSid",
        "OptOutType",
        "SmsSid",
        "To",
    }
)
"""Twilio adds others without notice (sheet section 6); they are signed over and otherwise left alone."""
INBOUND_EVENT = "com.twilio.messaging.inbound-message.received"

Params = Sequence[tuple[str, str]]


def parse_webhook(settings: TwilioSettings, request: WebhookRequest) -> Webhook:
    """An authentic inbound message, status callback or Event Streams batch. Raises `WebhookRefused`.

    Twilio signs no time, so a replay is known by signature and message id, and a message is recorded once.
    """
    if len(request.body) > LARGEST:
        raise WebhookRefused(413, f"body of more than {LARGEST} bytes")
    given = request.headers.get(signature.SIGNATURE_HEADER, "").strip()
    if not given:
        raise WebhookRefused(403, "no X-Twilio-Signature")
    key, algorithm = _signing_key(settings, request)
    urls = _urls(settings, request.url)
    if request.method not in ("GET", "POST"):
        raise WebhookRefused(405, "neither POST nor GET")
    if request.method == "GET":
        params = _form(urlsplit(request.url).query)
    elif "json" in request.headers.get("content-type", "").lower():
        if not signature.body_matches(request.url, request.body):
            raise WebhookRefused(403, "bodySHA256 does not fit the body")
        _check(key, urls, (), given, algorithm)
        return _events(settings, request, given)
    else:  # whatever a proxy made of the content type: a form that Twilio signed is a form
        params = _form(request.body)
    _check(key, urls, () if request.method == "GET" else params, given, algorithm)
    return _message(settings, _fields(params), request.received_at, given)


# --- authenticity -----------------------------------------------------------------------------------------


def _signing_key(settings: TwilioSettings, request: WebhookRequest) -> tuple[str, str]:
    try:
        said = signature.read_settings(request.headers.get(signature.SETTINGS_HEADER, ""))
    except signature.UnknownAlgorithm as error:
        raise WebhookRefused(403, str(error)) from None
    if not said.key_id:
        if said.algorithm != signature.SHA1:
            raise WebhookRefused(403, f"signed with {said.algorithm} and no key named")
        return settings.auth_token.get_secret_value(), said.algorithm
    if settings.shared_key_id != said.key_id or settings.shared_key_secret is None:
        raise WebhookRefused(403, "signed with a shared key that is not configured")
    return settings.shared_key_secret.get_secret_value(), said.algorithm


def _urls(settings: TwilioSettings, url: str) -> tuple[str, ...]:
    """The URL as seen, and as set at Twilio: a proxy in front may have changed scheme, host or path."""
    if settings.webhook_url is None:
        return (url,)
    configured = urlsplit(settings.webhook_url)
    query = urlsplit(url).query or configured.query
    return url, urlunsplit(configured._replace(query=query))


def _check(key: str, urls: Sequence[str], params: Params, given: str, algorithm: str) -> None:
    try:
        good = signature.is_authentic(key, urls, params, given, algorithm)
    except ValueError:  # a URL or a value that is no UTF-8 text
        good = False
    if not good:
        raise WebhookRefused(403, "X-Twilio-Signature does not fit")


# --- forms ------------------------------------------------------------------------------------------------


def _form(text: bytes | str) -> Params:
    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        return parse_qsl(decoded, keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError:
        raise WebhookRefused(400, "the form cannot be read") from None


def _fields(params: Params) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in params:
        if name in USED and fields.setdefault(name, value) != value:
            raise WebhookRefused(400, f"{name} is given twice")
    return fields


def _message(settings: TwilioSettings, fields: Mapping[str, str], at: datetime, given: str) -> Webhook:
    _check_account(settings, fields.get("AccountSid", ""))
    sid = fields.get("MessageSid") or fields.get("SmsSid") or ""
    if not sid:
        raise WebhookRefused(400, "no MessageSid: not a message")
    nonce = f"{given} {sid}"
    if fields.get("MessageStatus", "received") not in ("received", "receiving"):
        # A status callback of the sender: From is our own number here, To is the person.
        return _answer(tuple(_callback(settings, fields, sid, at)), nonce)
    sender = fields.get("From", "")
    if not sender:
        raise WebhookRefused(400, "no From")
    return _answer((_statement(settings, sid, fields, at),), nonce)


def _callback(
    settings: TwilioSettings, fields: Mapping[str, str], sid: str, at: datetime
) -> Iterator[Statement]:
    if fields.get("ErrorCode") == str(BLOCKED) and fields.get("To"):
        scope = scope_of(fields.get("MessagingServiceSid", ""), fields.get("From", ""), settings.scopes)
        yield blocked(sid, fields["To"], at, scope)


def _statement(settings: TwilioSettings, sid: str, fields: Mapping[str, str], at: datetime) -> Statement:
    number, kind = contact_of(fields["From"])
    return Statement(
        ref=sid,
        number=number,
        channel=Channel.SMS,
        at=at,
        text=fields.get("Body", ""),
        says=OPT_OUT_TYPES.get(fields.get("OptOutType", "").strip().upper()),
        scope=scope_of(fields.get("MessagingServiceSid", ""), fields.get("To", ""), settings.scopes),
        source=f"{kind}-inbound",
    )


def _check_account(settings: TwilioSettings, account: str) -> None:
    if account != settings.account_sid:
        raise WebhookRefused(403, "AccountSid is another account's, or missing")


def _answer(signals: tuple[Statement, ...], nonce: str) -> Webhook:
    return Webhook(signals, nonce=nonce, answer_type="text/xml", answer=EMPTY_TWIML)


# --- Event Streams ----------------------------------------------------------------------------------------


def _events(settings: TwilioSettings, request: WebhookRequest, given: str) -> Webhook:
    try:
        events = json.loads(request.body)
    except (ValueError, RecursionError):
        raise WebhookRefused(400, "the body is no JSON") from None
    if isinstance(events, dict):
        events = [events]
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise WebhookRefused(400, "the body is neither a CloudEvent nor a list of them")
    statements = tuple(
        _event_statement(settings, event, request.received_at)
        for event in events
        if event.get("type") == INBOUND_EVENT
    )
    return _answer(statements, f"{given} {statements[0].ref if statements else ''}")


def _event_statement(settings: TwilioSettings, event: Mapping[str, Any], received: datetime) -> Statement:
    """`data` has the webhook's fields in camelCase; the spelling of the opt-out type is UNCONFIRMED, so keys
    are compared without regard to case."""
    data = event.get("data")
    if not isinstance(data, dict):
        raise WebhookRefused(400, "an inbound event without data")
    lower = {str(key).lower(): whole_text(str(value)) for key, value in data.items() if value is not None}
    names = ("MessageSid", "AccountSid", "MessagingServiceSid", "From", "To", "Body", "OptOutType")
    fields = {name: lower[name.lower()] for name in names if name.lower() in lower}
    _check_account(settings, fields.get("AccountSid", ""))
    if not fields.get("MessageSid") or not fields.get("From"):
        raise WebhookRefused(400, "an inbound event without messageSid or from")
    return _statement(settings, fields["MessageSid"], fields, _iso(lower.get("timestamp", "")) or received)


def _iso(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo is not None else None
    except (ValueError, OverflowError):  # the latter for the year 1 in a zone ahead of UTC
        return None
