"""What a detector is that looks at the ledger alone: it reads, says what is wrong now, and what is normal.

`look` runs on a read-only connection, so that it may take its time without keeping a webhook waiting; what it
says is settled by the patrol, in a short transaction of its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from dncsync.drift.sighting import Sighting
from dncsync.ledger.sqlite import Connection
from dncsync.sync.topology import SystemFacts


@dataclass(slots=True)
class Seen:
    """Everything that one detector has to say of one system."""

    sightings: list[Sighting] = field(default_factory=list)
    baselines: list[tuple[str, str, Any]] = field(default_factory=list)
    """(detector, subject, value): what is normal from now on, as first seen."""


class LedgerDetector(Protocol):
    """One kind of drift that shows in the ledger."""

    @property
    def kinds(self) -> Sequence[str]:
        """The findings it opens, and closes where it sees them no more."""

    @property
    def healed(self) -> str:
        """The words that close them."""

    @property
    def every(self) -> float:
        """Seconds between two looks; 0.0: with each patrol."""

    def look(self, conn: Connection, at: int, facts: SystemFacts) -> Seen:
        """`at`: microseconds. Raises `Blind`, and is interrupted where it takes too long."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A baseline as it stands in the ledger."""

    value: Any
    at: int
    accepted: bool
    """Whether a person said so."""


def recorded(conn: Connection, detector: str, system: str, subject: str) -> Recorded | None:
    """What was recorded as normal; None: nothing yet."""
    row = conn.execute(
        "SELECT value, at, actor FROM baselines WHERE detector = ? AND system = ? AND subject = ?",
        (detector, system, subject),
    ).fetchone()
    return None if row is None else Recorded(json.loads(row[0]), row[1], row[2] is not None)


def opened(conn: Connection, kind: str, system: str, subject: str) -> tuple[int, int | None] | None:
    """(opened at, closed at), in microseconds, of the finding of that name; None: there never was one."""
    row = conn.execute(
        "SELECT opened_at, closed_at FROM findings WHERE id = ?", ("/".join((kind, system, subject)),)
    ).fetchone()
    return None if row is None else (row[0], row[1])


STEPS = (1, 2, 3, 5, 7)


def roughly(count: int) -> str:
    """`at least 30`: in steps so coarse that a finding which lasts is not told again with every patrol."""
    return f"at least {step_below(count):,}"


def step_below(count: int) -> int:
    """The largest of 1, 2, 3, 5, 7, 10, 20, ... that is not above `count`; 0 for 0."""
    scale = 1
    while scale * 10 <= count:
        scale *= 10
    return scale * max((step for step in STEPS if step * scale <= count), default=0)
