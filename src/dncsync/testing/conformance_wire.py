"""The wire of the conformance kit: what went out and what came back, with timeouts on the virtual clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from dncsync.clock import VirtualClock
from dncsync.http import retry_after_of
from dncsync.testing.conformance_facts import Broken
from dncsync.testing.faults import FaultKind
from dncsync.testing.sandbox import Sandbox

BREAKING_OFF: tuple[tuple[FaultKind, Mapping[str, Any]], ...] = (
    (FaultKind.STATUS, {"status": 500}),
    (FaultKind.RESET_AFTER, {}),
    (FaultKind.HTML, {"status": 200}),
    (FaultKind.TRUNCATED, {}),
)
"""Ways in which a reading breaks off."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One request as it went out, and what came of it."""

    at: float
    """Seconds on the bench's clock when the answer came."""
    method: str
    path: str
    status: int | None
    retry_after: float | None


class BenchTransport(httpx.BaseTransport):
    """In process, with the client's own timeouts kept on the virtual clock."""

    def __init__(self, sandbox: Sandbox, clock: VirtualClock) -> None:
        self._inner = sandbox.transport()
        self._clock = clock
        self.sent: list[Sent] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        started = self._clock.monotonic()
        limit = request.extensions.get("timeout", {}).get("read")
        status, said = None, None
        try:
            response = self._inner.handle_request(request)
            response.request = request
            if limit is not None and self._clock.monotonic() - started > limit:
                raise httpx.ReadTimeout("no answer in time", request=request)
            status, said = response.status_code, retry_after_of(response)
        finally:
            self.sent.append(Sent(self._clock.monotonic(), request.method, request.url.path, status, said))
        if limit is None:
            raise Broken(f"{request.method} {request.url.path} has no read timeout; it could hang for ever")
        return response
