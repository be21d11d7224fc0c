"""What a full comparison would change: each holding beside the ledger, judged by the same rules as the loops.

Nothing here writes. A page is compared with a handful of queries, however many holdings it has.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from dncsync import numbers
from dncsync.ledger.sqlite import Connection
from dncsync.model import Channel, Flag, Holding, Provenance
from dncsync.numbers import Problem
from dncsync.rules import Seen, judge
from dncsync.sync import revisions
from dncsync.sync.topology import SystemFacts
from dncsync.sync.will import anything_held, blocked_among, chunks, marks, waits


class Kind(StrEnum):
    """What would happen to one channel of one holding."""

    IMPORT = "import"
    """Set there, and no request is known: one would be recorded, which blocks the record's numbers."""
    COVER = "cover"
    """Numbers came to a record after its request was made: they would be blocked."""
    SUPPRESS = "suppress"
    """Clear there, and blocked here: it would be set."""
    PUT_BACK = "put-back"
    """Was read as set, shows clear now: it would be set again, with a finding."""
    ADD = "add"
    """A blocked number that is missing on a list: it would be added."""
    CLEAR = "clear"
    """Set there, and a reversal ended the block: it would be cleared."""
    SPREAD = "spread"
    """Clear there, and an import of the same plan reaches it: it would be set."""
    FIELD_ABSENT = "field-absent"
    """The field does not show at all: a person must see to it, and nothing is planned."""


NAMED = frozenset({Kind.IMPORT, Kind.COVER, Kind.CLEAR, Kind.SPREAD})
"""Kinds whose plan depends on the numbers of the holding."""


class Quiet(StrEnum):
    """What is counted, and is no change."""

    SAME = "same"
    """Agrees, and is known."""
    OPEN = "open"
    """The same, and clear; for judging, counted as such."""
    UNSEEN = "unseen"
    """Agrees, and was never read before."""
    UNDERWAY = "underway"
    """A delivery is on its way already."""
    GONE = "gone"
    """A record that is deleted there."""
    HELD = "held"
    """A tripped fuse holds what would be set: `dncsync plan` decides it."""
    CANNOT_CLEAR = "cannot-clear"
    """A block that only the consumer can lift there."""


Blocks = Mapping[Channel, frozenset[Channel]]
"""The channels that a request on each channel blocks (policy)."""


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """One change of a plan, with what was seen when it was planned."""

    system: str
    key: str
    channel: Channel
    kind: Kind
    observed: Flag
    numbers: tuple[str, ...] = ()
    """E.164, sorted: what would be blocked, what is missing on a list, what the change depends on."""


@dataclass(slots=True)
class Compared:
    """What a page came to."""

    changes: list[PlannedChange] = field(default_factory=list)
    quiet: Counter[Quiet] = field(default_factory=Counter)
    """Channels of holdings that need nothing."""
    quarantined: Counter[Problem] = field(default_factory=Counter)
    """Phone values that are no usable number."""
    blocks: list[tuple[str, Channel]] = field(default_factory=list)
    """(number, channel) that the imports and covers would block."""
    open: list[tuple[str, str, Channel]] = field(default_factory=list)
    """(number, key, channel) of records that are clear and rightly so."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A row of the cache of holdings."""

    base: Mapping[Channel, Flag | None]
    written: Mapping[Channel, Flag | None]
    revision: str

    @property
    def read(self) -> bool:
        """Whether anything was ever read or written there."""
        return any((*self.base.values(), *self.written.values()))


@dataclass(frozen=True, slots=True)
class _Request:
    """An open request that was made on a record, or on one that was merged into it."""

    id: str
    channel: Channel
    channels: frozenset[Channel]
    own: bool


def compare(conn: Connection, facts: SystemFacts, holdings: Sequence[Holding], blocks: Blocks) -> Compared:
    """What the ledger, as it stands now, would make of these holdings if they were read afresh.

    `conn` may be read-only. Key by key it says what `observe` and `settle` would do; how an import reaches
    other holdings is for the caller (`blocks` and `open`).
    """
    holdings = list({holding.key: holding for holding in holdings}.values())
    found = Compared()
    page = _Page(conn, facts, holdings, blocks, found)
    for holding in holdings:
        page.judge(holding)
    return found


