"""The sandbox's Consent Management API (vendor sheet section 3): per-item results under a 201."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from dncsync.testing.faults import Fault
from dncsync_twilio.fields import CONSENT_FAILED, E164_PATTERN, SOURCES
from dncsync_twilio.sandbox_senders import Senders
from dncsync_twilio.sandbox_store import Store

MOST_ITEMS = 25
REMEMBERED_IDS = 10_000
_DATETIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")

Item = Mapping[str, Any]
Result = dict[str, Any]


class BadForm(ValueError):
    """The call as a whole cannot be taken: 400."""


class ConsentBook:
    """Validates and keeps consents."""

    def __init__(self, store: Store, senders: Senders, now: Callable[[], datetime]) -> None:
        self._store = store
        self._senders = senders
        self._now = now
        self._ids: deque[str] = deque(maxlen=REMEMBERED_IDS)
        """Correlation ids must be unique; these were seen lately."""

    def upsert(self, texts: list[str], dropped: Callable[[], Fault | None]) -> list[Result]:
        """Results in the order given. `dropped` says for each item how it is spoiled, if it is."""
        if not texts:
            raise BadForm("Items is missing")
        if len(texts) > MOST_ITEMS:
            raise BadForm(f"more than {MOST_ITEMS} Items")
        results: list[Result] = []
        for item in [_object(text) for text in texts]:
            wrong = self._wrong(item)
            self._ids.append(str(item.get("correlation_id")))
            fault = dropped() if not wrong else None
            how = str(fault.params.get("how", "silent")) if fault else ""
            if how == "internal-error":
                wrong = ["INTERNAL_SERVER_ERROR"]
            if not wrong and how in ("", "duplicate-id", "extra-key"):
                self._keep(item)
            if how == "omit-item":
                continue
            result: Result = {
                "correlation_id": item.get("correlation_id"),
                "error_code": CONSENT_FAILED if wrong else 0,
                "error_messages": wrong,
            }
            if how == "extra-key":
                result["consent_sid"] = "CN1"
            results += [result, dict(result)] if how == "duplicate-id" else [result]
        return results

    def _wrong(self, item: Item) -> list[str]:
        wrong = []
        ref = item.get("correlation_id")
        if not isinstance(ref, str) or len(ref) != 32 or ref in self._ids:
            wrong.append("INVALID_CORRELATION_ID")
        sender = item.get("sender_id")
        if sender not in self._senders.services and sender not in self._senders.numbers:
            wrong.append("INVALID_SENDER_ID")
        if not re.fullmatch(E164_PATTERN, str(item.get("contact_id"))):
            wrong.append("INVALID_CONTACT_ID")
        if item.get("status") not in ("opt-in", "opt-out"):
            wrong.append("INVALID_STATUS")
        if item.get("source") not in SOURCES:
            wrong.append("INVALID_SOURCE")
        if "date_of_consent" in item and not self._is_past(str(item["date_of_consent"])):
            wrong.append("INVALID_DATE_OF_CONSENT")
        return wrong

    def _is_past(self, text: str) -> bool:
        if not _DATETIME.fullmatch(text):
            return False
        try:
            return datetime.fromisoformat(text).astimezone(UTC) <= self._now()
        except ValueError:
            return False

    def _keep(self, item: Item) -> None:
        self._store.set_consent(
            item["sender_id"],
            item["contact_id"],
            item["status"],
            item["source"],
            item.get("date_of_consent"),
            "api",
        )


def _object(text: str) -> Item:
    try:
        item = json.loads(text)
    except ValueError:
        item = None
    if not isinstance(item, dict):
        raise BadForm("an Item is no JSON object")
    return item
