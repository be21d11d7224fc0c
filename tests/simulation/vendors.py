"""Vendors of the simulation: small, seeded, and worse behaved than real ones.

They lose, double, delay and reorder what they send, time out before and after they commit, answer for some
items of a batch and not for others, drop writes that they accepted, and lag in what they list.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

from dncsync.clock import VirtualClock
from dncsync.connector import (
    Capabilities,
    Change,
    Failure,
    FailureKind,
    FieldCheck,
    Look,
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


class Killed(BaseException):
    """The daemon dies here, in the middle of whatever it was doing."""


class KillSwitch:
    """Counts down the places where a process can die."""

    def __init__(self) -> None:
        self.left: int | None = None

    def here(self) -> None:
        """One such place."""
        if self.left is None:
            return
        self.left -= 1
        if self.left <= 0:
            self.left = None
            raise Killed


@dataclass
class Trouble:
    """How likely each misfortune is, per call or per item."""

    refuse: float = 0.0
    timeout_before: float = 0.0
    timeout_after: float = 0.0
    lose_item: float = 0.0
    drop_write: float = 0.0
    reject_item: float = 0.0
    rate_limit: float = 0.0
    lose_hook: float = 0.0
    double_hook: float = 0.0
    down_until: float = 0.0

    def calm(self) -> None:
        """No more misfortune."""
        for name in self.__dataclass_fields__:
            setattr(self, name, 0.0)


@dataclass
class Row:
    """A record or entry as the vendor holds it."""

    key: str
    numbers: list[str]
    flag: bool = False
    by: str = ""
    """`us` or `person`."""
    revision: int = 0
    changed_at: float = 0.0
    visible_at: float = 0.0
    """When listings and feeds begin to show its present state."""
    shown: tuple[tuple[str, ...], bool, int] = ((), False, 0)
    """What listings show until then."""
    gone: bool = False
    became: str | None = None


@dataclass
class Reading:
    """One value that a connector was given by key, for the check of law 4."""

    at: float
    key: str
    flag: bool


@dataclass
class Vendor:
    """What all have in common."""

    name: str
    clock: VirtualClock
    rng: Random
    kill: KillSwitch
    capabilities: Capabilities
    trouble: Trouble = field(default_factory=Trouble)
    rows: dict[str, Row] = field(default_factory=dict)
    readings: list[Reading] = field(default_factory=list)
    writes: list[tuple[float, str, bool]] = field(default_factory=list)
    hooks: list[tuple[float, Webhook]] = field(default_factory=list)
    lag: float = 0.0
    marks_revision: bool = False
    tells_who: bool = False
    set_by_people: set[str] = field(default_factory=set)
    """Keys that a person ever set, for the check that no echo becomes a request."""

    # --- the contract -----------------------------------------------------------------------------

    def keys_for(self, number: str) -> tuple[str, ...]:
        return ()

    def write(self, changes: Sequence[Change]) -> Iterator[Written]:
        self._call()
        done: list[Written] = []
        for change in changes:
            if self._chance("reject_item"):
                done.append(Written(change.key, Failure(FailureKind.REJECTED, "not today")))
                continue
            want = next(iter(change.wants.values())) is Flag.SET
            self.writes.append((self.clock.monotonic(), change.key, want))
            if not self._chance("drop_write"):
                self._set(change.key, want, by="us")
            if not self._chance("lose_item"):
                done.append(Written(change.key, ref="ok"))
        self._after_call()
        yield from done

    def read(self, keys: Sequence[str]) -> Iterator[Looked]:
        self._call()
        for key in keys:
            if self._chance("lose_item"):
                continue
            holding = self._holding(key, self.rows.get(key), lagging=False)
            shown = holding.flags.get(self._channel()) is Flag.SET
            self.readings.append(Reading(self.clock.monotonic(), key, shown))
            yield Looked(key, holding)
        self.kill.here()

    def find(self, number: str) -> Iterator[Looked]:
        self._call()
        for row in list(self.rows.values()):
            if number in row.numbers and not row.gone:
                yield Looked(row.key, self._holding(row.key, row, lagging=True))

    def snapshot(self, cursor: str | None) -> Iterator[Page]:
        size = 7
        while True:
            self._call()
            keys = sorted(k for k, row in self.rows.items() if not row.gone and k > (cursor or ""))
            if self.capabilities.unit is Unit.NUMBER:
                keys = [k for k in keys if self._shown(self.rows[k])[1]]
            page = keys[:size]
            more = len(keys) > size
            if page:
                cursor = page[-1]
            holdings = tuple(self._holding(k, self.rows[k], lagging=True) for k in page)
            yield Page(holdings, cursor or "", more)
            if not more:
                return

    def changes(self, cursor: str | None) -> Iterator[Page]:
        """By time of change, with an overlap wider than the lag; reordered inside a page."""
        self._call()
        since, after = json.loads(cursor) if cursor else (self.clock.monotonic() - 60.0, "")
        now = self.clock.monotonic()
        rows = [
            row
            for row in self.rows.values()
            if row.visible_at <= now and (row.changed_at, row.key) > (since, after)
        ]
        rows.sort(key=lambda row: (row.changed_at, row.key))
        page, more = rows[:5], len(rows) > 5
        mark = (page[-1].changed_at, page[-1].key) if more else (max(since, now - self.lag - 30.0), "")
        holdings = [self._holding(row.key, row, lagging=True) for row in page]
        self.rng.shuffle(holdings)
        yield Page(tuple(holdings), json.dumps(mark), more)

    def parse_webhook(self, request: WebhookRequest) -> Webhook:
        raise WebhookRefused(404, "the simulation hands webhooks over itself")

    def describe(self) -> tuple[FieldCheck, ...]:
        return ()

    def probe(self) -> Probe:
        return Probe(self.name, ())

    def close(self) -> None:
        pass

    # --- the world ----------------------------------------------------------------------------------

    def person_sets(self, key: str, flag: bool) -> None:
        """A person ticks or unticks, with the webhook that it causes."""
        self._set(key, flag, by="person")
        self._hook(Webhook((Look(key),)))

    def _hook(self, webhook: Webhook) -> None:
        if self._chance("lose_hook"):
            return
        for _ in range(2 if self._chance("double_hook") else 1):
            self.hooks.append((self.clock.monotonic() + self.rng.choice((0.1, 0.5, 3.0, 40.0)), webhook))

    def _set(self, key: str, flag: bool, *, by: str) -> None:
        row = self.rows[key]
        if row.gone and row.became:
            # A write that was under way to a record as it was merged lands on the survivor. Without a vendor
            # that tells who, that cannot be told from a person's tick; it blocks, which is the safe side.
            row = self.rows[row.became]
            self.set_by_people.add(row.key)
        self._touch(row)
        if flag and by == "person":
            self.set_by_people.add(row.key)
        if row.flag != flag:
            row.flag, row.by = flag, by
            row.revision += 1

    def _touch(self, row: Row) -> None:
        now = self.clock.monotonic()
        if row.visible_at <= now:
            row.shown = (tuple(row.numbers), row.flag, row.revision)
        row.changed_at = now
        row.visible_at = now + self.rng.uniform(0, self.lag)

    def _shown(self, row: Row) -> tuple[tuple[str, ...], bool, int]:
        if row.visible_at > self.clock.monotonic():
            return row.shown
        return (tuple(row.numbers), row.flag, row.revision)

    def _holding(self, key: str, row: Row | None, *, lagging: bool) -> Holding:
        channel = self._channel()
        if row is None or row.gone:
            return Holding(key, {}, gone=True, became=row.became if row else None)
        numbers, flag, revision = (tuple(row.numbers), row.flag, row.revision)
        if lagging:
            numbers, flag, revision = self._shown(row)
        provenance = {}
        if self.tells_who and flag and not lagging:
            # Vendors' clocks are wrong by hours; only who is of use.
            wrong = timedelta(seconds=self.rng.uniform(-90_000, 90_000))
            provenance[channel] = Provenance(row.by, "UI", self.clock.now() + wrong, row.by == "us")
        return Holding(
            key,
            {channel: Flag.SET if flag else Flag.CLEAR},
            numbers,
            str(revision) if self.marks_revision and not lagging else "",
            provenance,
        )

    def _channel(self) -> Channel:
        return next(iter(self.capabilities.channels))

    def _call(self) -> None:
        self.kill.here()
        self.clock.advance(self.rng.uniform(0.02, 0.4))
        if self.clock.monotonic() < self.trouble.down_until or self._chance("refuse"):
            raise VendorError(Failure(FailureKind.TRANSIENT, "cannot connect"))
        if self._chance("rate_limit"):
            raise VendorError(Failure(FailureKind.RATE_LIMITED, "too many calls", retry_after=7.0))
        if self._chance("timeout_before"):
            raise VendorError(Failure(FailureKind.UNKNOWN, "no answer"))

    def _after_call(self) -> None:
        self.kill.here()
        if self._chance("timeout_after"):
            raise VendorError(Failure(FailureKind.UNKNOWN, "no answer"))

    def _chance(self, name: str) -> bool:
        return self.rng.random() < float(getattr(self.trouble, name))


class Crm(Vendor):
    """Records with several numbers; feeds and listings lag."""

    def merge(self, loser: str, winner: str) -> None:
        """As HubSpot does it: the loser's id points at the winner, and the loser's flag is lost."""
        lost, won = self.rows[loser], self.rows[winner]
        self._touch(lost)
        self._touch(won)
        won.numbers = list(dict.fromkeys([*won.numbers, *lost.numbers]))
        lost.gone, lost.became = True, winner
        if lost.key in self.set_by_people:
            self.set_by_people.add(winner)


class Dialer(Vendor):
    """One list of numbers; no feed, a listing, hints without a signature."""

    def keys_for(self, number: str) -> tuple[str, ...]:
        return (f"LIST/{number}",)

    def _set(self, key: str, flag: bool, *, by: str) -> None:
        if key not in self.rows:
            self.rows[key] = Row(key, [key.partition("/")[2]])
        super()._set(key, flag, by=by)


class Sms(Vendor):
    """Two programmes; nothing can be read; people text, and the messages can be polled after an outage."""

    said: list[tuple[float, Statement]]

    def keys_for(self, number: str) -> tuple[str, ...]:
        return (f"MG1/{number}", f"MG2/{number}")

    def _set(self, key: str, flag: bool, *, by: str) -> None:
        if key not in self.rows:
            self.rows[key] = Row(key, [key.partition("/")[2]])
        super()._set(key, flag, by=by)

    def text(self, ref: str, number: str, words: str, scope: str) -> Statement:
        """A consumer texts; the vendor keeps its own list, too."""
        said = Statement(ref, number, Channel.SMS, self.clock.now(), words, scope=scope, source="sms-inbound")
        self.said.append((self.clock.monotonic(), said))
        if words in ("STOP", "START"):
            self._set(f"{scope}/{number}", words == "STOP", by="person")
        self._hook(Webhook((said,), nonce=ref))
        return said

    def changes(self, cursor: str | None) -> Iterator[Page]:
        self._call()
        since = int(cursor or 0)
        found = self.said[since : since + 3]
        more = since + 3 < len(self.said)
        yield Page((), str(since + len(found)), more, statements=tuple(s for _, s in found))


def crm(name: str, clock: VirtualClock, rng: Random, kill: KillSwitch) -> Crm:
    """A CRM; half of them tell who set a flag."""
    capabilities = Capabilities(
        Unit.RECORD,
        Role.CRM,
        frozenset({Channel.VOICE}),
        has_webhooks=True,
        write_batch=4,
        read_batch=5,
        poll_every=45.0,
        read_after=rng.choice((0.0, 1.0)),
    )
    tells = rng.random() < 0.5
    return Crm(
        name, clock, rng, kill, capabilities, lag=rng.uniform(0, 20), marks_revision=tells, tells_who=tells
    )


def dialer(clock: VirtualClock, rng: Random, kill: KillSwitch) -> Dialer:
    """A dialer in the manner of VICIdial."""
    capabilities = Capabilities(
        Unit.NUMBER,
        Role.DIALER,
        frozenset({Channel.VOICE}),
        can_poll=False,
        has_webhooks=True,
        write_batch=3,
        read_batch=3,
    )
    return Dialer("dialer", clock, rng, kill, capabilities, lag=rng.uniform(0, 5))


def sms(clock: VirtualClock, rng: Random, kill: KillSwitch) -> Sms:
    """An SMS vendor in the manner of Twilio."""
    capabilities = Capabilities(
        Unit.NUMBER,
        Role.SMS,
        frozenset({Channel.SMS}),
        can_clear=False,
        can_read=False,
        can_list=False,
        has_webhooks=True,
        write_batch=5,
        poll_every=90.0,
    )
    vendor = Sms("sms", clock, rng, kill, capabilities)
    vendor.said = []
    return vendor
