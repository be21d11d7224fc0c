"""The facts on requests: how many, from where, how fast they were carried out, and how exposed numbers were.

Done means read back as blocked, or accepted by a vendor that shows nothing (law 4). `DONE` says it in SQL, as
of the moment of the facts, so that a query put to the ledger later does not count what came after.
"""

from __future__ import annotations

from collections.abc import Sequence

from dncsync.model import ProofLevel
from dncsync.reconcile.asking import Asking, Row
from dncsync.reconcile.facts import (
    Bucket,
    Exposure,
    ExposureDay,
    Processing,
    Propagation,
    Requests,
    RequestsBySource,
    Spread,
)
from dncsync.reconcile.period import Span

BUCKETS: Sequence[tuple[str, int | None]] = (
    ("up to 1 s", 1),
    ("1 to 5 s", 5),
    ("5 to 15 s", 15),
    ("15 to 60 s", 60),
    ("1 to 5 min", 300),
    ("5 to 15 min", 900),
    ("15 to 60 min", 3_600),
    ("1 to 4 h", 14_400),
    ("4 to 24 h", 86_400),
    ("more than 24 h", None),
)
"""Bars of a propagation histogram: label, upper bound in seconds."""

ASKED = """asked AS (
  SELECT * FROM requests
  WHERE received_at >= :starts AND received_at < :ends AND event_seq <= :head AND source <> 'canary')"""
"""Requests received in the period; a canary is nobody's wish."""

DONE = """CASE
    WHEN d.verified_at <= :as_of THEN d.verified_at
    WHEN d.state = 'accepted' AND d.open = 0 AND d.accepted_at <= :as_of THEN d.accepted_at
  END"""

COUNTED = "d.want = 'set' AND d.state NOT IN ('superseded', 'moot') AND d.event_seq <= :head"
"""Writes of blocks that still mean something: not one that was overtaken, nor one that found it done."""

_FIRST_WAVE = "86400000000"
"""Microseconds after a request within which a holding counts as known of with it."""

TIMES = f"""{ASKED},
wave AS (
  SELECT d.request_id, max({DONE}) AS done_at, sum({DONE} IS NULL) AS waiting,
    sum(d.verified_at IS NULL OR d.verified_at > :as_of) AS unread
  FROM deliveries d JOIN asked ON asked.id = d.request_id
  WHERE {COUNTED} AND d.known_at <= asked.recorded_at + {_FIRST_WAVE} GROUP BY d.request_id),
times AS (
  SELECT asked.*, wave.request_id IS NULL AS unwritten, ifnull(wave.unread, 0) AS unread,
    CASE WHEN ifnull(wave.waiting, 0) = 0
      THEN max(ifnull(wave.done_at, 0), asked.recorded_at) END AS done_at
  FROM asked LEFT JOIN wave ON wave.request_id = asked.id)"""  # noqa: S608  constants above
"""Each request of the period with when it was done (`done_at`; NULL: it is open), by the rule that the facts'
`Processing` states."""

_PROCESSING = f"""WITH {TIMES},
ranked AS (
  SELECT max(done_at - received_at, 0) AS took, row_number() OVER (ORDER BY done_at - received_at) AS place,
    count(*) OVER () AS n FROM times WHERE done_at IS NOT NULL)
SELECT
  count(*) AS requests,
  count(done_at) AS done,
  sum(done_at IS NULL) AS open,
  sum(done_at IS NOT NULL AND unread = 0) AS confirmed,
  sum(done_at IS NOT NULL AND unread > 0) AS accepted,
  sum(done_at IS NOT NULL AND unwritten) AS nothing_to_write,
  sum(ifnull(done_at, :as_of) - received_at > 86400000000) AS over_24_hours,
  sum(ifnull(done_at, :as_of) > deadline_strict) AS over_strict,
  sum(ifnull(done_at, :as_of) > deadline_federal) AS over_federal,
  sum(ifnull(done_at, :as_of) > deadline_federal AND deadline_federal <= recorded_at) AS already_late,
  sum(provisional) AS provisional,
  sum(ended_seq <= :head) AS ended,
  (SELECT round(avg(took) / 1e6, 3) FROM ranked) AS mean_seconds,
  (SELECT round(avg(took) / 1e6, 3) FROM ranked WHERE place IN ((n + 1) / 2, (n + 2) / 2)) AS median_seconds,
  (SELECT round(max(took) / 1e6, 3) FROM ranked WHERE place = (n * 95 + 99) / 100) AS p95_seconds,
  (SELECT round(max(took) / 1e6, 3) FROM ranked) AS max_seconds
FROM times"""  # noqa: S608

