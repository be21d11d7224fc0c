"""Canary runs as the ledger holds them: typed rows for the machine, plain values for people and reports."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from dncsync import numbers
from dncsync.clock import from_micros
from dncsync.ledger.sqlite import Connection
from dncsync.ledger.writer import Tx
from dncsync.model import Channel

SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Leg:
    """One system's part of a run. Instants are microseconds; None: not yet."""

    system: str
    expects: str
    why: str
    within: int
    set_at: int | None
    set_late: str | None
    set_lost: int
    cleared_at: int | None
    clear_late: str | None


@dataclass(frozen=True, slots=True)
class Run:
    """One run. Instants are microseconds; None: not yet."""

    id: str
    number: str
    origin: str
    origin_key: str
    channel: str
    actor: str
    hook_expected: int
    seen_within: int
    begun_at: int
    writing_at: int | None
    written_at: int | None
    refused: str | None
    kept: str | None
    hinted_at: int | None
    seen_at: int | None
    requests: str | None
    reversed_at: int | None
    late: str | None
    hook_late: int
    ended_at: int | None
    outcome: str | None
    note: str | None
    event_seq: int

    @property
    def request_ids(self) -> list[str]:
        """The requests that were made of its own write."""
        return self.requests.split(",") if self.requests else []

    @property
    def on(self) -> Channel:
        """The channel it writes at its origin."""
        return Channel(self.channel)

    @property
    def left_at(self) -> int | None:
        """When the origin took the write, or was about to."""
        return self.written_at or self.writing_at


_RUN = ", ".join(field.name for field in fields(Run))
_LEG = ", ".join(field.name for field in fields(Leg))


def open_run(tx: Tx | Connection, origin: str | None = None) -> Run | None:
    """The run that has not ended; there is at most one. `origin`: only if it began there."""
    row = tx.execute(f"SELECT {_RUN} FROM canary_runs WHERE ended_at IS NULL", ()).fetchone()  # noqa: S608
    found = None if row is None else Run(*row)
    return None if found is None or (origin is not None and found.origin != origin) else found


def left_behind(tx: Tx) -> Run | None:
    """A run that was given up, and whose write was seen after all: it is still to be taken back."""
    row = tx.execute(
        f"SELECT {_RUN} FROM canary_runs WHERE outcome = 'lost' AND requests IS NOT NULL "  # noqa: S608
        "AND reversed_at IS NULL LIMIT 1",
        (),
    ).fetchone()
    return None if row is None else Run(*row)


def legs_of(tx: Tx | Connection, run: Run) -> list[Leg]:
    """Its legs, by system."""
    sql = f"SELECT {_LEG} FROM canary_legs WHERE run_id = ? ORDER BY system"  # noqa: S608
    return [Leg(*row) for row in tx.execute(sql, (run.id,)).fetchall()]


def last_begun(tx: Tx, origin: str) -> int:
    """When the latest run from there began (microseconds); 0: never."""
    row = tx.execute("SELECT max(begun_at) FROM canary_runs WHERE origin = ?", (origin,)).fetchone()
    return 0 if row[0] is None else int(row[0])


def last_good(tx: Tx, origin: str, system: str) -> int | None:
    """When a run from `origin` last arrived in `system` in time (microseconds); of the origin itself: when a
    change there was last seen in time."""
    if origin == system:
        sql = "SELECT max(seen_at) FROM canary_runs WHERE origin = ? AND late IS NULL"
        row = tx.execute(sql, (origin,)).fetchone()
    else:
        row = tx.execute(
            "SELECT max(l.set_at) FROM canary_legs l JOIN canary_runs r ON r.id = l.run_id "
            "WHERE r.origin = ? AND l.system = ? AND l.set_late IS NULL",
            (origin, system),
        ).fetchone()
    return None if row[0] is None else int(row[0])


# --- for people and reports ---------------------------------------------------------------------------------


def shown(conn: Connection, run_id: str) -> dict[str, Any] | None:
    """One run as JSON values, with the seconds of each pair; None: there is no such run."""
    row = conn.execute(f"SELECT {_RUN} FROM canary_runs WHERE id = ?", (run_id,)).fetchone()  # noqa: S608
    return None if row is None else _shown(conn, Run(*row))


def recent(conn: Connection, limit: int, since: int = 0, until: int | None = None) -> list[dict[str, Any]]:
    """The latest runs that began in [since, until) (microseconds), newest first, as `shown` gives them;
    `limit` -1: all."""
    rows = conn.execute(
        f"SELECT {_RUN} FROM canary_runs WHERE begun_at >= ? AND begun_at < ? "  # noqa: S608
        "ORDER BY event_seq DESC LIMIT ?",
        (since, 2**62 if until is None else until, limit),
    ).fetchall()
    return [_shown(conn, Run(*row)) for row in rows]


def _shown(conn: Connection, run: Run) -> dict[str, Any]:
    left = run.left_at
    return {
        "id": run.id,
        "number": numbers.mask(run.number),
        "origin": run.origin,
        "channel": run.channel,
        "by": run.actor,
        "begun_at": _instant(run.begun_at),
        "written_at": _instant(run.written_at),
        "refused": run.refused,
        "seen_at": _instant(run.seen_at),
        "seen_seconds": _seconds(left, run.seen_at),
        "late": run.late,
        "webhook": _webhook(run),
        "requests": run.request_ids,
        "reversed_at": _instant(run.reversed_at),
        "ended_at": _instant(run.ended_at),
        "outcome": run.outcome or "under way",
        "note": run.note,
        "pairs": [
            {
                "origin": run.origin,
                "system": leg.system,
                "expects": leg.expects,
                "why": leg.why,
                "within_seconds": leg.within / SECOND,
                "verified_at": _instant(leg.set_at),
                "seconds": _seconds(left, leg.set_at),
                "late": leg.set_late,
                "lost": bool(leg.set_lost),
                "cleared_at": _instant(leg.cleared_at),
                "cleared_seconds": _seconds(run.reversed_at, leg.cleared_at),
                "cleared_late": leg.clear_late,
            }
            for leg in legs_of(conn, run)
        ],
    }


def _webhook(run: Run) -> str:
    if not run.hook_expected:
        return "none expected"
    if run.hook_late:
        return "silent"
    return "arrived" if run.hinted_at is not None else "awaited"


def _instant(at: int | None) -> str | None:
    return None if at is None else from_micros(at).isoformat()


def _seconds(begun: int | None, ended: int | None) -> float | None:
    return None if begun is None or ended is None else max(0.0, (ended - begun) / SECOND)
