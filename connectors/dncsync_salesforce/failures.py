"""What Salesforce's error codes mean for us (sheet section 9), and words that are safe to show."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dncsync.connector import Failure, FailureKind

_T, _L, _A, _R = (
    FailureKind.TRANSIENT,
    FailureKind.RATE_LIMITED,
    FailureKind.UNAUTHORISED,
    FailureKind.REJECTED,
)

CODES: Mapping[str, tuple[FailureKind, str]] = {
    # code: (what to do, how to mend it)
    "INVALID_SESSION_ID": (
        _A,
        "the session is refused even after a new log-in: check the session policies of the app",
    ),
    "REQUEST_LIMIT_EXCEEDED": (_L, ""),
    "API_DISABLED_FOR_ORG": (_A, "the org's edition or the user's profile lacks 'API Enabled'"),
    "API_CURRENTLY_DISABLED": (_A, "the user's profile lacks 'API Enabled'"),
    "INSUFFICIENT_ACCESS": (_A, "grant the integration user Read and Edit on the object"),
    "INSUFFICIENT_ACCESS_OR_READONLY": (_A, "grant the integration user Edit, or Modify All, on the object"),
    "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY": (
        _A,
        "grant the integration user Modify All on the object",
    ),
    "INVALID_TYPE": (_A, "grant the integration user Read on the object"),
    "INVALID_FIELD": (
        _A,
        "run 'dncsync doctor': the field is hidden from the integration user, renamed or deleted",
    ),
    "INVALID_FIELD_FOR_INSERT_UPDATE": (
        _A,
        "grant Edit on the field in a permission set of the integration user",
    ),
    "UNABLE_TO_LOCK_ROW": (_T, ""),
    "QUERY_TIMEOUT": (_T, ""),
    "SERVER_UNAVAILABLE": (_T, ""),
    "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY": (_T, "an Apex trigger or flow of the org threw an error"),
    "INVALID_QUERY_LOCATOR": (_T, ""),
    "CANNOT_UPDATE_CONVERTED_LEAD": (_R, "the lead was converted; its contact carries the flag now"),
    "ENTITY_IS_DELETED": (_R, "the record was deleted or merged; reading tells what it became"),
    "INVALID_CROSS_REFERENCE_KEY": (_R, "the record is gone"),
    "NOT_FOUND": (_R, "the record is gone, or not shared with the integration user"),
    "FIELD_CUSTOM_VALIDATION_EXCEPTION": (
        _R,
        "a validation rule of the org forbids it: exempt the integration user",
    ),
    "REQUIRED_FIELD_MISSING": (_R, "the org made a field required: fill it, or exempt the integration user"),
    "DUPLICATES_DETECTED": (_R, "a duplicate rule of the org blocks it: exempt the integration user"),
}
RETIRED = "the org no longer serves this API version: raise api_version"
DAILY_RETRY = 300.0
"""Seconds until another try when the 24-hour allocation is used up; it frees little by little."""
CONCURRENT_RETRY = 5.0

_ID_OR_NUMBER = re.compile(r"\b(?=\w*[A-Za-z])[0-9A-Za-z]{15}(?:[0-9A-Za-z]{3})?\b|\+?\(?\d[\d\s().\-]{5,}\d")


def safe(words: Any) -> str:
    """Vendor's words in one line of at most 300 characters, with phone numbers masked and ids kept."""
    line = " ".join(str(words).split())
    line = _ID_OR_NUMBER.sub(lambda m: m[0] if m[0].isalnum() and not m[0].isdigit() else "[number]", line)
    return line if len(line) <= 300 else line[:297] + "..."


def first_error(content: Any) -> tuple[str, str]:
    """(code, words) of an error body: an array of objects, an OAuth object, or anything else -> ('', '')."""
    entry = content[0] if isinstance(content, list) and content else content
    if not isinstance(entry, dict):
        return "", ""
    code = entry.get("errorCode") or entry.get("statusCode") or entry.get("error") or ""
    return str(code), str(entry.get("message") or entry.get("error_description") or "")


def failure_of_code(code: str, words: str) -> Failure | None:
    """The shared kind of a known code; None for one that the table does not have."""
    if code not in CODES:
        return None
    kind, mend = CODES[code]
    retry_after = None
    if code == "REQUEST_LIMIT_EXCEEDED":
        retry_after = CONCURRENT_RETRY if "concurrent" in words.lower() else DAILY_RETRY
    message = f"{code}: {safe(words)}" if words else code
    return Failure(kind, f"{message} ({mend})" if mend else message, code, retry_after)


def failure_of_answer(status: int, content: Any, *, wrote: bool) -> Failure:
    """The failure that a whole answer means. A 5xx or an unreadable answer to a write is unknown."""
    code, words = first_error(content)
    if status >= 500:
        kind = FailureKind.UNKNOWN if wrote else FailureKind.TRANSIENT
        return Failure(kind, f"HTTP {status} {code}".strip(), code or str(status))
    if status == 410 or code in ("UNSUPPORTED_API_VERSION", "InvalidVersion"):
        return Failure(FailureKind.REJECTED, f"HTTP {status}: {RETIRED}", code or str(status))
    if (known := failure_of_code(code, words)) is not None:
        return known
    said = f"HTTP {status}" + (f" {code}: {safe(words)}" if code else " with a body that is no API error")
    if status in (401, 403):
        return Failure(FailureKind.UNAUTHORISED, said, code or str(status))
    if status == 429:
        return Failure(FailureKind.RATE_LIMITED, said, code or str(status), CONCURRENT_RETRY)
    if status in (408, 420):
        return Failure(FailureKind.UNKNOWN if wrote else FailureKind.TRANSIENT, said, code or str(status))
    return Failure(FailureKind.REJECTED, said, code or str(status))


def failure_of_item(errors: Any) -> Failure:
    """The failure of one record of a collections answer; `errors` as the vendor gives them."""
    code, words = first_error(errors)
    if not code:
        return Failure(FailureKind.UNKNOWN, "the answer says neither yes nor why not")
    return failure_of_code(code, words) or Failure(FailureKind.REJECTED, f"{code}: {safe(words)}", code)
