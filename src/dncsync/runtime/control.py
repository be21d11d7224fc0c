"""The door between `dncsync` on the command line and a running daemon: HTTP on a Unix socket.

One process holds a ledger for writing. While it is the daemon, the command line hands its commands over
here; the socket stands beside the ledger and only its owner can open it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dncsync.sync.requests import Refused

Handle = Callable[[str, Mapping[str, Any]], dict[str, Any]]
"""`handle(command, arguments)`; raises `Refused`."""

LONGEST_PATH = 100
"""Bytes; the kernel takes 107."""


STOP_WITHIN = 2
"""Seconds that commands in hand get to end in; one that is cut off is in the ledger whole or not at all."""


class NoDaemon(Exception):
    """Nobody listens beside this ledger."""


def socket_path(ledger: Path) -> Path:
    """Where the daemon of this ledger listens."""
    path = ledger.resolve().with_name(ledger.name + ".control")
    if len(os.fsencode(path)) <= LONGEST_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:24]
    return Path(tempfile.gettempdir()) / f"dncsync-{os.getuid()}-{digest}.control"


class ControlServer:
    """Takes commands on the socket, in its own thread."""

    def __init__(self, ledger: Path, handle: Handle) -> None:
        self.path = socket_path(ledger)
        self._handle = handle
        app = Starlette(routes=[Route("/{command}", self._answer, methods=["POST"])])
        config = uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=STOP_WITHIN,
        )
        self._server = uvicorn.Server(config)
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listens. The ledger's lock is held, so a socket that is there already is a dead process's."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            self._socket.bind(str(self.path))
        finally:
            os.umask(before)
        self._socket.listen(16)
        self._thread = threading.Thread(
            target=lambda: self._server.run(sockets=[self._socket] if self._socket else None),
            name="dncsync-control",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """Takes no more commands; those in hand are finished."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()
        if self._socket is not None:
            self._socket.close()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()

    async def _answer(self, request: Request) -> Response:
        try:
            arguments = orjson.loads(await request.body())
            result = await asyncio.to_thread(self._handle, request.path_params["command"], arguments)
        except Refused as error:
            return _json({"error": str(error)}, 422)
        except orjson.JSONDecodeError:
            return _json({"error": "the arguments are not JSON"}, 400)
        except Exception as error:
            return _json({"error": f"the daemon could not do it ({type(error).__name__}: {error})"}, 500)
        return _json(result, 200)


def send(
    ledger: Path, command: str, arguments: Mapping[str, Any], *, timeout: float = 60.0
) -> dict[str, Any]:
    """Has the daemon carry out a command. Raises `NoDaemon`, or `Refused` with the daemon's one line."""
    path = socket_path(ledger)
    if not path.exists():
        raise NoDaemon(str(ledger))
    transport = httpx.HTTPTransport(uds=str(path))
    try:
        with httpx.Client(transport=transport, timeout=timeout) as client:
            answer = client.post(f"http://daemon/{command}", content=orjson.dumps(dict(arguments)))
    except httpx.ConnectError:
        raise NoDaemon(str(ledger)) from None
    except httpx.HTTPError as error:
        raise Refused(f"the daemon did not answer ({type(error).__name__}); see its log") from None
    body: dict[str, Any] = orjson.loads(answer.content)
    if answer.status_code != 200:
        raise Refused(str(body.get("error", "the daemon refused")))
    return body


def _json(body: Mapping[str, Any], status: int) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")
