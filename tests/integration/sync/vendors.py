"""Vendors that do what a test tells them: a CRM, a dialer, an SMS vendor; truthful until told otherwise."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from dncsync.budget import Lane
from dncsync.clock import VirtualClock
from dncsync.connector import (
    Capabilities,
    Change,
    Failure,
    FailureKind,
    FieldCheck,
    Looked,
    Page,
    Probe,
    Statement,
    Unit,
    VendorError,
    Webhook,
    WebhookRefused,
    WebhookRequest,
    Written,
)
from dncsync.model import Channel, Flag, Holding, Provenance, Role

VOICE, SMS = Channel.VOICE, Channel.SMS
SET, CLEAR, ABSENT = Flag.SET, Flag.CLEAR, Flag.ABSENT

ANN, BOB, CID, DEB, EVE = (f"+1312555010{i}" for i in range(5))
"""Five people's numbers, in Chicago."""

UNREACHABLE = Failure(FailureKind.TRANSIENT, "cannot connect")
SILENT = Failure(FailureKind.UNKNOWN, "no answer")
BUSY = Failure(FailureKind.RATE_LIMITED, "too many calls", retry_after=20.0)
LOCKED_OUT = Failure(FailureKind.UNAUTHORISED, "the token was revoked")
REFUSED = Failure(FailureKind.REJECTED, "the record is locked", code="LOCKED")


@dataclass(slots=True)
class Row:
    """A record or list entry as the vendor holds it."""

    numbers: tuple[str, ...] = ()
    flags: dict[Channel, Flag] = field(default_factory=dict)
    marks: Counter[Channel] = field(default_factory=Counter)
    """How often each flag was written."""
    provenance: dict[Channel, Provenance] = field(default_factory=dict)
    gone: bool = False
    became: str | None = None
    reason: str | None = ""
    """What people wrote about why a flag was taken away; None: it cannot be seen."""


@dataclass(frozen=True, slots=True)
class Call:
    """One vendor call: what was asked for, in which lane of the budget."""

    op: str
    keys: tuple[str, ...] = ()
    lane: Lane | None = None


