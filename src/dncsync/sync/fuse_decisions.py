"""What people decide about a tripped fuse, and how an approved plan is applied: unchanged, a piece at a time.

Each piece is one transaction that says what it released, so that a process that dies half-way is continued by
the next one. Released blocks spread as backfill, behind fresh opt-outs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dncsync.ledger.events import NewEvent
from dncsync.ledger.projections import record
from dncsync.ledger.writer import Tx
from dncsync.model import Channel
from dncsync.sync import findings, fuse_plan
from dncsync.sync.deliveries import look, settle
from dncsync.sync.fuse_plan import Fuse, Revision
from dncsync.sync.fuses import BLOCKS, FINDING, note
from dncsync.sync.requests import Intake, Refused
from dncsync.sync.reversals import Reversal, end_blocks, is_blocked
from dncsync.sync.will import survivor

PIECE = 500
"""Changes in one transaction: short enough for a webhook to wait for."""
OPEN = ("waiting", "approved")


def approve(tx: Tx, at: int, fuse_id: str, by: str, sha256: str, note: str) -> dict[str, Any]:
    """Approves the plan with this hash, and nothing that came after it. Applied by `apply_piece` once enough
    persons did. Twice by the same person changes nothing. Raises `Refused`."""
    of = _named(tx, fuse_id)
    by = _name(by)
    sha256 = sha256.strip().lower()
    if any(done["sha256"] == sha256 and done["after"] < of.approved_to for done in of.approvals):
        return _standing(of) | {"already": True}
    if of.state not in OPEN:
        raise Refused(f"{of.id} {_was_decided(of)}; nothing waits there any more")
    found = _revision(tx, of, sha256)
    mine = [done for done in of.approvals if done["after"] == of.approved_to]
    if any(_same(done["by"], by) and done["revision"] >= found.event for done in mine):
        return _standing(of) | {"already": True}
    entry = {"by": by, "revision": found.event}
    approvers, upto = _enough([*mine, entry], of.needed)
    record(
        tx,
        NewEvent(
            "fuse.approved",
            at,
            {
                "id": of.id,
                "sha256": sha256,
                "after": of.approved_to,
                "revision": found.event,
                "changes": found.changes,
                "note": note,
                "approved_to": upto,
                "approvers": approvers,
            },
            system=of.system,
            actor=by,
        ),
    )
    return _standing(_named(tx, fuse_id)) | {"revision": found.event, "changes": found.changes}


def reject(tx: Tx, at: int, fuse_id: str, by: str, reason: str) -> dict[str, Any]:
    """Nothing of what waits spreads. Blocks stand here all the same: only a reversal ends one (law 2).
    Raises `Refused`."""
    of = _named(tx, fuse_id)
    by, reason = _name(by), reason.strip()
    if not reason:
        raise Refused("a rejection needs a reason")
    if of.state == "rejected":
        return _standing(of) | {"already": True}
    if of.state == "approved":
        raise Refused(f"{of.id} {_was_decided(of)}, and is being applied; wait for its end")
    if of.state == "applied":
        raise Refused(
            f"{of.id} {_was_decided(of)}; to take numbers back, unblock them (dncsync number unblock)"
        )
    record(tx, NewEvent("fuse.rejected", at, {"id": of.id, "reason": reason}, system=of.system, actor=by))
    findings.close_finding(tx, at, FINDING, of.system, of.id, f"rejected by {by}: {reason}")
    return _standing(_named(tx, fuse_id))


@dataclass(frozen=True, slots=True)
class Applied:
    """What one piece did."""

    fuse: str
    done: int
    left: int
    """0: the plan is applied."""


def apply_piece(
    tx: Tx, at: int, intake: Intake, *, only: str | None = None, most: int = PIECE
) -> Applied | None:
    """Carries out the next piece of the oldest approved plan (or of `only`). None: there is none."""
    for of in fuse_plan.fuses(tx):
        if of.state == "approved" and only in (None, of.id):
            done = (
                _spread(tx, at, intake, of, most)
                if of.direction == BLOCKS
                else _end(tx, at, intake, of, most)
            )
            left = _waiting(tx, of, "<=")
            if left == 0:
                _conclude(tx, at, of)
            return Applied(of.id, done, left)
    return None


def remind(tx: Tx, at: int) -> None:
    """What waits keeps a finding, also where somebody closed it without deciding (law 5)."""
    for of in fuse_plan.fuses(tx):
        if not findings.is_open(tx, findings.name_of(FINDING, of.system, of.id)):
            note(tx, at, of.id, of.direction, of.system, of.reason)


# --- applying ---------------------------------------------------------------------------------------------


def _spread(tx: Tx, at: int, intake: Intake, of: Fuse, most: int) -> int:
    rows = tx.execute(
        "SELECT h.request_id, h.number, r.record_system, r.record_key FROM held h "
        "JOIN requests r ON r.id = h.request_id WHERE h.fuse_id = ? AND h.event_seq <= ? "
        "AND h.released_seq IS NULL ORDER BY h.event_seq, h.request_id, h.number LIMIT ?",
        (of.id, of.approved_to, most),
    ).fetchall()
    numbers = sorted({row[1] for row in rows if row[1]})
    payload = {"id": of.id, "pairs": [[row[0], row[1]] for row in rows]}
    record(tx, NewEvent("fuse.released", at, payload, system=of.system, numbers=numbers))
    intake.settle(tx, at, numbers, backfill=True)
    for _, number, system, key in rows:
        if not number and system not in intake.topology:
            look(tx, at, system, [key], backfill=True)  # no daemon runs: its next one reads it
        elif not number:
            keys = {key: None, survivor(tx, system, key): None}
            facts = intake.topology[system]
            settle(tx, at, intake.topology, intake.goals, facts, keys, backfill=True)
    return len(rows)


def _end(tx: Tx, at: int, intake: Intake, of: Fuse, most: int) -> int:
    rows = tx.execute(
        "SELECT id, event_seq, number, channels, actor, reason, basis, evidence_name, evidence_sha256, "
        "evidence_date, request_id FROM held_reversals WHERE fuse_id = ? AND event_seq <= ? "
        "AND state = 'waiting' ORDER BY event_seq LIMIT ?",
        (of.id, of.approved_to, most),
    ).fetchall()
    outcome: list[tuple[str, str | None, str | None]] = []
    for held_id, since, number, channels, *papers in rows:
        reversal = Reversal(number, tuple(Channel(c) for c in channels.split(",")), *papers)
        if is_blocked(tx, reversal, newer_than=since):
            outcome.append((held_id, None, "a newer request came while it waited; it wins"))
        elif not is_blocked(tx, reversal):
            outcome.append((held_id, None, "nothing was blocked any more"))
        else:
            approved = {"fuse": of.id, "held": held_id, "approved_by": of.decided_by}
            ended = end_blocks(tx, at, reversal, intake.topology, intake.goals, approved=approved)
            outcome.append((held_id, ended, None))
    payload = {"id": of.id, "reversals": [list(each) for each in outcome]}
    numbers = sorted({row[2] for row in rows})
    record(tx, NewEvent("fuse.released", at, payload, numbers=numbers))
    return len(rows)


def _waiting(tx: Tx, of: Fuse, which: str) -> int:
    sql = (
        "SELECT count(*) FROM held WHERE fuse_id = ? AND released_seq IS NULL"
        if of.direction == BLOCKS
        else "SELECT count(*) FROM held_reversals WHERE fuse_id = ? AND state = 'waiting'"
    )
    return int(tx.execute(f"{sql} AND event_seq {which} ?", (of.id, of.approved_to)).fetchone()[0])


def _conclude(tx: Tx, at: int, of: Fuse) -> None:
    later = _waiting(tx, of, ">")
    record(tx, NewEvent("fuse.applied", at, {"id": of.id, "later": later}, system=of.system))
    if not later:
        findings.close_finding(tx, at, FINDING, of.system, of.id, f"approved by {of.decided_by}, and applied")


# --- who may ----------------------------------------------------------------------------------------------


def _named(tx: Tx, fuse_id: str) -> Fuse:
    of = fuse_plan.fuse(tx, fuse_id)
    if of is None:
        raise Refused(f"there is no plan {fuse_id!r}; those that wait: dncsync plan list")
    return of


def _name(by: str) -> str:
    """As it is kept; compared without case and spaces. Raises `Refused`."""
    name = " ".join(by.split())
    if not name:
        raise Refused("who decides? A decision needs a person's name")
    return name


def _same(one: str, other: str) -> bool:
    return "".join(one.split()).casefold() == "".join(other.split()).casefold()


def _revision(tx: Tx, of: Fuse, sha256: str) -> Revision:
    for revision in fuse_plan.revisions(tx, of):
        if revision.sha256 == sha256:
            return revision
    raise Refused(f"no plan of {of.id} has that SHA-256; look at it again: dncsync plan show {of.id}")


def _enough(approvals: Sequence[Mapping[str, Any]], needed: int) -> tuple[list[str], int | None]:
    """Who approved, and up to which event enough different persons did; None: they are too few. Whoever
    approved a later revision approved all that stood in it before."""
    for event in sorted({done["revision"] for done in approvals}, reverse=True):
        names = list(_different(done["by"] for done in approvals if done["revision"] >= event))
        if len(names) >= needed:
            return names, event
    return list(_different(done["by"] for done in approvals)), None


def _different(names: Iterator[str]) -> Iterator[str]:
    seen: list[str] = []
    for name in names:
        if not any(_same(name, other) for other in seen):
            seen.append(name)
            yield name


def _standing(of: Fuse) -> dict[str, Any]:
    present = [done for done in of.approvals if done["after"] == of.approved_to]
    return {
        "fuse": of.id,
        "state": of.state,
        "needed": of.needed,
        "approved_by": list(_different(iter([done["by"] for done in present]))),
        "decided_by": of.decided_by,
    }


def _was_decided(of: Fuse) -> str:
    return f"was {'rejected' if of.state == 'rejected' else 'approved'} by {of.decided_by}"
