"""The Dispo Call URL (section 6): unsigned, undated, without a body, and so a hint, settled by reading.

The template that an admin enters in the campaign, in one line:

    VARhttps://SYNC/hooks/SYSTEM/TOKEN?phone=--A--phone_number--B--&dispo=--A--dispo--B--
        &camp=--A--campaign--B--&lead=--A--lead_id--B--&call=--A--call_id--B--

The token in the path is all that authenticates a call; the rest can be made up by whoever knows the token,
and costs one reading per list. The call id, where the template has it, makes a repeated hint known.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from urllib.parse import parse_qs, unquote, urlsplit

from dncsync.connector import Look, Webhook, WebhookRefused, WebhookRequest
from dncsync_vicidial.fields import Entry, is_dialable
from dncsync_vicidial.settings import VicidialSettings

LONGEST_URL = 4096
MOST_FIELDS = 40


def read_dispo(settings: VicidialSettings, request: WebhookRequest) -> Webhook:
    """A look at the number on each configured list; nothing for statuses that do not write DNC.

    Raises `WebhookRefused` with a line that names neither number nor token.
    """
    if settings.webhook_token is None:
        raise WebhookRefused(403, "no webhook_token is configured for this system")
    if len(request.url) > LONGEST_URL:
        raise WebhookRefused(414, f"URL longer than {LONGEST_URL} characters")
    try:
        parts = urlsplit(request.url)
    except ValueError:
        raise WebhookRefused(400, "unreadable URL") from None
    token = unquote(parts.path.rstrip("/").rpartition("/")[2], errors="replace")
    if not hmac.compare_digest(token.encode(), settings.webhook_token.get_secret_value().encode()):
        raise WebhookRefused(403, "wrong token in the path of the Dispo Call URL")
    if request.method != "GET":
        raise WebhookRefused(405, "a Dispo Call URL is called with GET")
    if request.body:
        raise WebhookRefused(400, "a Dispo Call URL has no body")
    fields = _fields(parts.query)
    if _value(fields, "dispo").upper() not in {status.upper() for status in settings.dispo_statuses}:
        return Webhook(signals=())
    phone = _value(fields, "phone")
    if not is_dialable(phone):
        raise WebhookRefused(400, "phone is not 6 to 16 digits")
    signals = tuple(Look(Entry(name, phone).key) for name in settings.lists)
    return Webhook(signals=signals, nonce=_nonce(fields, phone))


def _nonce(fields: dict[str, list[str]], phone: str) -> str:
    """Of the call and the disposition, since an agent may change it; without a call id, none: an old hint
    and a new one of the same number could not be told apart."""
    call = fields.get("call", [""])[0]
    if not re.fullmatch(r"[-._0-9A-Za-z]{4,40}", call):
        return ""
    return hashlib.sha256(f"{call} {fields['dispo'][0]} {phone}".encode()).hexdigest()


def _fields(query: str) -> dict[str, list[str]]:
    try:
        return parse_qs(query, keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="replace")
    except ValueError:
        raise WebhookRefused(400, f"more than {MOST_FIELDS} fields in the query") from None


def _value(fields: dict[str, list[str]], name: str) -> str:
    values = fields.get(name, [])
    if len(values) != 1:
        raise WebhookRefused(400, f"{name} must be given once")
    value = values[0].strip()
    if value.startswith("--A--"):
        raise WebhookRefused(
            400,
            f"VICIdial did not fill in {name}: begin the URL with VAR, and note that a No Agent Call URL has "
            "'status' instead of 'dispo'",
        )
    return value