NO_CANARY = "ifnull(d.request_id, '') NOT IN (SELECT id FROM requests WHERE source = 'canary')"

_BARS = ", ".join(
    f"sum(iif(ms > {low * 1_000 if low else -1}"
    + (f" AND ms <= {high * 1_000}" if high is not None else "")
    + f", n, 0)) AS bar_{i}"
    for i, (low, high) in enumerate(
        zip([0, *(bound for _, bound in BUCKETS if bound)], [bound for _, bound in BUCKETS], strict=True)
    )
)

# Millions of writes have far fewer durations (to the millisecond, as reported): those are sorted, not these.
_PROPAGATION = f"""WITH writes AS (
  SELECT d.system, d.deadline, d.verified_at <= :as_of AS verified, {DONE} AS done_at, d.known_at
  FROM deliveries d
  WHERE {COUNTED} AND d.known_at >= :starts AND d.known_at < :ends AND {NO_CANARY} LIMIT -1),
durations AS (
  SELECT system, (max(done_at - known_at, 0) + 999) / 1000 AS ms, count(*) AS n,
    ifnull(sum(verified), 0) AS verified, sum(ifnull(done_at, :as_of) > deadline) AS late
  FROM writes GROUP BY system, ms),
ranked AS (
  SELECT *, sum(iif(ms IS NULL, 0, n)) OVER (PARTITION BY system ORDER BY ms) AS upto,
    sum(iif(ms IS NULL, 0, n)) OVER (PARTITION BY system) AS done FROM durations)
SELECT system, sum(n) AS writes, sum(verified) AS verified,
  sum(iif(ms IS NULL, 0, n)) - sum(verified) AS accepted,
  sum(iif(ms IS NULL, n, 0)) AS unconfirmed,
  sum(late) AS over_goal,
  round(sum(ms * n) * 1.0 / max(done) / 1e3, 3) AS mean_seconds,
  round((min(iif(upto >= (done + 1) / 2, ms, NULL)) + min(iif(upto >= (done + 2) / 2, ms, NULL))) / 2e3, 3)
    AS median_seconds,
  round(min(iif(upto >= (done * 95 + 99) / 100, ms, NULL)) / 1e3, 3) AS p95_seconds,
  round(max(ms) / 1e3, 3) AS max_seconds,
  {_BARS}
FROM ranked GROUP BY system ORDER BY system"""  # noqa: S608

_SOURCES = f"""WITH {ASKED}
SELECT origin_system AS system, source, channel, count(*) AS requests, sum(provisional) AS provisional,
  ifnull(sum(ended_seq <= :head), 0) AS ended
FROM asked GROUP BY origin_system, source, channel ORDER BY requests DESC, system, source, channel"""  # noqa: S608

_BLOCKED = """SELECT
  (SELECT count(DISTINCT number) FROM blocks
    WHERE since < :starts AND since_seq <= :head
      AND ifnull(ended_at, :starts) >= :starts) AS blocked_at_start,
  (SELECT count(DISTINCT number) FROM blocks
    WHERE since < :until AND since_seq <= :head
      AND (ended_at IS NULL OR ended_at >= :until OR ended_seq > :head)) AS blocked_at_end,
  (SELECT count(*) FROM reversals
    WHERE at >= :starts AND at < :ends AND event_seq <= :head) AS reversals"""

