"""What the ledger wants a holding to say, read from its present state and nothing else (level-triggered)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dncsync.ledger.sqlite import Connection
from dncsync.ledger.writer import Tx
from dncsync.model import Channel, Flag
from dncsync.sync.topology import SystemFacts

CHUNK = 500
"""Values in one `IN (...)`: far below SQLite's limit, and few enough statements to stay prepared."""


def blocked(tx: Tx, number: str, channel: Channel) -> bool:
    """Whether the number has a block on the channel that no reversal has ended."""
    return bool(
        tx.execute(
            "SELECT 1 FROM blocks WHERE number = ? AND channel = ? AND ended_seq IS NULL LIMIT 1",
            (number, channel),
        ).fetchone()
    )


def blocked_among(tx: Tx | Connection, numbers: Iterable[str]) -> dict[str, set[Channel]]:
    """Which of these numbers are blocked, and on which channels; those that are not are left out."""
    found: dict[str, set[Channel]] = {}
    for chunk in chunks(list(numbers)):
        rows = tx.execute(
            f"SELECT number, channel FROM blocks WHERE ended_seq IS NULL AND number IN ({marks(chunk)})",  # noqa: S608
            chunk,
        )
        for number, channel in rows:
            found.setdefault(number, set()).add(Channel(channel))
    return found


def restored(tx: Tx | Connection, number: str, system: str, scope: str) -> bool:
    """Whether the consumer took this programme back with START, and said nothing since."""
    return bool(
        tx.execute(
            "SELECT 1 FROM restorations WHERE number = ? AND system = ? AND scope = ? AND ended_seq IS NULL",
            (number, system, scope),
        ).fetchone()
    )


def desired(tx: Tx, system: SystemFacts, key: str, channel: Channel) -> Flag:
    """What this holding should say on this channel: SET while any number on it is blocked or a request made
    on the record stands; else CLEAR."""
    if not system.by_number and any(
        channel in channels.split(",") for _, channels in record_requests(tx, system.name, key)
    ):
        return Flag.SET
    rows = tx.execute(
        "SELECT h.number FROM holding_numbers h WHERE h.system = ? AND h.key = ? AND EXISTS (SELECT 1 "
        "FROM blocks b WHERE b.number = h.number AND b.channel = ? AND b.ended_seq IS NULL)",
        (system.name, key, channel),
    ).fetchall()
    if not rows:
        return Flag.CLEAR
    if system.by_number and channel is Channel.SMS:
        scope = system.scope_of(key)
        rows = [row for row in rows if not restored(tx, row[0], system.name, scope)]
    return Flag.SET if rows else Flag.CLEAR


def anything_held(tx: Tx | Connection) -> bool:
    """Whether a fuse holds anything back: else nobody need look closer."""
    return bool(tx.execute("SELECT EXISTS (SELECT 1 FROM held WHERE released_seq IS NULL)").fetchone()[0])


def waits(tx: Tx | Connection, system: SystemFacts, key: str, channel: Channel) -> bool:
    """Whether everything that wants this holding to say SET is held back by a fuse (law 9). Only to be asked
    of a holding whose desired flag is SET."""
    if not system.by_number and any(
        channel in channels.split(",") and not _held(tx, request_id, "")
        for request_id, channels in record_requests(tx, system.name, key)
    ):
        return False
    rows = tx.execute(
        "SELECT DISTINCT b.number FROM holding_numbers h JOIN blocks b ON b.number = h.number "
        "WHERE h.system = ? AND h.key = ? AND b.channel = ? AND b.ended_seq IS NULL AND NOT EXISTS (SELECT 1 "
        "FROM held w WHERE w.number = b.number AND w.request_id = b.request_id AND w.released_seq IS NULL)",
        (system.name, key, channel),
    ).fetchall()
    if system.by_number and channel is Channel.SMS:
        scope = system.scope_of(key)
        rows = [row for row in rows if not restored(tx, row[0], system.name, scope)]
    return not rows


def _held(tx: Tx | Connection, request_id: str, number: str) -> bool:
    row = tx.execute(
        "SELECT 1 FROM held WHERE number = ? AND request_id = ? AND released_seq IS NULL",
        (number, request_id),
    ).fetchone()
    return row is not None


def record_requests(tx: Tx | Connection, system: str, key: str) -> list[tuple[str, str]]:
    """Standing requests made on this record, or on one that was merged or converted into it (a
    record-level request follows the record). Returns (request id, channels, comma-separated)."""
    return tx.execute(
        # CROSS JOIN keeps this order; the planner would else walk all requests of the system each time.
        "WITH RECURSIVE same (key) AS (SELECT ?2 UNION SELECT h.key FROM same CROSS JOIN holdings h "
        "WHERE h.system = ?1 AND h.became = same.key) SELECT r.id, r.channels FROM same "
        "CROSS JOIN requests r WHERE r.record_system = ?1 AND r.record_key = same.key "
        "AND r.ended_seq IS NULL",
        (system, key),
    ).fetchall()


def survivor(tx: Tx, system: str, key: str) -> str:
    """The record that this one was merged or converted into, however often; itself, where it was not."""
    row = tx.execute(
        "WITH RECURSIVE path (key, steps) AS (SELECT ?2, 0 UNION SELECT h.became, steps + 1 FROM holdings h "
        "JOIN path ON h.key = path.key WHERE h.system = ?1 AND h.became IS NOT NULL AND steps < 100) "
        "SELECT key FROM path ORDER BY steps DESC LIMIT 1",
        (system, key),
    ).fetchone()
    return str(row[0])


def chunks(values: Sequence[str]) -> Iterable[Sequence[str]]:
    """In pieces that fit one statement."""
    return (values[i : i + CHUNK] for i in range(0, len(values), CHUNK))


def marks(values: Sequence[object]) -> str:
    """`?,?,?` for an `IN (...)`."""
    return ",".join("?" * len(values))


def unique(values: Iterable[str]) -> list[str]:
    """Without repetitions, in order."""
    return list(dict.fromkeys(values))
