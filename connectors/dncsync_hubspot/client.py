"""The wire: HubSpot's SDK with its connections replaced by the one HTTP door.

The SDK builds requests; timeouts, retries, limits and the reading of answers are ours, because the SDK's are
a trap (sheet section 0, items 3 to 5 and 11): no default timeout, silent retries, answers that become `None`.
"""

from __future__ import annotations

import email.utils
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import hubspot.crm.contacts as hs_contacts
import hubspot.crm.properties as hs_properties
import orjson
import tenacity
from hubspot import HubSpot
from urllib3 import HTTPResponse
from urllib3.util.retry import Retry

from dncsync.budget import Lane
from dncsync.clock import EPOCH
from dncsync.connector import Context, Failure, FailureKind, Limit, VendorError
from dncsync.http import LONGEST_WAIT, HttpDoor
from dncsync.shapes import Answers
from dncsync_hubspot.errors import DAILY_WAIT, TEN_SECONDLY_WAIT, Refused, json_value, refused
from dncsync_hubspot.settings import HubSpotSettings, Shape

HOST = "https://api.hubapi.com"
LIST_PAGE = 100
SEARCH_PAGE = 200
BATCH = 100
HISTORY_BATCH = 50
"""With `propertiesWithHistory`, list and batch read take at most 50 (sheet 3.2, 3.5)."""
SEARCH_BODY = 3000
"""Characters (sheet 3.3)."""
DAILY_SHARE_KEPT = 0.05
"""Of the daily quota, kept for opt-outs: below it, background calls wait."""

# The one place that knows HubSpot's path families (sheet 1.1); the SDK only speaks v3.
PATHS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "v3": (),
    "2026-03": (
        ("/crm/v3/objects/", "/crm/objects/2026-03/"),
        ("/crm/v3/properties/", "/crm/properties/2026-03/"),
        ("/account-info/v3/", "/account-info/2026-03/"),
    ),
}
READ_POSTS = ("/search", "/batch/read")
Json = Mapping[str, Any]
Again = Callable[[BaseException], bool]


def limits_of(settings: HubSpotSettings) -> tuple[Limit, ...]:
    """The published limits (sheet section 7). The daily one is watched in headers (`Wire.daily_is_low`)."""
    return (Limit("burst", settings.burst_limit, 10.0), Limit("search", settings.search_limit, 1.0))


def limits_used(method: str, path: str) -> tuple[str, ...]:
    """Search is exempt from the 10-second limit and has its own bucket (sheet section 7)."""
    return ("search",) if path.endswith("/search") else ("burst",)


# What comes and goes by HubSpot's own description (sheet 3 to 5). Property history depends on the contact.
_OPTIONAL = (
    "paging",
    "errors",
    "numErrors",
    "results[].propertiesWithHistory",
    "results[].archivedAt",
    "results[].url",
    "results[].hubspotDefined",
    "results[].objectWriteTraceId",
)


def answers_of(settings: HubSpotSettings) -> Answers:
    """What is known of HubSpot's JSON beforehand; a flag with another value is drift (sheet 6.1, D3)."""
    enums: dict[str, frozenset[str]] = {}
    for flag in settings.flags.values():
        if flag.shape in (Shape.CHECKBOX, Shape.ENUMERATION):
            known = {*flag.true_values, *flag.false_values, flag.clear_value or "", "", "true", "false"}
            enums[f"results[].properties.{flag.property}"] = frozenset(known)
    return Answers(_asked, frozenset(_OPTIONAL), enums)


def _asked(request: httpx.Request) -> str:
    """A mark of the properties that were asked for: the same route answers with other keys to others."""
    named = [*request.url.params.get_list("properties"), *request.url.params.get_list("archived")]
    if request.method == "POST":
        body = json_value(request.content)
        if isinstance(body, dict):
            named += [str(body.get("properties")), str(bool(body.get("propertiesWithHistory")))]
    return f"{zlib.crc32(' '.join(named).encode()):08x}"


