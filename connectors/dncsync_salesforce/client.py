"""The wire: simple-salesforce over the HTTP door, with its pitfalls (sheet 14.2) taken away.

All calls go through `OrgClient`; whatever goes wrong comes out as `VendorError`.
"""

from __future__ import annotations

import email.utils
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NoReturn, TypeVar

import httpx
import orjson
import requests
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import SalesforceError, SalesforceExpiredSession
from simple_salesforce.util import exception_handler

from dncsync.budget import Lane
from dncsync.connector import Context, Failure, FailureKind, Limit, VendorError
from dncsync.http import retry_after_of
from dncsync.shapes import Answers
from dncsync_salesforce.failures import CONCURRENT_RETRY, failure_of_answer, first_error
from dncsync_salesforce.login import Login, Session, fetch_session
from dncsync_salesforce.settings import SalesforceSettings
from dncsync_salesforce.soql import select

T = TypeVar("T")
DAILY, LOGINS = "daily", "logins"
NEARLY = 0.95
"""Share of the 24-hour allocation from which on only opt-outs are let through."""
LOOK_AGAIN, FEW = 300.0, 12
"""Every so many seconds so few background calls are let through then: changes are still seen, and we learn
whether the allocation has freed."""
READ_TIMEOUT = httpx.Timeout(120.0, connect=5.0)
"""A SOQL query may take two minutes before the vendor gives it up itself."""
LONGEST_HOLD = 60.0
"""Seconds for which one refusal may stop all our calls."""
NEVER_VALID = "not valid for use with the REST API"
"""Under this wording a new log-in never helps (sheet 2.4)."""


class _Sdk(Salesforce):
    """The SDK with one place for calls: headers survive a re-login, and a refusal ends instead of recursing.

    Overrides the private `_call_salesforce`; pinned to simple-salesforce 1.12 and held by tests.
    """

    def __init__(self, settings: SalesforceSettings, http: requests.Session, login: Login) -> None:
        self.login = login
        super().__init__(
            session_id="none yet",
            instance=f"{settings.domain}.salesforce.com",
            version=settings.api_version,
            session=http,
        )

    def adopt(self, session: Session) -> None:
        """Makes that session the one that further calls are built with."""
        if self.session_id == session.token:
            return
        self.session_id, self.sf_instance = session.token, session.host
        self.base_url = f"https://{session.host}/services/data/v{self.sf_version}/"
        self.bulk2_url = f"{self.base_url}jobs/"
        self.tooling_url = f"{self.base_url}tooling/"
        self._generate_headers()

    def _call_salesforce(
        self, method: str, url: str, name: str = "", retries: int = 0, max_retries: int = 3, **kwargs: Any
    ) -> requests.Response:
        extra = kwargs.pop("headers", None) or {}
        session = self.login.session()
        self.adopt(session)
        result = self._send(session, method, url, extra, kwargs)
        if _session_refused(result):
            session = self.login.renewed(session)
            self.adopt(session)
            result = self._send(session, method, url, extra, kwargs)
            if _session_refused(result):
                self.login.renewed(session)  # raises: a second new session in a row will not help
        if result.status_code >= 300:
            exception_handler(result, name=name)
        self.login.worked()
        return result

    def _send(
        self, session: Session, method: str, url: str, extra: Mapping[str, str], options: Mapping[str, Any]
    ) -> requests.Response:
        headers = {**self.headers, **extra, "Authorization": f"Bearer {session.token}"}
        return self.session.request(method, url, headers=headers, **options)

    def parse_result_to_json(self, result: requests.Response) -> Any:
        """The body as plain dicts. Raises `ValueError` on anything but an object or array."""
        answer = orjson.loads(result.content)
        if not isinstance(answer, dict | list):
            raise ValueError("neither object nor array")
        return answer


@dataclass(frozen=True, slots=True)
class Rows:
    """One page of a query."""

    records: list[dict[str, Any]]
    total: int
    """How many rows the whole query has, by the vendor's word."""
    more: str | None
    """Where the next page is."""


