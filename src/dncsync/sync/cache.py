"""The cache of the vendors: what each holding said when it was last read. A lost cache is a first run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from dncsync import numbers
from dncsync.ledger.writer import Tx
from dncsync.model import Channel, Flag, Holding
from dncsync.sync import findings, revisions
from dncsync.sync.topology import SystemFacts
from dncsync.sync.will import chunks, marks

_VOICE, _SMS = Channel.VOICE, Channel.SMS
_UNDER_WAY = ("sent", "accepted")


@dataclass(slots=True)
class Cached:
    """One holding as it is cached."""

    numbers: str
    base: dict[Channel, Flag | None]
    written: dict[Channel, Flag | None]
    told: dict[Channel, Flag | None]
    """What the vendor accepted last; None while what was sent is not answered."""
    revision: str
    gone: bool

    @property
    def unseen(self) -> bool:
        """Only a place for a delivery: nothing was read or written there yet."""
        return not any((*self.base.values(), *self.written.values()))


def store(
    tx: Tx, at: int, facts: SystemFacts, accepted: Sequence[tuple[Holding, Cached | None]]
) -> dict[str, tuple[str, ...]]:
    """Writes the cache rows of what was accepted. Returns key -> its usable numbers (E.164)."""
    parsed: dict[str, tuple[str, ...]] = {}
    rows, links, quarantined, moved = [], [], [], []
    problems: Counter[str] = Counter()
    for holding, before in accepted:
        found, raw = [], _as_kept(holding.numbers)
        if before is not None and before.numbers != raw and not holding.gone:
            moved.append((facts.name, holding.key))
        for value in holding.numbers:
            reading = numbers.parse(value, facts.region)
            if reading.number is not None:
                found.append(reading.number)
                links.append((reading.number, facts.name, holding.key))
            elif reading.problem is not None and reading.problem is not numbers.Problem.EMPTY:
                value = value.encode("utf-8", "replace").decode()  # half an emoji is no text
                quarantined.append((facts.name, holding.key, value, str(reading.problem), at))
                problems[str(reading.problem)] += 1
        parsed[holding.key] = tuple(dict.fromkeys(found))
        rows.append(
            (
                facts.name,
                holding.key,
                before.numbers if holding.gone and before is not None else raw,
                _base_after(facts, holding, _VOICE, before),
                _base_after(facts, holding, _SMS, before),
                _still_written(facts, holding, _VOICE, before) if before else None,
                _still_written(facts, holding, _SMS, before) if before else None,
                revisions.keep(holding, before.revision if before else ""),
                int(holding.gone and not facts.by_number),
                holding.became,
                at,
            )
        )
    tx.executemany("DELETE FROM holding_numbers WHERE system = ? AND key = ?", moved)
    tx.executemany("DELETE FROM quarantine WHERE system = ? AND key = ?", moved)
    tx.executemany(
        "INSERT INTO holdings (system, key, numbers, base_voice, base_sms, written_voice, written_sms, "
        "revision, gone, became, seen_at) VALUES (?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (system, key) DO UPDATE "
        "SET numbers = excluded.numbers, base_voice = excluded.base_voice, base_sms = excluded.base_sms, "
        "written_voice = excluded.written_voice, written_sms = excluded.written_sms, "
        "revision = excluded.revision, gone = excluded.gone, became = excluded.became, "
        "seen_at = excluded.seen_at",
        rows,
    )
    tx.executemany("INSERT OR IGNORE INTO holding_numbers VALUES (?,?,?)", links)
    tx.executemany("INSERT OR IGNORE INTO quarantine VALUES (?,?,?,?,?)", quarantined)
    for problem, count in problems.items():
        findings.open_finding(
            tx,
            at,
            "quarantined",
            facts.name,
            problem,
            f"{facts.name} has phone values that are no usable number ({problem}); "
            "see `dncsync number quarantine`",
            severity="info",
            detail={"latest": count},
            quiet=True,
        )
    return parsed


def _as_kept(values: Sequence[str]) -> str:
    """Phone values as received, as the cache has them."""
    try:
        return orjson.dumps(values).decode()
    except TypeError:  # half an emoji in a vendor's JSON
        return json.dumps(values)


def observed(holding: Holding, channel: Channel) -> Flag | None:
    """What the holding says of the channel; None: it has no such field (a lead without an SMS box)."""
    return holding.flags.get(channel, Flag.CLEAR if holding.gone else None)


def _ended(facts: SystemFacts, holding: Holding, channel: Channel) -> bool:
    """A record that ended shows nothing. Should it be brought back, what was known of it still holds: else
    our own flag on it would look like somebody's new request."""
    return holding.gone and not facts.by_number and channel not in holding.flags


