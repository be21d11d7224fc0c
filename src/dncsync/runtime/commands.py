"""What an admin may do to a ledger, as named commands with plain arguments.

The daemon carries them out for `dncsync` on the command line (see `control`); without a daemon the command
line does so itself. Arguments and answers are JSON values; `Refused` is the one error for bad ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from dncsync import numbers
from dncsync.clock import from_micros
from dncsync.ledger import checkpoint
from dncsync.ledger.writer import Tx
from dncsync.model import Channel
from dncsync.sync import findings
from dncsync.sync.deliveries import look
from dncsync.sync.requests import Ask, Intake, Refused, Reversal

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
    except (KeyError, TypeError) as error:
        raise Refused(f"{name}: bad or missing argument ({error})") from None


def block(tx: Tx, at: int, intake: Intake, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`number` (E.164), `channel`, `actor`, optional `words`: records a request."""
    number = _number(arguments["number"])
    channel = _channel(arguments.get("channel", "voice"))
    request_id = intake.block(
        tx,
        at,
        number,
        channel,
        actor=str(arguments["actor"]),
        source="admin",
        words=str(arguments.get("words") or ""),
    )
    return {"request": request_id}


def unblock(tx: Tx, at: int, intake: Intake, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`number`, `channels`, `actor`, `reason`, `basis`, `evidence_name`, `evidence_sha256`: a reversal."""
    texts = {
        name: str(arguments.get(name) or "").strip()
        for name in ("actor", "reason", "basis", "evidence_name", "evidence_sha256")
    }
    missing = [name.partition("_")[0] for name, text in texts.items() if not text]
    if missing:
        raise Refused(f"a reversal needs actor, reason, basis and evidence; missing: {', '.join(missing)}")
    if texts["basis"] not in BASES:
        raise Refused(
            f"basis {texts['basis']!r} does not end an internal block; use one of {', '.join(BASES)} (OVR-02)"
        )
    channels = tuple(_channel(c) for c in arguments.get("channels") or [c.value for c in Channel])
    reversal = Reversal(_number(arguments["number"]), channels, **texts)
    return {"reversal": intake.reverse(tx, at, reversal)}


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
    touched = intake.record(tx, at, None, asks, actor=str(arguments["actor"]))
    intake.settle(tx, at, touched, backfill=True)
    return {"imported": len(asks), "known": known}


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
    """`system`, `keys`: has these keys read afresh, and whatever follows from that done."""
    system = _system(intake, arguments["system"])
    keys = [str(key) for key in arguments["keys"]]
    look(tx, at, system, keys)
    tx.after_commit(lambda: intake.topology.wake([system]))
    return {"queued": len(keys)}


def snapshot(tx: Tx, at: int, intake: Intake, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`systems`: names of systems that the daemon shall compare whole, beginning now."""
    return {"systems": [_system(intake, name) for name in arguments["systems"]]}


def take_checkpoint(tx: Tx, at: int, intake: Intake, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`key`: path of the signing key. Signs the head of the chain."""
    signer = checkpoint.Signer.load(Path(arguments["key"]))
    taken = checkpoint.take(tx, signer, at)
    return {"checkpoint": taken.to_json().decode(), "seq": taken.seq, "at": from_micros(at).isoformat()}


def close_finding(tx: Tx, at: int, intake: Intake, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`id`, `actor`: a person has dealt with it."""
    row = tx.execute(
        "SELECT kind, system, subject FROM findings WHERE id = ? AND closed_at IS NULL", (arguments["id"],)
    ).fetchone()
    if row is None:
        raise Refused(f"there is no open finding {arguments['id']!r}")
    kind, system, subject = row
    findings.close_finding(tx, at, kind, system, subject, str(arguments["actor"]))
    return {"closed": arguments["id"]}


COMMANDS: Mapping[str, Command] = {
    "block": block,
    "unblock": unblock,
    "import": import_rows,
    "look": look_at,
    "snapshot": snapshot,
    "checkpoint": take_checkpoint,
    "close-finding": close_finding,
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
