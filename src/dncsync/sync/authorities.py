"""Clears that count: made in a system that policy names as an authority for reversals, and with a reason.

Everything else that is cleared at a vendor is put back (law 2, CON-06). Here too the order must be known, and
is known from our own readings alone (law 7): the text that now stands as the reason was not there at a
reading that came after every request which it would end. Whatever cannot be told is no reversal (CON-05).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from dncsync.clock import from_micros
from dncsync.ledger.writer import Tx
from dncsync.model import Channel, Flag, Holding, Provenance
from dncsync.numbers import mask_text
from dncsync.policy import Policy, blocked_channels
from dncsync.rules import Verdict
from dncsync.sync import lost
from dncsync.sync.requests import Intake
from dncsync.sync.reversals import Refused, Reversal
from dncsync.sync.topology import SystemFacts
from dncsync.sync.will import chunks, marks, record_requests

BASIS: Final = "authority"
"""Basis of these reversals: the vendor's record, as the policy's authority says it."""
LONGEST_REASON: Final = 500
"""Characters of a reason that a reversal keeps."""
NO_REASON: Final = ""
"""Why a clear does not count, where nobody claimed that it does."""


@dataclass(frozen=True, slots=True)
class Reading:
    """When one record was read with another reason than now, or last of all; microseconds."""

    asked: int
    """When the reading was begun: whatever was recorded before it is older than what comes after it."""
    taken: int
    """When it was taken in; what it showed itself was recorded then."""


@dataclass(frozen=True, slots=True)
class Cleared:
    """A record whose flag somebody cleared."""

    holding: Holding
    numbers: tuple[str, ...]
    channels: frozenset[Channel]
    """Those that were set and are clear now."""
    provenance: Provenance


def is_authority(facts: SystemFacts, policy: Policy) -> bool:
    """Whether clears in this system may count at all. An entry of a list has no place for a reason."""
    return not facts.by_number and facts.name in policy.sync.reversal_authorities


def judge_clears(
    tx: Tx,
    at: int,
    intake: Intake,
    facts: SystemFacts,
    holdings: Sequence[Holding],
    numbers: Mapping[str, tuple[str, ...]],
    lost_there: Mapping[str, Sequence[tuple[Channel, Verdict]]],
    *,
    may_count: Callable[[str], bool],
    asked: int,
) -> int:
    """What was cleared there is put back, and told, unless it counts. `numbers`: key -> those of the record.
    `lost_there`: key -> where a block is not there any more. `may_count(key)`: whether this reading of it can
    make a reversal at all; `asked`: when it was begun. Returns how many cleared flags do not count."""
    authority = is_authority(facts, intake.policies.on(from_micros(at).date()))
    readings = [holding for holding in holdings if may_count(holding.key)] if authority else []
    earlier = note(tx, facts, readings, asked, at)
    uncounted = 0
    for holding in holdings if lost_there else ():
        verdicts = lost_there.get(holding.key, ())
        channels = frozenset(channel for channel, verdict in verdicts if verdict.cleared_there)
        why: str | None = NO_REASON
        if authority and channels and may_count(holding.key):
            told = (holding.provenance.get(channel) for channel in sorted(channels))
            who = next((provenance for provenance in told if provenance), Provenance())
            cleared = Cleared(holding, numbers[holding.key], channels, who)
            why = take(tx, at, intake, facts, cleared, earlier.get(holding.key))
        if why is None:
            continue
        uncounted += len(channels)
        for channel, verdict in verdicts:
            by = holding.provenance.get(channel, Provenance())
            lost.report(tx, at, facts, holding, channel, verdict, by, refused=why)
    return uncounted


def note(
    tx: Tx, facts: SystemFacts, holdings: Iterable[Holding], asked: int, at: int
) -> Mapping[str, Reading]:
    """Keeps what a fresh reading shows as reasons. Returns, by key, the latest reading before it that showed
    another text; keys that were never read otherwise are left out."""
    shown = {h.key: _digest(h.reason).digest() for h in holdings if not h.gone and h.reason is not None}
    earlier: dict[str, Reading] = {}
    rows = []
    known = _known(tx, facts.name, list(shown))
    for key, reason in shown.items():
        before = known.get(key)
        other: tuple[int | None, int | None] = (None, None)
        if before is not None:
            other = before[3:] if before[0] == reason else before[1:3]
        if other[0] is not None and other[1] is not None:
            earlier[key] = Reading(other[0], other[1])
        rows.append((facts.name, key, reason, asked, at, *other))
    tx.executemany("INSERT OR REPLACE INTO reasons VALUES (?,?,?,?,?,?,?)", rows)
    return earlier


def take(
    tx: Tx, at: int, intake: Intake, facts: SystemFacts, cleared: Cleared, earlier: Reading | None
) -> str | None:
    """Ends the blocks of a record's numbers, or has them wait where a fuse trips. None: done. Else why the
    clear does not count, in words that follow "its reason does not count: ", or `NO_REASON`."""
    holding = cleared.holding
    if not holding.reason:
        return NO_REASON
    channels = blocked_channels(intake.policies.on(from_micros(at).date()), cleared.channels)
    why = _unfit(cleared, channels) or _unordered(tx, facts, cleared, earlier)
    if why:
        return why
    for number in cleared.numbers:
        try:
            intake.reverse(tx, at, _reversal(at, facts, cleared, number, channels))
        except Refused:
            continue  # nothing blocks this one; or its reversal waits for approval already
    return None


def _unfit(cleared: Cleared, channels: Collection[Channel]) -> str:
    if cleared.provenance.ours:
        return "our own user cleared it"
    if other := lost.no_person(cleared.provenance.source):
        return f"{other} cleared it, and no person"
    if any(cleared.holding.flags.get(channel) is Flag.SET for channel in channels):
        return "another of its flags still says do not contact"
    return "" if cleared.numbers else "it has no usable number"


def _unordered(tx: Tx, facts: SystemFacts, cleared: Cleared, earlier: Reading | None) -> str:
    if earlier is None:
        return "nothing shows that the same text was not there before"
    own = {request for request, _ in record_requests(tx, facts.name, cleared.holding.key)}
    for request, recorded_at, system, key in _ended_by_it(tx, cleared.numbers, own):
        # What this record's own reading brought was recorded when that reading was taken in.
        if recorded_at > (earlier.taken if request in own else earlier.asked):
            return f"request {request} may be newer"
        if system == facts.name and request not in own:
            return f"request {request} was made on another record ({key}) with the same number"
    if _blocks_others(tx, own, cleared.numbers):
        return "its request also blocks a number that it no longer has"
    return ""


def _ended_by_it(
    tx: Tx, numbers: Sequence[str], own: Collection[str]
) -> list[tuple[str, int, str | None, str | None]]:
    return tx.execute(
        "SELECT DISTINCT r.id, r.recorded_at, r.record_system, r.record_key FROM requests r "  # noqa: S608
        "LEFT JOIN blocks b ON b.request_id = r.id AND b.ended_seq IS NULL "
        f"WHERE b.number IN ({marks(numbers)}) OR r.id IN ({marks(list(own))}) ORDER BY r.event_seq DESC",
        (*numbers, *own),
    ).fetchall()


def _blocks_others(tx: Tx, own: Collection[str], numbers: Sequence[str]) -> bool:
    row = tx.execute(
        f"SELECT 1 FROM blocks WHERE request_id IN ({marks(list(own))}) AND ended_seq IS NULL "  # noqa: S608
        f"AND number NOT IN ({marks(numbers)}) LIMIT 1",
        (*own, *numbers),
    ).fetchone()
    return row is not None


def _reversal(
    at: int, facts: SystemFacts, cleared: Cleared, number: str, channels: Collection[Channel]
) -> Reversal:
    reason, provenance = cleared.holding.reason or "", cleared.provenance
    return Reversal(
        number,
        tuple(sorted(channels)),
        actor=mask_text(provenance.actor) or f"{facts.name} (not named)",
        reason=mask_text(reason)[:LONGEST_REASON],
        basis=BASIS,
        evidence_name=f"the reason on record {cleared.holding.key} of {facts.name}",
        evidence_sha256=_digest(reason).hexdigest(),
        evidence_date=(provenance.at or from_micros(at)).isoformat(),
    )


def _digest(reason: str) -> Any:
    """SHA-256 of the text as received."""
    return sha256(reason.encode("utf-8", "replace"))


def _known(
    tx: Tx, system: str, keys: Sequence[str]
) -> dict[str, tuple[bytes, int, int, int | None, int | None]]:
    found = {}
    for chunk in chunks(keys):
        rows = tx.execute(
            "SELECT key, reason, asked_at, taken_at, other_asked_at, other_taken_at FROM reasons "  # noqa: S608
            f"WHERE system = ? AND key IN ({marks(chunk)})",
            (system, *chunk),
        )
        found.update({row[0]: row[1:] for row in rows})
    return found
