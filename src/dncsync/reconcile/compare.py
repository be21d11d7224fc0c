"""One system's holdings, as last read, against what the ledger wants: a merge join inside SQLite.

Holdings are walked once, in the order of their keys; the numbers of each and the blocks of each number are
looked up beside the walk, in the same order, so memory stays flat whatever their number. What does not agree
(few, in a world that works) is then gone through one by one for its cause.

The rules are those of `sync.will.desired`, which a test holds to this.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dncsync.ledger.sqlite import Connection
from dncsync.model import Channel
from dncsync.numbers import mask_text
from dncsync.reconcile.facts import CAUSES, Cause

CACHE_KIB = 32 * 1024
"""Of SQLite's page cache while a comparison runs: enough for neighbours, far from the whole ledger."""
SAMPLES = 5
"""Keys kept for each class and cause."""
CLASSES = ("present", "missing", "extra", "different", "cannot_be_read", "quiet", "ended")
DISAGREE = ("missing", "extra", "different", "cannot_be_read")

_BITS = {Channel.VOICE: 1, Channel.SMS: 2}


@dataclass(frozen=True, slots=True)
class Side:
    """What the comparison must know of a system."""

    system: str
    by_number: bool
    """Its holdings are list entries, whose keys end in a phone number."""
    can_read: bool
    channels: frozenset[Channel]


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison found; the parts mean what they mean in `facts.Comparison`."""

    counts: dict[str, int]
    """Each of `CLASSES` -> holdings."""
    accepted: int
    """Of `cannot_be_read`: accepted by a vendor that shows nothing."""
    unreadable_numbers: int
    causes: tuple[Cause, ...]
    samples: dict[str, tuple[str, ...]]
    """Each of `DISAGREE` -> its first keys, masked where they are numbers."""

    @property
    def holdings(self) -> int:
        return sum(self.counts.values())


_NOT_RESTORED = """ AND NOT EXISTS (SELECT 1 FROM restorations t WHERE t.number = n.number
  AND t.system = h.system AND t.ended_seq IS NULL AND substr(h.key, 1, length(t.scope) + 1) = t.scope || '/'
  AND instr(substr(h.key, length(t.scope) + 2), '/') = 0)"""

_ON_NUMBERS = """(SELECT {bits} FROM holding_numbers n CROSS JOIN blocks b ON b.number = n.number
  WHERE n.system = h.system AND n.key = h.key AND b.ended_seq IS NULL)"""

_ON_RECORD = """(SELECT {bits} FROM requests r
  WHERE r.record_system = h.system AND r.record_key = h.key AND r.ended_seq IS NULL)"""

# LIMIT -1 keeps SQLite from pulling `wanted` apart, which would look each number up once for every use of it.
_WALK = """WITH read AS (
  SELECT h.key, h.gone, {wanted} AS wanted, {shown} AS shown, {absent} AS absent, {unread} AS unread,
    {told} AS told
  FROM holdings h WHERE h.system = :system LIMIT -1),
judged AS (
  SELECT key, told, wanted & ~absent AS wanted, CASE
    WHEN {ended} THEN 'ended'
    WHEN wanted = 0 THEN iif(shown, 'extra', 'quiet')
    WHEN wanted & ~shown = 0 THEN 'present'
    WHEN wanted & ~absent = 0 THEN 'different'
    WHEN wanted & ~absent & ~shown = 0 THEN 'present'
    WHEN wanted & ~absent & ~unread = 0 THEN 'cannot_be_read'
    WHEN wanted & (shown | unread | absent) = 0 THEN 'missing'
    ELSE 'different' END AS class
  FROM read)
"""

_COUNT = "SELECT class, count(*), sum(wanted & ~told = 0) FROM judged GROUP BY class"
_LIST = (
    "SELECT key, class, wanted FROM judged WHERE class IN ('missing', 'extra', 'different', 'cannot_be_read')"
)

_INHERITED = """WITH RECURSIVE follows (key, channels) AS (
  SELECT h.became, r.channels FROM requests r JOIN holdings h ON h.system = r.record_system
    AND h.key = r.record_key
  WHERE r.record_system = ? AND r.ended_seq IS NULL AND h.became IS NOT NULL
  UNION SELECT h.became, f.channels FROM follows f CROSS JOIN holdings h
  WHERE h.system = ? AND h.key = f.key AND h.became IS NOT NULL)
