"""The wire: Twilio's three hosts, their authentication, errors and pages, all through the door."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import httpx

from dncsync.connector import Context, Failure, FailureKind, Limit, VendorError
from dncsync.http import failure_of
from dncsync.shapes import Answers
from dncsync_twilio.fields import rfc2822, safe_words
from dncsync_twilio.settings import TwilioSettings

ACCOUNTS = "https://accounts.twilio.com"
API = "https://api.twilio.com"
MESSAGING = "https://messaging.twilio.com"
CONSENTS_PATH = "/v1/Consents/Bulk"
TOO_MANY = 20429
CONSENT_TIMEOUT = 15.0
"""Seconds; Twilio's own limit for a bulk call is 3 (sheet section 3)."""

LIMITS = (
    Limit("consents", 100, 60.0),
    # Twilio limits concurrent calls per account and publishes no rate; one loop makes one call at a time, and
    # this only keeps a listing from crowding out the sender's own traffic.
    Limit("api", 600, 60.0),
)


def limits_of(method: str, path: str) -> Sequence[str]:
    """The limits that a call counts against."""
    return ("consents", "api") if path.endswith(CONSENTS_PATH) else ("api",)


DIRECTIONS = frozenset({"inbound", "outbound-api", "outbound-call", "outbound-reply"})
STATES = frozenset(
    {"accepted", "scheduled", "canceled", "queued", "sending", "sent", "failed", "delivered", "undelivered"}
    | {"receiving", "received", "read", "partially_delivered"}
)
ANSWERS = Answers(
    optional=frozenset({"meta", "next_page_uri", "previous_page_uri", "items[].error_messages"}),
    enums={"messages[].direction": DIRECTIONS, "messages[].status": STATES},
)
"""Of the published description (specs/twilio): what an unknown word means, nobody here can know."""


class TwilioClient:
    """Calls and their answers. Not one of its messages holds a number or a secret."""

    def __init__(self, settings: TwilioSettings, context: Context) -> None:
        self.account_sid = settings.account_sid
        self.clock = context.clock
        self.drift: Counter[str] = Counter()
        """Things in answers that the field contract does not know -> how often."""
        self.server_time: datetime | None = None
        """From the last answer's `Date` header (UTC)."""
        token = (settings.account_sid, settings.auth_token.get_secret_value())
        key = token
        if settings.api_key_sid is not None and settings.api_key_secret is not None:
            key = (settings.api_key_sid, settings.api_key_secret.get_secret_value())
        self._rest_auth = key
        self._consent_auth = key if settings.consent_auth == "api_key" else token
        base = settings.base_url
        self.door = context.open_door(
            allowed=("accounts.twilio.com", "api.twilio.com", "messaging.twilio.com"),
            limits=LIMITS,
            classify=limits_of,
            reroute=dict.fromkeys((ACCOUNTS, API, MESSAGING), base) if base else None,
            on_response=self._note_time,
            answers=ANSWERS,
        )

    @property
    def one_login(self) -> bool:
        """Whether the Consent API is called with the same credentials as all else."""
        return self._consent_auth == self._rest_auth

    def post_consents(self, items: Sequence[Mapping[str, str]]) -> httpx.Response:
        """One bulk upsert: the form field `Items`, repeated, each a JSON text. Any status is returned."""
        return self.door.request(
            "POST",
            ACCOUNTS + CONSENTS_PATH,
            content=urlencode([("Items", json.dumps(item)) for item in items]),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            auth=self._consent_auth,
            timeout=CONSENT_TIMEOUT,
        )

    def get(self, url: str, params: Mapping[str, str | int] | None = None) -> dict[str, Any]:
        """One resource or page as a JSON object. Raises `VendorError`."""
        response = self.door.request("GET", url, params=params, auth=self._rest_auth)
        if not response.is_success:
            raise VendorError(failure_from(response))
        answer = json_object(response)
        if answer is None:
            raise VendorError(
                Failure(
                    FailureKind.TRANSIENT, f"HTTP {response.status_code} without a JSON object", "not-json"
                )
            )
        return answer

    def account_url(self, resource: str) -> str:
        """A resource of this account on the 2010 API, e.g. `Messages.json`."""
        return f"{API}/2010-04-01/Accounts/{self.account_sid}{resource}"

    def pages(
        self, url: str, key: str, params: Mapping[str, str | int] | None = None
    ) -> Iterator[tuple[list[dict[str, Any]], str]]:
        """(rows under `key`, URL of the next page or '') for each page, following the vendor's own links.

        Raises `VendorError` also for a page without its list, and for pages that repeat.
        """
        seen: set[str] = set()
        before: list[object] = []
        while True:
            answer = self.get(url, params)
            rows = answer.get(key)
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                self.drift[f"listing without {key!r}"] += 1
                raise VendorError(
                    Failure(FailureKind.UNKNOWN, f"the listing has no list under {key!r}", "drift")
                )
            sids = [row.get("sid") for row in rows]
            next_url = self._next(answer)
            if next_url in seen or (rows and sids == before):
                raise VendorError(
                    Failure(FailureKind.TRANSIENT, "the listing gives the same page again", "repeated-page")
                )
            yield rows, next_url
            if not next_url:
                return
            seen.add(next_url)
            before, url, params = sids, next_url, None

    def close(self) -> None:
        """Lets go of connections."""
        self.door.close()

    def _next(self, answer: Mapping[str, Any]) -> str:
        """The next page: relative to the host on the 2010 API, absolute under `meta` on the others."""
        meta = answer.get("meta")
        if isinstance(meta, dict):
            return str(meta.get("next_page_url") or "")
        if "next_page_uri" not in answer:
            self.drift["listing without 'next_page_uri'"] += 1
            raise VendorError(
                Failure(FailureKind.UNKNOWN, "the listing does not say whether it goes on", "drift")
            )
        uri = answer["next_page_uri"]
        if not uri:
            return ""
        if not re.match(r"/2010-04-01/", str(uri)):
            raise VendorError(
                Failure(FailureKind.UNKNOWN, "the link to the next page leads elsewhere", "drift")
            )
        return API + str(uri)

    def _note_time(self, response: httpx.Response) -> None:
        self.server_time = rfc2822(response.headers.get("date")) or self.server_time


def json_object(response: httpx.Response) -> dict[str, Any] | None:
    """The body as a JSON object; None for HTML, half a body, or anything else."""
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def failure_from(response: httpx.Response) -> Failure:
    """The shared kind of a Twilio error, by status and `code`; its wording changes over the years."""
    answer = json_object(response) or {}
    code = answer.get("code")
    if response.is_redirect:
        return Failure(
            FailureKind.TRANSIENT, f"HTTP {response.status_code}: redirected, not followed", "redirect"
        )
    words = f"HTTP {response.status_code}"
    if isinstance(code, int):
        words += f", code {code}: {safe_words(answer.get('message', ''))}"
    failure = failure_of(response, words, str(code) if isinstance(code, int) else "")
    if code == TOO_MANY:
        return Failure(FailureKind.RATE_LIMITED, words, failure.code, failure.retry_after)
    if failure.kind is FailureKind.REJECTED and not isinstance(code, int):
        # No error of Twilio's: a proxy or a page in between answered, which settles nothing.
        return Failure(FailureKind.UNKNOWN, f"{words} without Twilio's error body", failure.code)
    return failure
