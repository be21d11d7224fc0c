"""The facts on what went wrong or was tried: canary, gaps, findings, fuses, overrides."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from dncsync.clock import from_micros
from dncsync.numbers import mask_text
from dncsync.reconcile.asking import Asking, json_list
from dncsync.reconcile.facts import (
    Canary,
    CanaryPair,
    Finding,
    FindingMoment,
    Findings,
    FindingsWeek,
    Fuses,
    Gap,
    Gaps,
    Overrides,
    Platform,
    TrippedFuse,
)

LISTED = 500
"""Findings that the report names one by one."""
MOMENTS = 20
"""Of one finding's history."""

_OUTAGES = """WITH changes AS (
  SELECT system, at AS since, payload ->> 'state' AS kind, payload ->> 'reason' AS reason,
    lead(at) OVER (PARTITION BY system ORDER BY seq) AS until
  FROM events WHERE kind = 'system.changed' AND seq <= :head)
SELECT system, kind, since, until, reason FROM changes
WHERE kind <> 'up' AND since < :ends AND ifnull(until, :as_of) > :starts ORDER BY since, system"""

_FINDINGS = """SELECT f.id, f.kind, f.system, f.subject, f.severity, f.owner, f.summary, f.opened_at,
  f.last_at, f.count, f.closed_at, f.closed_by
FROM findings f WHERE f.opened_at < :ends AND f.event_seq <= :head AND EXISTS (
  SELECT 1 FROM finding_events fe JOIN events e ON e.seq = fe.event_seq
  WHERE fe.finding_id = f.id AND e.at >= :starts AND e.at < :ends AND e.seq <= :head
  UNION ALL SELECT 1 WHERE f.closed_at IS NULL)
ORDER BY CASE f.severity WHEN 'page' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END, f.opened_at, f.id"""
"""Those that something happened to in the period, and those that were open all through it."""

_MOMENTS = """SELECT fe.finding_id AS id, e.at, e.kind, e.actor, e.payload ->> 'by' AS by,
  e.payload ->> 'note' AS note, e.payload ->> 'returned' AS returned
FROM finding_events fe JOIN events e ON e.seq = fe.event_seq
WHERE fe.finding_id IN (SELECT value FROM json_each(:ids)) AND e.seq <= :head ORDER BY fe.finding_id, e.seq"""

_TOLD = """SELECT e.at, f.kind, e.kind = 'finding.opened' AS opened
FROM events e JOIN findings f ON f.id = e.payload ->> 'id'
WHERE e.kind IN ('finding.opened', 'finding.closed') AND e.at >= :starts AND e.at < :ends AND e.seq <= :head
ORDER BY e.seq"""

_WORDS = {
    "finding.opened": "opened",
    "finding.acked": "acknowledged",
    "finding.closed": "closed",
    "finding.healed": "healed, and waits for its freeze to be released",
    "system.frozen": "the system's reads were frozen",
    "system.released": "the freeze was released",
}

_CANARY = """WITH flown AS (
  SELECT * FROM canary_runs WHERE begun_at >= :starts AND begun_at < :ends AND event_seq <= :head),
legs AS (
  SELECT r.origin, l.system, r.begun_at,
    CASE WHEN l.set_at <= :as_of THEN max(l.set_at - ifnull(r.written_at, r.begun_at), 0) END AS took,
    l.set_lost OR (r.ended_at IS NOT NULL AND l.set_at IS NULL) AS missed
  FROM flown r JOIN canary_legs l ON l.run_id = r.id WHERE l.expects NOT IN ('skipped', 'origin')),
ranked AS (
  SELECT *, CASE WHEN took IS NOT NULL
      THEN row_number() OVER (PARTITION BY origin, system, took IS NULL ORDER BY took) END AS place,
    count(took) OVER (PARTITION BY origin, system) AS n FROM legs)
SELECT origin, system, count(*) AS runs, count(took) AS arrived, sum(took IS NULL AND missed) AS missed,
  sum(took IS NULL AND NOT missed) AS pending,
  round(avg(CASE WHEN place IN ((n + 1) / 2, (n + 2) / 2) THEN took END) / 1e6, 3) AS median_seconds,
  round(max(took) / 1e6, 3) AS max_seconds, max(begun_at) AS last_at,
  (SELECT count(*) FROM flown) AS all_runs
FROM ranked GROUP BY origin, system ORDER BY origin, system"""


def canary(ask: Asking, configured: bool) -> Canary:
    """What the canary found in the period. `configured`: whether there is one today."""
    if not ask.has("canary_runs"):
        return Canary(configured=False, statement="no canary is configured", runs=0, pairs=(), query="")
    rows = ask.rows("canary", _CANARY)
    runs = max((row.pop("all_runs") for row in rows), default=0)
    pairs = tuple(CanaryPair(**row) for row in rows)
    missed = sum(pair.missed for pair in pairs)
    if not runs:
        said = "a canary is configured, and no run began in the period" if configured else ""
        statement = said or "no canary is configured"
    else:
        flown = f"{runs:,} run{'s' if runs > 1 else ''}"
        statement = f"{flown}; {missed:,} arrivals missed" if missed else f"{flown}; every arrival was seen"
        if pending := sum(pair.pending for pair in pairs):
            statement = f"{flown}; {missed:,} arrivals missed, {pending:,} still awaited"
    return Canary(
        configured=configured or bool(runs), statement=statement, runs=runs, pairs=pairs, query="canary"
    )


