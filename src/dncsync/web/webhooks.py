"""Vendors' webhooks: bounded, timed, and answered only after the ledger has committed (law 1).

The application knows no vendor. It hands each call as it arrived to `handle`, and answers when the future
that it got back resolves: the connector's answer, a refusal (4xx), or 503 so that the vendor sends again.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dncsync.clock import Clock, SystemClock
from dncsync.connector import Statement, Webhook, WebhookRefused, WebhookRequest
from dncsync.redaction import Redactor

LARGEST_BODY: Final = 1_048_576
"""Bytes; a longer body gets 413. The vendors' own largest is far below."""
SHORT_BODY: Final = 4096
"""Bytes; a body up to here is checked on the event loop, a longer one on a worker thread."""
BODY_TIMEOUT: Final = 10.0
"""Seconds for the whole body to arrive, else 408."""
GIVE_WAY: Final = 0.003
"""Seconds by which the answer to what a person said gives way, after the commit: the loops that carry it to
the other systems share this interpreter's lock, and their calls go out first."""
ANSWER_TIMEOUT: Final = 10.0
"""Seconds that `handle` may take before the vendor is asked to send again (503). What was begun goes on."""
RETRY_AFTER: Final = 5
"""Seconds, as told with each 503."""

Handle = Callable[[str, WebhookRequest], "Future[Webhook]"]

_SYSTEM: Final = re.compile(r"[a-z][a-z0-9-]{0,30}")
_log = structlog.get_logger("dncsync.web")


class UnknownSystem(LookupError):
    """`handle` has no system of that name that takes webhooks: 404."""