class OrgClient:
    """One org. Logs in when first asked something."""

    def __init__(self, settings: SalesforceSettings, context: Context) -> None:
        self.clock = context.clock
        self.settings = settings
        self.user_id = ""
        """Our own user, once logged in."""
        self.org_id = ""
        self.usage: tuple[int, int] | None = None
        """(calls used, calls allowed) in 24 hours, all integrations of the org together."""
        self.notices: list[str] = []
        """`Warning` headers seen, e.g. of an API version that ends."""
        self._skew: timedelta | None = None
        self._look_again_at = 0.0
        self._allowance = 0
        self._sparing = True
        self._told_to_wait: float | None = None
        origin = f"https://{settings.domain}.salesforce.com"
        outside = () if settings.base_url else (f"{settings.domain}.salesforce.com", ".my.salesforce.com")
        self.limits = (Limit(DAILY, settings.daily_calls, 86_400), Limit(LOGINS, 3_600, 3_600))
        self.door = context.open_door(
            allowed=outside,
            limits=self.limits,
            classify=_counts_against,
            reroute={origin: settings.base_url} if settings.base_url else None,
            on_response=self._notice,
            timeout=READ_TIMEOUT,
            answers=Answers(_asked_for, OPTIONAL),
        )
        http = self.door.requests_session()
        self._login = Login(lambda: self._log_in(http), context.clock)
        self._sdk = _Sdk(settings, http, self._login)

    def close(self) -> None:
        """Lets go of connections."""
        self.door.close()

    # --- asking ---------------------------------------------------------------------------------------

    def query(self, soql: str, *, deleted: bool = False) -> Rows:
        """The first page; `deleted`: recycled and merged records too."""
        return _rows(self._ask(lambda sdk: sdk.query(soql, include_deleted=deleted)))

    def more(self, where: str) -> Rows:
        """The next page. A locator that the vendor has forgotten raises with code INVALID_QUERY_LOCATOR."""
        return _rows(self._ask(lambda sdk: sdk.query_more(where, identifier_is_url=True)))

    def all_rows(self, soql: str, *, deleted: bool = False, at_most: int = 10_000) -> list[dict[str, Any]]:
        """Every row of a query that is known to be small. Raises `VendorError` if the answer is short."""
        page = self.query(soql, deleted=deleted)
        rows, total = list(page.records), page.total
        while page.more is not None and len(rows) < at_most:
            page = self.more(page.more)
            rows += page.records
        if len(rows) < min(total, at_most):
            raise VendorError(
                Failure(FailureKind.TRANSIENT, f"a query gave {len(rows)} of {total} rows", "short-list")
            )
        return rows

    def count(self, sobject: str, conditions: Iterable[str]) -> int:
        """How many live rows of that object match."""
        return self.query(select("COUNT()", sobject, conditions)).total

    def search(self, sosl: str) -> list[dict[str, Any]]:
        """SOSL. The index behind it lags by minutes (sheet 11)."""
        answer = self._ask(lambda sdk: sdk.search(sosl))
        found = answer.get("searchRecords") if isinstance(answer, dict) else None
        if found is None:
            found = [] if answer is None else answer  # older versions answer with the bare array
        return [r for r in found if isinstance(r, dict)]

    def describe(self, sobject: str) -> Mapping[str, Any]:
        """The object's describe, as our own user sees it."""
        answer = self._ask(lambda sdk: sdk.restful(f"sobjects/{sobject}/describe"))
        if not isinstance(answer, dict) or not isinstance(answer.get("fields"), list):
            _malformed(wrote=False)
        return answer

    def tooling(self, soql: str) -> list[dict[str, Any]]:
        """A Tooling API query of a few rows."""
        return _rows(self._ask(lambda sdk: sdk.restful("tooling/query/", params={"q": soql}))).records

    def versions(self) -> list[str]:
        """The REST API versions that the org serves, e.g. `66.0`; needs no log-in."""
        origin = f"https://{self.settings.domain}.salesforce.com"
        response = self.door.request("GET", f"{origin}/services/data/")
        try:
            return [str(entry["version"]) for entry in orjson.loads(response.content)]
        except (ValueError, KeyError, TypeError):
            raise VendorError(failure_of_answer(response.status_code, None, wrote=False)) from None

    def daily_allocation(self) -> tuple[int, int]:
        """(used, allowed) calls of 24 hours, from the limits resource."""
        answer = self._ask(lambda sdk: sdk.limits())
        try:
            allowed = int(answer["DailyApiRequests"]["Max"])
            return allowed - int(answer["DailyApiRequests"]["Remaining"]), allowed
        except (KeyError, TypeError, ValueError):
            _malformed(wrote=False)

    def patch(
        self, records: Sequence[Mapping[str, Any]], *, allow_duplicates: bool = False
    ) -> list[dict[str, Any]]:
        """One collections update (at most 200 records); answers by index, not trusted to be complete."""
        headers = {"Sforce-Duplicate-Rule-Header": "allowSave=true"} if allow_duplicates else {}
        body = {"allOrNone": False, "records": list(records)}
        answer = self._ask(
            lambda sdk: sdk.restful("composite/sobjects", method="PATCH", json=body, headers=headers),
            wrote=True,
        )
        if not isinstance(answer, list):
            _malformed(wrote=True)
        return answer

    def bulk(self, sobject: str, do: Callable[[Any], T]) -> T:
        """Bulk 2.0: `do` gets the SDK's job client, with a session that is valid now (sheet 18.1)."""

        def attempt(sdk: _Sdk) -> T:
            session = self._login.session()
            sdk.adopt(session)
            try:
                answer = do(getattr(sdk.bulk2, sobject)._client)
            except SalesforceExpiredSession:
                sdk.adopt(self._login.renewed(session))
                answer = do(getattr(sdk.bulk2, sobject)._client)
            self._login.worked()
            return answer

        return self._ask(attempt)

    def discreet(self, failure: Failure) -> Failure:
        """The same failure without secrets, should the vendor have repeated one to us."""
        secrets = (self.settings.client_secret, self.settings.private_key)
        hidden = [secret.get_secret_value() for secret in secrets if secret is not None]
        message = failure.message
        for word in (*hidden, self._sdk.session_id):
            message = message.replace(word, "[secret]")
        return replace(failure, message=message)

    def sign_in(self) -> None:
        """Makes sure that there is a session. Raises `VendorError`."""
        self._login.session()

    @contextmanager
    def whatever_is_left(self) -> Iterator[None]:
        """Inside, background calls may use the last of the allocation: a person waits for the answer."""
        self._sparing = False
        try:
            yield
        finally:
            self._sparing = True

    def vendor_now(self) -> datetime:
        """The vendor's clock, as far as its `Date` headers tell; else ours."""
        return self.clock.now() + (self._skew or timedelta(0))

    @property
    def skew(self) -> timedelta | None:
        """How far the vendor's clock is ahead of ours; None until it told."""
        return self._skew

    # --- inside ---------------------------------------------------------------------------------------

    def _ask(self, question: Callable[[_Sdk], T], *, wrote: bool = False) -> T:
        self._spare_for_opt_outs()
        self._sdk.adopt(self._login.session())
        try:
            return question(self._sdk)
        except VendorError as error:
            if error.failure.kind is FailureKind.UNKNOWN and not wrote:  # a POST that only asks
                failure = Failure(FailureKind.TRANSIENT, error.failure.message, error.failure.code)
                raise VendorError(failure) from None
            raise
        except SalesforceError as error:
            failure = self.discreet(failure_of_answer(error.status, error.content, wrote=wrote))
            if failure.kind is FailureKind.RATE_LIMITED:
                failure = replace(failure, retry_after=self._told_to_wait or failure.retry_after)
                self.door.budget.hold(min(failure.retry_after or CONCURRENT_RETRY, LONGEST_HOLD))
            raise VendorError(failure) from None
        except (ValueError, KeyError, RecursionError):  # no JSON or UTF-8, or without what the SDK needs
            _malformed(wrote=wrote)

    def _log_in(self, http: requests.Session) -> Session:
        try:
            return fetch_session(self.settings, http)
        except VendorError as error:
            raise VendorError(self.discreet(error.failure)) from None

    def _spare_for_opt_outs(self) -> None:
        if self.usage is None or self.door.lane is Lane.OPT_OUT or not self._sparing:
            return
        used, allowed = self.usage
        now = self.clock.monotonic()
        if used < allowed * NEARLY:
            return
        if now >= self._look_again_at:
            self._look_again_at, self._allowance = now + LOOK_AGAIN, FEW
        if self._allowance <= 0:
            raise VendorError(
                Failure(
                    FailureKind.RATE_LIMITED,
                    f"{used} of the org's {allowed} API calls of 24 hours are used; the rest is for opt-outs",
                    "nearly-exhausted",
                    self._look_again_at - now,
                )
            )
        self._allowance -= 1

    def _notice(self, response: httpx.Response) -> None:
        """Reads what answers say beside their bodies; called by the door with every answer."""
        self._told_to_wait = retry_after_of(response)
        if date := response.headers.get("date"):
            try:
                self._skew = email.utils.parsedate_to_datetime(date) - self.clock.now()
            except (ValueError, TypeError, OverflowError):
                self._skew = None
        if usage := re.search(
            r"(?<!-)\bapi-usage=(\d+)/(\d+)", response.headers.get("sforce-limit-info", "")
        ):
            self.usage = int(usage[1]), int(usage[2])
            self.door.budget.learn(DAILY, self.usage[1])
        if (warning := response.headers.get("warning")) and warning not in self.notices[-20:]:
            self.notices = [*self.notices[-19:], warning]
        if response.request.url.path.endswith("/services/oauth2/token") and response.is_success:
            identity = re.search(rb'"id"\s*:\s*"[^"]*/id/(00D\w{12,15})/(005\w{12,15})"', response.content)
            if identity:
                self.org_id, self.user_id = identity[1].decode(), identity[2].decode()


