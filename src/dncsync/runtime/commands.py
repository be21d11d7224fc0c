"""What an admin may do to a ledger, as named commands with plain arguments.

The daemon carries them out for `dncsync` on the command line (see `control`); without a daemon the command
line does so itself. Arguments and answers are JSON values; `Refused` is the one error for bad ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from dncsync import numbers
from dncsync.clock import from_micros
from dncsync.ledger import checkpoint
from dncsync.ledger.events import NewEvent
from dncsync.ledger.projections import record
from dncsync.ledger.writer import Tx
from dncsync.model import Channel
from dncsync.runtime import finding_commands, reconciling
from dncsync.runtime.evidence import refuse_old_evidence
from dncsync.sync import fuse_decisions, fuses
from dncsync.sync.deliveries import look, settle_numbers
from dncsync.sync.requests import Ask, How, Intake, Refused, Reversal
from dncsync.sync.topology import Topology
from dncsync.sync.will import marks


class Asked(Protocol):
    """A transaction or a read-only connection."""

    def execute(self, sql: str, params: tuple[Any, ...], /) -> Any: ...


Command = Callable[[Tx, int, Intake, Mapping[str, Any]], dict[str, Any]]

BASES = ("signed", "written", "recorded_verbal")
"""What can end an internal block (OVR-02, CON-04); an existing business relationship cannot (SEED-13)."""


def run(tx: Tx, at: int, intake: Intake, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Carries out one command inside a transaction. `at`: microseconds. Raises `Refused`."""
    command = COMMANDS.get(name)
    if command is None:
        raise Refused(f"there is no command {name!r}")
    try:
        return command(tx, at, intake, arguments)
    except Refused:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Refused(f"{name}: bad or missing argument ({error})") from None


