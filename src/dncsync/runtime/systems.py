"""Connectors, their doors and their facts, built from the configuration."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from dncsync.budget import CallBudget, Lane
from dncsync.clock import Clock
from dncsync.connector import Connector, Context, Limit, SystemSettings, plugin
from dncsync.http import HttpDoor, WireCall
from dncsync.sync.topology import SystemFacts


@dataclass(slots=True)
class Connected:
    """One configured system, ready to be called. Nothing was called yet."""

    facts: SystemFacts
    settings: SystemSettings
    connector: Connector
    doors: list[HttpDoor] = field(default_factory=list)

    @contextlib.contextmanager
    def lanes(self, lane: Lane) -> Iterator[None]:
        """Every call of this system inside the block counts against that lane."""
        with contextlib.ExitStack() as stack:
            for door in self.doors:
                stack.enter_context(door.on_behalf_of(lane))
            yield

    def usage(self) -> dict[str, tuple[int, int]]:
        """Limit name -> (calls made in the present window, calls that the vendor allows)."""
        merged: dict[str, tuple[int, int]] = {}
        for door in self.doors:
            merged.update(door.budget.usage())
        return merged

    def close(self) -> None:
        """Lets go of every connection."""
        self.connector.close()
        for door in self.doors:
            door.close()


def connect(
    name: str,
    settings: SystemSettings,
    clock: Clock,
    *,
    transport: httpx.BaseTransport | None = None,
    observe: Callable[[WireCall], None] | None = None,
    share: float = 0.8,
) -> Connected:
    """Builds one system. `share`: how much of each published limit it may use. Raises `UnknownVendor`."""
    doors: list[HttpDoor] = []

    def open_door(*, allowed: Any, limits: tuple[Limit, ...] = (), **options: Any) -> HttpDoor:
        options.setdefault("budget", CallBudget(limits, clock, use=share))
        door = HttpDoor(
            name, allowed=allowed, limits=limits, clock=clock, transport=transport, observe=observe, **options
        )
        doors.append(door)
        return door

    made = plugin(settings.vendor)
    connector = made.connect(settings, Context(name, clock, open_door))
    facts = SystemFacts(name, settings.vendor, settings.region, connector.capabilities, connector.keys_for)
    return Connected(facts, settings, connector, doors)


def connect_all(
    systems: Mapping[str, SystemSettings],
    clock: Clock,
    *,
    observe: Callable[[WireCall], None] | None = None,
    share: float = 0.8,
) -> dict[str, Connected]:
    """Every enabled system by name."""
    return {
        name: connect(name, settings, clock, observe=observe, share=share)
        for name, settings in systems.items()
        if settings.enabled
    }
