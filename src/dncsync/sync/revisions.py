"""Marks that tell one setting of a flag from the next: one text for each holding in the cache."""

from __future__ import annotations

import json

from dncsync.model import Channel, Holding


def mark(holding: Holding, channel: Channel) -> str:
    """The mark of this flag as just read; empty where the vendor gives none."""
    return holding.revisions.get(channel, "") if holding.revisions else holding.revision


def known_mark(kept: str, channel: Channel) -> str:
    """The mark of this flag in the cache's text; empty: none was read."""
    if not kept.startswith('{"'):
        return kept
    return str(json.loads(kept).get(channel, ""))


def keep(holding: Holding, kept: str) -> str:
    """The cache's text after this reading. A mark that was not shown now stays as it was."""
    if not holding.revisions:
        return holding.revision or kept
    before = json.loads(kept) if kept.startswith('{"') else {}
    return json.dumps({**before, **holding.revisions}, sort_keys=True)


def moved(before: str, now: str) -> bool:
    """Whether somebody wrote the flag between two readings that both have its mark."""
    return bool(before and now and before != now)
