"""Reversals: the documented end of blocks, carried out at once or, where a fuse has tripped, waiting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dncsync.ledger.events import NewEvent
from dncsync.ledger.projections import record
from dncsync.ledger.writer import Tx
from dncsync.model import Channel
from dncsync.numbers import mask
from dncsync.policy import Fuses
from dncsync.sync import canary_marks
from dncsync.sync.deliveries import Goals, settle, settle_numbers
from dncsync.sync.fuses import guard_clear
from dncsync.sync.topology import Topology
from dncsync.sync.will import marks, survivor


class Refused(ValueError):
    """What was asked for cannot be recorded; one clear line says why."""


@dataclass(frozen=True, slots=True)
class Reversal:
    """The documented end of a number's blocks (laws 2 and 7; CON-04)."""

    number: str
    channels: tuple[Channel, ...]
    actor: str
    reason: str
    basis: str
    evidence_name: str
    evidence_sha256: str
    evidence_date: str
    """ISO 8601: the document's own date, or its instant with a zone. Whoever took the reversal in checked
    that it is later than the blocks (OVR-03)."""
    request: str | None = None
    """The one provisional request that it ends, after a review (regulation section 11); None: all that block
    the number."""

    def papers(self) -> dict[str, Any]:
        """What an event carries of it, beside number and actor."""
        body = {name: value for name, value in asdict(self).items() if name not in ("number", "actor")}
        if self.request is None:
            del body["request"]
        return {**body, "channels": [str(channel) for channel in self.channels]}


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a reversal."""

    id: str
    waits_for: str | None = None
    """The fuse whose approval it waits for; the blocks stand."""


def reverse(tx: Tx, at: int, reversal: Reversal, topology: Topology, goals: Goals, policy: Fuses) -> Ended:
    """Ends a number's blocks, unless a fuse holds it back. Raises `Refused` where there is nothing to end,
    or where the same waits already."""
    shown = mask(reversal.number)
    if not is_blocked(tx, reversal):
        raise Refused(f"{shown} is not blocked; there is nothing to end")
    row = tx.execute(
        "SELECT fuse_id FROM held_reversals WHERE number = ? AND state = 'waiting'", (reversal.number,)
    ).fetchone()
    if row:
        raise Refused(f"a reversal of {shown} waits for approval already: dncsync plan show {row[0]}")
    # What a canary run set it takes away itself: nobody's request ends by that.
    ours = reversal.basis == canary_marks.BASIS
    fuse = None if ours else guard_clear(tx, at, policy, topology, reversal.actor)
    if fuse is None:
        return Ended(end_blocks(tx, at, reversal, topology, goals))
    held = {"id": f"W{tx.head.seq + 1}", **reversal.papers()}
    payload = {"id": fuse, "reversal": held}
    record(tx, NewEvent("fuse.held", at, payload, number=reversal.number, actor=reversal.actor))
    return Ended(held["id"], fuse)


def is_blocked(tx: Tx, reversal: Reversal, newer_than: int = 0) -> bool:
    """Whether a block stands that it would end; with `newer_than`, one recorded after that event."""
    row = tx.execute(
        "SELECT 1 FROM blocks WHERE number = ? AND ended_seq IS NULL AND (? IS NULL OR request_id = ?) "  # noqa: S608
        f"AND channel IN ({marks(reversal.channels)}) AND since_seq > ? LIMIT 1",
        (reversal.number, reversal.request, reversal.request, *reversal.channels, newer_than),
    ).fetchone()
    return row is not None


def end_blocks(
    tx: Tx,
    at: int,
    reversal: Reversal,
    topology: Topology,
    goals: Goals,
    *,
    approved: Mapping[str, Any] | None = None,
) -> str:
    """Carries a reversal out, whatever a fuse says. `approved`: by which plan. Returns the reversal's id."""
    reversal_id = f"V{tx.head.seq + 1}"
    payload: dict[str, Any] = {"id": reversal_id, **reversal.papers()}
    if reversal.basis != canary_marks.BASIS:
        payload |= {"arrived": ["clear", 1]} if approved is None else dict(approved)
    event = record(
        tx, NewEvent("reversal.recorded", at, payload, number=reversal.number, actor=reversal.actor)
    )
    backfill = approved is not None
    settle_numbers(tx, at, topology, goals, [reversal.number], backfill=backfill)
    # A request that ended with this number's block may have been made on a record that has it no more.
    freed = tx.execute(
        "SELECT record_system, record_key FROM requests WHERE ended_seq = ? AND record_key IS NOT NULL",
        (event.seq,),
    ).fetchall()
    for system, key in freed:
        if system in topology:
            keys = {key: None, survivor(tx, system, key): None}
            settle(tx, at, topology, goals, topology[system], keys, backfill=backfill)
    return reversal_id