SELECT key, channels FROM follows"""
"""Requests made on records that were merged or converted: they follow to the survivor."""


def compare(conn: Connection, side: Side) -> Compared:
    """Compares all holdings of one system; `conn` should see the ledger at one moment."""
    before = conn.execute("PRAGMA cache_size").fetchone()[0]
    conn.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    try:
        sql, values = _statement(conn, side)
        rows = conn.execute(sql + _COUNT, values).fetchall()
        counts = dict.fromkeys(CLASSES, 0) | {name: count for name, count, _ in rows}
        accepted = sum(told or 0 for name, _, told in rows if name == "cannot_be_read" and not side.can_read)
        causes: Counter[str] = Counter()
        keys: dict[str, list[str]] = {}
        if any(counts[name] for name in DISAGREE):
            for key, name, wanted in conn.execute(sql + _LIST, values):
                tag = _extra(conn, side, key) if name == "extra" else _cause(conn, side, key, name, wanted)
                causes[tag] += 1
                for heap in (keys.setdefault(name, []), keys.setdefault(tag, [])):
                    if len(heap) < SAMPLES:
                        heap.append(_shown(side, key))
        unreadable = _unreadable(conn, side)
    finally:
        conn.execute(f"PRAGMA cache_size = {before}")
    found = [
        Cause(tag=tag, holdings=causes[tag], samples=tuple(keys[tag])) for tag in CAUSES if causes[tag] > 0
    ]
    if unreadable[0]:
        found.append(Cause(tag="unreadable number", holdings=unreadable[0], samples=unreadable[2]))
    return Compared(
        counts,
        int(accepted),
        unreadable[1],
        tuple(found),
        {name: tuple(keys.get(name, ())) for name in DISAGREE},
    )


def keys_that_disagree(conn: Connection, side: Side) -> Iterator[tuple[str, str]]:
    """(class, key) of every holding that does not agree, by key; unmasked, for whoever repairs."""
    sql, values = _statement(conn, side)
    for key, name, _ in conn.execute(sql + _LIST, values):
        yield name, key


def _statement(conn: Connection, side: Side) -> tuple[str, dict[str, object]]:
    """The walk with only what this system needs: what is computed is computed for every holding."""
    channels = sorted(side.channels)
    values: dict[str, object] = {"system": side.system}
    blocked = {channel: f"b.channel = '{channel}'" for channel in channels}
    restored = "SELECT 1 FROM restorations WHERE system = ? AND ended_seq IS NULL LIMIT 1"
    if side.by_number and Channel.SMS in blocked and conn.execute(restored, (side.system,)).fetchone():
        blocked[Channel.SMS] += _NOT_RESTORED
    wanted = _ON_NUMBERS.format(bits=_bits({c: f"ifnull(max({test}), 0)" for c, test in blocked.items()}))
    if not side.by_number:
        asked = {c: f"ifnull(max(instr(',' || r.channels || ',', ',{c},') > 0), 0)" for c in channels}
        wanted += " | " + _ON_RECORD.format(bits=_bits(asked))
        inherited: dict[str, list[str]] = {}
        for key, its_channels in conn.execute(_INHERITED, (side.system, side.system)):
            for channel in its_channels.split(","):
                inherited.setdefault(channel, []).append(key)
        for channel in channels:
            if channel in inherited:
                of_others = f"(h.key IN (SELECT value FROM json_each(:{channel})))"  # noqa: S608
                wanted += " | " + _bits({channel: of_others})
                values[channel] = json.dumps(inherited[channel])
    parts = {
        "wanted": f"({wanted})",
        "shown": _bits({c: f"(h.base_{c} IS 'set')" for c in channels}),
        "absent": _bits({c: f"(h.base_{c} IS 'absent')" for c in channels}),
        "unread": _bits({c: f"(h.base_{c} IS NULL)" for c in channels}),
        "told": "0" if side.can_read else _bits({c: f"(h.told_{c} IS 'set')" for c in channels}),
        "ended": "0" if side.by_number else "gone",
    }
    return _WALK.format(**parts), values


def _bits(tests: Mapping[Channel, str]) -> str:
    """A sum with one bit a channel."""
    return " + ".join(f"{_BITS[channel]} * {test}" for channel, test in tests.items()) or "0"


def _shown(side: Side, key: str) -> str:
    return mask_text(key) if side.by_number else key


_VERIFIED = "SELECT 1 FROM deliveries WHERE system = ? AND key = ? AND verified_at IS NOT NULL LIMIT 1"

_HELD = (
    "SELECT 1 FROM holding_numbers n JOIN held w ON w.number = n.number WHERE n.system = ? AND n.key = ? "
    "AND w.released_seq IS NULL UNION ALL SELECT 1 FROM requests r JOIN held w ON w.request_id = r.id "
    "WHERE r.record_system = ? AND r.record_key = ? AND w.released_seq IS NULL LIMIT 1"
)


def _cause(conn: Connection, side: Side, key: str, name: str, wanted: int) -> str:
    if not side.can_read:
        return "nothing can be read"
    if wanted == 0:
        return "field absent"
    of = (side.system, key)
    told = {
        row[0]
        for row in conn.execute(
            "SELECT kind FROM findings WHERE id IN (?, ?) AND closed_at IS NULL",
            (f"cleared-there/{side.system}/{key}", f"not-kept/{side.system}/{key}"),
        )
    }
    waiting = conn.execute(
        "SELECT d.last_error, d.known_at, r.recorded_at, (SELECT count(*) FROM deliveries e WHERE "
        "e.system = d.system AND e.key = d.key AND e.verified_at IS NOT NULL) FROM deliveries d "
        "LEFT JOIN requests r ON r.id = d.request_id WHERE d.system = ? AND d.key = ? "
        "AND d.open = 1 AND d.want = 'set' ORDER BY d.id LIMIT 1",
        of,
    ).fetchone()
    if "not-kept" in told or (waiting is not None and str(waiting[0]).startswith("read back:")):
        return "not kept"
    if "cleared-there" in told or (waiting is not None and waiting[3]):
        return "cleared there"
    if waiting is not None:
        later = waiting[2] is not None and waiting[1] > waiting[2]
        return "record added later" if later else "delivery open"
    if conn.execute(_HELD, (*of, *of)).fetchone():
        return "held by a fuse"
    if conn.execute(_VERIFIED, of).fetchone():
        return "cleared there"
    return "not read yet" if name == "cannot_be_read" else "never delivered"


def _extra(conn: Connection, side: Side, key: str) -> str:
    of = (side.system, key)
    restored = conn.execute(
        "SELECT 1 FROM holding_numbers n JOIN restorations t ON t.number = n.number AND t.system = n.system "
        "WHERE n.system = ? AND n.key = ? AND t.ended_seq IS NULL LIMIT 1",
        of,
    ).fetchone()
    if restored:
        return "programme restored"
    ended = conn.execute(
        "SELECT 1 FROM holding_numbers n JOIN blocks b ON b.number = n.number WHERE n.system = ? "
        "AND n.key = ? AND b.ended_seq IS NOT NULL UNION ALL SELECT 1 FROM requests WHERE record_system = ? "
        "AND record_key = ? AND ended_seq IS NOT NULL LIMIT 1",
        (*of, *of),
    ).fetchone()
    return "reversed here" if ended else "block nobody asked for"


def _unreadable(conn: Connection, side: Side) -> tuple[int, int, tuple[str, ...]]:
    """(holdings with such values, the values, some keys)."""
    holdings, values = conn.execute(
        "SELECT count(DISTINCT key), count(*) FROM quarantine WHERE system = ?", (side.system,)
    ).fetchone()
    rows = conn.execute(
        "SELECT DISTINCT key FROM quarantine WHERE system = ? ORDER BY key LIMIT ?", (side.system, SAMPLES)
    )
    return holdings, values, tuple(_shown(side, row[0]) for row in rows)
