"""What a person does about findings: takes one on, resolves it, releases a frozen system, reviews a message.

Everything here has a named actor, and a note where something ends. Instants are microseconds, UTC.
"""

from __future__ import annotations

from typing import Any

from dncsync.clock import from_micros
from dncsync.ledger.events import NewEvent
from dncsync.ledger.projections import record
from dncsync.ledger.writer import Tx
from dncsync.model import Channel
from dncsync.sync import doubts, freezes
from dncsync.sync.requests import Intake, Refused, Reversal

REVIEW = "review"
"""Kind of finding, and basis of the reversal, of a message that a person has to read (section 11)."""


def acknowledge(tx: Tx, at: int, finding_id: str, *, owner: str, note: str, due_at: int, actor: str) -> None:
    """A person has taken it on: `owner` deals with it by `due_at`."""
    payload = {"id": finding_id, "owner": owner, "note": note, "due_at": due_at}
    record(tx, NewEvent("finding.acked", at, payload, system=_system(tx, finding_id), actor=actor))


def resolve(tx: Tx, at: int, finding_id: str, *, note: str, actor: str) -> bool:
    """A person has dealt with it: it closes, and a freeze of its own ends. Whether one did. What is seen
    again opens it again."""
    system = _system(tx, finding_id)
    payload = {"id": finding_id, "by": actor, "note": note}
    record(tx, NewEvent("finding.closed", at, payload, system=system, actor=actor))
    if system is None or not freezes.holds(tx, finding_id):
        return False
    _release(tx, at, system, [finding_id], note, actor)
    return True


def release(tx: Tx, at: int, system: str, *, note: str, actor: str) -> list[str]:
    """A person believes this system again. Returns the findings whose freezes ended; of these, the ones that
    had healed meanwhile close."""
    held = freezes.holders(tx, system)
    if held:
        _release(tx, at, system, held, note, actor)
    for finding_id in held:
        row = tx.execute(
            "SELECT healed_by FROM findings WHERE id = ? AND closed_at IS NULL AND healed_at IS NOT NULL",
            (finding_id,),
        ).fetchone()
        if row is not None:
            record(tx, NewEvent("finding.closed", at, {"id": finding_id, "by": row[0]}, system=system))
    return held


def _release(tx: Tx, at: int, system: str, held: list[str], note: str, actor: str) -> None:
    freezes.release(tx, at, system, held, note=note, actor=actor)
    if not freezes.frozen(tx, system):
        doubts.read_again(tx, at, system)


def _system(tx: Tx, finding_id: str) -> str | None:
    row = tx.execute("SELECT system FROM findings WHERE id = ?", (finding_id,)).fetchone()
    return None if row is None else row[0]


# --- ambiguous messages -------------------------------------------------------------------------------------


def provisional(tx: Tx, kind: str, subject: str) -> str:
    """The provisional request that a `review` finding is about. Raises `Refused` where it is about none, or
    where that request ended or became a firm one meanwhile."""
    row = None
    if kind == REVIEW:
        row = tx.execute("SELECT provisional, ended_seq FROM requests WHERE id = ?", (subject,)).fetchone()
    if row is None:
        raise Refused("this finding is about no provisional request; there is nothing to keep or release")
    if row[1] is not None:
        raise Refused(f"request {subject} has ended already; there is nothing to keep or release")
    if not row[0]:
        raise Refused(
            f"request {subject} is a firm one; it ends only by `dncsync number unblock`, with newer consent "
            "(CON-04)"
        )
    return subject


def keep(tx: Tx, at: int, request_id: str, *, note: str, actor: str) -> None:
    """The message was a request to stop: the provisional request becomes a firm one."""
    (number,) = tx.execute("SELECT number FROM requests WHERE id = ?", (request_id,)).fetchone()
    payload = {"id": request_id, "note": note}
    record(tx, NewEvent("request.confirmed", at, payload, number=number, actor=actor))


def let_go(tx: Tx, at: int, intake: Intake, request_id: str, *, note: str, actor: str) -> list[str]:
    """The message was no request to stop: what this provisional request blocked is free of it, on the word of
    a named reviewer (section 11). Whatever else blocks these numbers stands. Returns the reversals' ids; one
    that begins with W waits for the approval of a tripped fuse."""
    evidence = _message(tx, request_id)
    rows = tx.execute(
        "SELECT number, group_concat(channel) FROM (SELECT number, channel FROM blocks WHERE request_id = ? "
        "AND ended_seq IS NULL ORDER BY number, channel) GROUP BY number ORDER BY number",
        (request_id,),
    ).fetchall()
    return [
        intake.reverse(
            tx,
            at,
            Reversal(
                number,
                tuple(Channel(c) for c in channels.split(",")),
                actor,
                note,
                REVIEW,
                **evidence,
                request=request_id,
            ),
        ).id
        for number, channels in rows
    ]


def _message(tx: Tx, request_id: str) -> dict[str, Any]:
    """The evidence of a review is the message itself: the event that recorded it, by its hash."""
    seq, said_at = tx.execute(
        "SELECT event_seq, at FROM (SELECT 1 AS rank, event_seq, at FROM statements WHERE request_id = ? "
        "UNION ALL SELECT 2, event_seq, occurred_at FROM requests WHERE id = ?) "
        "ORDER BY rank, event_seq LIMIT 1",
        (request_id, request_id),
    ).fetchone()
    (digest,) = tx.execute("SELECT hash FROM events WHERE seq = ?", (seq,)).fetchone()
    return {
        "evidence_name": f"event {seq} of this ledger",
        "evidence_sha256": bytes(digest).hex(),
        "evidence_date": from_micros(said_at).isoformat(),
    }
