"""Findings: something a person must know. The same thing again is the same finding, counted.

Policy decides per kind what follows (`policy.kinds`); it is applied here and nowhere else. The policy in
force is told to the ledger (`adopt`), so that the ledger shows which one its findings were kept under and
every writer applies the same. Instants are microseconds, UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from dncsync.ledger.events import NewEvent
from dncsync.ledger.projections import record
from dncsync.ledger.writer import Tx
from dncsync.policy import Drift
from dncsync.policy.kinds import ACTIONS, Action
from dncsync.sync import freezes

ACCEPTED: Final = "accepted by policy"
"""Closes what policy accepts."""

_GRAVITY: Final = ("info", "warning", "page")
_DAY: Final = 86_400_000_000
_MINUTE: Final = 60_000_000
_BUILT_IN: Final = Drift()


# --- policy -----------------------------------------------------------------------------------------------


def adopt(tx: Tx, at: int, drift: Drift) -> bool:
    """Tells the ledger the policy that is in force from now on. Whether it is another than before."""
    if drift == in_force(tx):
        return False
    payload = {"name": "drift", "value": drift.model_dump(mode="json")}
    record(tx, NewEvent("policy.adopted", at, payload))
    return True


def in_force(tx: Tx) -> Drift:
    """The policy that the ledger was told last; the built-in one where it was told none."""
    row = tx.execute("SELECT value FROM policies WHERE name = 'drift'").fetchone()
    return _BUILT_IN if row is None else _read(row[0])


@lru_cache(maxsize=8)
def _read(value: str) -> Drift:
    return Drift.model_validate_json(value)


def action_for(drift: Drift, kind: str) -> Action:
    """What follows from a finding of this kind; of one that no policy knows: `as_seen`."""
    return drift.actions.get(kind) or ACTIONS.get(kind, "as_seen")


def severity_under(action: Action, severity: str) -> str:
    """How grave a finding is that its detector calls `severity` (info, warning, page)."""
    if action in ("page", "freeze"):
        return "page"
    if action == "accept":
        return "info"
    return "warning" if action == "warn" and severity == "page" else severity


# --- opening and healing ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Before:
    """A finding as it stands when it is seen again."""

    severity: str
    closed_at: int | None
    closed_by: str | None

    @property
    def open(self) -> bool:
        return self.closed_at is None


def open_finding(
    tx: Tx,
    at: int,
    kind: str,
    system: str | None,
    subject: str,
    summary: str,
    *,
    severity: str = "warning",
    owner: str = "compliance",
    detail: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> None:
    """Opens a finding, or counts it once more. With `quiet`, one that is open already is left alone.

    `summary` and `detail` hold no phone numbers; `subject` is a key, a field or a system. `severity`: how the
    detector sees it; policy has the last word, and may freeze the system's reads or accept the finding.
    """
    finding_id = name_of(kind, system, subject)
    before = _known(tx, finding_id)
    drift = in_force(tx)
    action = action_for(drift, kind)
    if quiet and before is not None and (before.open or _stays_accepted(before, action)):
        return
    grave = severity_under(action, severity)
    returned = _returned(before, at, drift)
    days = drift.due_days.review if kind == "review" else int(getattr(drift.due_days, grave))
    payload: dict[str, Any] = {
        "id": finding_id,
        "kind": kind,
        "subject": subject,
        "severity": grave,
        "owner": owner,
        "due_at": at + days * _DAY,
        "summary": summary,
        "detail": dict(detail or {}),
    }
    if returned is not None:
        payload["returned"] = returned
    if grave == "page" and (before is None or returned == "late" or before.severity != "page"):
        payload["pages"] = True
    record(tx, NewEvent("finding.opened", at, payload, system=system))
    if action == "accept":
        record(tx, NewEvent("finding.closed", at, {"id": finding_id, "by": ACCEPTED}, system=system))
    elif action == "freeze" and system is not None and (before is None or not before.open):
        freezes.freeze(tx, at, system, finding_id)


def _returned(before: _Before | None, at: int, drift: Drift) -> str | None:
    """`soon` or `late`, for a finding that had closed. What policy had accepted did not end, so it does not
    come back."""
    if before is None or before.closed_at is None or before.closed_by == ACCEPTED:
        return None
    return "soon" if at - before.closed_at <= drift.flap_minutes * _MINUTE else "late"


def _stays_accepted(before: _Before, action: Action) -> bool:
    return action == "accept" and before.closed_by == ACCEPTED


def told(tx: Tx, kind: str, system: str, subject: str, severity: str) -> tuple[str, bool] | None:
    """What the ledger says already of something that is seen again: its detail (JSON), and whether it stands
    there as seen, and as grave, as now. None: it is to be opened, since it is new or had closed.

    `severity`: as the detector sees it."""
    row = tx.execute(
        "SELECT severity, closed_at, closed_by, detail, healed_at FROM findings WHERE id = ?",
        (name_of(kind, system, subject),),
    ).fetchone()
    if row is None:
        return None
    before, action = _Before(*row[:3]), action_for(in_force(tx), kind)
    if not before.open and not _stays_accepted(before, action):
        return None
    return str(row[3]), row[4] is None and severity_under(action, severity) == before.severity


def close_finding(tx: Tx, at: int, kind: str, system: str | None, subject: str, by: str) -> None:
    """What it told of is over; `by` says what healed it. It closes if it is open; but while its freeze waits
    for a person it stays open, and says so."""
    finding_id = name_of(kind, system, subject)
    row = tx.execute(
        "SELECT healed_at FROM findings WHERE id = ? AND closed_at IS NULL", (finding_id,)
    ).fetchone()
    if row is None:
        return
    if not freezes.holds(tx, finding_id):
        record(tx, NewEvent("finding.closed", at, {"id": finding_id, "by": by}, system=system))
    elif row[0] is None:
        record(tx, NewEvent("finding.healed", at, {"id": finding_id, "by": by}, system=system))


def is_open(tx: Tx, finding_id: str) -> bool:
    """Whether a finding with that id is open."""
    before = _known(tx, finding_id)
    return before is not None and before.open


def name_of(kind: str, system: str | None, subject: str) -> str:
    """A finding's id: the same kind, system and subject are the same finding."""
    return "/".join((kind, system or "", subject))


def _known(tx: Tx, finding_id: str) -> _Before | None:
    row = tx.execute(
        "SELECT severity, closed_at, closed_by FROM findings WHERE id = ?", (finding_id,)
    ).fetchone()
    return None if row is None else _Before(*row)
