"""Serves an application from its own thread: bound before it starts, stopped without cutting a call off."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_TIMEOUT: Final = 10.0
"""Seconds for the headers of a call to arrive; also for the first byte of a new connection."""
LARGEST_HEADER: Final = 16_384
"""Bytes of request line and headers."""
MOST_CONNECTIONS: Final = 512
"""At once; further ones get 503."""


class ListenError(Exception):
    """The address cannot be listened on. `str()` is one line."""


class Server:
    """`start()` returns when calls are taken; `port` is then known, also where 0 was asked for."""

    def __init__(
        self,
        app: ASGIApp,
        listen: tuple[str, int],
        *,
        header_timeout: float = HEADER_TIMEOUT,
        stop_timeout: float = 5.0,
    ) -> None:
        """`listen`: host and port. `stop_timeout`: seconds that calls in hand get to finish."""
        self._host, self._wanted = listen
        self._socket: socket.socket | None = None
        self._port: int | None = None
        self._thread: threading.Thread | None = None
        self._started = threading.Event()
        protocol = type("Protocol", (_TimedProtocol,), {"header_timeout": header_timeout})
        config = uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MOST_CONNECTIONS,
            h11_max_incomplete_event_size=LARGEST_HEADER,
            timeout_graceful_shutdown=max(1, round(stop_timeout)),
        )
        self._server = _Signalling(config, self._started)

    @property
    def port(self) -> int:
        """The port that is listened on. Only after `start()`."""
        assert self._port is not None, "not started"
        return self._port

    @property
    def url(self) -> str:
        """`http://host:port`, for calls from this machine."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    @property
    def alive(self) -> bool:
        """Whether calls are being taken."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Binds and serves. Raises `ListenError`."""
        assert self._thread is None, "a server starts once"
        try:
            family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
            self._socket = socket.create_server((self._host, self._wanted), family=family, backlog=512)
        except OSError as error:
            raise ListenError(
                f"cannot listen on {self._host} port {self._wanted}: {error.strerror or error}; "
                "choose another in [web] listen, or stop what uses it"
            ) from None
        self._port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._run, name="dncsync-web", daemon=True)
        self._thread.start()
        self._started.wait()
        if not self.alive:
            raise ListenError(f"the listener on {self._host} port {self._wanted} ended as it started")

    def stop(self) -> None:
        """Takes no more calls, lets those in hand finish, and returns when all are answered. Idempotent."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()
        if self._socket is not None:
            self._socket.close()

    def _run(self) -> None:
        assert self._socket is not None
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._started.set()


class _Signalling(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: threading.Event) -> None:
        super().__init__(config)
        self._on_started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started.set()


class _TimedProtocol(H11Protocol):
    """uvicorn waits for ever for headers; whoever sends them a byte at a time would keep a connection."""

    header_timeout = HEADER_TIMEOUT

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._headers_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._forget()

    def _expect_headers(self) -> None:
        """Runs a timer exactly while a call's headers are incomplete; more bytes do not put it off."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._forget()
        elif self._headers_due is None:
            self._headers_due = self.loop.call_later(self.header_timeout, self._give_up)

    def _forget(self) -> None:
        if self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None

    def _give_up(self) -> None:
        self._headers_due = None
        if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()
