"""The plan of a tripped fuse: every change that waits, in an order that only grows, and its hash.

What waits is read from events alone, so the same ledger gives the same lines to the byte. Changes that come
later are appended; the hash after each event that held some is a revision. Whoever approves a hash approves
exactly the lines before it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from dncsync.clock import from_micros
from dncsync.ledger.sqlite import Connection, ledger_id
from dncsync.ledger.writer import Tx
from dncsync.sync.fuses import BLOCKS
from dncsync.sync.plan import Kind
from dncsync.sync.plan_file import PlanRefused, line_of, seal

FORMAT = "dncsync fuse plan"
VERSION = 1
BLOCK, UNBLOCK = "block", "unblock"
"""Kinds of the lines that are a held block, or a waiting reversal, itself; what it would change follows."""

_COLUMNS = (
    "id", "direction", "system", "state", "tripped_at", "reason", "counted", "known", "policy", "needed",
    "systems", "approvals", "approved_to", "decided_at", "decided_by", "why",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fuse:
    """A fuse that tripped. Instants are microseconds, UTC."""

    id: str
    direction: str
    system: str | None
    state: str
    tripped_at: int
    reason: str
    counted: int
    known: int | None
    policy: Mapping[str, Any]
    needed: int
    systems: Mapping[str, Mapping[str, Any]]
    """Name -> `unit`, `channels`: what was connected when it tripped."""
    approvals: tuple[Mapping[str, Any], ...]
    approved_to: int
    """What was held up to this event is approved; the plan is what came after it."""
    decided_at: int | None
    decided_by: str | None
    why: str | None


@dataclass(frozen=True, slots=True)
class Revision:
    """The plan up to one of the events that held something."""

    event: int
    sha256: str
    changes: int
    """Requests, or reversals."""


def fuse(tx: Tx | Connection, fuse_id: str) -> Fuse | None:
    """None: there is no such fuse."""
    found = list(_fuses(tx, "WHERE id = ?", fuse_id))
    return found[0] if found else None


def fuses(tx: Tx | Connection, *, every: bool = False) -> list[Fuse]:
    """Those that wait for somebody or are being applied; with `every` all there ever were. Oldest first."""
    return list(_fuses(tx, "" if every else "WHERE state IN ('waiting', 'approved')"))


def _fuses(tx: Tx | Connection, where: str, *params: str) -> Iterator[Fuse]:
    sql = f"SELECT {', '.join(_COLUMNS)} FROM fuses {where} ORDER BY event_seq"  # noqa: S608  own words
    for row in tx.execute(sql, params).fetchall():
        values = dict(zip(_COLUMNS, row, strict=True))
        for name in ("policy", "systems", "approvals"):
            values[name] = orjson.loads(values[name])
        yield Fuse(**{**values, "approvals": tuple(values["approvals"])})


def brief(tx: Tx | Connection, of: Fuse) -> dict[str, Any]:
    """One fuse as JSON values: how it stands, how much it holds, who approved what stands now."""
    sql = (
        "SELECT count(DISTINCT request_id) FROM held WHERE fuse_id = ? AND released_seq IS NULL"
        if of.direction == BLOCKS
        else "SELECT count(*) FROM held_reversals WHERE fuse_id = ? AND state IN ('waiting', 'rejected')"
    )
    present = [done["by"] for done in of.approvals if done["after"] == of.approved_to]
    return {
        "id": of.id,
        "direction": of.direction,
        "system": of.system,
        "state": of.state,
        "tripped_at": _instant(of.tripped_at),
        "reason": of.reason,
        "held": tx.execute(sql, (of.id,)).fetchone()[0],
        "needed": of.needed,
        "approved_by": sorted(set(present)),
        "approved_to": of.approved_to,
        "decided_by": of.decided_by,
        "decided_at": None if of.decided_at is None else _instant(of.decided_at),
        "why": of.why,
    }


def left_out(tx: Tx | Connection, fuse_id: str) -> list[dict[str, str]]:
    """Reversals of an approved plan that were not carried out: held id, number (E.164), why."""
    rows = tx.execute(
        "SELECT id, number, why FROM held_reversals WHERE fuse_id = ? AND state = 'left-out' "
        "ORDER BY event_seq",
        (fuse_id,),
    )
    return [{"id": row[0], "number": row[1], "why": row[2]} for row in rows.fetchall()]


def header(tx: Tx | Connection, of: Fuse) -> dict[str, Any]:
    """The first line: what the plan is of."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "ledger": ledger_id(_conn(tx)),
        "fuse": of.id,
        "direction": of.direction,
        "system": of.system,
        "after": of.approved_to,
        "systems": of.systems,
    }


def lines(tx: Tx | Connection, of: Fuse) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """(event that held it, requests or reversals so far, one change): what waits and is not approved yet."""
    yield from _block_lines(tx, of) if of.direction == BLOCKS else _clear_lines(tx, of)