@dataclass
class Vendor:
    """One connected account under the test's control; `rows` is the vendor's own truth."""

    name: str
    clock: VirtualClock
    capabilities: Capabilities
    lists: tuple[str, ...] = ()
    """List or programme names, for a vendor of unit NUMBER."""
    page_size: int = 2
    marks: bool = True
    """Whether holdings carry, for each channel, a mark that moves with every setting."""
    tells_who: bool = False
    """Whether a reading by key says who set a flag."""

    rows: dict[str, Row] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    readings: list[tuple[float, str, dict[Channel, Flag]]] = field(default_factory=list)
    """(when, key, flags) of every holding that was read by key."""
    written: list[tuple[float, str, dict[Channel, Flag]]] = field(default_factory=list)
    """(when, key, wants) of every change that reached the vendor."""
    feed: list[str | Statement] = field(default_factory=list)
    """What `changes` brings: keys, and what people said."""
    hidden: set[str] = field(default_factory=set)
    """Keys that listings leave out."""
    stale: dict[str, Holding] = field(default_factory=dict)
    """What listings and feeds show instead of the truth."""
    before_call: Callable[[Call], None] = field(default=lambda call: None)

    lane: Lane | None = None
    _failures: dict[str, deque[Failure]] = field(default_factory=lambda: defaultdict(deque))
    _item_failures: dict[tuple[str, str], deque[Failure | None]] = field(
        default_factory=lambda: defaultdict(deque)
    )
    _after: deque[Failure] = field(default_factory=deque)
    _dropped: deque[str] = field(default_factory=deque)

    # --- what a test sets up ----------------------------------------------------------------------

    def put(self, key: str, *numbers: str, **flags: Flag) -> Row:
        """A record with these numbers; flags by channel name, else clear."""
        held = {c: flags.get(c.value, CLEAR) for c in self.capabilities.channels}
        self.rows[key] = Row(numbers, held)
        return self.rows[key]

    def person(
        self, key: str, flag: Flag, channel: Channel = VOICE, who: str = "Rita", how: str = "CRM_UI"
    ) -> None:
        """A person ticks (SET) or unticks (CLEAR) there; also when nothing changes, the mark moves."""
        row = self.rows.setdefault(key, Row((key.rpartition("/")[2],)))
        row.flags[channel] = flag
        row.marks[channel] += 1
        row.provenance[channel] = Provenance(who, how, self.clock.now(), ours=False)
        self.feed.append(key)

    def calls_fail(self, op: str, failure: Failure, times: int = 1) -> None:
        """The next calls of this kind fail as a whole; nothing happens there."""
        self._failures[op].extend([failure] * times)

    def item_fails(self, op: str, key: str, failure: Failure, times: int = 1) -> None:
        """This item fails in the next calls that have it."""
        self._item_failures[op, key].extend([failure] * times)

    def item_is_left_out(self, op: str, key: str, times: int = 1) -> None:
        """The answer does not name this item; a write happens all the same."""
        self._item_failures[op, key].extend([None] * times)

    def answer_is_lost(self, failure: Failure = SILENT) -> None:
        """The next write happens, and its answer never comes."""
        self._after.append(failure)

    def drops(self, key: str, times: int = 1) -> None:
        """The next writes of this key are accepted and not kept."""
        self._dropped.extend([key] * times)

    def calm(self) -> None:
        """No more misfortune."""
        for script in (self._failures, self._item_failures, self._after, self._dropped):
            script.clear()

    # --- what a test asks ---------------------------------------------------------------------------

    def flag(self, key: str, channel: Channel = VOICE) -> Flag:
        """What the vendor holds in truth."""
        row = self.rows.get(key)
        return CLEAR if row is None else row.flags.get(channel, ABSENT)

    def ops(self) -> list[str]:
        """The kinds of calls made, in order."""
        return [call.op for call in self.calls]

    # --- the contract -------------------------------------------------------------------------------

    def keys_for(self, number: str) -> tuple[str, ...]:
        return tuple(f"{name}/{number}" for name in self.lists)

    def write(self, changes: Sequence[Change]) -> Iterator[Written]:
        self._call("write", *(change.key for change in changes))
        results = [self._write(change) for change in changes]
        if self._after:
            raise VendorError(self._after.popleft())
        yield from (result for result in results if result is not None)

    def _write(self, change: Change) -> Written | None:
        failed, failure = self._next(("write", change.key))
        if failed and failure is not None:
            return Written(change.key, failure)
        self.written.append((self.clock.monotonic(), change.key, dict(change.wants)))
        if change.key in self._dropped:
            self._dropped.remove(change.key)
        else:
            self._keep(change.key, change.wants)
        return None if failed else Written(change.key, ref=f"ref-{change.key}")

    def _keep(self, key: str, wants: Mapping[Channel, Flag]) -> None:
        row = self.rows.setdefault(key, Row((key.rpartition("/")[2],)))
        for channel, flag in wants.items():
            if row.flags.get(channel) is not flag:
                row.flags[channel] = flag
                row.marks[channel] += 1
                row.provenance[channel] = Provenance("dncsync", "INTEGRATION", self.clock.now(), ours=True)

    def read(self, keys: Sequence[str]) -> Iterator[Looked]:
        self._call("read", *keys)
        for key in keys:
            failed, failure = self._next(("read", key))
            if failed and failure is not None:
                yield Looked(key, failure=failure)
            elif not failed:
                holding = self._holding(key, told=self.tells_who)
                self.readings.append((self.clock.monotonic(), key, dict(holding.flags)))
                yield Looked(key, holding)

    def find(self, number: str) -> Iterator[Looked]:
        self._call("find", number)
        for key, row in self.rows.items():
            if number in row.numbers and not row.gone:
                yield Looked(key, self._listed(key))

    def snapshot(self, cursor: str | None) -> Iterator[Page]:
        while True:
            self._call("snapshot", cursor or "")
            keys = sorted(k for k, row in self.rows.items() if not row.gone and k not in self.hidden)
            if self.capabilities.unit is Unit.NUMBER:
                keys = [k for k in keys if SET in self.rows[k].flags.values()]
            keys = [k for k in keys if k > (cursor or "")]
            page, more = keys[: self.page_size], len(keys) > self.page_size
            cursor = page[-1] if page else cursor or ""
            yield Page(tuple(self._listed(key) for key in page), cursor, more, total=len(self.rows))
            if not more:
                return

    def changes(self, cursor: str | None) -> Iterator[Page]:
        since = int(cursor or 0)
        self._call("changes", str(since))
        found = self.feed[since : since + self.page_size]
        end = since + len(found)
        yield Page(
            tuple(self._listed(key) for key in found if isinstance(key, str)),
            str(end),
            end < len(self.feed),
            statements=tuple(said for said in found if isinstance(said, Statement)),
        )

    def parse_webhook(self, request: WebhookRequest) -> Webhook:
        raise WebhookRefused(404, "tests hand webhooks over themselves")

    def describe(self) -> tuple[FieldCheck, ...]:
        return ()

    def probe(self) -> Probe:
        return Probe(self.name, ())

    def close(self) -> None:
        pass

    def _call(self, op: str, *keys: str) -> None:
        self.clock.advance(0.001)  # no two calls in the same instant
        call = Call(op, keys, self.lane)
        self.calls.append(call)
        self.before_call(call)
        if self._failures[op]:
            raise VendorError(self._failures[op].popleft())

    def _next(self, script: tuple[str, str]) -> tuple[bool, Failure | None]:
        waiting = self._item_failures.get(script)
        return (True, waiting.popleft()) if waiting else (False, None)

    def _listed(self, key: str) -> Holding:
        return self.stale.get(key) or self._holding(key, told=False)

    def _holding(self, key: str, *, told: bool) -> Holding:
        row = self.rows.get(key)
        if row is None or row.gone:
            return Holding(key, {}, gone=True, became=row.became if row else None)
        by_number = self.capabilities.unit is Unit.NUMBER
        missing = CLEAR if by_number else ABSENT
        return Holding(
            key,
            {c: row.flags.get(c, missing) for c in self.capabilities.channels},
            row.numbers,
            reason=row.reason,
            revisions={c: str(row.marks[c]) for c in row.flags} if self.marks else {},
            provenance=dict(row.provenance) if told else {},
        )

    @contextmanager
    def lanes(self, lane: Lane) -> Iterator[None]:
        """Notes in which lane of the budget a call is made."""
        self.lane = lane
        try:
            yield
        finally:
            self.lane = None


