"""The connected systems as the engine sees them: facts, without connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dncsync.connector import Capabilities, Unit
from dncsync.numbers import mask_text
from dncsync.sync.handover import Handover


def no_keys(number: str) -> tuple[str, ...]:
    """A system of unit RECORD names no keys for a number."""
    return ()


@dataclass(frozen=True, slots=True)
class SystemFacts:
    """One connected system."""

    name: str
    vendor: str
    region: str
    """Default region of its phone values."""
    capabilities: Capabilities
    keys_for: Callable[[str], tuple[str, ...]] = no_keys

    @property
    def by_number(self) -> bool:
        """Whether its holdings are list entries."""
        return self.capabilities.unit is Unit.NUMBER

    def scope_of(self, key: str) -> str:
        """The programme or list that a key of unit NUMBER belongs to."""
        return key.rpartition("/")[0]


def shown(facts: SystemFacts, key: str) -> str:
    """A key as a finding may show it: a list entry's is a phone number."""
    return mask_text(key) if facts.by_number else key


@dataclass(slots=True)
class Topology(Mapping[str, SystemFacts]):
    """All systems by name, and whom to wake when there is work for one."""

    systems: Mapping[str, SystemFacts]
    wake: Callable[[Iterable[str]], None] = field(default=lambda systems: None)
    handovers: dict[str, Handover[Any]] = field(default_factory=dict)
    """To loops that may take fresh opt-outs straight from a commit; those of this process's loops."""

    def __getitem__(self, name: str) -> SystemFacts:
        return self.systems[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.systems)

    def __len__(self) -> int:
        return len(self.systems)


NO_SYSTEMS = Topology({})
"""For work on a ledger alone: what is recorded is delivered when the daemon next starts."""
