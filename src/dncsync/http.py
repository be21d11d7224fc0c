"""The one HTTP door: every call to a vendor, SDKs included, goes through one httpx transport per system.

Here live timeouts, the call budget, short retries, the outbound host allow-list, the recording of headers,
and the shared kinds of failure. Nothing is logged here but method, host, path shape, status and duration.
A transport and no client: redirects are not followed and cookies not kept, and no opt-out waits for either.
"""

from __future__ import annotations

import email.utils
import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import tenacity

from dncsync.budget import CallBudget, Lane
from dncsync.clock import Clock, SystemClock
from dncsync.connector import Failure, FailureKind, Limit, VendorError
from dncsync.shapes import NOTHING_DECLARED, Answers, Sampler, Shape

if TYPE_CHECKING:
    import requests

    from dncsync.http_sdks import UrllibPool

# httpx logs every URL at INFO, httpcore every answer's headers at DEBUG: numbers and secrets live there.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)

log = logging.getLogger(__name__)

READS = frozenset({"GET", "HEAD", "OPTIONS"})
LONGEST_WAIT = 5.0
"""Seconds that a call may wait inside itself, for budget or Retry-After; longer waits go to the delivery."""
LONGEST_HOLD = 900.0
"""Seconds for which a 429 may silence a system: a delivery's longest backoff (design section 6)."""
LONGEST_RETRY_AFTER = 86_400.0
"""Seconds; a vendor that asks for more (or for `1e999`) is asked again after a day."""
DEFAULT_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
_HEADERS = {"accept": "*/*", "accept-encoding": "gzip, deflate", "user-agent": "dncsync"}
"""Of every call, where the caller gives no others."""

# The URL is not repeated: it may name people.
_UNREADABLE_URL = Failure(FailureKind.REJECTED, "the URL cannot be read")

# What a status means when the vendor's body says nothing better.
STATUS_KINDS: Mapping[int, FailureKind] = {
    401: FailureKind.UNAUTHORISED,
    403: FailureKind.UNAUTHORISED,
    408: FailureKind.UNKNOWN,
    421: FailureKind.TRANSIENT,
    423: FailureKind.TRANSIENT,
    425: FailureKind.TRANSIENT,
    429: FailureKind.RATE_LIMITED,
}


@dataclass(frozen=True, slots=True)
class WireCall:
    """One call as metrics and drift baselines see it; no numbers, no secrets, no bodies."""

    system: str
    method: str
    route: str
    """Host and path with ids replaced by `*`."""
    status: int | None
    """None: no answer."""
    seconds: float
    headers: frozenset[str]
    """Lower-case names of the answer's headers."""
    notices: Mapping[str, str]
    """Values of `warning`, `deprecation`, `sunset` where present."""
    shape: Shape | None = None
    """Of the answer's body, where this answer was looked at: keys and types, no values."""
    asked: str = ""
    """What was asked for, where the connector tells several questions to one route apart."""