def _base_after(facts: SystemFacts, holding: Holding, channel: Channel, before: Cached | None) -> Flag | None:
    """ABSENT as a base means that there is no field to write to, as distinct from one that has vanished."""
    said = holding.flags.get(channel)
    if said is Flag.SET or said is Flag.CLEAR:
        return said
    said = observed(holding, channel)
    if said is Flag.ABSENT or _ended(facts, holding, channel):
        return before.base[channel] if before else None
    return Flag.ABSENT if said is None else said


def _still_written(facts: SystemFacts, holding: Holding, channel: Channel, before: Cached) -> Flag | None:
    """A field that did not show leaves open what became of our write."""
    if _ended(facts, holding, channel):
        return before.written[channel]
    shown = holding.gone or holding.flags.get(channel, Flag.ABSENT) is not Flag.ABSENT
    return None if shown else before.written[channel]


def load(tx: Tx, facts: SystemFacts, keys: Sequence[str]) -> dict[str, Cached]:
    """What is known of these keys; those that are new are left out."""
    found: dict[str, Cached] = {}
    for chunk in chunks(keys):
        rows = tx.execute(
            "SELECT key, numbers, base_voice, base_sms, written_voice, written_sms, told_voice, told_sms, "  # noqa: S608
            f"revision, gone FROM holdings WHERE system = ? AND key IN ({marks(chunk)})",
            (facts.name, *chunk),
        )
        for key, raw, *flags, revision, gone in rows:
            base, written, told = ({_VOICE: _flag(flags[i]), _SMS: _flag(flags[i + 1])} for i in (0, 2, 4))
            found[key] = Cached(raw, base, written, told, revision, bool(gone))
    _add_writes_under_way(tx, facts, [key for key in keys if key not in found], found)
    return found


def _add_writes_under_way(tx: Tx, facts: SystemFacts, keys: Sequence[str], found: dict[str, Cached]) -> None:
    """Where the cache was lost while a write was under way, the delivery still knows it as ours."""
    writing = f"FROM deliveries WHERE system = ? AND open = 1 AND state IN ({marks(_UNDER_WAY)})"
    under_way = (facts.name, *_UNDER_WAY)
    if not keys or tx.execute(f"SELECT 1 {writing} LIMIT 1", under_way).fetchone() is None:
        return
    for chunk in chunks(keys):
        rows = tx.execute(
            f"SELECT key, channel, want, state {writing} AND key IN ({marks(chunk)})",
            (*under_way, *chunk),
        )
        for key, channel, want, state in rows:
            none: dict[Channel, Flag | None] = dict.fromkeys(Channel)
            known = found.setdefault(key, Cached("[]", none, dict(none), dict(none), "", False))
            known.written[Channel(channel)] = Flag(want)
            known.told[Channel(channel)] = Flag(want) if state == "accepted" else None


def same(facts: SystemFacts, holding: Holding, before: Cached) -> bool:
    """Whether a page says of a holding what is known already."""
    if holding.became is not None or (holding.gone and not facts.by_number) != before.gone:
        return False
    channels = facts.capabilities.channels
    if (holding.revision or holding.revisions) and any(
        revisions.moved(revisions.known_mark(before.revision, channel), revisions.mark(holding, channel))
        for channel in channels
    ):
        return False
    if not holding.gone and _as_kept(holding.numbers) != before.numbers:
        return False
    return all(
        before.base[channel] is (observed(holding, channel) or Flag.ABSENT)
        for channel in channels
        if not _ended(facts, holding, channel)
    )


def _flag(value: str | None) -> Flag | None:
    return None if value is None else Flag(value)
