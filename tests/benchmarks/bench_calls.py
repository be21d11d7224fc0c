"""Calls made against the fewest possible at the vendors' page and batch sizes, as the sandboxes count them.

Full read: fewest = ceil(contacts / page), page 100 at HubSpot, 2,000 at Salesforce (per object), one download
at VICIdial. Everything the first full read of a fresh ledger asks is counted: log-in, describe, totals, the
history of contacts that are set (2 %). No two contacts share a number, so that nothing has to be written.

Burst: 10,000 people text STOP at once. Fewest = ceil(writes / batch) + ceil(read-backs / batch), a read-back
for each write: 100 and 100 at HubSpot, 200 and 200 at Salesforce, 25 and none at Twilio, 1 and 1 at VICIdial,
there also 1 for each lead of those numbers (every tenth has one), which must leave the hopper. Everything is
counted but searches for changes, which go by the clock and not by opt-outs; these are shown beside.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, figure
from benchmarks.virtual import START, VirtualWorld
from dncsync.clock import to_micros
from dncsync.connector import Says, Statement
from dncsync.model import Channel
from dncsync.testing.sandbox import seeded_number

SEED = 1
BATCHES = {"hubspot": (100, 100), "salesforce": (200, 200), "twilio": (25, 0), "vicidial": (1, 1)}
"""Vendor -> (writes, reads) in a call; 0: it cannot be read."""
UNSHARED: Mapping[str, Mapping[str, Any]] = {
    "hubspot": {"shared_every": 0},
    "salesforce": {"shared_share": 0.0},
    "vicidial": {},
}
"""Nobody shares a number: what a full read finds there would have to be written to others."""


def run(*, contacts: int = 100_000, burst: int = 10_000) -> list[Figure]:
    """Both, for all vendors."""
    figures = [_full_read(vendor, contacts) for vendor in ("hubspot", "salesforce", "vicidial")]
    return figures + _burst(burst)


def _full_read(vendor: str, contacts: int) -> Figure:
    options = {vendor: {"seed": SEED, "contacts": contacts, **UNSHARED[vendor]}}
    with _world(options) as world:
        fewest = {
            "hubspot": math.ceil(contacts / 100),
            "salesforce": sum(math.ceil(rows / 2_000) for rows in _rows(world)),
            "vicidial": 1,
        }[vendor]
        world.run(86_400, stop=world.read_in_full, every=1)
        made = _made(world, vendor)
        return figure(f"full read of {contacts:,}, {vendor}", made, "calls", fewest, most=1.05)


def _rows(world: VirtualWorld) -> list[int]:
    """Live rows of each object of the Salesforce org."""
    box: Any = world.boxes.get("salesforce")
    if box is None:
        return []
    return [
        box.store.db.execute(f"SELECT count(*) FROM {name} WHERE IsDeleted = 0").fetchone()[0]
        for name in ("Contact", "Lead")
    ]


def _burst(people: int) -> list[Figure]:
    none: Mapping[str, Any] = {"seed": SEED, "contacts": people, "opted_out_share": 0.0}
    options = {
        "twilio": {"seed": SEED},
        "hubspot": none,
        "salesforce": none,
        "vicidial": {**none, "contacts": people // 10, "wildcards": ()},
    }
    figures = []
    with _world(options) as world:
        world.run(86_400, stop=lambda: world.read_in_full() and world.is_quiet())
        before = {name: _made(world, name) for name in world.boxes}
        looks = {name: world.looks_for_changes(name) for name in world.boxes}
        _text_stop(world, people)
        world.run(7 * 86_400, stop=world.is_quiet, every=200)
        if not world.is_quiet():
            raise RuntimeError("the burst was not done within a week")
        for name, (writes, reads) in BATCHES.items():
            done = world.query("SELECT count(*) FROM deliveries WHERE system = ?", name)[0][0]
            fewest = math.ceil(done / writes) + (math.ceil(done / reads) if reads else 0)
            if name == "vicidial":
                fewest += world.boxes[name].calls["function update_lead"]
            looked = world.looks_for_changes(name) - looks[name]
            words = f"burst of {people:,}, {name} ({looked:,} looks for changes beside)"
            figures.append(figure(words, _made(world, name) - before[name], "calls", fewest, most=1.1))
    return figures


def _text_stop(world: VirtualWorld, people: int) -> None:
    """All at once: what their webhooks would bring, a hundred in a transaction."""
    moment = max(clock.monotonic() for clock in world.clocks.values()) + 1
    for clock in world.clocks.values():
        clock.reach(moment)
    facts = world.systems["twilio"].facts
    scope = facts.keys_for("+12125550100")[0].partition("/")[0]
    said_at = START + timedelta(seconds=moment)
    at = to_micros(said_at)
    for first in range(0, people, 100):
        said = [
            Statement(
                ref=f"SM{i:032x}",
                number=seeded_number(SEED, i),
                channel=Channel.SMS,
                at=said_at,
                text="STOP",
                says=Says.STOP,
                scope=scope,
                source="sms-inbound",
            )
            for i in range(first, min(people, first + 100))
        ]
        world.writer.call(lambda tx, said=said: [world.intake.hear(tx, at, facts, one) for one in said])  # type: ignore[misc]


@contextmanager
def _world(options: Mapping[str, Mapping[str, Any]]) -> Iterator[VirtualWorld]:
    """In a temporary folder."""
    with (
        tempfile.TemporaryDirectory(prefix="dncsync-bench-") as folder,
        VirtualWorld(Path(folder), options) as world,
    ):
        yield world


def _made(world: VirtualWorld, vendor: str) -> int:
    return world.calls(vendor).total() - world.looks_for_changes(vendor)
