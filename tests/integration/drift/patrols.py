"""Patrols over a world, and its hours of activity."""

from __future__ import annotations

import json
from typing import Any

from dncsync.drift.ledger_detector import LedgerDetector
from dncsync.drift.patrol import Patrol
from dncsync.sync import activity
from integration.sync.world import World

CHECK = 900.0


def patrol(world: World, *watchers: LedgerDetector) -> Patrol:
    """Of these detectors; of all, without any."""
    assert world.writer is not None
    return Patrol(world.path, world.writer, world.topology, world.clock, watchers=watchers or None)


def counted(world: World, system: str) -> dict[str, int]:
    """The sums of all hours of a system; zeros left out."""
    names = [row[1] for row in world.query("PRAGMA table_info(activity)")][2:]
    sums = ", ".join(f"ifnull(sum({name}), 0)" for name in names)
    (row,) = world.query(f"SELECT {sums} FROM activity WHERE system = ?", system)
    return {name: count for name, count in zip(names, row, strict=True) if count}


def count(world: World, system: str, hours_ago: int, **counts: int) -> None:
    """So much was counted then."""
    at = world.at - hours_ago * activity.HOUR
    world.do(lambda tx: activity.count(tx, at, system, **counts))


def detail(world: World, kind: str) -> dict[str, Any]:
    """What the one open finding of a kind says, and about what."""
    (found,) = world.findings(kind)
    return {"system": found["system"], "subject": found["subject"], **json.loads(found["detail"])}
