"""Writing consents: one bulk call, and the outcome of every single item (vendor sheet section 3).

A 201 says nothing by itself: it comes even when every item failed. Items are matched by correlation id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard
from uuid import uuid4

import httpx

from dncsync.connector import Failure, FailureKind, VendorError
from dncsync.http import LONGEST_WAIT, retry_after_of
from dncsync_twilio.client import TwilioClient, failure_from, json_object
from dncsync_twilio.fields import CONSENT_FAILED, ITEM_WORDS, RESULT_KEYS, Consent, safe_words

BATCH = 25
"""Most items in a call (sheet section 3)."""
ATTEMPTS = 3
"""Of one call that is answered 429; after that the delivery waits."""
NOT_ENABLED = "consent-api-not-enabled"
ENABLE = (
    "ask Twilio Support or sales for access to the Consent Management API, or set "
    'consent_api = "disabled" until there is'
)
_BAD_DATE = "INVALID_DATE_OF_CONSENT"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one consent; `ref` is the correlation id of the last attempt, which Support asks for."""

    failure: Failure | None
    ref: str


def deliver(client: TwilioClient, consents: Sequence[Consent]) -> list[Outcome]:
    """Upserts consents, any number; outcomes in the order given. Raises nothing: failures are values.

    A date that Twilio does not like never costs the opt-out: those items go out once more without one.
    """
    outcomes: list[Outcome] = []
    for start in range(0, len(consents), BATCH):
        outcomes += _send(client, consents[start : start + BATCH])
    undated = [
        i
        for i, outcome in enumerate(outcomes)
        if outcome.failure is not None
        and outcome.failure.code == f"{CONSENT_FAILED} {_BAD_DATE}"
        and consents[i].date_of_consent
    ]
    for start in range(0, len(undated), BATCH):
        some = undated[start : start + BATCH]
        again = _send(client, [replace(consents[i], date_of_consent=None) for i in some])
        for i, outcome in zip(some, again, strict=True):
            outcomes[i] = outcome
    return outcomes


def _send(client: TwilioClient, consents: Sequence[Consent], attempt: int = 1) -> list[Outcome]:
    ids = [uuid4().hex for _ in consents]
    try:
        items = [consent.item(ref) for consent, ref in zip(consents, ids, strict=True)]
        response = client.post_consents(items)
    except VendorError as error:
        return [Outcome(error.failure, ref) for ref in ids]
    if response.status_code == 429 and attempt < ATTEMPTS:
        # A 429 was not processed, ever (sheet section 2): the one answer after which a write is sent again.
        wait = retry_after_of(response)
        wait = 0.5 * 2**attempt if wait is None else wait
        if wait <= LONGEST_WAIT:
            client.clock.sleep(wait)
            return _send(client, consents, attempt + 1)
    if response.is_success:
        verdicts = read_reply(json_object(response), ids, client.drift)
        return [Outcome(verdicts[ref], ref) for ref in ids]
    if response.status_code == 400 and len(consents) > 1:
        # A form that Twilio cannot take was not processed. Halving finds the item that spoils it, so that one
        # consent does not hold up twenty-four others.
        half = len(consents) // 2
        return _send(client, consents[:half]) + _send(client, consents[half:])
    failure = whole_call_failure(response)
    return [Outcome(failure, ref) for ref in ids]


def whole_call_failure(response: httpx.Response) -> Failure:
    """Why a bulk call failed as a whole; 'not enabled' is a matter of the account and has its own words."""
    failure = failure_from(response)
    if response.status_code in (403, 404):
        return Failure(
            FailureKind.UNAUTHORISED,
            f"Consent API not enabled, or not open to these credentials ({failure.message}): {ENABLE}",
            NOT_ENABLED,
        )
    return failure


def read_reply(
    answer: Mapping[str, Any] | None, ids: Sequence[str], drift: Counter[str]
) -> dict[str, Failure | None]:
    """Correlation id -> None (done) or why not. What is missing, doubled or unreadable is unknown."""
    items = answer.get("items") if answer is not None else None
    if not isinstance(items, list):
        if answer is not None:
            drift["consents reply without 'items'"] += 1
        return dict.fromkeys(ids, _unknown("the reply has no list of results"))
    found: dict[str, list[Mapping[str, Any]]] = {ref: [] for ref in ids}
    for item in items:
        ref = item.get("correlation_id") if isinstance(item, dict) else None
        if not isinstance(ref, str) or ref not in found:
            drift["consents reply: an item that was not asked for"] += 1
            continue
        for key in item.keys() - RESULT_KEYS:
            drift[f"consents reply: unknown key {safe_words(key)!r}"] += 1
        found[ref].append(item)
    return {ref: _verdict(results, drift) for ref, results in found.items()}


def _verdict(results: Sequence[Mapping[str, Any]], drift: Counter[str]) -> Failure | None:
    if not results:
        return _unknown("the reply does not mention this item")
    if len(results) > 1:
        drift["consents reply: an id given twice"] += 1
        return _unknown("the reply mentions this item more than once")
    code, words = results[0].get("error_code"), results[0].get("error_messages")
    if not isinstance(code, int) or isinstance(code, bool) or not _are_words(words):
        drift["consents reply: error_code or error_messages has another type"] += 1
        return _unknown("the result of this item cannot be read")
    if code == 0:
        if not words:
            return None
        drift["consents reply: error_code 0 with error messages"] += 1
        return _unknown("done, and yet with error messages")
    said = [safe_words(word) for word in words]
    for word in set(said) - ITEM_WORDS:
        drift[f"consents reply: unknown error message {word!r}"] += 1
    # A fresh correlation id comes with the next attempt, and an internal error is documented as one to retry.
    # Everything else is final.
    passing = bool(said) and set(said) <= {"INTERNAL_SERVER_ERROR", "INVALID_CORRELATION_ID"}
    kind = FailureKind.TRANSIENT if passing else FailureKind.REJECTED
    listed = ", ".join(said) or "no reason given"
    return Failure(kind, f"Twilio refused this consent: {listed}", f"{code} {listed}")


def _are_words(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _unknown(message: str) -> Failure:
    return Failure(FailureKind.UNKNOWN, message, "unclear-result")
