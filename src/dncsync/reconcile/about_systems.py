"""The facts on systems: what each is, how it compared, how well it was covered, and what was repaired there.

What a system holds is no projection of the ledger's events, so a comparison is recorded as an event when it
is made (`reconciliation.compared`), and the facts are read from there: that is why they can be had later.
"""

from __future__ import annotations

import json
from typing import Any

from dncsync.model import ProofLevel
from dncsync.numbers import mask_text
from dncsync.reconcile.about_requests import COUNTED, DONE, NO_CANARY
from dncsync.reconcile.asking import Asking
from dncsync.reconcile.facts import Comparison, Coverage, Platform, Repair, Repairs, RepairsBySystem

LISTED = 200
"""Repairs that the report names one by one."""

_COMPARISONS = """SELECT system, at, reason, result, event_seq FROM comparisons
WHERE run = :run AND event_seq <= :head ORDER BY system"""

_STATES = """SELECT system, vendor, state, since, reason, snapshot_at FROM systems ORDER BY system"""

_REPAIRED = f"""contradicted AS (
  SELECT c.value ->> 'id' AS id FROM events e, json_each(e.payload, '$.contradicted') c
  WHERE e.kind = 'deliveries.contradicted' AND e.seq <= :head),
candidates AS (
  SELECT d.*, d.id IN (SELECT id FROM contradicted) AS lost,
    EXISTS (SELECT 1 FROM deliveries e WHERE e.system = d.system AND e.key = d.key AND e.id < d.id) AS again
  FROM deliveries d
  WHERE {COUNTED} AND d.known_at >= :starts AND d.known_at < :ends AND {NO_CANARY} LIMIT -1),
repairs AS (
  SELECT d.id, d.system, d.key, d.channel, d.request_id, d.known_at,
    CASE WHEN d.verified_at <= :as_of THEN d.verified_at END AS verified_at, {DONE} AS done_at,
    CASE
      WHEN d.lost THEN 'not kept'
      WHEN d.again AND (SELECT e.want FROM deliveries e WHERE e.system = d.system AND e.key = d.key
          AND e.channel = d.channel AND e.id < d.id AND e.state IN ('verified', 'accepted')
          ORDER BY e.id DESC LIMIT 1) = 'set'
        THEN CASE WHEN EXISTS (SELECT 1 FROM finding_events fe CROSS JOIN events e ON e.seq = fe.event_seq
            WHERE fe.finding_id = 'cleared-there/' || d.system || '/' || d.key AND e.at = d.known_at)
          THEN 'cleared there' ELSE 'written again' END
      WHEN d.known_at > (SELECT r.recorded_at FROM requests r WHERE r.id = d.request_id) + 86400000000
        THEN 'record added later'
    END AS cause
  FROM candidates d LIMIT -1)"""  # noqa: S608
"""Writes that put right what had been right, or should have been. A write that closes nothing and comes with
its request is none (cause NULL). LIMIT -1 keeps SQLite from working a column out once for each use of it."""

_BY_SYSTEM = f"""WITH {_REPAIRED}
SELECT system, cause, count(*) AS count, count(verified_at) AS verified,
  sum(verified_at IS NULL AND done_at IS NOT NULL) AS accepted, sum(done_at IS NULL) AS open,
  round(avg(verified_at - known_at) / 1e6, 3) AS mean_seconds,
  round(max(verified_at - known_at) / 1e6, 3) AS max_seconds
FROM repairs WHERE cause IS NOT NULL GROUP BY system, cause ORDER BY system, cause"""  # noqa: S608

_LISTED = f"""WITH {_REPAIRED}
SELECT system, key, channel, cause, request_id, known_at, verified_at, done_at
FROM repairs WHERE cause IS NOT NULL ORDER BY known_at, id"""  # noqa: S608


def platforms(ask: Asking, configured: dict[str, dict[str, Any]], run: str) -> tuple[Platform, ...]:
    """Every configured system, and every one that the ledger knows beside them. `configured`: the systems as
    the run found them in the configuration (`Inputs.systems`)."""
    states = {row["system"]: row for row in ask.rows("systems", _STATES)}
    compared = {row["system"]: row for row in ask.rows("comparison", _COMPARISONS, run=run)}
    return tuple(
        _platform(name, configured.get(name), states.get(name), compared.get(name))
        for name in sorted({*configured, *states})
    )


def _platform(
    name: str, config: dict[str, Any] | None, state: dict[str, Any] | None, row: dict[str, Any] | None
) -> Platform:
    result = json.loads(row["result"]) if row is not None and row["result"] else None
    if row is None:
        reason = "it was not compared" if config else "it is not configured any more"
    else:
        reason = row["reason"]
    known = config or {}
    return Platform(
        system=name,
        vendor=known.get("vendor") or (state["vendor"] if state else ""),
        account=known.get("account", ""),
        role=known.get("role", ""),
        unit=known.get("unit", ""),
        channels=tuple(known.get("channels", ())),
        state=state["state"] if state else "never connected",
        state_since=state["since"] if state else None,
        can_read=known.get("can_read", False),
        can_list=known.get("can_list", False),
        configured=config is not None,
        comparison=_comparison(row, result) if row is not None and result else None,
        coverage=Coverage(query="comparison", **result["coverage"]) if result else None,
        could_not_be_read=reason,
        last_full_comparison_at=state["snapshot_at"] if state else None,
    )


def _comparison(row: dict[str, Any], result: dict[str, Any]) -> Comparison:
    found = {name: value for name, value in result.items() if name != "coverage"}
    return Comparison(at=row["at"], event_seq=row["event_seq"], query="comparison", **found)


def repairs(ask: Asking, by_number: frozenset[str]) -> Repairs:
    """Repairs begun in the period. `by_number`: systems whose keys are phone numbers."""
    by_system = tuple(RepairsBySystem(**row) for row in ask.rows("repairs_by_system", _BY_SYSTEM))
    ask.keep("repairs", _LISTED)
    rows = ask.first("repairs", _LISTED, LISTED) if by_system else []
    return Repairs(
        count=sum(row.count for row in by_system),
        verified=sum(row.verified for row in by_system),
        by_system=by_system,
        listed=tuple(_repair(row, by_number) for row in rows),
        query="repairs",
        query_by_system="repairs_by_system",
    )


def _repair(row: dict[str, Any], by_number: frozenset[str]) -> Repair:
    done = row.pop("done_at")
    proof = ProofLevel.VERIFIED if row["verified_at"] is not None else ProofLevel.ACCEPTED
    if row["system"] in by_number:
        row["key"] = mask_text(row["key"])
    return Repair(proof=str(ProofLevel.UNCONFIRMED if done is None else proof), **row)
