"""The one command of the canary: begin a run now, or say what a run would do. Only the daemon carries it out,
since a run lives on its loops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dncsync.drift.canary import Canary
from dncsync.ledger.writer import Tx
from dncsync.sync.requests import Refused


def run(tx: Tx, at: int, canary: Canary, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`origin` (a system; None: the one that had none for longest), `actor`, optional `dry_run`. `at`:
    microseconds. Returns the run's id, or what it would do. Raises `Refused`."""
    origin, actor = arguments.get("origin"), str(arguments.get("actor") or "").strip()
    if origin is not None and not isinstance(origin, str):
        raise Refused("canary: origin is the name of a system")
    if arguments.get("dry_run"):
        return {"would": canary.preview(tx, at, origin)}
    if not actor:
        raise Refused("a canary run needs an actor: who asks for it")
    return {"run": canary.begin(tx, at, origin=origin, actor=actor)}