class HttpDoor:
    """All HTTP of one system. Thread-safe; the lane is set by the system's one loop."""

    def __init__(
        self,
        system: str,
        *,
        allowed: Sequence[str],
        limits: Sequence[Limit] = (),
        classify: Callable[[str, str], Sequence[str]] | None = None,
        reroute: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        budget: CallBudget | None = None,
        transport: httpx.BaseTransport | None = None,
        observe: Callable[[WireCall], None] | None = None,
        on_response: Callable[[httpx.Response], None] | None = None,
        timeout: httpx.Timeout = DEFAULT_TIMEOUT,
        hold_on_429: bool = True,
        answers: Answers = NOTHING_DECLARED,
    ) -> None:
        """
        `allowed`: host names (`api.hubapi.com`, or `.my.salesforce.com` for all below it); anything else is
        refused. `limits` and `classify(method, path) -> names of the limits that this call counts against`
        (default: all). `reroute`: origin -> origin, e.g. `https://api.hubapi.com` -> a sandbox; its targets
        are allowed. `on_response` is called with every answer, before errors are raised. `hold_on_429`: after
        a 429 no call is made, in any lane, for the vendor's Retry-After or 1 s; False where a vendor's 429
        speaks of one kind of call only, and the connector holds what it must. `answers`: what the connector
        declares of the vendor's JSON.
        """
        self.system = system
        self.clock = clock or SystemClock()
        self.budget = budget or CallBudget(limits, self.clock)
        self.lane = Lane.BACKGROUND
        self._limit_names = tuple(limit.name for limit in limits)
        self._classify = classify
        self._reroute = {k.rstrip("/"): v.rstrip("/") for k, v in (reroute or {}).items()}
        targets = [urlsplit(v).hostname or "" for v in self._reroute.values()]
        self._allowed = tuple(allowed) + tuple(targets)
        self._observe = observe
        self._on_response = on_response
        self._hold_on_429 = hold_on_429
        self._sampler = Sampler(self.clock, answers)
        self._timeout = timeout
        self._transport = transport or httpx.HTTPTransport(
            trust_env=False,
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=16, keepalive_expiry=30),
        )

    @contextmanager
    def on_behalf_of(self, lane: Lane) -> Iterator[None]:
        """Calls inside the block count against that lane."""
        before, self.lane = self.lane, lane
        try:
            yield
        finally:
            self.lane = before

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Any = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | str | None = None,
        data: Mapping[str, Any] | None = None,
        json: Any = None,
        timeout: float | httpx.Timeout | None = None,
        auth: tuple[str, str] | None = None,
    ) -> httpx.Response:
        """Sends one call and returns its answer, whatever its status.

        Reads that were answered 429, 502, 503 or 504, or cut off, are tried up to three times within
        `LONGEST_WAIT`; after a timeout they are not, because an opt-out may be waiting behind them. Raises
        `VendorError`: rate-limited when the budget or the vendor asks for a longer wait, transient when
        nothing was sent, unknown when a write may have arrived.
        """
        request = self._build(
            method,
            url,
            auth,
            params=params,
            headers=headers,
            content=content,
            data=data,
            json=json,
            timeout=timeout,
        )
        return self._send(request)

    def call(self, method: str, url: str, **options: Any) -> httpx.Response:
        """As `request`, but any status outside 200-299 raises `VendorError` by `failure_of`."""
        response = self.request(method, url, **options)
        if not response.is_success:
            raise VendorError(failure_of(response))
        return response

    @contextmanager
    def stream(self, method: str, url: str, **options: Any) -> Iterator[httpx.Response]:
        """A read whose body is taken piece by piece; no retry."""
        request = self._build(method, url, options.pop("auth", None), **options)
        response = self._attempt(request, stream=True)
        try:
            yield response
        except httpx.RequestError as error:
            raise VendorError(
                Failure(FailureKind.TRANSIENT, f"answer broke off ({type(error).__name__})")
            ) from None
        finally:
            response.close()

    def close(self) -> None:
        """Closes all connections."""
        self._transport.close()

    # --- SDKs (imported only by those that have one) -------------------------------------------------

    def requests_session(self) -> requests.Session:
        """A `requests.Session` whose calls all go through this door (simple-salesforce)."""
        from dncsync.http_sdks import requests_session

        return requests_session(self)

    def urllib3_pool(self) -> UrllibPool:
        """A stand-in for `urllib3.PoolManager` (the REST objects of hubspot-api-client)."""
        from dncsync.http_sdks import UrllibPool

        return UrllibPool(self)

    # --- inside -------------------------------------------------------------------------------------

    def _build(
        self,
        method: str,
        url: str,
        auth: tuple[str, str] | None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | httpx.Timeout | None = None,
        **options: Any,
    ) -> httpx.Request:
        given = dict(headers or {})
        names = set(map(str.lower, given))
        patience = self._timeout if timeout is None else httpx.Timeout(timeout)
        try:
            request = httpx.Request(
                method,
                self._target(url),
                headers={**{name: value for name, value in _HEADERS.items() if name not in names}, **given},
                extensions={"timeout": patience.as_dict()},
                **options,
            )
        except httpx.InvalidURL:
            raise VendorError(_UNREADABLE_URL) from None
        return request if auth is None else next(httpx.BasicAuth(*auth).sync_auth_flow(request))

    def _target(self, url: str) -> str:
        try:
            parts = urlsplit(url)
        except ValueError:
            raise VendorError(_UNREADABLE_URL) from None
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin in self._reroute:
            scheme, netloc, base, _, _ = urlsplit(self._reroute[origin])
            parts = parts._replace(scheme=scheme, netloc=netloc, path=base + parts.path)
        if parts.scheme not in ("http", "https"):
            raise VendorError(_UNREADABLE_URL)
        host = parts.hostname or ""
        if not any(host == a or (a.startswith(".") and host.endswith(a)) for a in self._allowed):
            raise VendorError(
                Failure(FailureKind.REJECTED, f"host {host!r} is not one that {self.system} may call")
            )
        return urlunsplit(parts)

    def _send(self, request: httpx.Request) -> httpx.Response:
        if request.method not in READS:
            return self._attempt(request)
        started = self.clock.monotonic()
        retrying = tenacity.Retrying(
            stop=lambda tried: tried.attempt_number >= 3 or self.clock.monotonic() - started >= LONGEST_WAIT,
            wait=_wait,
            retry=tenacity.retry_if_exception(_worth_retrying) | tenacity.retry_if_result(_busy),
            sleep=self.clock.sleep,
            retry_error_callback=_last,
        )
        return retrying(self._attempt, request)

    def _attempt(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        self._wait_for_budget(request)
        started = self.clock.monotonic()
        try:
            response = self._transport.handle_request(request)
            response.request = request
            if not stream:
                with closing(response):
                    response.read()
        except httpx.RequestError as error:
            self._record(request, None, started)
            raise VendorError(_network_failure(request, error)) from None
        self._record(request, response, started, read=not stream)
        if response.status_code == 429 and self._hold_on_429:
            said = retry_after_of(response)
            self.budget.hold(min(1.0 if said is None else said, LONGEST_HOLD))
        if self._on_response is not None:
            self._on_response(response)
        return response

    def _wait_for_budget(self, request: httpx.Request) -> None:
        path = request.url.path
        names = self._classify(request.method, path) if self._classify else self._limit_names
        waited = 0.0
        while (wait := self.budget.acquire(names, self.lane)) > 0:
            if waited + wait > LONGEST_WAIT:
                held = self.budget.held() > 0
                words = "the vendor asked for a pause" if held else "our own call budget is used up"
                raise VendorError(Failure(FailureKind.RATE_LIMITED, words, retry_after=wait))
            self.clock.sleep(wait)
            waited += wait

    def _record(
        self, request: httpx.Request, response: httpx.Response | None, started: float, *, read: bool = False
    ) -> None:
        route = request.url.host + path_shape(request.url.path)
        seconds = self.clock.monotonic() - started
        said = response.status_code if response is not None else "no answer"
        log.debug("%s %s: %s in %.3f s", request.method, route, said, seconds)
        if self._observe is None:
            return
        headers = response.headers if response is not None else httpx.Headers()
        looked = None
        if response is not None and read:
            looked = self._sampler.look(f"{request.method} {route}", response)
        self._observe(
            WireCall(
                system=self.system,
                method=request.method,
                route=route,
                status=response.status_code if response is not None else None,
                seconds=seconds,
                headers=frozenset(name.lower() for name in headers),
                notices={n: headers[n] for n in ("warning", "deprecation", "sunset") if n in headers},
                asked=looked[0] if looked else "",
                shape=looked[1] if looked else None,
            )
        )


def failure_of(response: httpx.Response, message: str = "", code: str = "") -> Failure:
    """The shared kind of a non-2xx answer by its status. A 5xx to a write is unknown: it may have landed."""
    status = response.status_code
    wrote = response.request.method not in READS
    if status in STATUS_KINDS:
        kind = STATUS_KINDS[status]
    elif status >= 500:
        kind = FailureKind.UNKNOWN if wrote else FailureKind.TRANSIENT
    else:
        kind = FailureKind.REJECTED
    return Failure(kind, message or f"HTTP {status}", code or str(status), retry_after_of(response))


def retry_after_of(response: httpx.Response) -> float | None:
    """Seconds from a `Retry-After` header in either form, at most a day; None where absent or unreadable.

    A date is measured against the answer's own `Date`: two machines' clocks are never compared.
    """
    value = response.headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            ends = [email.utils.parsedate_to_datetime(text) for text in (response.headers["date"], value)]
            seconds = (ends[1] - ends[0]).total_seconds()
        except (ValueError, KeyError, TypeError, OverflowError):
            return None
    return None if math.isnan(seconds) else min(max(0.0, seconds), LONGEST_RETRY_AFTER)


def path_shape(path: str) -> str:
    """A path with ids replaced by `*`, so that it names a route and no person."""
    return "/".join("*" if re.search(r"\d{3,}|[0-9a-f]{16,}|%", part) else part for part in path.split("/"))


def _network_failure(request: httpx.Request, error: httpx.RequestError) -> Failure:
    words = f"no answer ({type(error).__name__})"
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):  # never sent
        return Failure(FailureKind.TRANSIENT, f"cannot connect ({type(error).__name__})", "connect")
    kind = FailureKind.TRANSIENT if request.method in READS else FailureKind.UNKNOWN
    return Failure(kind, words, "timeout" if isinstance(error, httpx.TimeoutException) else "network")


def _worth_retrying(error: BaseException) -> bool:
    return (
        isinstance(error, VendorError)
        and error.failure.kind is FailureKind.TRANSIENT
        and error.failure.code not in ("connect", "timeout")
    )


def _busy(response: httpx.Response) -> bool:
    if response.status_code not in (429, 502, 503, 504):
        return False
    return (retry_after_of(response) or 0.0) <= LONGEST_WAIT


def _wait(state: tenacity.RetryCallState) -> float:
    if state.outcome is not None and not state.outcome.failed:
        said = retry_after_of(state.outcome.result())
        if said is not None:
            return min(said, LONGEST_WAIT)
    return float(min(0.2 * 2**state.attempt_number, LONGEST_WAIT))


def _last(state: tenacity.RetryCallState) -> Any:
    assert state.outcome is not None
    return state.outcome.result()
