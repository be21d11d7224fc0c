"""HubSpot's webhooks: authentic, fresh, then only a hint to look at a contact (sheet section 8). Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import orjson

from dncsync.clock import EPOCH
from dncsync.connector import Look, Webhook, WebhookRefused, WebhookRequest
from dncsync_hubspot.settings import HubSpotSettings

V3_AGE = 300.0
"""Seconds that a v3 timestamp may differ from our clock, either way (the SDK lets any future pass)."""
V1_AGE = 25 * 3600.0
"""Seconds: v1 signs no time, but HubSpot gives up after 24 hours (sheet 8.4)."""
LARGEST = 1_000_000
"""Bytes; a real batch of 100 events is below 50 kB."""
MOST_EVENTS = 1000
CONTACT = "0-1"

# v3 percent-decodes these in the URI and no others (sheet 8.5).
_DECODED = {
    "%3A": ":", "%2F": "/", "%3F": "?", "%40": "@", "%21": "!", "%24": "$", "%27": "'", "%28": "(",
    "%29": ")", "%2A": "*", "%2C": ",", "%3B": ";",
}  # fmt: skip
_ENCODED = re.compile("|".join(_DECODED), re.IGNORECASE)


def parse_webhook(request: WebhookRequest, settings: HubSpotSettings, watched: Collection[str]) -> Webhook:
    """Checks the signature and the age of a webhook, and says which contacts to look at.

    Raises `WebhookRefused`: 401 not authentic or stale, 400 malformed, 403 not for this portal, 405, 413.
    """
    if settings.client_secret is None:
        raise WebhookRefused(403, "webhooks are not set up for this system: client_secret is missing")
    if request.method != "POST":
        raise WebhookRefused(405, "webhooks are POST requests")
    if len(request.body) > LARGEST:
        raise WebhookRefused(413, "body is larger than any webhook of HubSpot")
    secret = settings.client_secret.get_secret_value()
    signature_v3 = request.headers.get("x-hubspot-signature-v3", "")
    if signature_v3:
        nonce = _check_v3(request, secret, signature_v3)
        events = list(_events(request.body))
    elif settings.accept_v1:
        nonce = _check_v1(request, secret)
        events = list(_events(request.body))
        _check_age(events, (request.received_at - EPOCH).total_seconds())
    else:
        raise WebhookRefused(401, "no X-HubSpot-Signature-v3 header (set accept_v1 for older app kinds)")
    keys: dict[str, None] = {}
    for event in events:
        portal = event.get("portalId")
        if settings.portal_id and str(portal) != settings.portal_id:
            raise WebhookRefused(403, "an event of another portal than portal_id")
        keys.update(dict.fromkeys(_keys(event, watched)))
    return Webhook(tuple(Look(key) for key in keys), nonce)


def signature_v3(secret: str, method: str, url: str, body: bytes, timestamp: str) -> str:
    """Base64 of HMAC-SHA256 over method, decoded URI, raw body and timestamp (epoch ms)."""
    source = (method + decoded_uri(url)).encode() + body + timestamp.encode()
    return base64.b64encode(hmac.new(secret.encode(), source, hashlib.sha256).digest()).decode()


def signature_v1(secret: str, body: bytes) -> str:
    """Hex of SHA-256 over secret and raw body."""
    return hashlib.sha256(secret.encode() + body).hexdigest()


def decoded_uri(url: str) -> str:
    """The URI as v3 signs it."""
    return _ENCODED.sub(lambda found: _DECODED[found[0].upper()], url)


def _check_v3(request: WebhookRequest, secret: str, given: str) -> str:
    timestamp = request.headers.get("x-hubspot-request-timestamp", "")
    if not re.fullmatch(r"[0-9]{1,16}", timestamp):
        raise WebhookRefused(401, "no X-HubSpot-Request-Timestamp in milliseconds")
    expected = signature_v3(secret, request.method, request.url, request.body, timestamp)
    if not hmac.compare_digest(expected.encode(), given.encode()):
        raise WebhookRefused(401, "signature v3 does not match: wrong client_secret, public URL or body")
    age = (request.received_at - EPOCH).total_seconds() - int(timestamp) / 1000
    if abs(age) > V3_AGE:
        raise WebhookRefused(401, f"signature v3 is {abs(round(age))} s {'old' if age > 0 else 'early'}")
    return f"v3:{expected}"


def _check_v1(request: WebhookRequest, secret: str) -> str:
    version = request.headers.get("x-hubspot-signature-version", "v1")
    given = request.headers.get("x-hubspot-signature", "")
    if not given or version != "v1":
        raise WebhookRefused(401, "no signature v3 or v1")
    expected = signature_v1(secret, request.body)
    if not hmac.compare_digest(expected.encode(), given.lower().encode()):
        raise WebhookRefused(401, "signature v1 does not match: wrong client_secret or body")
    return f"v1:{expected}"


def _check_age(events: list[Mapping[str, Any]], now: float) -> None:
    times = [t for e in events if isinstance(t := e.get("occurredAt"), int) and not isinstance(t, bool)]
    if len(times) < len(events) or not times or now - max(times) / 1000 > V1_AGE:
        raise WebhookRefused(401, "events signed with v1 are older than HubSpot would send, or have no time")


def _events(body: bytes) -> Iterator[Mapping[str, Any]]:
    try:
        events = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise WebhookRefused(400, "body is not JSON") from None
    if not isinstance(events, list):
        raise WebhookRefused(400, "body is not a JSON array of events")
    if not 0 < len(events) <= MOST_EVENTS:
        raise WebhookRefused(400, "body has no events, or more than HubSpot ever sends")
    for event in events:
        if not isinstance(event, dict):
            raise WebhookRefused(400, "an event is not a JSON object")
        kind = event.get("subscriptionType", event.get("eventType"))
        if not isinstance(kind, str) or not kind:
            raise WebhookRefused(400, "an event has no subscriptionType")
        yield event


def _keys(event: Mapping[str, Any], watched: Collection[str]) -> Iterator[str]:
    """The contacts that an event speaks of; none for other objects and properties that mean nothing here."""
    kind = str(event.get("subscriptionType", event.get("eventType")))
    family, _, what = kind.partition(".")
    if family == "object" and str(event.get("objectTypeId", "")) != CONTACT:
        return
    if family not in ("contact", "object"):
        return
    if what == "propertyChange" and event.get("propertyName") not in watched:
        return
    yield _id(event.get("objectId"))
    if what == "merge":
        merged = event.get("mergedObjectIds")
        others = [event.get("primaryObjectId"), event.get("newObjectId")]
        for other in [*others, *(merged if isinstance(merged, list) else [])]:
            if other is not None:
                yield _id(other)


def _id(value: Any) -> str:
    """Ids are numbers in webhooks and strings in answers (sheet 2.1)."""
    text = str(value)
    if isinstance(value, bool) or not isinstance(value, int | str) or not re.fullmatch(r"[0-9]{1,20}", text):
        raise WebhookRefused(400, "an event's object id is not a number")
    return text
