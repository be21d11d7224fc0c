"""`dncsync sandbox`: vendors' sandboxes by hand."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import threading
from typing import Annotated, Any

from cyclopts import Parameter

from dncsync.cli.failing import EXIT_DONE, Cannot
from dncsync.cli.options import NOTHING, Common, print_json

LONGEST_DELAY = 3_600.0
"""Seconds."""


def sandbox(
    *vendors: Annotated[str, Parameter(help="hubspot, salesforce, vicidial, twilio; none: all installed.")],
    contacts: Annotated[int, Parameter(help="Contacts to begin with in each.")] = 1_000,
    seed: Annotated[int, Parameter(help="The same seed gives the same contacts.")] = 0,
    port: Annotated[int, Parameter(help="First port; 0: chosen by the system.")] = 0,
    delay: Annotated[float, Parameter(help="Seconds before each answer.")] = 0.0,
    fault: Annotated[
        list[str] | None,
        Parameter(help='Fault or drift as JSON, e.g. \'{"kind": "status", "status": 503, "times": 5}\'.'),
    ] = None,
    webhooks: Annotated[str, Parameter(help="Base URL of a daemon; webhooks go to URL/hooks/VENDOR.")] = "",
    common: Common = NOTHING,
) -> int:
    """Run vendors' sandboxes on this machine until Ctrl-C, and print a configuration that uses them.

    Each takes more faults while it runs: POST to its /_sandbox/faults; /_sandbox/state counts the calls,
    /_sandbox/truth?number=... tells what it really holds, and POST /_sandbox/act makes somebody opt out.

    Example: dncsync sandbox hubspot twilio --contacts 10000 --seed 7 --delay 0.2
    """
    from dncsync.connector import plugin, plugins
    from dncsync.testing.faults import FaultKind

    if contacts < 0 or contacts > 4_000_000:
        raise Cannot("--contacts: between 0 and 4,000,000")
    if not 0 <= delay <= LONGEST_DELAY:
        raise Cannot(f"--delay: between 0 and {LONGEST_DELAY:,.0f} seconds")
    faults = [_fault(text) for text in fault or []]
    if delay:
        faults.append({"kind": FaultKind.DELAY, "seconds": delay})
    names = list(dict.fromkeys(vendors)) or sorted(plugins())
    kinds = [plugin(name) for name in names]
    for index in range(len(kinds)):
        _free(port + index if port else 0)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with contextlib.ExitStack() as running:
        started = []
        for index, made in enumerate(kinds):
            box = made.sandbox()(seed=seed, contacts=contacts)
            for each in faults:
                box.faults.add(**each)
            url = running.enter_context(box.serve(port=port + index if port else 0))
            if webhooks:
                box.webhook_url = f"{webhooks.rstrip('/')}/hooks/{made.vendor}"
            started.append((made.vendor, url, *box.settings(url)))
        _announce(started, common)
        stop.wait()
    return EXIT_DONE


def _free(port: int) -> None:
    """Raises `Cannot` where a sandbox could not listen; the server itself would print and exit."""
    if not 0 <= port <= 65_535:
        raise Cannot(f"--port: {port} is no port; use 0, or one of 1 to 65535 for the first sandbox")
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise Cannot(f"--port: cannot listen on 127.0.0.1 port {port} ({error.strerror})") from None


def _fault(text: str) -> dict[str, Any]:
    from dncsync.testing.faults import FaultKind, Faults

    try:
        made = json.loads(text)
        made["kind"] = FaultKind(made["kind"])
        Faults().add(**made)
    except (ValueError, KeyError, TypeError):
        kinds = ", ".join(FaultKind)
        raise Cannot(f"--fault {text!r}: give a JSON object with one of these kinds: {kinds}") from None
    return dict(made)


def _announce(started: list[tuple[str, str, dict[str, Any], dict[str, str]]], common: Common) -> None:
    import sys

    if common.json:
        print_json(
            [
                {"vendor": v, "url": url, "config": config, "secrets": secrets}
                for v, url, config, secrets in started
            ]
        )
        sys.stdout.flush()
        return
    import tomli_w

    tables = {"systems": {vendor: config for vendor, _, config, _ in started}}
    lines = ["# Configuration for these sandboxes; the secrets below are the sandboxes' own.", ""]
    lines.append(tomli_w.dumps(tables))
    for vendor, _, _, secrets in started:
        for name, value in secrets.items():
            lines.append(f"# export DNCSYNC_SYSTEMS__{vendor.upper()}__{name.upper()}={json.dumps(value)}")
    sys.stdout.write("\n".join(lines) + "\n\n# running; stop with Ctrl-C\n")
    sys.stdout.flush()
