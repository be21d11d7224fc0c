"""How a statement reads, and in which form it can be kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dncsync.connector import Says, Statement
from dncsync.model import OptOutKind
from dncsync.optout import classify

STRENGTH: Mapping[str, int] = {OptOutKind.AMBIGUOUS: 1, OptOutKind.PHRASE: 2, OptOutKind.CONCLUSIVE: 2}
"""How much a reading asks for; those that are not here ask for nothing."""


def storable(said: Statement) -> Statement:
    """Half an emoji in a vendor's JSON is no text that can be kept; it must not keep the message out."""
    clean = {
        name: getattr(said, name).encode("utf-8", "replace").decode()
        for name in ("ref", "number", "text", "scope", "source")
    }
    return replace(said, **clean)


def read(said: Statement) -> OptOutKind:
    """How a statement reads: the vendor's own classification first, since it knows custom keywords; but a
    message that the vendor calls a START or HELP and that reads as an opt-out is an opt-out."""
    by_words = OptOutKind(classify(said.text).kind) if said.text else None
    if said.says is Says.STOP:
        return OptOutKind.CONCLUSIVE
    if by_words in (OptOutKind.CONCLUSIVE, OptOutKind.PHRASE):
        return by_words
    if said.says is Says.START:
        return OptOutKind.START
    if said.says is Says.HELP:
        return OptOutKind.HELP
    # No words at all (a picture, a blank): a person who answers so may well want to be left alone.
    return by_words or OptOutKind.AMBIGUOUS