class _Page:
    """All that the ledger knows of one page of holdings."""

    def __init__(
        self,
        conn: Connection,
        facts: SystemFacts,
        holdings: Sequence[Holding],
        blocks: Blocks,
        found: Compared,
    ) -> None:
        keys = [holding.key for holding in holdings]
        self._conn = conn
        self._anything_held = anything_held(conn)
        self._facts = facts
        self._blocks = blocks
        self._found = found
        self._own = {holding.key: _usable(facts, holding, found) for holding in holdings}
        every = sorted({number for own in self._own.values() for number in own})
        self._blocked = blocked_among(conn, every)
        self._known = _known(conn, facts, keys)
        self._underway = _underway(conn, facts, keys)
        self._asked: set[tuple[str, str, Channel]] = set()
        self._restored: set[tuple[str, str]] = set()
        self._requests: dict[str, list[_Request]] = {}
        self._covered: dict[str, set[str]] = {}
        if facts.by_number:
            self._asked = _asked(conn, facts, every)
            self._restored = _restored(conn, facts, every)
        else:
            self._requests = _record_requests(conn, facts, keys)
            self._covered = _covered(conn, [r.id for each in self._requests.values() for r in each])

    def judge(self, holding: Holding) -> None:
        """Adds what would become of one holding."""
        if holding.gone and not self._facts.by_number:
            self._found.quiet[Quiet.GONE] += 1
            return
        key, own = holding.key, self._own[holding.key]
        reached = self._cover(holding, own)
        kinds: dict[Channel, Kind | Quiet] = {}
        for channel in sorted(self._facts.capabilities.channels):
            kinds[channel] = self._kind(holding, own, channel)
            if kinds[channel] is Kind.IMPORT:
                reached |= self._blocks[channel]
                self._found.blocks += [(number, on) for number in own for on in self._blocks[channel]]
        for channel, kind in kinds.items():
            if channel in reached and kind is Kind.CLEAR:
                kind = Quiet.SAME  # what is found in the other channel is newer than the reversal
            elif kind is Quiet.OPEN and channel in reached:
                kind = Kind.SPREAD
            if isinstance(kind, Kind):
                self._plan(key, channel, kind, _observed(holding, channel), own)
                continue
            if kind is Quiet.OPEN:
                kind = Quiet.SAME
                if not self._facts.by_number:
                    self._found.open += [(number, key, channel) for number in own]
            unread = key not in self._known or not self._known[key].read
            self._found.quiet[Quiet.UNSEEN if kind is Quiet.SAME and unread else kind] += 1

    def _cover(self, holding: Holding, own: tuple[str, ...]) -> set[Channel]:
        """Plans for numbers that came after a record's requests. Returns the channels that these reach."""
        reached: set[Channel] = set()
        for request in self._requests.get(holding.key, ()):
            late = tuple(number for number in own if number not in self._covered.get(request.id, ()))
            if late:
                observed = _observed(holding, request.channel)
                self._plan(holding.key, request.channel, Kind.COVER, observed, late)
                self._found.blocks += [(number, on) for number in late for on in request.channels]
                reached |= request.channels
        return reached

    def _plan(self, key: str, channel: Channel, kind: Kind, observed: Flag, own: tuple[str, ...]) -> None:
        named = own if kind in NAMED or self._facts.by_number else ()
        self._found.changes.append(
            PlannedChange(self._facts.name, key, channel, kind, observed, tuple(sorted(named)))
        )

    def _wanted(self, key: str, own: tuple[str, ...], channel: Channel) -> Flag:
        """As `will.desired`, from what the holding has now."""
        if any(channel in request.channels for request in self._requests.get(key, ())):
            return Flag.SET
        scope = self._facts.scope_of(key)
        for number in own:
            if channel not in self._blocked.get(number, ()):
                continue
            if channel is not Channel.SMS or (number, scope) not in self._restored:
                return Flag.SET
        return Flag.CLEAR

    def _kind(self, holding: Holding, own: tuple[str, ...], channel: Channel) -> Kind | Quiet:
        key, by_number = holding.key, self._facts.by_number
        known, observed = self._known.get(key), _observed(holding, channel)
        wanted = self._wanted(key, own, channel)
        seen = Seen(
            base=known.base[channel] if known else None,
            observed=observed,
            written=known.written[channel] if known else None,
            base_revision=revisions.known_mark(known.revision, channel) if known else "",
            revision=revisions.mark(holding, channel),
            ours=holding.provenance.get(channel, Provenance()).ours,
        )
        verdict = judge(seen, wanted)
        if verdict.drift:
            return Kind.FIELD_ABSENT
        if by_number and not own:
            return Quiet.SAME  # an entry that is no number: quarantined, and left as it is
        if verdict.request and not self._is_asked(key, own, channel):
            return Kind.IMPORT
        underway = self._underway.get((key, channel))
        if observed is wanted:
            return Quiet.OPEN if observed is Flag.CLEAR and underway is not Flag.SET else Quiet.SAME
        if underway is wanted:
            return Quiet.UNDERWAY
        if wanted is Flag.CLEAR:
            return Kind.CLEAR if self._facts.capabilities.can_clear else Quiet.CANNOT_CLEAR
        if self._anything_held and waits(self._conn, self._facts, key, channel):
            return Quiet.HELD
        if verdict.cleared_there:
            return Kind.PUT_BACK
        return Kind.ADD if by_number else Kind.SUPPRESS

    def _is_asked(self, key: str, own: tuple[str, ...], channel: Channel) -> bool:
        if self._facts.by_number:
            return (own[0], self._facts.scope_of(key), channel) in self._asked
        return any(request.own and request.channel is channel for request in self._requests.get(key, ()))


