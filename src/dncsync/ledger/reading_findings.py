"""What people ask of findings: which wait for whom, and one with its whole history; as plain JSON values."""

from __future__ import annotations

import json
import re
from typing import Any, Protocol

from dncsync import numbers
from dncsync.ledger.reading import instant, rows
from dncsync.ledger.sqlite import Connection

SAMPLE = 5
"""Exposed numbers that are shown, masked."""

_SHORT = re.compile(r"f([1-9][0-9]{0,17})")
_LISTED = 5


class Asked(Protocol):
    """A transaction or a read-only connection."""

    def execute(self, sql: str, params: tuple[Any, ...] = (), /) -> Any: ...


class NoSuchFinding(ValueError):
    """No finding goes by this name, or several do; one clear line."""


def named(ledger: Asked, name: str) -> str:
    """The id of the finding that `name` means: its short name (`f12`), its id, or the beginning of an id that
    no other open finding has (failing that: no other at all). Raises `NoSuchFinding`."""
    if short := _SHORT.fullmatch(name):
        row = ledger.execute("SELECT id FROM findings WHERE event_seq = ?", (int(short[1]),)).fetchone()
        if row is not None:
            return str(row[0])
    elif name:
        row = ledger.execute("SELECT id FROM findings WHERE id = ?", (name,)).fetchone()
        if row is not None:
            return str(row[0])
        for which in ("closed_at IS NULL", "closed_at IS NOT NULL"):
            found = ledger.execute(
                "SELECT id, event_seq FROM findings WHERE substr(id, 1, ?) = ? "  # noqa: S608
                f"AND {which} ORDER BY event_seq LIMIT {_LISTED + 1}",
                (len(name), name),
            ).fetchall()
            if len(found) == 1:
                return str(found[0][0])
            if found:
                like = ", ".join(f"f{seq}" for _, seq in found[:_LISTED])
                more = " and more" if len(found) > _LISTED else ""
                raise NoSuchFinding(f"{name!r} may mean several findings: {like}{more}; name one of them")
    raise NoSuchFinding(f"there is no finding {name!r}; see: dncsync findings list --all")


_COLUMNS = (
    "'f' || event_seq AS finding, id, kind, system, subject, severity, owner, summary, opened_at, last_at, "
    "count, flaps, flapping, due_at, acked_at, acked_by, note, healed_at, healed_by, closed_at, closed_by, "
    "closed_at IS NULL AND due_at < ?1 AS overdue, "
    "EXISTS (SELECT 1 FROM freezes z WHERE z.finding_id = findings.id AND z.ended_at IS NULL) AS frozen"
)
_TRUTHS = ("flapping", "overdue", "frozen")


def listed(
    conn: Connection,
    now: int,
    *,
    system: str | None = None,
    kind: str | None = None,
    severity: str | None = None,
    closed_too: bool = False,
    overdue: bool = False,
) -> list[dict[str, Any]]:
    """Findings, open ones first, then by gravity and age. `now`: microseconds."""
    found = rows(
        conn,
        f"SELECT {_COLUMNS} FROM findings WHERE (?2 IS NULL OR system = ?2) AND (?3 IS NULL OR kind = ?3) "  # noqa: S608
        "AND (?4 IS NULL OR severity = ?4) AND (?5 OR closed_at IS NULL) "
        "AND (NOT ?6 OR (closed_at IS NULL AND due_at < ?1)) ORDER BY closed_at IS NOT NULL, "
        "CASE severity WHEN 'page' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END, opened_at, event_seq",
        now,
        system,
        kind,
        severity,
        int(closed_too),
        int(overdue),
    )
    return [_plain(each) for each in found]


def _plain(finding: dict[str, Any]) -> dict[str, Any]:
    return {**finding, **{name: bool(finding[name]) for name in _TRUTHS}}


def overdue(conn: Connection, now: int) -> int:
    """How many open findings a person should have dealt with by `now` (microseconds)."""
    row = conn.execute("SELECT count(*) FROM findings WHERE closed_at IS NULL AND due_at < ?", (now,))
    return int(row.fetchone()[0])


def whole(conn: Connection, now: int, finding_id: str) -> dict[str, Any]:
    """One finding: what `listed` gives, with `detail`, who is `exposed` (count, a masked sample, the query),
    how many holdings its freeze does not believe, and its `history` from the events."""
    (found,) = rows(conn, f"SELECT {_COLUMNS}, detail FROM findings WHERE id = ?2", now, finding_id)  # noqa: S608
    finding = _plain(found)
    finding["detail"] = json.loads(finding["detail"])
    since = finding["detail"].get("since")
    if isinstance(since, int):
        finding["detail"]["since"] = instant(since)
    finding["exposed"] = _exposed(conn, finding)
    finding["unbelieved_holdings"] = None
    if finding["frozen"]:
        (finding["unbelieved_holdings"],) = conn.execute(
            "SELECT count(*) FROM doubts WHERE system = ?", (finding["system"],)
        ).fetchone()
    finding["history"] = [
        {
            "seq": seq,
            "at": instant(at),
            "kind": kind,
            "actor": actor,
            "payload": json.loads(payload),
        }
        for seq, at, kind, actor, payload in conn.execute(
            "SELECT e.seq, e.at, e.kind, e.actor, e.payload FROM finding_events f "
            "JOIN events e ON e.seq = f.event_seq WHERE f.finding_id = ? ORDER BY e.seq",
            (finding_id,),
        )
    ]
    return finding


_OF_HOLDING = (
    "SELECT DISTINCT b.number FROM blocks b JOIN holding_numbers h ON h.number = b.number "
    "WHERE b.ended_seq IS NULL AND h.system = ? AND h.key = ?"
)


def _exposed(conn: Connection, finding: dict[str, Any]) -> dict[str, Any]:
    """As the detector counted; else the blocked numbers of the holding that the finding is about."""
    told = finding["detail"].pop("exposed", None)
    if told is None:
        found = conn.execute(_OF_HOLDING, (finding["system"], finding["subject"])).fetchall()
        return {"numbers": len(found), "query": None, "sample": _masked(found)}
    sample: list[tuple[str]] = []
    if told.get("query"):
        sample = conn.execute(f"SELECT number FROM ({told['query']}) LIMIT {SAMPLE}").fetchall()  # noqa: S608
    return {**told, "sample": _masked(sample)}


def _masked(found: list[tuple[str]]) -> list[str]:
    return [numbers.mask(row[0]) for row in found[:SAMPLE]]
