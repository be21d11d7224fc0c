"""What a frozen system shows, less what is not believed of it (see `freezes`).

A freeze can only keep people blocked. What reads as set is believed as always, and a block of ours that is
read back as not kept is contradicted as always (law 4). A clear or an absence where a block was last read
lowers no base, opens nothing and verifies nothing; it is kept as a doubt, and read again after the release.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dncsync.ledger.writer import Tx
from dncsync.model import Channel, Flag, Holding
from dncsync.sync.cache import Cached, observed, same
from dncsync.sync.deliveries import look
from dncsync.sync.topology import SystemFacts
from dncsync.sync.will import chunks, marks


@dataclass(slots=True)
class Doubts:
    """For one page of a frozen system's holdings."""

    facts: SystemFacts
    read_back: Mapping[tuple[str, str], str]
    """(key, channel) -> set or clear: what we wrote there and wait to see."""
    keys: dict[str, bool] = field(default_factory=dict)
    """Key -> whether something of its reading was doubted."""
    hidden: set[tuple[str, Channel]] = field(default_factory=set)
    """What was doubted: it passes for not seen."""
    shown: set[tuple[str, Channel]] = field(default_factory=set)
    """Those of `hidden` whose field is there: its absence is no finding."""

    def believed(self, holding: Holding, before: Cached | None) -> Holding:
        """The holding with everything doubtful as if it could not be seen."""
        channels = self.facts.capabilities.channels
        vanished = before is not None and holding.gone and not self.facts.by_number and not before.gone
        doubted = [c for c in channels if vanished or self._doubtful(holding, c, before)]
        self.keys[holding.key] = bool(doubted)
        if not doubted:
            return holding
        self.hidden.update((holding.key, c) for c in doubted)
        self.shown.update((holding.key, c) for c in doubted if observed(holding, c) is Flag.CLEAR)
        if vanished and before is not None:
            holding = replace(holding, gone=False, numbers=tuple(json.loads(before.numbers)))
        return replace(
            holding,
            flags={**holding.flags, **dict.fromkeys(doubted, Flag.ABSENT)},
            revision=holding.revision if len(doubted) < len(channels) else "",
            revisions={c: mark for c, mark in holding.revisions.items() if c not in doubted},
        )

    def tells_nothing(self, holding: Holding, before: Cached) -> bool:
        """Whether a page differs from what is known only by what is not believed: reading the key afresh
        would tell no more."""
        believed = self.believed(holding, before)
        known = {
            c: before.base[c] or Flag.ABSENT
            for c in self.facts.capabilities.channels
            if (holding.key, c) in self.hidden
        }
        return bool(known) and same(self.facts, replace(believed, flags={**believed.flags, **known}), before)

    def _doubtful(self, holding: Holding, channel: Channel, before: Cached | None) -> bool:
        if before is not None and holding.gone and before.gone:
            return False
        if observed(holding, channel) not in (Flag.CLEAR, Flag.ABSENT):
            return False
        waiting = self.read_back.get((holding.key, channel))
        base = before.base[channel] if before is not None else None
        return waiting != Flag.SET and (waiting == Flag.CLEAR or base is Flag.SET)


def begin(tx: Tx, facts: SystemFacts, keys: Sequence[str]) -> Doubts:
    """For a page with these keys."""
    read_back: dict[tuple[str, str], str] = {}
    for chunk in chunks(keys):
        rows = tx.execute(
            "SELECT key, channel, want FROM deliveries WHERE system = ? AND open = 1 "  # noqa: S608
            f"AND state IN ('sent', 'accepted') AND key IN ({marks(chunk)})",
            (facts.name, *chunk),
        )
        read_back |= {(key, channel): want for key, channel, want in rows.fetchall()}
    return Doubts(facts, read_back)


def keep(tx: Tx, at: int, found: Doubts) -> None:
    """Remembers what was doubted, and forgets it of holdings that can be believed again."""
    system = found.facts.name
    tx.executemany(
        "INSERT OR REPLACE INTO doubts VALUES (?,?,?)",
        [(system, key, at) for key, doubted in found.keys.items() if doubted],
    )
    tx.executemany(
        "DELETE FROM doubts WHERE system = ? AND key = ?",
        [(system, key) for key, doubted in found.keys.items() if not doubted],
    )


def read_again(tx: Tx, at: int, system: str) -> int:
    """After the release: every doubted holding is read afresh and believed. Returns how many."""
    keys = [row[0] for row in tx.execute("SELECT key FROM doubts WHERE system = ?", (system,)).fetchall()]
    look(tx, at, system, keys)
    tx.execute("DELETE FROM doubts WHERE system = ?", (system,))
    return len(keys)
