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


def settle(
    tx: Tx, at: int, system: str, kinds: Collection[str], sightings: Iterable[Sighting], healed: str
) -> None:
    """Brings the findings of these kinds in `system` in line with everything that a detector sees now.

    `at`: microseconds. `healed`: the words that close a finding which is not seen any more.
    """
    seen: set[str] = set()
    for sighting in sightings:
        seen.add(sighting.subject)
        detail = {
            "expected": sighting.expected,
            "seen": sighting.seen,
            "since": sighting.since,
            "exposed": exposed(tx, system, sighting.keys),
            "mend": sighting.mend,
        }
        if not _told(tx, sighting, detail):
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
    for kind in kinds:
        rows = tx.execute(
            "SELECT subject FROM findings WHERE kind = ? AND system = ? AND closed_at IS NULL", (kind, system)
        ).fetchall()
        for (subject,) in rows:
            if subject not in seen:
                findings.close_finding(tx, at, kind, system, subject, healed)


_EXPOSED = (
    "SELECT DISTINCT b.number FROM blocks b JOIN holding_numbers h ON h.number = b.number "
    "WHERE b.ended_seq IS NULL"
)


def exposed(tx: Tx, system: str, keys: Collection[str] | None = None) -> dict[str, Any]:
    """How many blocked numbers this drift leaves exposed, and the query that lists them."""
    where = "h.system = ?"
    params: list[Any] = [system]
    if keys is not None:
        where += " AND h.key IN (SELECT value FROM json_each(?))"
        params.append(json.dumps(sorted(keys)))
    query = f"{_EXPOSED} AND {where}"
    count = tx.execute(f"SELECT count(*) FROM ({query})", params).fetchone()[0]  # noqa: S608
    shown = query
    for param in params:
        literal = "'" + str(param).replace("'", "''") + "'"
        shown = shown.replace("?", literal, 1)
    return {"numbers": count, "query": shown}


def _told(tx: Tx, sighting: Sighting, detail: dict[str, Any]) -> bool:
    """Whether an open finding says the same already (the count of exposed numbers and `since` may move)."""
    row = tx.execute(
        "SELECT detail FROM findings WHERE id = ? AND closed_at IS NULL",
        ("/".join((sighting.kind, sighting.system, sighting.subject)),),
    ).fetchone()
    if row is None:
        return False
    before = json.loads(row[0])
    return all(before.get(part) == detail[part] for part in ("expected", "seen", "mend"))


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