def block(tx: Tx, at: int, intake: Intake, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`number` (E.164), `channel`, `actor`, optional `words`: records a request."""
    number = _number(arguments["number"])
    channel = _channel(arguments.get("channel", "voice"))
    actor = str(arguments["actor"]).strip()
    if not actor:
        raise Refused("a request needs an actor: who took it")
    request_id = intake.block(
        tx,
        at,
        number,
        channel,
        actor=actor,
        source="admin",
        words=str(arguments.get("words") or ""),
    )
    return {"request": request_id}


def unblock(tx: Tx, at: int, intake: Intake, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A reversal; `arguments` as of `reversal_of`. Where a fuse holds it back the answer has `waits_for`, the
    fuse, and nothing is unblocked."""
    ended = intake.reverse(tx, at, reversal_of(tx, at, arguments))
    return {"reversal": ended.id} | ({"waits_for": ended.waits_for} if ended.waits_for else {})


def reversal_of(ledger: Asked, at: int, arguments: Mapping[str, Any]) -> Reversal:
    """Checks everything and changes nothing. `arguments`: `number`, `channels`, `actor`, `reason`, `basis`,
    `evidence_name`, `evidence_sha256`, `evidence_date` (ISO 8601, later than every block that would end).
    Raises `Refused`."""
    texts = {
        name: str(arguments.get(name) or "").strip()
        for name in ("actor", "reason", "basis", "evidence_name", "evidence_sha256", "evidence_date")
    }
    missing = [name.replace("_", " ") for name, text in texts.items() if not text]
    if missing:
        raise Refused(f"a reversal needs actor, reason, basis and evidence; missing: {', '.join(missing)}")
    if texts["basis"] not in BASES:
        raise Refused(
            f"basis {texts['basis']!r} does not end an internal block; use one of {', '.join(BASES)} (OVR-02)"
        )
    number = _number(arguments["number"])
    channels = tuple(_channel(c) for c in arguments.get("channels") or [c.value for c in Channel])
    latest = ledger.execute(
        "SELECT max(r.occurred_at) FROM blocks b JOIN requests r ON r.id = b.request_id "  # noqa: S608
        f"WHERE b.number = ? AND b.ended_seq IS NULL AND b.channel IN ({marks(channels)})",
        (number, *channels),
    ).fetchone()[0]
    if latest is None:
        raise Refused(f"{numbers.mask(number)} is not blocked on {' or '.join(channels)}; nothing to end")
    refuse_old_evidence(texts["evidence_date"], from_micros(latest), from_micros(at))
    return Reversal(number, channels, **texts)


def import_rows(tx: Tx, at: int, intake: Intake, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`rows`: a batch of `{number, channel, requested_at, source, actor, words}`. A row that was imported
    before, in whatever file, is known by its content and changes nothing."""
    asks: list[Ask] = []
    known = 0
    seen: set[str] = set()
    for row in arguments["rows"]:
        ask = _imported(row)
        assert ask.id is not None
        found = tx.execute("SELECT 1 FROM requests WHERE id = ?", (ask.id,)).fetchone()
        if found or ask.id in seen:
            known += 1
            continue
        seen.add(ask.id)
        asks.append(ask)
    touched = intake.record(tx, at, None, asks, actor=str(arguments["actor"]), how=How.IMPORTED)
    intake.settle(tx, at, touched, backfill=True)
    held = fuses.holding(tx, [ask.id for ask in asks[:1] if ask.id])
    return {"imported": len(asks), "known": known} | ({"waits_for": min(held.values())} if held else {})


def _imported(row: Mapping[str, Any]) -> Ask:
    number, channel = _number(row["number"]), _channel(row.get("channel") or "voice")
    requested = row.get("requested_at")
    occurred = datetime.fromisoformat(requested) if requested else None
    identity = "\x1f".join((number, channel, requested or "", str(row.get("source") or "")))
    return Ask(
        channel,
        (number,),
        number,
        source=str(row.get("source") or "import"),
        actor=str(row["actor"]) if row.get("actor") else None,
        words=str(row.get("words") or ""),
        occurred_at=occurred,
        id="I" + hashlib.sha256(identity.encode()).hexdigest()[:24],
    )


def look_at(tx: Tx, at: int, intake: Intake, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`system`, `keys`, optional `backfill`: has these keys read afresh, and whatever follows from that done;
    with `backfill`, behind fresh opt-outs. Optional `approved`: by a plan that a person approved, so that no
    fuse asks again."""
    system = _system(intake, arguments["system"])
    keys = [str(key) for key in arguments["keys"]]
    backfill, approved = bool(arguments.get("backfill")), bool(arguments.get("approved"))
    look(tx, at, system, keys, backfill=backfill, approved=approved)
    tx.after_commit(lambda: intake.topology.wake([system]))
    return {"queued": len(keys)}


def snapshot(tx: Tx, at: int, intake: Intake, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`systems`: names of systems that the daemon shall compare whole, beginning now."""
    return {"systems": [_system(intake, name) for name in arguments["systems"]]}


def settle_here(tx: Tx, at: int, intake: Intake, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`system`, `numbers` (E.164): opens what these numbers need in that one system, behind fresh opt-outs.
    It is computed from the ledger: for a number that is not blocked, nothing."""
    system = _system(intake, arguments["system"])
    found = [_number(number) for number in arguments["numbers"]]
    alone = Topology({system: intake.topology[system]}, wake=intake.topology.wake)
    settle_numbers(tx, at, alone, intake.goals, found, backfill=True)
    return {"settled": len(found)}


def plan(tx: Tx, at: int, intake: Intake, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`stage` (begun, applied or interrupted), `sha256`, `actor`, `counts`: what became of a plan that
    `actor` approved. It testifies; what is done is decided key by key."""
    stage = arguments["stage"]
    if stage not in ("begun", "applied", "interrupted"):
        raise Refused(f"plan: there is no stage {stage!r}")
    payload = {"sha256": str(arguments["sha256"]), "counts": dict(arguments["counts"])}
    recorded = record(tx, NewEvent(f"plan.{stage}", at, payload, actor=str(arguments["actor"])))
    return {"event": recorded.seq}


def take_checkpoint(tx: Tx, at: int, intake: Intake, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`key`: path of the signing key. Signs the head of the chain."""
    signer = checkpoint.Signer.load(Path(arguments["key"]))
    taken = checkpoint.take(tx, signer, at)
    return {"checkpoint": taken.to_json().decode(), "seq": taken.seq, "at": from_micros(at).isoformat()}


def approve_plan(tx: Tx, at: int, intake: Intake, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`id` of a fuse, `by`, `sha256` of the plan that was looked at, optional `note`: approves that."""
    text = {name: str(arguments[name]) for name in ("id", "by", "sha256")}
    note = str(arguments.get("note") or "")
    return fuse_decisions.approve(tx, at, text["id"], text["by"], text["sha256"], note)


def reject_plan(tx: Tx, at: int, intake: Intake, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`id` of a fuse, `by`, `reason`: nothing of what it holds spreads; the blocks stand."""
    text = {name: str(arguments[name]) for name in ("id", "by", "reason")}
    return fuse_decisions.reject(tx, at, text["id"], text["by"], text["reason"])


def apply_plan(tx: Tx, at: int, intake: Intake, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Optional `id` of a fuse: carries out the next piece of its approved plan (of the oldest approved one).
    To be called until `left` is 0."""
    done = fuse_decisions.apply_piece(tx, at, intake, only=arguments.get("id"))
    return {"fuse": done.fuse, "done": done.done, "left": done.left} if done else {"done": 0, "left": 0}


COMMANDS: Mapping[str, Command] = {
    **reconciling.COMMANDS,
    "block": block,
    "unblock": unblock,
    "import": import_rows,
    "look": look_at,
    "settle": settle_here,
    "plan": plan,
    "approve-plan": approve_plan,
    "reject-plan": reject_plan,
    "apply-plan": apply_plan,
    "snapshot": snapshot,
    "checkpoint": take_checkpoint,
    "ack-finding": finding_commands.acknowledge,
    "resolve-finding": finding_commands.resolve,
    "accept-finding": finding_commands.accept,
    "release-system": finding_commands.release,
}


def _number(value: Any) -> str:
    if not isinstance(value, str) or not numbers.is_e164(value):
        raise Refused("number: not in E.164 form, e.g. +13125550199")
    return value


def _channel(value: Any) -> Channel:
    try:
        return Channel(value)
    except ValueError:
        raise Refused(f"channel: {value!r} is none of {', '.join(Channel)}") from None


def _system(intake: Intake, name: Any) -> str:
    if name not in intake.topology:
        raise Refused(f"no system {name!r}; configured: {', '.join(sorted(intake.topology)) or 'none'}")
    return str(name)