class _Refused(Exception):
    """The call ends here with this status and one line."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def create_app(
    handle: Handle,
    ready: Callable[[], bool],
    metrics_registry: CollectorRegistry,
    public_url: str,
    *,
    redactor: Redactor | None = None,
    clock: Clock | None = None,
    body_timeout: float = BODY_TIMEOUT,
    answer_timeout: float = ANSWER_TIMEOUT,
) -> Starlette:
    """The listener: `/hooks/{system}` and below it, `/healthz`, `/readyz`, `/metrics`.

    `handle(system, request)` must not wait for anything: it is called on the event loop for a short body, on
    a worker thread for a long one. Its future resolves after the commit; it may raise `UnknownSystem` or
    `WebhookRefused`, or its future may. `ready()`: whether the ledger can be written.
    `public_url`: what vendors call and sign, without a slash at the end; no header of a call changes it.
    `redactor`: applied to the reasons of refusals, which strangers read. One application per registry.
    """
    hooks = _Hooks(
        handle,
        metrics_registry,
        public_url.rstrip("/"),
        redactor or Redactor(),
        clock or SystemClock(),
        body_timeout,
        answer_timeout,
    )

    async def readyz(request: Request) -> Response:
        try:
            is_ready = await run_in_threadpool(ready)
        except Exception as error:
            _log.error("readiness cannot be told", error=type(error).__name__)
            is_ready = False
        return _plain(200, "ready") if is_ready else _plain(503, "the ledger cannot be written")

    async def healthz(request: Request) -> Response:
        return _plain(200, "alive")

    async def metrics(request: Request) -> Response:
        return Response(generate_latest(metrics_registry), headers={"content-type": CONTENT_TYPE_LATEST})

    return Starlette(
        routes=[
            Route("/hooks/{system}", hooks.answer, methods=["GET", "POST"]),
            Route("/hooks/{system}/{rest:path}", hooks.answer, methods=["GET", "POST"]),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
        ]
    )


class _Hooks:
    """The one endpoint that vendors call."""

    def __init__(
        self,
        handle: Handle,
        registry: CollectorRegistry,
        public_url: str,
        redactor: Redactor,
        clock: Clock,
        body_timeout: float,
        answer_timeout: float,
    ) -> None:
        self._handle = handle
        self._public_url = public_url
        self._body_timeout = body_timeout
        self._answer_timeout = answer_timeout
        self._redactor = redactor
        self._clock = clock
        self._calls = Counter(
            "dncsync_webhook_calls",
            "Webhook calls by system and answer",
            ("system", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "dncsync_webhook_seconds", "From headers read to answer", ("system",), registry=registry
        )

    async def answer(self, request: Request) -> Response:
        started = self._clock.monotonic()
        system = request.path_params["system"]
        reason = ""
        try:
            response = await self._answer(system, request)
        except _Refused as refused:
            reason = self._redactor.text(" ".join(refused.reason.split()))[:200]
            response = _plain(refused.status, reason)
        self._record(system, request.method, response.status_code, reason, self._clock.monotonic() - started)
        return response

    async def _answer(self, system: str, request: Request) -> Response:
        if request.method not in ("GET", "POST"):  # Starlette adds HEAD to GET; a look must record nothing
            raise _Refused(405, "use GET or POST")
        if not _SYSTEM.fullmatch(system):
            raise _Refused(404, "no such system")
        call = WebhookRequest(
            method=request.method,
            url=self._url(request),
            headers=_headers(request),
            body=await self._body(request),
            received_at=self._clock.now(),
        )
        try:
            webhook = await self._committed(await self._handled(system, call))
            if any(isinstance(signal, Statement) for signal in webhook.signals):
                await asyncio.sleep(GIVE_WAY)
        except UnknownSystem:
            raise _Refused(404, "no such system") from None
        except WebhookRefused as refused:
            status = refused.status if 400 <= refused.status <= 499 else 400
            raise _Refused(status, refused.reason or "refused") from None
        except TimeoutError:
            _log.error("webhook not committed in time", system=system, seconds=self._answer_timeout)
            return _try_again()
        except Exception as error:
            _log.error("webhook not recorded", system=system, exc_info=error)
            return _try_again()
        return Response(webhook.answer, headers={"content-type": webhook.answer_type})

    async def _handled(self, system: str, call: WebhookRequest) -> Future[Webhook]:
        """A short body is read at once: going to another thread and back costs more than checking it."""
        if len(call.body) <= SHORT_BODY:
            return self._handle(system, call)
        return await run_in_threadpool(self._handle, system, call)

    async def _committed(self, future: Future[Webhook]) -> Webhook:
        """Waits without ever cancelling: the writer may be about to commit it."""
        waiting = asyncio.wrap_future(future)
        waiting.add_done_callback(_look_at)
        try:
            return await asyncio.wait_for(asyncio.shield(waiting), self._answer_timeout)
        except asyncio.CancelledError:
            if future.cancelled():  # the writer gave it up; not we who are being stopped
                raise RuntimeError("given up before it was committed") from None
            raise

    def _url(self, request: Request) -> str:
        """As the vendor called it: configured origin, then path and query byte for byte."""
        path: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
        query: bytes = request.scope["query_string"]
        return self._public_url + path.decode("latin-1") + (f"?{query.decode('latin-1')}" if query else "")

    async def _body(self, request: Request) -> bytes:
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > LARGEST_BODY:
            raise _Refused(413, f"the body is longer than {LARGEST_BODY} bytes")
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_timeout):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > LARGEST_BODY:
                        raise _Refused(413, f"the body is longer than {LARGEST_BODY} bytes")
        except TimeoutError:
            raise _Refused(408, "the body did not arrive in time") from None
        except ClientDisconnect:
            raise _Refused(400, "the call broke off") from None
        return bytes(body)

    def _record(self, system: str, method: str, status: int, reason: str, seconds: float) -> None:
        """The access log and metrics: a route's shape, never a path, since paths and queries carry tokens."""
        known = system if status != 404 and _SYSTEM.fullmatch(system) else "unknown"
        self._calls.labels(known, str(status)).inc()
        self._seconds.labels(known).observe(seconds)
        log = _log.info if status < 400 else _log.warning
        log(
            "webhook",
            system=known,
            method=method,
            route="/hooks/{system}",
            status=status,
            seconds=round(seconds, 4),
            **({"reason": reason} if reason else {}),
        )


def _headers(request: Request) -> dict[str, str]:
    """Lower-case names. A repeated header is joined, so that a doubled signature matches nothing."""
    found: dict[str, str] = {}
    for name, value in request.headers.items():
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _plain(status: int, text: str) -> Response:
    closing = {"connection": "close"} if status in (408, 413) else None
    return PlainTextResponse(text + "\n", status, headers=closing)


def _try_again() -> Response:
    return PlainTextResponse("not recorded; send again\n", 503, headers={"retry-after": str(RETRY_AFTER)})


def _look_at(future: asyncio.Future[Webhook]) -> None:
    """Takes note of a failure that came after the answer, which asyncio would else complain about."""
    with suppress(asyncio.CancelledError):
        future.exception()
