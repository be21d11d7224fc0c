"""What a person may do about findings, as the commands of `commands`: each names its actor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from dncsync.clock import from_micros, to_micros
from dncsync.drift.sighting import record_baseline
from dncsync.ledger.reading_findings import NoSuchFinding, named
from dncsync.ledger.writer import Tx
from dncsync.sync import attending
from dncsync.sync.requests import Intake, Refused


def acknowledge(tx: Tx, at: int, intake: Intake, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`id`, `actor`, optional `owner` (default: the actor), `note`, `due` (ISO 8601; default: as it was)."""
    finding_id = _open(tx, arguments)
    actor = _text(arguments, "actor", "who takes it on")
    owner = str(arguments.get("owner") or "").strip() or actor
    (due_at,) = tx.execute("SELECT due_at FROM findings WHERE id = ?", (finding_id,)).fetchone()
    if arguments.get("due"):
        due_at = due(str(arguments["due"]), at)
    note = str(arguments.get("note") or "").strip()
    attending.acknowledge(tx, at, finding_id, owner=owner, note=note, due_at=due_at, actor=actor)
    return {"acknowledged": _short(tx, finding_id), "owner": owner, "due": from_micros(due_at).isoformat()}


def due(text: str, at: int) -> int:
    """A day (its end, UTC) or an instant with a zone, later than `at`; microseconds. Raises `Refused`."""
    try:
        if len(text) == len("2026-11-30"):
            when = datetime.combine(date.fromisoformat(text) + timedelta(days=1), time(), UTC)
        else:
            when = datetime.fromisoformat(text)
        if when.tzinfo is None:
            raise ValueError
        micros = to_micros(when)
    except (ValueError, OverflowError):
        raise Refused(f"due {text!r} is no date; use 2026-11-30, or 2026-11-30T15:00-05:00") from None
    if micros <= at:
        raise Refused(f"due {text!r} is past; say when it will have been dealt with")
    return micros


def resolve(tx: Tx, at: int, intake: Intake, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`id`, `actor`, `note`; for a provisional block `verdict`: keep or release. A freeze of its own ends."""
    finding_id = _open(tx, arguments)
    actor = _text(arguments, "actor", "who resolves it")
    note = _text(arguments, "note", "what was done")
    done: dict[str, Any] = {
        "resolved": _short(tx, finding_id),
        **_review(tx, at, intake, finding_id, arguments),
    }
    if attending.resolve(tx, at, finding_id, note=note, actor=actor):
        (system,) = tx.execute("SELECT system FROM findings WHERE id = ?", (finding_id,)).fetchone()
        done |= {"released": system, **_compare(intake, system)}
    return done


def _review(tx: Tx, at: int, intake: Intake, finding_id: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What the reviewer of an ambiguous message decided (regulation section 11)."""
    verdict = arguments.get("verdict")
    kind, subject = tx.execute("SELECT kind, subject FROM findings WHERE id = ?", (finding_id,)).fetchone()
    if verdict is None:
        standing = tx.execute(
            "SELECT 1 FROM requests WHERE id = ? AND provisional = 1 AND ended_seq IS NULL", (subject,)
        ).fetchone()
        if kind == attending.REVIEW and standing:
            raise Refused(
                f"request {subject} waits for your verdict: --keep it as a firm request, or --release it"
            )
        return {}
    if verdict not in ("keep", "release"):
        raise Refused(f"verdict {verdict!r} is none of keep, release")
    actor, note = str(arguments["actor"]).strip(), str(arguments["note"]).strip()
    request = attending.provisional(tx, kind, subject)
    if verdict == "keep":
        attending.keep(tx, at, request, note=note, actor=actor)
        return {"kept": request}
    reversals = attending.let_go(tx, at, intake, request, note=note, actor=actor)
    waiting = [each for each in reversals if each.startswith("W")]
    return {
        "request_waiting" if waiting else "request_released": request,
        "reversals": reversals,
        "waits_for_approval": waiting,
    }


def release(tx: Tx, at: int, intake: Intake, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`system`, `actor`, `note`: the system's clears and absences are believed again."""
    system = str(arguments["system"])
    actor = _text(arguments, "actor", "who releases it")
    note = _text(arguments, "note", "why it can be believed again")
    held = attending.release(tx, at, system, note=note, actor=actor)
    if not held:
        raise Refused(f"{system!r} is not frozen; there is nothing to release")
    return {"released": system, "findings": [_short(tx, each) for each in held], **_compare(intake, system)}


def accept(tx: Tx, at: int, intake: Intake, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`id`, `actor`, `note`: what was seen is normal from now on."""
    finding_id = _open(tx, arguments)
    actor = _text(arguments, "actor", "who accepts it")
    note = _text(arguments, "note", "why this is normal from now on")
    system, detail = tx.execute("SELECT system, detail FROM findings WHERE id = ?", (finding_id,)).fetchone()
    normal = json.loads(detail).get("baseline")
    if normal is None:
        raise Refused("this finding has no baseline that could be accepted; mend the cause, then resolve it")
    record_baseline(tx, at, normal["detector"], system, normal["subject"], normal["value"], actor=actor)
    done = {"accepted": _short(tx, finding_id), "detector": normal["detector"], "subject": normal["subject"]}
    if attending.resolve(tx, at, finding_id, note=note, actor=actor):
        return {**done, "released": system, **_compare(intake, system)}
    return done


def _compare(intake: Intake, system: str) -> dict[str, Any]:
    """`compare`: systems that the daemon compares whole, beginning now: that puts right what was doubted."""
    return {"compare": [system] if system in intake.topology else []}


def _open(tx: Tx, arguments: Mapping[str, Any]) -> str:
    try:
        finding_id = named(tx, str(arguments["id"]).strip())
    except NoSuchFinding as error:
        raise Refused(str(error)) from None
    row = tx.execute("SELECT closed_at, closed_by FROM findings WHERE id = ?", (finding_id,)).fetchone()
    if row[0] is not None:
        raise Refused(f"that finding was closed at {from_micros(row[0]):%Y-%m-%d %H:%M} UTC by {row[1]}")
    return finding_id


def _short(tx: Tx, finding_id: str) -> str:
    """The name that people type; an id may hold a key that is a phone number."""
    (seq,) = tx.execute("SELECT event_seq FROM findings WHERE id = ?", (finding_id,)).fetchone()
    return f"f{seq}"


def _text(arguments: Mapping[str, Any], name: str, what: str) -> str:
    text = str(arguments.get(name) or "").strip()
    if not text:
        raise Refused(f"{name}: say {what}")
    return text