OPTIONAL = frozenset({"nextRecordsUrl", "signature", "token_format", "issued_at", "[].errors", "[].id"})
"""Keys that come and go as described: the locator of the next page, parts of a log-in, results of updates."""


def _asked_for(request: httpx.Request) -> str:
    """Object and a mark of the columns of a query: other columns are another question."""
    soql = request.url.params.get("q", "")
    found = re.match(r"\s*SELECT\s+(.*?)\s+FROM\s+(\w+)", soql, re.IGNORECASE | re.DOTALL)
    return "" if found is None else f"{found[2]} {zlib.crc32(found[1].encode()):08x}"


def _counts_against(method: str, path: str) -> tuple[str, ...]:
    if path.endswith("/services/oauth2/token"):
        return (LOGINS,)
    return (DAILY,) if "/services/data/v" in path else ()


def _session_refused(result: requests.Response) -> bool:
    if result.status_code != 401:
        return False
    try:
        return NEVER_VALID not in first_error(orjson.loads(result.content))[1]
    except orjson.JSONDecodeError:  # an HTML page: a new session may help, and is tried once
        return True


def _rows(answer: Any) -> Rows:
    if not isinstance(answer, dict):
        _malformed(wrote=False)
    records, done, more = answer.get("records"), answer.get("done"), answer.get("nextRecordsUrl")
    if not isinstance(records, list) or not all(type(record) is dict for record in records):
        _malformed(wrote=False)
    if not isinstance(done, bool) or type(answer.get("totalSize")) is not int:
        _malformed(wrote=False)
    if done:
        more = None
    elif not isinstance(more, str) or not more.startswith("/services/data/"):
        _malformed(wrote=False)
    return Rows(records, answer["totalSize"], more)


def _malformed(*, wrote: bool) -> NoReturn:
    kind = FailureKind.UNKNOWN if wrote else FailureKind.TRANSIENT
    raise VendorError(Failure(kind, "a success status with a body that is not the known shape", "malformed"))


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Consecutive parts of at most `size` items."""
    for at in range(0, len(items), size):
        yield items[at : at + size]
