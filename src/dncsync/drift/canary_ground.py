"""Where a canary can fly: which systems have its number, which can begin a run, and why others cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from dncsync import numbers
from dncsync.ledger.writer import Tx
from dncsync.model import Channel
from dncsync.sync import freezes
from dncsync.sync.requests import Refused
from dncsync.sync.topology import SystemFacts
from dncsync.sync.will import marks


class Expects(StrEnum):
    """What a run can learn from one system."""

    VERIFIED = "verified"
    ACCEPTED = "accepted, cannot be read"
    STANDING = "standing"
    """It was told in an earlier run, and cannot be told otherwise: nothing is written any more."""
    SKIPPED = "skipped"
    ORIGIN = "origin"
    """The run begins there."""


UNSETTLED = "what an earlier run or somebody else set there is not settled"
"""Why a system is left out that a run would have no clear beginning in."""


class NotNow(Refused):
    """A run cannot begin at this moment, for a reason that passes by itself."""


@dataclass(frozen=True, slots=True)
class Place:
    """A canary's number in one system."""

    system: str
    keys: tuple[str, ...]
    expects: Expects
    why: str
    """Why it is skipped, or what it cannot show; "" otherwise."""
    no_origin: str
    """Why no run can begin here; "": one can."""
    channel: Channel


def survey(
    tx: Tx, systems: Mapping[str, SystemFacts], number: str, blocks: frozenset[Channel]
) -> tuple[Place, ...]:
    """The places of this number. `blocks`: channels that a request on `voice` blocks under today's policy.

    Raises `Refused` where the number is not the tenant's own test number to all appearance: on several
    records of a system, on a record with other numbers, blocked by a request.
    """
    row = tx.execute(
        "SELECT r.id, r.source FROM blocks b JOIN requests r ON r.id = b.request_id "
        "WHERE b.number = ? AND b.ended_seq IS NULL LIMIT 1",
        (number,),
    ).fetchone()
    if row is not None:
        raise Refused(
            f"a request stands for the canary's number {numbers.mask(number)} ({row[0]}, {row[1]}); a run "
            "ends only its own. End that one with `dncsync number unblock`, or configure another number"
        )
    return tuple(_place(tx, facts, number, blocks) for facts in systems.values())


def _place(tx: Tx, facts: SystemFacts, number: str, blocks: frozenset[Channel]) -> Place:
    keys = tuple(facts.keys_for(number)) if facts.by_number else _records(tx, facts, number)
    channel = Channel.VOICE if Channel.VOICE in facts.capabilities.channels else Channel.SMS
    expects, why = _expected(tx, facts, keys, blocks)
    if expects is not Expects.SKIPPED and not _is_settled(tx, facts, keys):
        expects, why = Expects.SKIPPED, UNSETTLED
    no_origin = why if expects is Expects.SKIPPED else _no_origin(facts, keys)
    return Place(facts.name, keys, expects, why, no_origin, channel)


def _records(tx: Tx, facts: SystemFacts, number: str) -> tuple[str, ...]:
    """The one record that holds the number; none is well, too. Raises `Refused` for anything else."""
    rows = tx.execute(
        "SELECT n.key FROM holding_numbers n JOIN holdings h ON h.system = n.system AND h.key = n.key "
        "WHERE n.number = ? AND n.system = ? AND h.gone = 0 ORDER BY n.key",
        (number, facts.name),
    ).fetchall()
    if len(rows) > 1:
        raise Refused(
            f"{facts.name}: the canary's number {numbers.mask(number)} is on {len(rows)} records "
            f"({', '.join(row[0] for row in rows[:5])}); it must be on one, a test record of your own"
        )
    for (key,) in rows:
        others = tx.execute(
            "SELECT count(*) FROM holding_numbers WHERE system = ? AND key = ? AND number <> ?",
            (facts.name, key, number),
        ).fetchone()[0]
        if others:
            raise Refused(
                f"{facts.name}: the canary's record {key} has other numbers as well; a run would block them. "
                "Use a test record with the canary's number alone"
            )
    return tuple(row[0] for row in rows)


def _expected(
    tx: Tx, facts: SystemFacts, keys: Sequence[str], blocks: frozenset[Channel]
) -> tuple[Expects, str]:
    capabilities = facts.capabilities
    if not capabilities.channels & blocks:
        return Expects.SKIPPED, "policy keeps its channel apart: what is asked elsewhere does not block here"
    if capabilities.can_list and not facts.by_number and not read_in_full(tx, facts):
        return Expects.SKIPPED, "not read in full yet: its records are not all known"
    if freezes.frozen(tx, facts.name):
        return Expects.SKIPPED, "its reads are frozen: nothing can be verified there"
    if not keys:
        return Expects.SKIPPED, "no record there has the number; add a test record with it alone"
    if capabilities.can_read:
        return Expects.VERIFIED, ""
    told = tx.execute(
        "SELECT count(*) FROM holdings WHERE system = ? "  # noqa: S608
        f"AND key IN ({marks(keys)}) AND 'set' IN (told_voice, told_sms)",
        (facts.name, *keys),
    ).fetchone()[0]
    if told == len(keys) and not capabilities.can_clear:
        return Expects.STANDING, "told in an earlier run; it cannot be taken back by API, nor read"
    return Expects.ACCEPTED, "what it holds cannot be read: the run ends there at its yes"


def read_in_full(tx: Tx, facts: SystemFacts) -> bool:
    """Whether a complete snapshot was taken, so that its records are known by their numbers."""
    row = tx.execute("SELECT snapshot_at FROM systems WHERE system = ?", (facts.name,)).fetchone()
    return row is not None and row[0] is not None


def _is_settled(tx: Tx, facts: SystemFacts, keys: Sequence[str]) -> bool:
    """Whether the number is clear there, as far as we know, and nothing is under way."""
    these = f"system = ? AND key IN ({marks(keys)})"
    written = " OR 'set' IN (written_voice, written_sms)" if facts.capabilities.can_read else ""
    busy = tx.execute(
        f"SELECT EXISTS (SELECT 1 FROM deliveries WHERE open = 1 AND {these}) "  # noqa: S608
        f"OR EXISTS (SELECT 1 FROM looks WHERE {these}) OR EXISTS (SELECT 1 FROM holdings WHERE {these} AND "
        f"('set' IN (base_voice, base_sms){written}))",
        (facts.name, *keys) * 3,
    ).fetchone()[0]
    return not busy


def _no_origin(facts: SystemFacts, keys: Sequence[str]) -> str:
    capabilities = facts.capabilities
    if not capabilities.can_read:
        return "what it holds cannot be read, and texts of consumers are not ours to make"
    if not capabilities.can_clear:
        return "what is set there cannot be taken back by API"
    if not capabilities.can_poll:
        return "it has no feed of changes; what an API writes there is first seen by a full reading"
    if len(keys) != 1:
        return "the number has several entries there"
    return ""
