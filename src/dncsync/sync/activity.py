"""Counts of what came from each system, hour by hour: what the detectors of silence and volume compare.

A cache beside the holdings and no projection. Counted in the transaction that took the page or the webhook
in, with one statement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dncsync.ledger.writer import Tx
from dncsync.model import Flag, Holding, Provenance
from dncsync.sync import cache
from dncsync.sync.topology import SystemFacts
from dncsync.sync.will import chunks, marks

HOUR = 3_600_000_000
"""Microseconds."""
KEPT = 10 * 7 * 24
"""Hours: the eight weeks of a baseline, and two to spare."""

_COUNT = (
    "INSERT INTO activity VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT (system, hour) DO UPDATE SET "
    "webhooks = webhooks + excluded.webhooks, webhook_signals = webhook_signals + excluded.webhook_signals, "
    "polled_changes = polled_changes + excluded.polled_changes, "
    "unannounced = iif(excluded.webhooks, 0, unannounced) + excluded.unannounced, "
    "listed = listed + excluded.listed, opt_outs = opt_outs + excluded.opt_outs, "
    "flipped_set = flipped_set + excluded.flipped_set, flipped_clear = flipped_clear + excluded.flipped_clear"
)


def count(
    tx: Tx,
    at: int,
    system: str,
    *,
    webhooks: int = 0,
    webhook_signals: int = 0,
    polled_changes: int = 0,
    listed: int = 0,
    opt_outs: int = 0,
    flipped_set: int = 0,
    flipped_clear: int = 0,
) -> None:
    """Adds to the hour of `at` (microseconds); the columns of table `activity` say what each count means.
    Zeros alone write nothing."""
    counts = (webhooks, webhook_signals, polled_changes)
    rest = (listed, opt_outs, flipped_set, flipped_clear)
    if any(counts) or any(rest):
        tx.execute(_COUNT, (system, at // HOUR, *counts, polled_changes, *rest))


def sweep(tx: Tx, at: int) -> None:
    """Forgets hours that no baseline looks back to."""
    tx.execute("DELETE FROM activity WHERE hour < ?", (at // HOUR - KEPT,))


# --- what counts ------------------------------------------------------------------------------------------

_SENT = "SELECT key FROM deliveries WHERE system = ? AND open = 1 AND state IN ('sent', 'accepted') AND key"
_HINTED = "SELECT key FROM looks WHERE system = ? AND key"


def unannounced(
    tx: Tx, facts: SystemFacts, holdings: Sequence[Holding], cached: Mapping[str, cache.Cached]
) -> int:
    """How many of these changed by another hand than ours, with no hint of it waiting to be read. To be asked
    before the page is taken in."""
    changed: list[str] = []
    for holding in holdings:
        before = cached.get(holding.key)
        if before is None or before.unseen:
            if facts.by_number and Flag.SET in holding.flags.values():
                changed.append(holding.key)  # an entry is born set; a new record is no news of a flag
        elif not cache.same(facts, holding, before) and not _our_doing(facts, holding, before):
            changed.append(holding.key)
    return len(set(changed) - _among(tx, facts, changed, _SENT) - _among(tx, facts, changed, _HINTED))


def _our_doing(facts: SystemFacts, holding: Holding, before: cache.Cached) -> bool:
    """Whether every flag that differs is what we wrote there last."""
    said = {channel: cache.observed(holding, channel) for channel in facts.capabilities.channels}
    differ = [channel for channel, flag in said.items() if flag is not before.base[channel]]
    return bool(differ) and all(before.written[channel] is said[channel] for channel in differ)


def _among(tx: Tx, facts: SystemFacts, keys: Sequence[str], select: str) -> set[str]:
    """Those of the keys that `select`, which ends in `AND key`, finds."""
    found: set[str] = set()
    for chunk in chunks(keys):
        found |= {row[0] for row in tx.execute(f"{select} IN ({marks(chunk)})", (facts.name, *chunk))}
    return found


def flipped(facts: SystemFacts, holding: Holding, before: cache.Cached | None) -> Flag | None:
    """The way in which somebody else turned a flag that we knew. None: nobody did, or the record ended."""
    if before is None or (holding.gone and not facts.by_number):
        return None
    for channel in facts.capabilities.channels:
        said, base = cache.observed(holding, channel), before.base[channel]
        if {said, base} != {Flag.SET, Flag.CLEAR} or before.written[channel] is said:
            continue
        if holding.provenance.get(channel, Provenance()).ours is not True:
            return said
    return None
