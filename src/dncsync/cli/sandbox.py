"""`dncsync sandbox`: vendors' sandboxes by hand."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from typing import Annotated, Any

from cyclopts import Parameter

from dncsync.cli.failing import EXIT_DONE, Cannot
from dncsync.cli.options import NOTHING, Common, print_json


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
    faults = [_fault(text) for text in fault or []]
    if delay:
        faults.append({"kind": FaultKind.DELAY, "seconds": delay})
    names = list(dict.fromkeys(vendors)) or sorted(plugins())
    kinds = [plugin(name) for name in names]
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


def _fault(text: str) -> dict[str, Any]:
    from dncsync.testing.faults import FaultKind

    try:
        made = json.loads(text)
        made["kind"] = FaultKind(made["kind"])
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