def crm(name: str, clock: VirtualClock, **changes: Any) -> Vendor:
    """A CRM whose records say both channels."""
    options: dict[str, Any] = {"has_webhooks": True, "write_batch": 3, "read_batch": 4, **changes}
    return Vendor(name, clock, Capabilities(Unit.RECORD, Role.CRM, frozenset({VOICE, SMS}), **options))


def dialer(name: str, clock: VirtualClock, **changes: Any) -> Vendor:
    """A dialer with one list, without a feed."""
    options: dict[str, Any] = {"can_poll": False, "has_webhooks": True, "write_batch": 3, **changes}
    capabilities = Capabilities(Unit.NUMBER, Role.DIALER, frozenset({VOICE}), **options)
    return Vendor(name, clock, capabilities, lists=("DNC",), marks=False)


def texts(name: str, clock: VirtualClock, **changes: Any) -> Vendor:
    """An SMS vendor with two programmes, which cannot be read, listed or cleared."""
    options: dict[str, Any] = {"can_clear": False, "can_read": False, "can_list": False, **changes}
    capabilities = Capabilities(Unit.NUMBER, Role.SMS, frozenset({SMS}), has_webhooks=True, **options)
    return Vendor(name, clock, capabilities, lists=("MG1", "MG2"), marks=False)