def _block_lines(tx: Tx | Connection, of: Fuse) -> Iterator[tuple[int, int, dict[str, Any]]]:
    rows = tx.execute(
        "SELECT h.event_seq, h.request_id, h.number, r.channels, r.source, r.record_system, r.record_key "
        "FROM held h JOIN requests r ON r.id = h.request_id WHERE h.fuse_id = ? AND h.event_seq > ? "
        "ORDER BY h.event_seq, h.request_id, h.number",
        (of.id, of.approved_to),
    )
    count, last = 0, ""
    for event, request_id, number, channels, source, record_system, record_key in rows:
        count, last = count + (request_id != last), request_id
        on = channels.split(",")
        whom = {"number": number} if number else {"record": [record_system, record_key]}
        yield event, count, {"kind": BLOCK, **whom, "channels": on, "request": request_id, "source": source}
        for system, facts in sorted(of.systems.items()):
            if not number and system != record_system:
                continue
            kind = _KINDS.get(facts["unit"], Kind.SPREAD)
            for channel in (channel for channel in on if channel in facts["channels"]):
                change = {"system": system, "channel": channel, "kind": kind}
                yield event, count, {**change, **whom, "request": request_id}


_KINDS = {"number": Kind.ADD, "record": Kind.SUPPRESS}
"""By unit of the system; `spread` where none was connected that says it."""


def _clear_lines(tx: Tx | Connection, of: Fuse) -> Iterator[tuple[int, int, dict[str, Any]]]:
    papers = ("evidence_name", "evidence_sha256", "evidence_date")
    names = ("id", "number", "channels", "actor", "reason", "basis", "request_id", *papers)
    rows = tx.execute(
        f"SELECT event_seq, {', '.join(names)} FROM held_reversals WHERE fuse_id = ? AND event_seq > ? "  # noqa: S608
        "ORDER BY event_seq",
        (of.id, of.approved_to),
    )
    for count, (event, *values) in enumerate(rows, 1):
        held = dict(zip(names, values, strict=True))
        channels = held.pop("channels").split(",")
        yield event, count, {"kind": UNBLOCK, "channels": channels, **held}
        for system, facts in sorted(of.systems.items()):
            for channel in channels:
                if channel in facts["channels"]:
                    change = {"system": system, "channel": channel, "kind": Kind.CLEAR}
                    yield event, count, {**change, "number": held["number"], "reversal": held["id"]}


def revisions(tx: Tx | Connection, of: Fuse) -> Iterator[Revision]:
    """Every revision, the oldest first; the last one is the plan as it stands."""
    digest = sha256(line_of(header(tx, of)))
    event = changes = 0
    for at, count, body in lines(tx, of):
        if event and at != event:
            yield Revision(event, digest.hexdigest(), changes)
        event, changes = at, count
        digest.update(line_of(body))
    if event:
        yield Revision(event, digest.hexdigest(), changes)


@dataclass(frozen=True, slots=True)
class Shown:
    """A plan as it stands: what a person looks at before deciding."""

    revision: Revision | None
    """None: nothing waits that is not approved."""
    numbers: int
    totals: Mapping[str, Mapping[str, int]]
    """System -> kind -> changes; a reversal itself is of the system ""."""
    sample: tuple[Mapping[str, Any], ...]


def show(tx: Tx | Connection, of: Fuse, sample: int) -> Shown:
    """One pass over the plan. `sample`: how many numbers to show changes of, spread over the plan's first."""
    digest, revision = sha256(line_of(header(tx, of))), None
    totals: dict[str, Counter[str]] = {}
    numbers: set[str] = set()
    shown: list[Mapping[str, Any]] = []
    for event, count, body in lines(tx, of):
        digest.update(line_of(body))
        revision = Revision(event, "", count)
        totals.setdefault(body.get("system", ""), Counter())[str(body["kind"])] += 1
        number = body.get("number")
        if number is not None and number not in numbers:
            numbers.add(number)
            if len(shown) < sample:
                shown.append(body)
    if revision is not None:
        revision = Revision(revision.event, digest.hexdigest(), revision.changes)
    return Shown(revision, len(numbers), {s: dict(c) for s, c in totals.items()}, tuple(shown))


def write(path: Path, conn: Connection, of: Fuse) -> str:
    """The plan as a file (JSON Lines under a hash). Returns its SHA-256, hex. Raises `FileExistsError`,
    `OSError`."""
    totals: Counter[str] = Counter()

    def bodies() -> Iterator[Mapping[str, Any]]:
        yield header(conn, of)
        for _, _, body in lines(conn, of):
            totals[str(body["kind"])] += 1
            yield body

    return seal(path, bodies(), lambda: {"changes": totals.total(), "totals": dict(totals)})


def sha256_of(path: Path, fuse_id: str) -> str:
    """The hash of a plan file of this fuse, every line verified. Raises `PlanRefused`, `OSError`."""
    digest = sha256()
    with path.open("rb") as file:
        first, last = True, b""
        for line in file:
            if first and _body(line).get("format") != FORMAT:
                raise PlanRefused(f"{path} is no plan of `dncsync plan show`")
            if first and _body(line).get("fuse") != fuse_id:
                raise PlanRefused(f"{path} is a plan of {_body(line).get('fuse')}, not of {fuse_id}")
            first = False
            digest.update(last)
            last = line
    said = _body(last).get("sha256")
    if said is None:
        raise PlanRefused(f"{path} is cut off: its last line is missing; write it again")
    if said != digest.hexdigest():
        raise PlanRefused(f"{path} was changed after it was made; write it again")
    return str(said)


def _body(line: bytes) -> Mapping[str, Any]:
    try:
        body = json.loads(line)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _instant(micros: int) -> str:
    return from_micros(micros).isoformat(timespec="milliseconds")


def _conn(tx: Tx | Connection) -> Connection:
    return tx.conn if isinstance(tx, Tx) else tx