def gaps(ask: Asking, platforms: tuple[Platform, ...], ends: int, as_of: int) -> Gaps:
    """Outages that touch the period, and coverage that was not kept."""
    until = min(ends, as_of)
    found = [
        Gap(seconds=_between(row["since"], row["until"], until), **row) for row in ask.rows("gaps", _OUTAGES)
    ]
    for platform in platforms:
        coverage = platform.coverage
        if coverage is None or coverage.kept or not platform.can_read:
            continue
        since = coverage.oldest_at if coverage.oldest_at is not None else platform.state_since
        if since is None:
            continue
        found.append(
            Gap(
                system=platform.system,
                kind="never compared" if coverage.never else "not compared",
                since=since,
                until=None,
                seconds=_between(since, None, until),
                reason=coverage.statement,
            )
        )
    return Gaps(listed=tuple(found), query="gaps")


def _between(since: int, until: int | None, latest: int) -> float:
    return round(max(min(until or latest, latest) - since, 0) / 1e6, 3)


def findings(ask: Asking, zone: str) -> Findings:
    """Findings that were open at some time in the period, and how many a week brought."""
    rows = ask.rows("findings", _FINDINGS)
    told = ask.rows("findings_weeks", _TOLD)
    listed = rows[:LISTED]
    moments: dict[str, list[FindingMoment]] = {}
    if listed:
        for row in ask.rows("findings_history", _MOMENTS, ids=json_list(row["id"] for row in listed)):
            moments.setdefault(row.pop("id"), []).append(_moment(row))
    weeks = Counter((_monday(row["at"], zone), row["kind"]) for row in told if row["opened"])
    return Findings(
        total=len(rows),
        open=sum(row["closed_at"] is None for row in rows),
        opened=sum(row["opened"] for row in told),
        closed=sum(not row["opened"] for row in told),
        listed=tuple(_finding(row, moments.get(row["id"], [])) for row in listed),
        weeks=tuple(
            FindingsWeek(week=week, kind=kind, opened=count) for (week, kind), count in sorted(weeks.items())
        ),
        query="findings",
        query_weeks="findings_weeks",
    )


def _moment(row: dict[str, Any]) -> FindingMoment:
    what = _WORDS.get(row["kind"], row["kind"])
    if row["kind"] == "finding.opened" and row["returned"]:
        what = "came back"
    return FindingMoment(
        at=row["at"],
        what=what,
        by=mask_text(row["by"] or row["actor"] or ""),
        note=mask_text(row["note"] or ""),
    )


def _finding(row: dict[str, Any], history: list[FindingMoment]) -> Finding:
    for name in ("id", "subject", "summary", "closed_by"):
        row[name] = row[name] and mask_text(row[name])
    return Finding(history=tuple(history[-MOMENTS:]), moments=len(history), **row)


def _monday(at: int, zone: str) -> str:
    day: date = from_micros(at).astimezone(ZoneInfo(zone)).date()
    return str(day - timedelta(days=day.weekday()))


def overrides() -> Overrides:
    """None can exist: this version records no override (policy `override`, OVR-01)."""
    statement = "none: this version of dncsync grants no override, so no block was contacted in spite of it"
    return Overrides(statement=statement, listed=(), query="")


_FUSES = """SELECT id, system, direction, tripped_at, counted, known, policy, state, decided_by, decided_at,
  reason, why, approvals
FROM fuses WHERE event_seq <= :head AND tripped_at < :ends
  AND (tripped_at >= :starts OR decided_at IS NULL OR decided_at >= :starts) ORDER BY tripped_at, id"""


def fuses(ask: Asking) -> Fuses:
    """Fuses that tripped in the period, and those from before that still hold something in it."""
    if not ask.has("fuses"):
        return Fuses(available=False, statement="this ledger keeps no fuses", tripped=(), query="")
    tripped = tuple(_fuse(row) for row in ask.rows("fuses", _FUSES))
    waiting = sum(fuse.state == "waiting" for fuse in tripped)
    if not tripped:
        statement = "no fuse tripped"
    else:
        statement = f"{len(tripped):,} tripped; {waiting:,} still hold changes back"
    return Fuses(available=True, statement=statement, tripped=tripped, query="fuses")


def _fuse(row: dict[str, Any]) -> TrippedFuse:
    approvals = json.loads(row["approvals"])
    named = [str(given.get("actor", "")) if isinstance(given, dict) else str(given) for given in approvals]
    if row["decided_by"] and row["decided_by"] not in named:
        named.append(row["decided_by"])
    return TrippedFuse(
        id=row["id"],
        system=row["system"],
        direction=row["direction"],
        tripped_at=row["tripped_at"],
        changes=row["counted"],
        limit=_limit(json.loads(row["policy"])),
        state=row["state"],
        decided_by=tuple(name for name in named if name),
        decided_at=row["decided_at"],
        reason=mask_text("; ".join(text for text in (row["reason"], row["why"]) if text)),
    )


def _limit(policy: dict[str, Any]) -> str:
    """E.g. `500, or 10 % of 100 or more, within 3600 s`."""
    parts = [f"{policy['count']:,}"] if policy.get("count") is not None else []
    if policy.get("percent") is not None:
        parts.append(f"{policy['percent']:g} % of {policy.get('least') or 0:,} or more")
    within = policy.get("window_seconds")
    return ", or ".join(parts) + (f", within {within:,} s" if within else "")
