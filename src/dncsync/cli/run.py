"""`dncsync run`: the daemon in the foreground, as a service manager wants it."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading

from dncsync.cli.failing import EXIT_DONE, Cannot
from dncsync.cli.options import NOTHING, Common, print_json


def run(*, common: Common = NOTHING) -> int:
    """Run the daemon until it is told to stop (SIGTERM or Ctrl-C).

    It finishes the call in hand, commits, and exits with 0 within 10 seconds. One daemon holds a ledger; a
    second one says who holds it. What it does is written to standard error, one JSON object a line (see
    [logs] in the configuration); numbers are masked and secrets redacted.

    Example: dncsync run --config /etc/dncsync/dncsync.toml
    """
    from dncsync import logs
    from dncsync.runtime.embedded import Daemon

    settings = common.settings()
    if common.ledger is not None:
        ledger = settings.ledger.model_copy(update={"path": common.ledger.resolve()})
        settings = settings.model_copy(update={"ledger": ledger})
    if not settings.systems:
        raise Cannot(f"{settings.source}: no system is configured; add a [systems.NAME] table")
    logs.configure(settings.logs.level, settings.logs.format, settings.secret_values(), sys.stderr)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    daemon = Daemon(settings)
    daemon.start()
    gc.collect()
    gc.freeze()  # what starting made stays, and full collections need not walk it while an opt-out waits
    if common.json and daemon.server is not None:
        print_json({"listening": daemon.server.url})
        sys.stdout.flush()
    stop.wait()
    if not daemon.stop():
        # A thread still waits for a vendor's answer, and the interpreter would wait for the thread. All that
        # matters is in the ledger, which is closed.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(EXIT_DONE)
    return EXIT_DONE
