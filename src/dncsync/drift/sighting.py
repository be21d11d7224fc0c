"""What a detector saw, and how a set of sightings becomes findings that open, change and heal.

A detector compares what is with a recorded baseline and returns everything that is wrong now; it keeps no
state of its own. `settle` opens what is new, says so again only where it looks different, and closes what is
not seen any more. A detector that could not look raises `Blind`: nothing is concluded from that.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from dncsync.ledger.events import NewEvent
from dncsync.ledger.projections import record
from dncsync.ledger.writer import Tx
from dncsync.sync import findings


class Blind(Exception):
    """The detector could not look (no answer, no permission); `str()` is one line for people."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One thing that is not as it should be. No text holds a phone number or a secret."""

    kind: str
    """The finding's kind, e.g. `field-renamed`; policy decides per kind what follows."""
    system: str
    subject: str
    """What it is about: a field, a feed, a pair of systems. With kind and system, the finding's identity."""
    summary: str
    """One line: what is wrong."""
    expected: str
    seen: str
    """Redacted."""
    mend: str
    """What a person should do, in the vendor's own terms."""
    severity: str = "warning"
    """`info`, `warning` or `page`, where policy says nothing else."""
    since: int | None = None
    """When it was last known to be well (microseconds); the drift began after that."""
    keys: tuple[str, ...] | None = None
    """Holdings concerned; None: every holding of the system."""
    baseline: tuple[str, str, Any] | None = None
    """(detector, subject, value): what `findings accept` records as normal from now on, as `record_baseline`
    would. A JSON value. None: there is nothing that a person could accept."""


def settle(
    tx: Tx, at: int, system: str, kinds: Collection[str], sightings: Iterable[Sighting], healed: str
) -> None:
    """Brings the findings of these kinds in `system` in line with everything that a detector sees now.

    `at`: microseconds. `healed`: the words that close a finding which is not seen any more. A finding that
    looks the same is left alone; one that looks different is told again, with `changed` in its detail: what
    it said before. `since` stays as it was first told for as long as the finding is open.
    """
    seen: set[tuple[str, str]] = set()
    for sighting in sightings:
        seen.add((sighting.kind, sighting.subject))
        _tell(tx, at, system, sighting)
    for kind in kinds:
        rows = tx.execute(
            "SELECT subject FROM findings WHERE kind = ? AND system = ? AND closed_at IS NULL", (kind, system)
        ).fetchall()
        for (subject,) in rows:
            if (kind, subject) not in seen:
                findings.close_finding(tx, at, kind, system, subject, healed)


_TOLD = ("expected", "seen", "mend", "baseline")
"""What makes a finding look different. The count of exposed numbers may move."""


def _tell(tx: Tx, at: int, system: str, sighting: Sighting) -> None:
    detail: dict[str, Any] = {
        "expected": sighting.expected,
        "seen": sighting.seen,
        "since": sighting.since,
        "mend": sighting.mend,
    }
    if sighting.baseline is not None:
        detector, subject, value = sighting.baseline
        detail["baseline"] = {"detector": detector, "subject": subject, "value": value}
    told = findings.told(tx, sighting.kind, system, sighting.subject, sighting.severity)
    if told is not None:
        before, stands = json.loads(told[0]), told[1]
        now = json.loads(json.dumps(detail))
        changed = {part: before.get(part) for part in _TOLD if before.get(part) != now.get(part)}
        if stands and not changed:
            return
        if before.get("since") is not None:
            detail["since"] = before["since"]
        if changed:
            detail["changed"] = changed
    detail["exposed"] = exposed(tx, system, sighting.keys)
    findings.open_finding(
        tx,
        at,
        sighting.kind,
        system,
        sighting.subject,
        sighting.summary,
        severity=sighting.severity,
        detail=detail,
    )


COUNTED = 100_000
"""Exposed numbers are counted up to here."""
_EXPOSED = (
    "SELECT DISTINCT b.number FROM blocks b JOIN holding_numbers h ON h.number = b.number "
    "WHERE b.ended_seq IS NULL AND h.system = {system}"
)
_OF_KEYS = " AND h.key IN (SELECT value FROM json_each({keys}))"


def exposed(tx: Tx, system: str, keys: Collection[str] | None = None) -> dict[str, Any]:
    """How many blocked numbers this drift leaves exposed (`numbers`; `or_more`: it was not counted further),
    and the `query` that lists them.

    `keys`: the holdings concerned; None: all of the system. Where the keys are phone numbers themselves, as
    those of a dialer's list are, no query would be fit to be shown: it is None."""
    params = [system]
    query = _EXPOSED.format(system="?")
    shown: str | None = _EXPOSED.format(system=_literal(system))
    if keys is not None:
        params.append(json.dumps(sorted(keys)))
        query += _OF_KEYS.format(keys="?")
        narrowed = _EXPOSED.format(system=_literal(system)) + _OF_KEYS.format(keys=_literal(params[1]))
        shown = None if _are_numbers(tx, system, params[1]) else narrowed
    # A vendor's webhooks wait while this transaction counts.
    count = tx.execute(f"SELECT count(*) FROM ({query} LIMIT {COUNTED})", params).fetchone()[0]  # noqa: S608
    told: dict[str, Any] = {"numbers": count, "query": shown}
    return {**told, "or_more": True} if count == COUNTED else told


def _are_numbers(tx: Tx, system: str, keys: str) -> bool:
    row = tx.execute(
        "SELECT 1 FROM holding_numbers WHERE system = ? AND key IN (SELECT value FROM json_each(?)) "
        "AND instr(key, substr(number, 2)) LIMIT 1",
        (system, keys),
    ).fetchone()
    return row is not None


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


# --- baselines --------------------------------------------------------------------------------------------


def baseline(tx: Tx, detector: str, system: str, subject: str) -> Any:
    """What was recorded as normal; None: nothing yet."""
    row = tx.execute(
        "SELECT value FROM baselines WHERE detector = ? AND system = ? AND subject = ?",
        (detector, system, subject),
    ).fetchone()
    return None if row is None else json.loads(row[0])


def record_baseline(
    tx: Tx, at: int, detector: str, system: str, subject: str, value: Any, *, actor: str | None = None
) -> None:
    """Records in the chain what is normal from now on. `actor`: who accepted it; None: as first seen."""
    payload = {"detector": detector, "subject": subject, "value": value}
    record(tx, NewEvent("baseline.recorded", at, payload, system=system, actor=actor))