class Wire:
    """One portal's API: every call returns checked JSON or raises `VendorError`. Thread-safe."""

    def __init__(self, settings: HubSpotSettings, context: Context) -> None:
        self._settings = settings
        self._clock = context.clock
        self._token = settings.access_token
        self._ahead = timedelta(0)
        self.last_date: datetime | None = None
        """The `Date` of the last answer (UTC, whole seconds)."""
        self.burst_seen: int | None = None
        """`X-HubSpot-RateLimit-Max` of the last answer that had one."""
        self.daily_seen: tuple[int, int] | None = None
        """(remaining, allowed) of the last answer that told."""
        self._daily_at = 0.0
        self.door: HttpDoor = context.open_door(
            allowed=("api.hubapi.com",),
            limits=limits_of(settings),
            classify=limits_used,
            reroute={HOST: settings.base_url} if settings.base_url else None,
            on_response=self._learn,
            answers=answers_of(settings),
        )
        pool = _Pool(self.door, settings.api, self._before)
        # No retries in the SDK: one call is one request, and its failure is the door's (sheet 10.1).
        sdk = HubSpot(access_token=self._token.get_secret_value(), retry=Retry(total=0), host=HOST)
        # Each access builds a new API object with its own pool (sheet 10.1): keep them.
        self._basic: hs_contacts.BasicApi = _through(pool, sdk.crm.contacts.basic_api)
        self._batch: hs_contacts.BatchApi = _through(pool, sdk.crm.contacts.batch_api)
        self._search: hs_contacts.SearchApi = _through(pool, sdk.crm.contacts.search_api)
        self._properties: hs_properties.CoreApi = _through(pool, sdk.crm.properties.core_api)
        self._pool = pool

    # --- contacts -----------------------------------------------------------------------------------

    def page(self, after: str | None, properties: Sequence[str], limit: int = LIST_PAGE) -> Json:
        """One page of the full listing, in the order of ids. `properties` is needed on every page."""
        options: dict[str, Any] = {"limit": limit, "properties": list(properties), "archived": False}
        if after is not None:
            options["after"] = after
        return _results(self._read(lambda: self._basic.get_page(**options, **_RAW), _get_again))

    def one(self, contact_id: str, properties: Sequence[str]) -> Json | None:
        """One contact, also under an id that was merged away; None: not found or archived."""
        try:
            answer = self._read(
                lambda: self._basic.get_by_id(
                    contact_id, properties=list(properties), archived=False, **_RAW
                ),
                _get_again,
            )
        except Refused as error:
            # A retired path answers 404 as well, but not in HubSpot's error envelope (sheet 6.1, D13).
            if error.status == 404 and error.body.get("status") == "error":
                return None
            raise
        if not is_record(answer):
            raise _unreadable("a contact")
        return answer

    def batch_read(self, ids: Sequence[str], properties: Sequence[str], history: Sequence[str] = ()) -> Json:
        """Up to 100 contacts (50 with history) by id: `results`, and `errors` for those not found."""
        assert 0 < len(ids) <= (HISTORY_BATCH if history else BATCH)
        body = {
            "properties": list(properties),
            "propertiesWithHistory": list(history),
            "inputs": [{"id": one} for one in ids],
        }
        try:
            return _results(self._read(lambda: self._batch.read(body, archived=False, **_RAW)))
        except Refused as error:
            # When none is found, the status is not known for certain; the body is (sheet section 4).
            if error.status == 404 and error.failure.code == "OBJECT_NOT_FOUND":
                return {"results": [], "errors": [error.body]}
            raise

    def batch_update(self, inputs: Sequence[Mapping[str, Any]]) -> tuple[Json, str]:
        """Up to 100 contacts with distinct ids. Returns the answer and its correlation id."""
        assert len({one["id"] for one in inputs}) == len(inputs) <= BATCH
        self._pool.correlation = ""
        answer = self._write(lambda: self._batch.update({"inputs": list(inputs)}, **_RAW))
        if not isinstance(answer.get("results"), list):
            raise VendorError(Failure(FailureKind.UNKNOWN, "HubSpot's answer to a write is not readable"))
        return answer, self._pool.correlation

    def search(self, body: Mapping[str, Any]) -> Json:
        """One page of a search. Its index lags: what it says of a contact must be read again by id."""
        return _results(self._read(lambda: self._search.do_search(dict(body), **_RAW)))

    # --- schema and account -------------------------------------------------------------------------

    def definitions(self, *, archived: bool = False) -> list[Json]:
        """All contact properties that the token may see, without sensitive ones (sheet 6.1, D5)."""
        answer = _results(
            self._read(lambda: self._properties.get_all("contacts", archived=archived, **_RAW), _get_again),
            ids=False,
        )
        return list(answer["results"])

    def definition(self, name: str) -> Json | None:
        """One property that is not archived and not sensitive; None: there is none."""
        try:
            return self._read(
                lambda: self._properties.get_by_name("contacts", name, archived=False, **_RAW), _get_again
            )
        except Refused as error:
            if error.status == 404 and error.body.get("status") == "error":
                return None
            raise

    def sensitive_definition(self, name: str) -> Json | None:
        """A property among the sensitive ones; None: not there, or not for us. Not in the SDK."""
        for level in ("sensitive", "highly_sensitive"):
            try:
                path = f"/crm/v3/properties/contacts/{name}?dataSensitivity={level}"
                return self._direct("GET", path)
            except Refused as error:
                if error.status not in (400, 403, 404):
                    raise
        return None

    def account(self) -> Json:
        """Whose token this is: `portalId`, `timeZone`, `accountType`. Not in the SDK."""
        return self._direct("GET", "/account-info/v3/details")

    def granted_scopes(self) -> frozenset[str] | None:
        """The token's scopes; None where HubSpot does not tell. Body and answer are UNCONFIRMED (sheet 1.3),
        and not every kind of token has them: so whatever is odd says nothing. Not in the SDK."""
        body = {"tokenKey": self._token.get_secret_value()}
        try:
            answer = self._direct("POST", "/oauth/v2/private-apps/get/access-token-info", body)
        except VendorError as error:
            if error.failure.kind in (FailureKind.RATE_LIMITED, FailureKind.TRANSIENT):
                raise
            return None
        scopes = answer.get("scopes")
        return frozenset(map(str, scopes)) if isinstance(scopes, list) else None

    def try_empty_update(self) -> Refused | None:
        """Whether the token may write contacts, tried without naming one. None: HubSpot took it."""
        try:
            self._direct("POST", "/crm/v3/objects/contacts/batch/update", {"inputs": []})
        except Refused as error:
            return error
        return None

    def try_search(self) -> None:
        """One search for nothing in particular; raises as `search` does."""
        self.search({"filterGroups": [], "properties": ["hs_object_id"], "limit": 1})

    # --- time and limits ----------------------------------------------------------------------------

    def server_now(self) -> datetime:
        """The vendor's clock, as far as its last answer told; at first our own."""
        return self._clock.now() + self._ahead

    def server_ms(self) -> int:
        """`server_now` in epoch ms."""
        delta = self.server_now() - EPOCH
        return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000

    def close(self) -> None:
        """Lets go of connections."""
        self.door.close()

    def _learn(self, response: httpx.Response) -> None:
        headers = response.headers
        self._date(headers.get_list("date"))
        burst = _count(headers.get("x-hubspot-ratelimit-max"))
        if burst and headers.get("x-hubspot-ratelimit-interval-milliseconds", "10000") == "10000":
            self.burst_seen = burst
            self.door.budget.learn("burst", burst)
        left = _count(headers.get("x-hubspot-ratelimit-daily-remaining"))
        daily = _count(headers.get("x-hubspot-ratelimit-daily"))
        if left is not None and daily:
            self.daily_seen, self._daily_at = (left, daily), self._clock.monotonic()

    def _date(self, values: Sequence[str]) -> None:
        """From the `Date` headers of an answer; a proxy may have put one before HubSpot's."""
        try:
            date = email.utils.parsedate_to_datetime(values[-1])
        except (IndexError, ValueError, TypeError, OverflowError):
            return
        self.last_date = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
        ahead = self.last_date - self._clock.now()
        # `Date` is cut to whole seconds; a smaller difference than that says nothing.
        self._ahead = ahead if abs(ahead) > timedelta(seconds=2) else timedelta(0)

    def daily_is_low(self) -> bool:
        """Whether the last answer left so little of the day that only opt-outs may still call."""
        if self.daily_seen is None or self._clock.monotonic() - self._daily_at > DAILY_WAIT:
            return False  # one call finds out whether midnight has passed
        left, daily = self.daily_seen
        return left < daily * DAILY_SHARE_KEPT

    def _before(self) -> None:
        if self.door.lane is Lane.BACKGROUND and self.daily_is_low():
            message = "the rest of HubSpot's daily quota is kept for opt-outs"
            raise VendorError(Failure(FailureKind.RATE_LIMITED, message, "DAILY", DAILY_WAIT))

    # --- sending ------------------------------------------------------------------------------------

    def _direct(self, method: str, path: str, body: Any = None) -> Json:
        headers = {"Authorization": f"Bearer {self._token.get_secret_value()}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        content = None if body is None else orjson.dumps(body)
        again = _get_again if method == "GET" else _write_again
        return self._retried(
            lambda: self._pool.request(method, HOST + path, body=content, headers=headers), again
        )

    def _read(self, call: Callable[[], HTTPResponse], again: Again | None = None) -> Json:
        """A call that changes nothing; by default a POST, which the door takes for a write."""
        return self._retried(call, again or _read_again)

    def _write(self, call: Callable[[], HTTPResponse]) -> Json:
        """A call that writes: tried again only after answers that say nothing was done."""
        return self._retried(call, _write_again)

    def _retried(self, call: Callable[[], HTTPResponse], again: Again) -> Json:
        def attempt() -> Json:
            value = json_value(call().data)
            if not isinstance(value, dict):
                kind = FailureKind.UNKNOWN if again is _write_again else FailureKind.TRANSIENT
                words = "HubSpot's answer is not JSON (cut short, or an error page)"
                raise VendorError(Failure(kind, words, "not-json"))
            return value

        return tenacity.Retrying(
            stop=tenacity.stop_after_attempt(3),
            wait=_pause,
            retry=tenacity.retry_if_exception(again),
            sleep=self._clock.sleep,
            reraise=True,
        )(attempt)


class _Pool:
    """Stands in for `urllib3.PoolManager` in the SDK's REST objects: path family, limits, errors."""

    def __init__(self, door: HttpDoor, api: str, before: Callable[[], None]) -> None:
        self._door = door
        self._inner = door.urllib3_pool()
        self._paths = PATHS[api]
        self._before = before
        self.correlation = ""
        """`X-HubSpot-Correlation-Id` of the last answer; the system's one loop reads it after its write."""

    def request(self, method: str, url: str, **options: Any) -> HTTPResponse:
        """One request; raises `Refused` for every status outside 200-299."""
        self._before()
        for old, new in self._paths:
            url = url.replace(HOST + old, HOST + new, 1)
        path = url.split("?", 1)[0]
        reads = method in ("GET", "HEAD") or path.endswith(READ_POSTS)
        try:
            response = self._inner.request(method, url, **options)
        except VendorError as error:
            raise _settled(error, reads) from None
        self.correlation = response.headers.get("x-hubspot-correlation-id", "")
        if 200 <= response.status <= 299:
            return response
        headers = {name.lower(): value for name, value in response.headers.items()}
        failed = refused(response.status, headers, response.data, reads=reads)
        if failed.status == 429 and failed.failure.code == "TEN_SECONDLY_ROLLING":
            self._door.budget.hold(failed.failure.retry_after or TEN_SECONDLY_WAIT)
        raise failed


_RAW: dict[str, Any] = {"_preload_content": False}
"""The SDK hands over the answer as it came: its models drop unknown keys and turn HTML into `None`."""


def _through(pool: _Pool, api: Any) -> Any:
    api.api_client.rest_client.pool_manager = pool
    return api


def is_record(value: Any) -> bool:
    """Whether this looks like a contact of HubSpot: an id, and properties."""
    return isinstance(value, dict) and bool(value.get("id")) and isinstance(value.get("properties"), dict)


def _results(answer: Json, *, ids: bool = True) -> Json:
    results = answer.get("results")
    if not isinstance(results, list) or (ids and not all(is_record(r) for r in results)):
        raise _unreadable("results")
    return answer


def _unreadable(what: str) -> VendorError:
    return VendorError(Failure(FailureKind.TRANSIENT, f"HubSpot's answer has no {what}", "shape"))


def _settled(error: VendorError, reads: bool) -> VendorError:
    """A read whose answer was lost is not unknown: nothing was done by it."""
    if reads and error.failure.kind is FailureKind.UNKNOWN:
        return VendorError(Failure(FailureKind.TRANSIENT, error.failure.message, error.failure.code))
    return error


def _read_again(error: BaseException) -> bool:
    if not isinstance(error, VendorError):
        return False
    failure = error.failure
    if failure.kind is FailureKind.RATE_LIMITED:
        return isinstance(error, Refused) and (failure.retry_after or 0.0) <= LONGEST_WAIT
    return failure.kind is FailureKind.TRANSIENT and failure.code not in ("connect", "shape", "timeout")


def _get_again(error: BaseException) -> bool:
    """What the door has not already tried again: it retries 429, 502 to 504 and resets of GETs."""
    if isinstance(error, Refused):
        return error.status in (423, 500, 520, 521, 523, 524)
    return isinstance(error, VendorError) and error.failure.code == "not-json"


def _write_again(error: BaseException) -> bool:
    """429 and 423 say that nothing was done (sheet 5.2)."""
    if not isinstance(error, Refused) or error.status not in (423, 429):
        return False
    return (error.failure.retry_after or 0.0) <= LONGEST_WAIT


def _pause(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    said = error.failure.retry_after if isinstance(error, VendorError) else None
    return min(said, LONGEST_WAIT) if said is not None else 0.25 * 2 ** (state.attempt_number - 1)


def _count(value: str | None) -> int | None:
    return int(value) if value is not None and value.isdigit() else None