def _observed(holding: Holding, channel: Channel) -> Flag:
    return Flag.CLEAR if holding.gone else holding.flags.get(channel, Flag.ABSENT)


def _usable(facts: SystemFacts, holding: Holding, found: Compared) -> tuple[str, ...]:
    usable: dict[str, None] = {}
    for value in holding.numbers:
        reading = numbers.parse(value, facts.region)
        if reading.number is not None:
            usable[reading.number] = None
        elif reading.problem is not None and reading.problem is not Problem.EMPTY:
            found.quarantined[reading.problem] += 1
    return tuple(usable)


# --- what the ledger knows, a page at a time ------------------------------------------------------------


def _known(conn: Connection, facts: SystemFacts, keys: Sequence[str]) -> dict[str, _Known]:
    rows = _each(
        conn,
        "SELECT key, base_voice, base_sms, written_voice, written_sms, revision FROM holdings "
        "WHERE system = ? AND key IN ({})",
        (facts.name,),
        keys,
    )
    return {
        key: _Known(
            {Channel.VOICE: _flag(base_voice), Channel.SMS: _flag(base_sms)},
            {Channel.VOICE: _flag(written_voice), Channel.SMS: _flag(written_sms)},
            revision,
        )
        for key, base_voice, base_sms, written_voice, written_sms, revision in rows
    }


def _underway(conn: Connection, facts: SystemFacts, keys: Sequence[str]) -> dict[tuple[str, Channel], Flag]:
    rows = _each(
        conn,
        "SELECT key, channel, want FROM deliveries WHERE system = ? AND open = 1 AND key IN ({})",
        (facts.name,),
        keys,
    )
    return {(key, Channel(channel)): Flag(want) for key, channel, want in rows}


def _record_requests(conn: Connection, facts: SystemFacts, keys: Sequence[str]) -> dict[str, list[_Request]]:
    found: dict[str, list[_Request]] = {}
    for chunk in chunks(keys):  # as `will.record_requests`, for many records at once
        rows = conn.execute(
            "WITH RECURSIVE same (record, key) AS (SELECT value, value FROM json_each(?2) UNION "
            "SELECT same.record, h.key FROM holdings h JOIN same ON h.became = same.key WHERE h.system = ?1) "
            "SELECT same.record, same.key, r.id, r.channel, r.channels FROM same JOIN requests r "
            "ON r.record_key = same.key WHERE r.record_system = ?1 AND r.ended_seq IS NULL",
            (facts.name, json.dumps(chunk)),
        )
        for record, key, request_id, channel, channels in rows:
            reach = frozenset(Channel(each) for each in channels.split(","))
            request = _Request(request_id, Channel(channel), reach, key == record)
            found.setdefault(record, []).append(request)
    return found


def _covered(conn: Connection, ids: Sequence[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for request_id, number in _each(
        conn, "SELECT request_id, number FROM blocks WHERE request_id IN ({})", (), ids
    ):
        found.setdefault(request_id, set()).add(number)
    return found


def _asked(conn: Connection, facts: SystemFacts, every: Sequence[str]) -> set[tuple[str, str, Channel]]:
    rows = _each(
        conn,
        "SELECT number, scope, channel FROM requests WHERE origin_system = ? AND ended_seq IS NULL "
        "AND number IN ({})",
        (facts.name,),
        every,
    )
    return {(number, scope, Channel(channel)) for number, scope, channel in rows}


def _restored(conn: Connection, facts: SystemFacts, every: Sequence[str]) -> set[tuple[str, str]]:
    rows = _each(
        conn,
        "SELECT number, scope FROM restorations WHERE system = ? AND ended_seq IS NULL AND number IN ({})",
        (facts.name,),
        every,
    )
    return {(number, scope) for number, scope in rows}


def _each(conn: Connection, sql: str, first: Sequence[str], values: Sequence[str]) -> Iterable[Sequence[str]]:
    """All rows of a query whose `IN ({})` takes any number of values."""
    for chunk in chunks(values):
        yield from conn.execute(sql.format(marks(chunk)), (*first, *chunk)).fetchall()


def _flag(value: str | None) -> Flag | None:
    return None if value is None else Flag(value)
