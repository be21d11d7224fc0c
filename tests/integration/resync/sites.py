"""Sandboxes, a ledger and a configuration for tests of `dncsync resync`."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from dncsync.connector import plugin
from dncsync.ledger import events
from dncsync.ledger.sqlite import connect_reader
from dncsync.model import Flag
from dncsync.testing.daemon import configuration, free_port
from dncsync.testing.sandbox import Sandbox

PATIENCE = 60.0
"""Seconds; a test that waits longer has failed."""

Run = Callable[..., tuple[int, Any, str]]
"""`run(site, *arguments)` -> exit code, standard output as JSON, standard error."""


class Site:
    """A configured installation over sandboxes; no daemon runs."""

    def __init__(self, folder: Path, boxes: dict[str, Sandbox], urls: dict[str, str]) -> None:
        self.folder, self.boxes = folder, boxes
        self.ledger, self.config, self.plan = (folder / n for n in ("ledger.sqlite", "c.toml", "p.jsonl"))
        served = {name: (box, urls[name]) for name, box in boxes.items()}
        text, self.environ = configuration(served, self.ledger, f"127.0.0.1:{free_port()}")
        self.config.write_text(text, encoding="utf-8")

    def process(self, *arguments: str) -> subprocess.Popen[str]:
        """`dncsync resync` as its own process."""
        environ = {k: v for k, v in os.environ.items() if not k.startswith("DNCSYNC_")}
        command = [sys.executable, "-m", "dncsync.cli.main", "resync", "--json", "-c", str(self.config)]
        return subprocess.Popen(
            [*command, *arguments],
            env={**environ, **self.environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def written(self) -> int:
        """Calls that may change something at a vendor."""
        hubspot, vicidial = self.boxes["hubspot"], self.boxes["vicidial"]
        assert hasattr(vicidial, "store")
        return sum(n for call, n in hubspot.calls.items() if "update" in call) + listed_ever(vicidial)

    def suppressed(self, number: str) -> dict[str, set[Flag]]:
        return {name: {truth.flag for truth in box.truth(number)} for name, box in self.boxes.items()}


def listed_ever(vicidial: Any) -> int:
    with vicidial.lock:
        return int(vicidial.store._db.execute("SELECT count(*) FROM dnc").fetchone()[0])


def box(vendor: str, **how: Any) -> Sandbox:
    return plugin(vendor).sandbox()(seed=7, **how)


@contextlib.contextmanager
def site(folder: Path, *, contacts: int = 0, entries: int = 0) -> Iterator[Site]:
    folder.mkdir(exist_ok=True)
    boxes = {
        "hubspot": box("hubspot", contacts=contacts),
        "vicidial": box(
            "vicidial",
            contacts=entries * 4,
            opted_out_share=0.25,
            calls_per_second=500,
            country_code_share=0.0,
            shared_share=0.0,
            wildcards=(),
        ),
    }
    with contextlib.ExitStack() as stack:
        urls = {name: stack.enter_context(box.serve()) for name, box in boxes.items()}
        yield Site(folder, boxes, urls)


def kinds_of(at: Site) -> list[str]:
    with closing(connect_reader(at.ledger)) as conn:
        return [event.kind for event in events.iterate(conn)]
