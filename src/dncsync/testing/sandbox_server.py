"""A sandbox on a socket: a thread per connection, which stays open from call to call as vendors' do.

werkzeug's own handler closes after every answer, so that each call would pay for a new connection.
"""

from __future__ import annotations

import contextlib
import io
import socket
import struct
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import InternalServerError
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.test import run_wsgi_app

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

LARGEST_BODY = 64 << 20
"""Bytes; far above anything that a connector sends."""


class ConnectionBroken(ConnectionError):
    """The sandbox drops the connection without an answer."""


class SandboxServer(ThreadedWSGIServer):
    """A bound server, not yet serving; `serve_forever` runs it. Port 0: chosen by the system."""

    def __init__(self, app: WSGIApplication, host: str, port: int) -> None:
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(host, port, app, _KeepAliveHandler)

    def opened(self, connection: socket.socket) -> None:
        """A client is there."""
        with self._lock:
            self._open.add(connection)

    def closed(self, connection: socket.socket) -> None:
        """It has gone."""
        with self._lock:
            self._open.discard(connection)

    def hang_up(self) -> None:
        """Ends connections that wait for a further call: a vendor that is down answers nobody."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _KeepAliveHandler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SandboxServer

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.opened(self.connection)

    def finish(self) -> None:
        self.server.closed(self.connection)
        super().finish()

    def run_wsgi(self) -> None:
        """One call. Its body is read whole before the application runs, so that the next call begins where
        it should; the answer goes out in one piece."""
        environ = self.make_environ()
        if environ.get("wsgi.input_terminated"):  # chunked: it knows its own end
            body = environ["wsgi.input"].read()
        else:
            length = int(environ.get("CONTENT_LENGTH") or 0)
            if not 0 <= length <= LARGEST_BODY:
                self.send_error(413)
                self.close_connection = True
                return
            body = self.rfile.read(length)
        environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        try:
            pieces, status, headers = run_wsgi_app(self.server.app, environ)
            answer = b"".join(pieces)
        except ConnectionBroken:
            # Ends the handler, and with it the last hold on the socket: only then is it really reset.
            self.close_connection = True
            return
        except Exception:  # a fault of the sandbox, not of its client
            pieces, status, headers = run_wsgi_app(InternalServerError(), environ)
            answer = b"".join(pieces)
        code = int(status.partition(" ")[0])
        # Without the machine's own Date and Server: the sandbox speaks for another.
        lines = [f"{self.protocol_version} {status}", *(f"{name}: {value}" for name, value in headers)]
        bodiless = self.command == "HEAD" or code in (204, 304)
        if not bodiless and "Content-Length" not in headers:
            lines.append(f"Content-Length: {len(answer)}")
        if self.close_connection:
            lines.append("Connection: close")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        self.wfile.write(head if bodiless else head + answer)

    def log(self, type: str, message: str, *args: Any) -> None:
        """Quiet: calls are counted, not printed; a broken connection is what was asked for."""


def break_connection(environ: Mapping[str, Any] | WSGIEnvironment) -> None:
    """Resets the TCP connection under a request, where there is one."""
    connection = environ.get("werkzeug.socket")
    if isinstance(connection, socket.socket):
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
