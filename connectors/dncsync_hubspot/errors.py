"""What HubSpot's error answers mean, as the shared kinds of failure (sheet section 5 and 7). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from dncsync.connector import Failure, FailureKind, VendorError

_LONGEST = 240
_NUMBER = re.compile(r"\+?\d[\d\s().-]{5,}\d")
_MAIL = re.compile(r"[^\s@\"'<>\[\]]+@[^\s@\"'<>\[\]]+")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{20,}", re.IGNORECASE)
_TOKEN = re.compile(r"(?i)\b(pat-[a-z0-9-]+|bearer\s+\S+)")

TEN_SECONDLY_WAIT = 10.0
SECONDLY_WAIT = 1.0
DAILY_WAIT = 900.0
"""Seconds before a spent daily quota is tried again: it ends at midnight of the account's zone (sheet 7)."""
LOCK_WAIT = 2.0
"""Seconds that a 423 write lock lasts (sheet section 4)."""
MAYBE_DONE = frozenset({408, 500, 502, 503, 504, 520, 521, 522, 523, 524, 525, 526, 530})


@dataclass(frozen=True, slots=True)
class PropertyFault:
    """One property that a write names wrongly or may not write."""

    code: str
    """`PROPERTY_DOESNT_EXIST`, `INVALID_OPTION`, `READ_ONLY_VALUE`, ..."""
    name: str


class Refused(VendorError):
    """A non-2xx answer, with its body, so that a caller can settle what the body says of single items."""

    def __init__(self, failure: Failure, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(failure)
        self.status = status
        self.body = body


def refused(status: int, headers: Mapping[str, str], data: bytes, *, reads: bool) -> Refused:
    """The exception for a non-2xx answer. `reads`: the call changes nothing, so it cannot be unknown."""
    body = json_object(data)
    category = str(body.get("category") or body.get("errorType") or "")
    words = plain(str(body.get("message") or ""))
    retry_after = _seconds(headers.get("retry-after"))
    kind, message, code = FailureKind.REJECTED, words or f"HTTP {status}", category or str(status)
    if status == 401:
        kind = FailureKind.UNAUTHORISED
        message = f"HubSpot refuses the access token ({words or 'no words'}); put a valid one in access_token"
    elif status == 403:
        kind, message = FailureKind.UNAUTHORISED, _missing_scope(body, words)
    elif status == 429:
        kind, code = FailureKind.RATE_LIMITED, str(body.get("policyName") or category or "429")
        if retry_after is None:
            retry_after = _limit_wait(code, words)
    elif status == 423:
        kind, retry_after = FailureKind.TRANSIENT, retry_after or LOCK_WAIT
    elif status == 477:
        kind = FailureKind.RATE_LIMITED
        message = "the account is moving to another data centre"
        retry_after = retry_after or DAILY_WAIT
    elif status in MAYBE_DONE or status >= 500:
        kind = FailureKind.TRANSIENT if reads else FailureKind.UNKNOWN
        message = f"HTTP {status}" + (f": {words}" if words else "")
    elif 300 <= status < 400:
        message = f"HTTP {status}: a redirect where HubSpot answers; the API path may have been retired"
    faults = property_faults(body)
    if faults:
        code = faults[0].code
    return Refused(Failure(kind, message, code, retry_after), status, body)


def property_faults(body: Mapping[str, Any]) -> tuple[PropertyFault, ...]:
    """The properties that a 400 names: `errors[]` first, then the JSON inside the message (sheet 5.3)."""
    found: list[PropertyFault] = []
    errors = body.get("errors")
    for error in errors if isinstance(errors, list) else []:
        if not isinstance(error, dict) or not error.get("code"):
            continue
        context = error.get("context")
        names = context.get("propertyName") if isinstance(context, dict) else None
        found.extend(PropertyFault(str(error["code"]), str(name)) for name in names or [])
    if found:
        return tuple(found)
    message = str(body.get("message") or "")
    start = message.find("[{")
    embedded = json_value(message[start : message.rfind("]") + 1].encode()) if start >= 0 else None
    for item in embedded if isinstance(embedded, list) else []:
        if isinstance(item, dict) and item.get("name"):
            found.append(PropertyFault(str(item.get("error") or "VALIDATION_ERROR"), str(item["name"])))
    if not found and (match := re.search(r'Property \\?"(\w+)\\?" does not exist', message)):
        found.append(PropertyFault("PROPERTY_DOESNT_EXIST", match[1]))
    return tuple(found)


def named_ids(error: Mapping[str, Any]) -> frozenset[str]:
    """The contact ids that one error speaks of, by id or by the trace id that we sent with them."""
    context = error.get("context")
    if not isinstance(context, dict):
        return frozenset()
    ids: set[str] = set()
    for key in ("ids", "id", "objectWriteTraceId"):
        value = context.get(key)
        ids.update(str(one) for one in (value if isinstance(value, list) else [value]) if one is not None)
    return frozenset(ids)


def plain(words: str) -> str:
    """The vendor's words, fit to be shown: no phone numbers, addresses or tokens, one line, not long."""
    words = _TOKEN.sub("[redacted]", " ".join(words.split()))
    kept = _UUID.sub("[id]", words)
    kept = _NUMBER.sub("[number]", _MAIL.sub("[address]", kept))
    return kept if len(kept) <= _LONGEST else kept[: _LONGEST - 3] + "..."


def json_value(data: bytes) -> Any:
    """JSON, or None where it is none."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


def json_object(data: bytes) -> Mapping[str, Any]:
    """A JSON object; empty where the bytes are anything else (HTML, a cut answer)."""
    value = json_value(data)
    return value if isinstance(value, dict) else {}


def _missing_scope(body: Mapping[str, Any], words: str) -> str:
    scopes: list[str] = []
    errors = body.get("errors")
    for error in errors if isinstance(errors, list) else []:
        context = error.get("context") if isinstance(error, dict) else None
        if isinstance(context, dict):
            scopes.extend(str(s) for s in context.get("requiredGranularScopes") or [])
    if scopes:
        return f"the app lacks a scope: grant one of {', '.join(sorted(set(scopes)))}"
    return words or "HTTP 403: the app may not do this"


def _limit_wait(code: str, words: str) -> float:
    text = f"{code} {words}".lower()
    if "daily" in text:
        return DAILY_WAIT
    return TEN_SECONDLY_WAIT if "ten_secondly" in text else SECONDLY_WAIT


def _seconds(value: str | None) -> float | None:
    try:
        return None if value is None else max(0.0, float(value))
    except ValueError:
        return None
