"""A plan on disk: JSON Lines under a hash. The first line says what it is of, the last what it comes to.

It names keys and numbers, so it is made for its owner alone (mode 0600), like the ledger.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from dncsync.model import Channel, Flag
from dncsync.sync.plan import Kind, PlannedChange

FORMAT = "dncsync resync plan"
VERSION = 1


class PlanRefused(ValueError):
    """This file cannot be used as a plan; one line says why."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a plan is of."""

    created_at: datetime
    """When the reading began (UTC): nothing in the plan is newer than it seems."""
    ledger: str
    """The ledger's id."""
    head_seq: int
    """The ledger's last event when the reading began."""
    head_hash: str
    systems: Mapping[str, Mapping[str, Any]]
    """By name: `vendor`, `unit`, `holdings`, `cursor` (where the reading ended), `counts`; or `skipped`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan file that was verified as a whole."""

    path: Path
    header: Header
    totals: Mapping[str, int]
    """Kind -> number of changes."""
    sha256: str
    """Of every line but the last, hex."""

    def changes(self) -> Iterator[PlannedChange]:
        """The changes in the file's order: by system and key, spreads last. Streaming."""
        with self.path.open("rb") as file:
            next(file)
            for line in file:
                body = orjson.loads(line)
                if "sha256" in body:
                    return
                yield _change(body)


def write(path: Path, header: Header, changes: Iterable[PlannedChange]) -> Plan:
    """Writes a plan, whole or not at all. Raises `FileExistsError`, `OSError`."""
    totals = dict.fromkeys(Kind, 0)

    def bodies() -> Iterator[Mapping[str, Any]]:
        yield _header_body(header)
        for change in changes:
            totals[change.kind] += 1
            yield _change_body(change)

    again = "exists already; apply it with --apply, or give another name"
    digest = seal(
        path, bodies(), lambda: {"changes": sum(totals.values()), "totals": _nonzero(totals)}, again
    )
    return Plan(path, header, _nonzero(totals), digest)


def seal(
    path: Path,
    bodies: Iterable[Mapping[str, Any]],
    end: Callable[[], Mapping[str, Any]],
    again: str = "exists already; give another name",
) -> str:
    """Writes lines, and a last one with what `end` says and the SHA-256 of all before it (hex, returned):
    whole or not at all, mode 0600. Raises `FileExistsError` with the words `again`, `OSError`."""
    if path.exists():
        raise FileExistsError(17, again, str(path))
    beside = path.with_name(path.name + ".writing")
    digest = sha256()
    with open(os.open(beside, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
        for body in bodies:
            data = line_of(body)
            digest.update(data)
            file.write(data)
        file.write(line_of({**end(), "sha256": digest.hexdigest()}))
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    return digest.hexdigest()


def read(path: Path) -> Plan:
    """Verifies every line of a plan. Raises `PlanRefused`, `OSError`."""
    digest, totals = sha256(), dict.fromkeys(Kind, 0)
    header: Header | None = None
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            body = _parsed(path, number, line)
            if header is None:
                header = _header(path, body)
            elif "sha256" in body:
                if file.read(1):
                    raise PlanRefused(f"{path}: something was added after its last line; make a new plan")
                if body["sha256"] != digest.hexdigest():
                    raise PlanRefused(f"{path} was changed after it was made; make a new plan")
                return Plan(path, header, _nonzero(totals), digest.hexdigest())
            else:
                try:
                    totals[_change(body).kind] += 1
                except (KeyError, TypeError, ValueError):
                    raise PlanRefused(
                        f"{path}: line {number} is no planned change; make a new plan"
                    ) from None
            digest.update(line)
    if header is None:
        raise PlanRefused(f"{path} is empty; it is no plan")
    raise PlanRefused(f"{path} is cut off: its last line is missing; make a new plan")


def _parsed(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(line)
    except ValueError:
        body = None
    if isinstance(body, dict):
        return body
    if number == 1:
        raise PlanRefused(f"{path} is no plan of `dncsync resync`")
    if not line.endswith(b"\n"):
        raise PlanRefused(f"{path} is cut off in line {number}; make a new plan")
    raise PlanRefused(f"{path}: line {number} is not JSON; make a new plan")


def _header(path: Path, body: Mapping[str, Any]) -> Header:
    if body.get("format") != FORMAT:
        raise PlanRefused(f"{path} is no plan of `dncsync resync`")
    if body.get("version") != VERSION:
        raise PlanRefused(
            f"{path} is of another dncsync (plan version {body.get('version')}); make a new plan"
        )
    try:
        created = datetime.fromisoformat(body["created_at"]).astimezone(UTC)
        head = body["head"]
        return Header(
            created,
            str(body["ledger"]),
            int(head["seq"]),
            str(head["hash"]),
            {str(name): dict(facts) for name, facts in body["systems"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise PlanRefused(f"{path}: line 1 is no header of a plan; make a new plan") from None


def _header_body(header: Header) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "created_at": header.created_at.isoformat(),
        "ledger": header.ledger,
        "head": {"seq": header.head_seq, "hash": header.head_hash},
        "systems": {name: dict(facts) for name, facts in header.systems.items()},
    }


def _change_body(change: PlannedChange) -> dict[str, Any]:
    body = {name: str(getattr(change, name)) for name in ("system", "key", "channel", "kind", "observed")}
    return {**body, "numbers": list(change.numbers)} if change.numbers else body


def _change(body: Mapping[str, Any]) -> PlannedChange:
    return PlannedChange(
        str(body["system"]),
        str(body["key"]),
        Channel(body["channel"]),
        Kind(body["kind"]),
        Flag(body["observed"]),
        tuple(str(number) for number in body.get("numbers", ())),
    )


def line_of(body: Mapping[str, Any]) -> bytes:
    """One line of a plan, as it is hashed."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _nonzero(totals: Mapping[Kind, int]) -> dict[str, int]:
    return {str(kind): count for kind, count in totals.items() if count}
