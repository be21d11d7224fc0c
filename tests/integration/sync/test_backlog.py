"""A backlog (a resync of a whole system) does not slow the looks at what is due: opt-outs overtake it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dncsync.clock import to_micros
from dncsync.ledger.events import NewEvent
from dncsync.ledger.projections import record
from dncsync.ledger.writer import Tx
from dncsync.model import Flag
from dncsync.sync.deliveries import pending
from dncsync.sync.readback import due_reads, next_due
from dncsync.sync.writing import begin_write
from integration.sync.world import World

LOOKS: dict[str, Callable[[Tx, int, World], Any]] = {
    "is anything due": lambda tx, at, world: pending(tx, at, "crm"),
    "opt-outs": lambda tx, at, world: begin_write(tx, at, facts(world), Flag.SET, backfill=False),
    "a batch of the backlog": lambda tx, at, world: begin_write(
        tx, at, facts(world), Flag.SET, backfill=True
    ),
    "what to read": lambda tx, at, world: due_reads(tx, at, facts(world)),
    "when to wake": lambda tx, at, world: next_due(tx, facts(world)),
}


def facts(world: World) -> Any:
    return world.intake.topology["crm"]


def fill(world: World, count: int) -> None:
    at = to_micros(world.clock.now()) - 1
    opened = [
        {
            "id": i,
            "system": "crm",
            "key": f"k{i}",
            "channel": "voice",
            "want": "set",
            "backfill": True,
            "known_at": at,
            "due_at": at,
            "deadline": at + i,
        }
        for i in range(1, count + 1)
    ]
    event = NewEvent("deliveries.opened", at, {"deliveries": opened})
    world.writer.call(lambda tx: record(tx, event))


def steps(world: World, look: Callable[[Tx, int, World], Any]) -> int:
    """Instructions that SQLite runs for it: the same on every machine."""
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    def run(tx: Tx) -> None:
        tx.conn.set_progress_handler(count, 1)
        try:
            look(tx, to_micros(world.clock.now()), world)
        finally:
            tx.conn.set_progress_handler(None, 1)

    world.writer.call(run)
    return counted


@pytest.mark.parametrize("name", LOOKS)
def test_what_is_due_is_found_without_walking_the_backlog(
    name: str, make_world: Callable[..., World]
) -> None:
    seen = []
    for count in (200, 4_000):
        world = make_world()
        fill(world, count)
        seen.append(steps(world, LOOKS[name]))
    few, many = seen
    assert many < 1.5 * few + 200, f"{few} instructions with 200 due, {many} with 4,000"