_EXPOSURE = f"""WITH days (day, start, stop) AS (VALUES {{days}}),
spells AS (
  SELECT d.system, ifnull(d.number, d.key) AS who, d.known_at AS known,
    (max(d.known_at, :starts - 900000000) - :starts) / 1000 AS since,
    (max(ifnull({DONE}, :as_of + 900000000)) - :starts) / 1000 AS until
  FROM deliveries d
  WHERE {COUNTED} AND d.known_at < :until AND ifnull({DONE}, :as_of) >= :starts AND {NO_CANARY}
  GROUP BY d.system, who, d.known_at),
everywhere AS (
  SELECT system, since, until FROM spells
  UNION ALL SELECT NULL, since, max(until) FROM spells GROUP BY who, known),
binned AS (
  SELECT system, since / 900000 AS first, until / 900000 AS last, count(*) AS n,
    sum(since) AS since, sum(until) AS until
  FROM everywhere GROUP BY system, first, last)
SELECT b.system, days.day,
  sum(CASE WHEN b.first * 900000 >= days.start THEN b.n ELSE 0 END) AS opened,
  sum(CASE WHEN b.last * 900000 >= days.stop THEN b.n ELSE 0 END) AS open_at_end,
  round(sum(
    CASE WHEN b.last * 900000 >= days.stop THEN b.n * days.stop ELSE b.until END
    - CASE WHEN b.first * 900000 >= days.start THEN b.since ELSE b.n * days.start END) / 3.6e6, 3) AS hours
FROM binned b JOIN days ON b.first * 900000 < days.stop AND b.last * 900000 >= days.start
GROUP BY b.system, days.day ORDER BY b.system, days.day"""  # noqa: S608
"""In milliseconds since the period began, so that sums over millions stay far from 64 bits. Days begin at
quarters of an hour, in every zone in use; so spells are gathered by the quarters of an hour between which
they lasted, and only those few groups meet the days."""


def requests(ask: Asking) -> Requests:
    """Requests of the period by source, and the internal list's count before and after."""
    rows = ask.rows("requests", _SOURCES)
    blocked = ask.row("blocked", _BLOCKED)
    return Requests(
        total=sum(row["requests"] for row in rows),
        rows=tuple(RequestsBySource(**row) for row in rows),
        query="requests",
        query_blocked="blocked",
        **blocked,
    )


def processing(ask: Asking) -> Processing:
    """How long requests took; see the definition at `Processing`."""
    row = ask.row("processing", _PROCESSING)
    seconds = _seconds(row)
    counts = {name: int(value or 0) for name, value in row.items()}  # a sum over nothing is NULL
    return Processing(done=Spread(count=counts.pop("done"), **seconds), query="processing", **counts)


def propagation(ask: Asking, cannot_read: frozenset[str]) -> tuple[Propagation, ...]:
    """Known to done, per system. `cannot_read`: systems that show nothing of what they hold."""
    found = []
    for row in ask.rows("propagation", _PROPAGATION):
        buckets = tuple(
            Bucket(label=label, upto_seconds=bound, count=row.pop(f"bar_{i}"))
            for i, (label, bound) in enumerate(BUCKETS)
        )
        unreadable = row["system"] in cannot_read
        found.append(
            Propagation(
                spread=Spread(count=row["verified"] + row["accepted"], **_seconds(row)),
                proof=str(ProofLevel.ACCEPTED if unreadable else ProofLevel.VERIFIED),
                buckets=buckets,
                query="propagation",
                **row,
            )
        )
    return tuple(found)


def exposure(ask: Asking, span: Span, as_of: int) -> Exposure:
    """Numbers blocked here and not yet confirmed there, day by day."""
    days = list(span.days(as_of))
    if not days:
        return Exposure(days=(), worst_day=None, total_hours=0.0, query="")
    literal = ", ".join(
        f"('{day}', {_since(start, span)}, {_since(stop, span)})" for day, start, stop in days
    )
    rows = ask.rows("exposure", _EXPOSURE.replace("{days}", literal))
    found = {(row["system"], row["day"]): row for row in rows}
    systems: list[str | None] = [None, *sorted({row["system"] for row in rows if row["system"]})]
    nothing = {"opened": 0, "open_at_end": 0, "hours": 0.0}
    lines = []
    for system in systems:
        for day, _, _ in days:
            row = found.get((system, str(day)), nothing)
            numbers = {name: row[name] for name in nothing}
            lines.append(ExposureDay(day=str(day), system=system, **numbers))
    together = lines[: len(days)]
    worst = max(together, key=lambda line: line.hours)
    return Exposure(
        days=tuple(lines),
        worst_day=worst.day if worst.hours > 0 else None,
        total_hours=round(sum(line.hours for line in together), 3),
        query="exposure",
    )


def _since(at: int, span: Span) -> int:
    """Milliseconds from the period's beginning, the last one begun counted whole."""
    return -((span.starts_at - at) // 1000)


def _seconds(row: Row) -> dict[str, float | None]:
    """Takes the durations out of a row."""
    names = ("mean_seconds", "median_seconds", "p95_seconds", "max_seconds")
    return {name: row.pop(name) for name in names}
