"""A real daemon process against sandboxes on sockets: for the demo, the kill test and the benchmarks."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from dncsync.testing.sandbox import Sandbox


def configuration(
    sandboxes: Mapping[str, tuple[Sandbox, str]], ledger: Path, listen: str, **extra: Any
) -> tuple[str, dict[str, str]]:
    """TOML text and environment for a daemon that uses these sandboxes. `sandboxes`: name -> (it, its URL);
    `extra`: further tables, e.g. `sync={...}`."""
    systems: dict[str, Any] = {}
    environ: dict[str, str] = {}
    for name, (box, url) in sandboxes.items():
        table, secrets = box.settings(url)
        systems[name] = table
        for field, value in secrets.items():
            environ[f"DNCSYNC_SYSTEMS__{name.replace('-', '_').upper()}__{field.upper()}"] = value
    tables = {"ledger": {"path": str(ledger)}, "web": {"listen": listen}, **extra, "systems": systems}
    return tomli_w.dumps(tables), environ


def free_port() -> int:
    """A TCP port on loopback that nobody uses now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class DaemonProcess:
    """`dncsync run` as its own process; started and killed as often as a test likes, on one ledger."""

    config: Path
    environ: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    url: str = ""

    def start(self, timeout: float = 30.0) -> None:
        """Returns when it takes webhooks. Raises `RuntimeError` with its last words when it does not."""
        environ = {k: v for k, v in os.environ.items() if not k.startswith("DNCSYNC_")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dncsync.cli.main", "run", "--config", str(self.config), "--json"],
                env={**environ, **self.environ},
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None
        timer = threading.Timer(timeout, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        if not line:
            words = self.log.read_text(errors="replace").splitlines()[-3:]
            raise RuntimeError(f"the daemon did not start: {' | '.join(words)}")
        self.url = json.loads(line)["listening"]

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        if self.process is not None:
            self.process.kill()
            self._forget()

    def stop(self, timeout: float = 12.0) -> int:
        """SIGTERM; returns its exit code. Raises `subprocess.TimeoutExpired` when it takes too long."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout)
        self._forget()
        return code

    def _forget(self) -> None:
        assert self.process is not None
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None


@contextlib.contextmanager
def running(
    folder: Path, sandboxes: Mapping[str, Sandbox], **extra: Any
) -> Iterator[tuple[DaemonProcess, dict[str, str]]]:
    """Sandboxes on sockets and a daemon that is configured for them and not yet started; whatever still runs
    at the end is killed. Yields the daemon and the sandboxes' URLs."""
    with contextlib.ExitStack() as stack:
        served = {name: (box, stack.enter_context(box.serve())) for name, box in sandboxes.items()}
        listen = f"127.0.0.1:{free_port()}"
        text, environ = configuration(served, folder / "ledger.sqlite", listen, **extra)
        config = folder / "dncsync.toml"
        config.write_text(text, encoding="utf-8")
        daemon = DaemonProcess(config, environ, folder / "daemon.log")
        stack.callback(daemon.kill)
        for name, box in sandboxes.items():
            box.webhook_url = f"http://{listen}/hooks/{name}"
        yield daemon, {name: url for name, (_, url) in served.items()}
