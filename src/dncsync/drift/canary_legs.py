"""How far a canary run has come in one system, read from its deliveries and holdings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dncsync.drift.canary_runs import Run
from dncsync.drift.canary_telling import Stage
from dncsync.ledger.writer import Tx
from dncsync.model import Flag
from dncsync.sync.topology import SystemFacts
from dncsync.sync.will import marks


def reached(tx: Tx, facts: SystemFacts, run: Run, since: int) -> int | None:
    """When every holding of the run's number there was verified as set (accepted, where nothing can be read);
    None: not yet. `since` and the result: microseconds."""
    rows = _latest(tx, facts.name, _keys(tx, facts, run), since, Flag.SET)
    if not rows or any(row["open"] for row in rows):
        return None
    stamp = "verified_at" if facts.capabilities.can_read else "accepted_at"
    # One that was found set already has no stamp; it arrived when the ledger knew.
    return max(int(row[stamp] or row["known_at"]) for row in rows)


def cleared(tx: Tx, facts: SystemFacts, run: Run, since: int) -> int | None:
    """When nothing was left of it there after the reversal at `since`; None: not yet. Microseconds."""
    keys = _keys(tx, facts, run)
    if not keys:
        return since
    these = f"system = ? AND key IN ({marks(keys)})"
    left = tx.execute(
        f"SELECT EXISTS (SELECT 1 FROM deliveries WHERE open = 1 AND {these}) "  # noqa: S608
        f"OR EXISTS (SELECT 1 FROM looks WHERE {these}) "
        f"OR EXISTS (SELECT 1 FROM holdings WHERE {these} AND 'set' IN (base_voice, base_sms))",
        (facts.name, *keys) * 3,
    ).fetchone()[0]
    if left:
        return None
    stamps = [row["verified_at"] for row in _latest(tx, facts.name, keys, since, Flag.CLEAR)]
    return max([since, *(int(stamp) for stamp in stamps if stamp is not None)])


def stands(tx: Tx, run: Run) -> bool:
    """Whether the run's own requests still stand; False: somebody ended them before it did."""
    ids = run.request_ids
    return (
        tx.execute(
            f"SELECT 1 FROM requests WHERE ended_seq IS NULL AND id IN ({marks(ids)}) LIMIT 1",  # noqa: S608
            tuple(ids),
        ).fetchone()
        is not None
    )


def other_request(tx: Tx, run: Run) -> str | None:
    """A request of somebody else that stands for the run's number."""
    ids = run.request_ids
    row = tx.execute(
        "SELECT request_id FROM blocks WHERE number = ? AND ended_seq IS NULL "  # noqa: S608
        f"AND request_id NOT IN ({marks(ids)}) LIMIT 1",
        (run.number, *ids),
    ).fetchone()
    return None if row is None else str(row[0])


def stage_of(tx: Tx, facts: SystemFacts | None, run: Run, since: int, want: Flag) -> tuple[Stage, str]:
    """Where the slowest delivery stands, and the vendor's last words about it."""
    if facts is None:
        return Stage.NOT_SENT, "the system is not configured any more"
    rows = _latest(tx, facts.name, _keys(tx, facts, run), since, want)
    waiting = [row for row in rows if row["open"]]
    if not rows:
        return Stage.NOT_DUE, ""
    row = waiting[0] if waiting else rows[0]
    words = str(row["last_error"] or "")
    if shows_no_field(tx, facts.name, sorted({each["channel"] for each in waiting or rows})):
        return Stage.ABSENT, words
    if words.startswith(("rejected", "unauthorised")):
        return Stage.REFUSED, words
    if words.startswith("read back"):
        return Stage.NOT_KEPT, words
    if row["state"] == "accepted":
        return Stage.NOT_READ, words
    return (Stage.NOT_SENT if row["sent_at"] is None else Stage.NOT_ACCEPTED), words


def shows_no_field(tx: Tx, system: str, channels: Sequence[str]) -> bool:
    """Whether what was read there lately had no field for one of these channels, on some kind of record."""
    rows = tx.execute(
        "SELECT subject FROM findings WHERE kind = 'field-absent' AND system = ? AND closed_at IS NULL",
        (system,),
    ).fetchall()
    return any(subject.split(" ")[0] in channels for (subject,) in rows)


def _keys(tx: Tx, facts: SystemFacts, run: Run) -> tuple[str, ...]:
    if facts.by_number:
        return tuple(facts.keys_for(run.number))
    rows = tx.execute(
        "SELECT n.key FROM holding_numbers n JOIN holdings h ON h.system = n.system AND h.key = n.key "
        "WHERE n.number = ? AND n.system = ? AND h.gone = 0",
        (run.number, facts.name),
    ).fetchall()
    return tuple(row[0] for row in rows)


_COLUMNS = (
    *("key", "channel", "state", "open", "known_at", "sent_at", "accepted_at", "verified_at", "last_error"),
)


def _latest(tx: Tx, system: str, keys: Sequence[str], since: int, want: Flag) -> list[dict[str, Any]]:
    """The latest delivery of each holding and channel that became due at `since` or later."""
    rows = tx.execute(
        f"SELECT {', '.join(_COLUMNS)}, max(id) FROM deliveries WHERE system = ? "  # noqa: S608
        f"AND key IN ({marks(keys)}) AND want = ? AND known_at >= ? GROUP BY key, channel",
        (system, *keys, want, since),
    ).fetchall()
    return [dict(zip(_COLUMNS, row[:-1], strict=True)) for row in rows]
