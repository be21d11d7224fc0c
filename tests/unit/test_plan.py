"""A plan foresees what the rules do, survives a crash while it is made, and goes behind opt-outs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

from dncsync.budget import Lane
from dncsync.clock import VirtualClock, from_micros
from dncsync.connector import (
    Capabilities,
    Change,
    Failure,
    FailureKind,
    Looked,
    Page,
    Unit,
    VendorError,
    Written,
)
from dncsync.ledger import events, projections
from dncsync.ledger.sqlite import connect_reader
from dncsync.ledger.writer import DirectWriter, Tx
from dncsync.model import Channel, Flag, Holding, Provenance, Role
from dncsync.policy import Policies
from dncsync.runtime import commands
from dncsync.sync.deliveries import begin_write, end_write
from dncsync.sync.full_read import TRIES, patiently, read_system
from dncsync.sync.observe import observe
from dncsync.sync.plan import Compared, Kind, Quiet, compare
from dncsync.sync.plan_draft import Draft, DraftRefused
from dncsync.sync.requests import Intake, Reversal
from dncsync.sync.topology import SystemFacts, Topology
from dncsync.sync.turn import Pace, SystemLoop, no_lanes

AT = 1_790_000_000_000_000
NUMBERS = [f"+1312555{i:04d}" for i in range(100, 108)]
BOTH = frozenset(Channel)
BLOCKS = dict.fromkeys(Channel, BOTH)
"""Policy `unified`."""


def crm(name: str = "crm") -> SystemFacts:
    return SystemFacts(name, "toy", "US", Capabilities(Unit.RECORD, Role.CRM, BOTH))


def dialer(name: str = "dialer") -> SystemFacts:
    capabilities = Capabilities(Unit.NUMBER, Role.DIALER, frozenset({Channel.VOICE}), can_poll=False)
    return SystemFacts(name, "toy", "US", capabilities, lambda number: (f"LIST/{number}",))


def texts(name: str = "texts") -> SystemFacts:
    """A system with lists of text programmes that can be read."""
    capabilities = Capabilities(Unit.NUMBER, Role.SMS, frozenset({Channel.SMS}))
    return SystemFacts(name, "toy", "US", capabilities, lambda number: (f"PROG/{number}",))


def record(key: str, *numbers: str, voice: Flag = Flag.CLEAR, sms: Flag = Flag.CLEAR) -> Holding:
    return Holding(key, {Channel.VOICE: voice, Channel.SMS: sms}, numbers)


def entry(number: str) -> Holding:
    return Holding(f"LIST/{number}", {Channel.VOICE: Flag.SET}, (number,))


class Ledger:
    """A ledger with systems, and what tests do to it."""

    def __init__(self, folder: Path, *facts: SystemFacts) -> None:
        self.path = folder / "ledger.sqlite"
        self.writer = DirectWriter(self.path, create=True, durable=False, now=AT)
        self.facts = {each.name: each for each in facts}
        self.intake = Intake(Policies(), Topology(self.facts), salt=lambda: b"salt")
        self.at = AT
        self.reader = connect_reader(self.path)

    def do(self, work: Callable[[Tx, int], Any]) -> Any:
        self.at += 1_000_000
        return self.writer.call(lambda tx: work(tx, self.at))

    def saw(self, facts: SystemFacts, *holdings: Holding) -> None:
        """Read by key, and taken in."""
        self.do(lambda tx, at: self.look(tx, at, facts, holdings))

    def look(self, tx: Tx, at: int, facts: SystemFacts, holdings: Sequence[Holding]) -> None:
        observe(tx, at, self.intake, facts, holdings, fresh=True, jitter=lambda: 0.5)

    def told(self, known_to: Topology | None) -> Intake:
        """What is recorded becomes deliveries in these systems; None: in all."""
        return self.intake if known_to is None else Intake(Policies(), known_to)

    def block(
        self, number: str, channel: Channel = Channel.VOICE, *, known_to: Topology | None = None
    ) -> None:
        intake = self.told(known_to)
        self.do(lambda tx, at: intake.block(tx, at, number, channel, actor="jane", source="admin"))

    def unblock(self, number: str, *, known_to: Topology | None = None) -> None:
        how = dict.fromkeys(("actor", "reason", "basis", "evidence_name", "evidence_sha256"), "x")
        intake, reversal = self.told(known_to), Reversal(number, tuple(Channel), **how)
        self.do(lambda tx, at: intake.reverse(tx, at, reversal))

    def write(self, facts: SystemFacts, want: Flag, *, answered: bool) -> None:
        """Sends what is due; the answer may be lost."""

        def send(tx: Tx, at: int) -> None:
            batch = begin_write(tx, at, facts, want, backfill=False)
            if batch is not None and answered:
                end_write(tx, at, facts, batch, [Written(c.key) for c in batch.changes], lambda: 0.5)

        self.do(send)

    def close(self) -> None:
        self.reader.close()
        self.writer.close()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Ledger]]:
    made: list[Ledger] = []

    def build(*facts: SystemFacts) -> Ledger:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Ledger(folder, *facts))
        return made[-1]

    yield build
    for ledger in made:
        ledger.close()


def look_at(ledger: Ledger, facts: SystemFacts, holdings: Sequence[Holding]) -> Compared:
    return compare(ledger.reader, facts, holdings, BLOCKS)


def kinds(found: Compared) -> list[tuple[str, Kind]]:
    return [(change.key, change.kind) for change in found.changes]


# --- one thing at a time -----------------------------------------------------------------------------------


def test_a_set_record_that_nobody_knows_is_an_import_of_its_numbers(make: Callable[..., Ledger]) -> None:
    ledger = make(crm())
    found = look_at(ledger, crm(), [record("1", NUMBERS[1], NUMBERS[0], voice=Flag.SET)])
    assert {(c.channel, c.kind) for c in found.changes} == {("voice", Kind.IMPORT), ("sms", Kind.SPREAD)}
    assert {c.numbers for c in found.changes} == {(NUMBERS[0], NUMBERS[1])}


def test_a_clear_record_with_a_blocked_number_is_to_be_suppressed(make: Callable[..., Ledger]) -> None:
    ledger = make()
    ledger.block(NUMBERS[0])
    found = look_at(ledger, crm(), [record("1", "(312) 555-0100"), record("2", NUMBERS[1])])
    assert kinds(found) == [("1", Kind.SUPPRESS), ("1", Kind.SUPPRESS)]
    assert found.quiet == {Quiet.UNSEEN: 2}


def test_what_was_read_as_set_and_shows_clear_is_to_be_put_back(make: Callable[..., Ledger]) -> None:
    ledger = make(crm())
    ledger.saw(crm(), record("1", NUMBERS[0], voice=Flag.SET, sms=Flag.SET))
    found = look_at(ledger, crm(), [record("1", NUMBERS[0], sms=Flag.SET)])
    assert kinds(found) == [("1", Kind.PUT_BACK)]
    assert found.quiet == {Quiet.SAME: 1}


def test_after_a_reversal_a_set_record_is_to_be_cleared(make: Callable[..., Ledger]) -> None:
    ledger = make()
    ledger.saw(crm(), record("1", NUMBERS[0], voice=Flag.SET, sms=Flag.SET))
    ledger.unblock(NUMBERS[0])
    again = record("1", NUMBERS[0], voice=Flag.SET, sms=Flag.SET)
    assert kinds(look_at(ledger, crm(), [again])) == [("1", Kind.CLEAR), ("1", Kind.CLEAR)]


def test_a_field_that_does_not_show_is_no_clear_field(make: Callable[..., Ledger]) -> None:
    ledger = make()
    ledger.block(NUMBERS[0])
    found = look_at(ledger, crm(), [record("1", NUMBERS[0], voice=Flag.ABSENT, sms=Flag.SET)])
    assert ("1", Kind.FIELD_ABSENT) in kinds(found)
    assert ("1", Kind.SUPPRESS) not in kinds(found)


def test_a_delivery_that_is_underway_is_not_planned_again(make: Callable[..., Ledger]) -> None:
    ledger = make(crm())
    ledger.saw(crm(), record("1", NUMBERS[0]))
    ledger.block(NUMBERS[0])
    found = look_at(ledger, crm(), [record("1", NUMBERS[0])])
    assert found.changes == []
    assert found.quiet == {Quiet.UNDERWAY: 2}


def test_a_number_that_came_to_a_record_after_its_request_is_covered(
    make: Callable[..., Ledger],
) -> None:
    ledger = make(crm())
    ledger.saw(crm(), record("1", NUMBERS[0], voice=Flag.SET, sms=Flag.SET))
    later = record("1", NUMBERS[0], NUMBERS[1], voice=Flag.SET, sms=Flag.SET)
    covers = [c for c in look_at(ledger, crm(), [later]).changes if c.kind is Kind.COVER]
    assert {c.numbers for c in covers} == {(NUMBERS[1],)}


def test_values_that_are_no_number_are_counted_and_cause_nothing(make: Callable[..., Ledger]) -> None:
    ledger = make()
    found = look_at(ledger, crm(), [record("1", "N/A", "312-555-0100 x12")])
    assert found.changes == []
    assert dict(found.quarantined) == {"junk": 1, "extension": 1}


@pytest.mark.parametrize("value", ["0000000000", "5550100"])
def test_a_list_entry_that_is_no_number_is_left_as_it_is(make: Callable[..., Ledger], value: str) -> None:
    found = look_at(make(), dialer(), [Holding(f"LIST/{value}", {Channel.VOICE: Flag.SET}, (value,))])
    assert found.changes == []
    assert sum(found.quarantined.values()) == 1


def test_what_our_own_integration_set_is_no_request(make: Callable[..., Ledger]) -> None:
    ledger = make()
    ledger.block(NUMBERS[0])
    ours = {channel: Provenance(ours=True) for channel in Channel}
    echo = replace(record("1", NUMBERS[0], voice=Flag.SET, sms=Flag.SET), provenance=ours)
    assert look_at(ledger, crm(), [echo]).changes == []


def test_a_page_takes_the_same_number_of_queries_for_ten_holdings_and_for_four_hundred(
    make: Callable[..., Ledger],
) -> None:
    ledger = make()
    ledger.block(NUMBERS[0])

    def queries(count: int) -> int:
        asked: list[str] = []
        ledger.reader.set_trace_callback(asked.append)
        look_at(ledger, crm(), [record(str(i), NUMBERS[i % 8], voice=Flag.SET) for i in range(count)])
        ledger.reader.set_trace_callback(None)
        return len(asked)

    assert queries(400) == queries(10)


# --- the plan foresees exactly what the rules do ------------------------------------------------------------


class _Undo(Exception):
    pass


def _life(ledger: Ledger, rng: Random, crms: SystemFacts, lists: SystemFacts) -> None:
    """Things that happen to a ledger before somebody compares; some of it while no daemon ran."""
    nobody = Topology({})
    for _ in range(rng.randint(0, 16)):
        draw, known_to = rng.random(), rng.choice((None, nobody))
        if draw < 0.3:
            ledger.saw(crms, _some_record(rng))
        elif draw < 0.45:
            ledger.saw(lists, _some_entry(rng))
        elif draw < 0.6:
            ledger.block(rng.choice(NUMBERS[:3]), rng.choice(list(Channel)), known_to=known_to)
        elif draw < 0.8:
            blocked = ledger.reader.execute("SELECT DISTINCT number FROM blocks WHERE ended_seq IS NULL")
            for (number,) in sorted(blocked.fetchall()):
                if rng.random() < 0.6:
                    ledger.unblock(number, known_to=known_to)
        else:
            facts = rng.choice((crms, lists))
            ledger.write(facts, rng.choice((Flag.SET, Flag.CLEAR)), answered=rng.random() < 0.7)


def _some_record(rng: Random) -> Holding:
    flags = {c: rng.choice((Flag.SET, Flag.CLEAR, Flag.CLEAR)) for c in Channel}
    who = {c: Provenance(ours=rng.choice((None, True, False))) for c in Channel}
    some = tuple(rng.sample([*NUMBERS[:3], "N/A"], rng.randint(0, 2)))
    marks = {c: rng.choice("xyz") for c in Channel if rng.random() < 0.6}
    return Holding(rng.choice("12"), flags, some, revision=rng.choice("abc"), provenance=who, revisions=marks)


def _some_entry(rng: Random) -> Holding:
    number = rng.choice(NUMBERS[:3])
    return entry(number) if rng.random() < 0.6 else Holding(f"LIST/{number}", {}, gone=True)


def _done(tx: Tx, before: int, facts: SystemFacts, key: str) -> tuple[set[Any], set[Any], set[Any], set[Any]]:
    """What the events since `before` did about one key: requests, covers, opened sets, opened clears."""
    asked, covered, opened = set(), set(), set()
    for event in events.iterate(tx.conn, before):
        body = event.payload
        if event.kind == "requests.recorded":
            for r in body["requests"]:
                own = r.get("record") == [facts.name, key] or (facts.by_number and r.get("number") in key)
                asked |= {r["channel"]} if own else set()
        elif event.kind == "requests.covered":
            covered |= {number for _, number in body["covers"]}
        elif event.kind == "deliveries.opened" and event.system == facts.name:
            opened |= {(d["channel"], d["want"]) for d in body["deliveries"] if d["key"] == key}
    return asked, covered, {c for c, w in opened if w == "set"}, {c for c, w in opened if w == "clear"}


@pytest.mark.parametrize("seed", range(250))
def test_what_a_plan_foresees_of_a_key_is_what_a_look_at_it_does(
    make: Callable[..., Ledger], seed: int
) -> None:
    rng = Random(seed)
    crms, lists = crm(), dialer()
    ledger = make(crms, lists)
    _life(ledger, rng, crms, lists)
    for _ in range(6):
        facts = rng.choice((crms, lists))
        holding = _some_record(rng) if facts is crms else _some_entry(rng)
        named = holding
        if facts is lists and holding.gone:
            named = replace(holding, numbers=(holding.key.removeprefix("LIST/"),))

        def try_out(tx: Tx, at: int, facts: SystemFacts = facts, holding: Holding = holding) -> None:
            before = tx.head.seq
            found = compare(tx.conn, facts, [named], BLOCKS)  # noqa: B023
            if any(change.kind is Kind.ADD for change in found.changes):
                commands.settle_here(
                    tx,
                    at,
                    ledger.intake,
                    {"system": facts.name, "numbers": list(named.numbers)},  # noqa: B023
                )
            else:
                ledger.look(tx, at, facts, [holding])
            asked, covered, sets, clears = _done(tx, before, facts, holding.key)
            plan: dict[Kind, set[Any]] = {kind: set() for kind in Kind}
            for change in found.changes:
                plan[change.kind].add(change.channel)
            assert asked == plan[Kind.IMPORT]
            assert covered == {n for c in found.changes if c.kind is Kind.COVER for n in c.numbers}
            assert clears == plan[Kind.CLEAR]
            planned_sets = plan[Kind.SUPPRESS] | plan[Kind.PUT_BACK] | plan[Kind.ADD] | plan[Kind.SPREAD]
            assert sets == planned_sets
            raise _Undo

        with pytest.raises(_Undo):
            ledger.do(try_out)


# --- the draft ----------------------------------------------------------------------------------------------


def planned(ledger: Ledger, draft: Draft, *chosen: SystemFacts) -> list[tuple[str, str, str, Kind]]:
    draft.conclude(ledger.reader, chosen, BLOCKS)
    return [(c.system, c.key, c.channel, c.kind) for c in draft.changes()]


def draft_of(ledger: Ledger, folder: Path, *names: str) -> Draft:
    return Draft(folder / "plan.jsonl", ledger.reader, names, datetime(2026, 11, 23, tzinfo=UTC))


def take(draft: Draft, ledger: Ledger, facts: SystemFacts, *holdings: Holding, last: bool = True) -> None:
    draft.take(ledger.reader, facts, holdings, f"after {holdings[-1:]}", last=last, blocks=BLOCKS)


def test_an_import_spreads_to_other_records_lists_and_channels(
    make: Callable[..., Ledger], tmp_path: Path
) -> None:
    ledger = make()
    one, two = crm("one"), crm("two")
    with draft_of(ledger, tmp_path, "one", "two", "dialer") as draft:
        take(draft, ledger, two, record("7", NUMBERS[0]), record("8", NUMBERS[1]))
        take(draft, ledger, one, record("1", NUMBERS[0], voice=Flag.SET))
        take(draft, ledger, dialer(), entry(NUMBERS[2]))
        assert planned(ledger, draft, one, two, dialer()) == [
            ("dialer", f"LIST/{NUMBERS[2]}", "voice", Kind.IMPORT),
            ("one", "1", "voice", Kind.IMPORT),
            ("dialer", f"LIST/{NUMBERS[0]}", "voice", Kind.SPREAD),
            ("one", "1", "sms", Kind.SPREAD),
            ("two", "7", "sms", Kind.SPREAD),
            ("two", "7", "voice", Kind.SPREAD),
        ]


def test_a_record_without_numbers_spreads_to_its_own_other_channel(
    make: Callable[..., Ledger], tmp_path: Path
) -> None:
    ledger = make()
    with draft_of(ledger, tmp_path, "crm") as draft:
        take(draft, ledger, crm(), record("1", voice=Flag.SET))
        assert planned(ledger, draft, crm())[1:] == [("crm", "1", "sms", Kind.SPREAD)]
        assert [c.numbers for c in draft.changes()] == [(), ()]


def test_a_blocked_number_that_is_missing_on_a_list_is_added_unless_its_programme_was_restored(
    make: Callable[..., Ledger], tmp_path: Path
) -> None:
    ledger = make(dialer(), texts())
    for number in NUMBERS[:3]:
        ledger.block(number, Channel.SMS, known_to=Topology({}))
    body = {"scope": "PROG", "ref": "m1"}
    restored = events.NewEvent("programme.restored", AT, body, number=NUMBERS[1], system="texts")
    ledger.do(lambda tx, at: projections.record(tx, restored))
    with draft_of(ledger, tmp_path, "dialer", "texts") as draft:
        take(draft, ledger, dialer(), entry(NUMBERS[2]))
        take(draft, ledger, texts(), Holding(f"PROG/{NUMBERS[2]}", {Channel.SMS: Flag.SET}, (NUMBERS[2],)))
        adds = [c for c in planned(ledger, draft, dialer(), texts()) if c[3] is Kind.ADD]
    assert adds == [
        ("dialer", f"LIST/{NUMBERS[0]}", "voice", Kind.ADD),
        ("dialer", f"LIST/{NUMBERS[1]}", "voice", Kind.ADD),
        ("texts", f"PROG/{NUMBERS[0]}", "sms", Kind.ADD),
    ]


def test_an_entry_that_was_there_and_is_missing_is_put_back(
    make: Callable[..., Ledger], tmp_path: Path
) -> None:
    ledger = make(dialer())
    ledger.saw(dialer(), entry(NUMBERS[0]))
    with draft_of(ledger, tmp_path, "dialer") as draft:
        draft.take(ledger.reader, dialer(), (), "end", last=True, blocks=BLOCKS)
        assert planned(ledger, draft, dialer()) == [("dialer", f"LIST/{NUMBERS[0]}", "voice", Kind.PUT_BACK)]


def test_a_holding_that_a_listing_gives_twice_counts_as_it_was_last(
    make: Callable[..., Ledger], tmp_path: Path
) -> None:
    ledger = make()
    with draft_of(ledger, tmp_path, "crm") as draft:
        take(draft, ledger, crm(), record("1", NUMBERS[0], voice=Flag.SET), last=False)
        take(draft, ledger, crm(), record("1", NUMBERS[0], voice=Flag.SET, sms=Flag.SET))
        assert {c[2:] for c in planned(ledger, draft, crm())} == {
            ("sms", Kind.IMPORT),
            ("voice", Kind.IMPORT),
        }


def test_a_draft_is_of_one_ledger_and_of_its_systems(make: Callable[..., Ledger], tmp_path: Path) -> None:
    ledger, other = make(), make()
    draft_of(ledger, tmp_path, "crm").__exit__(None, None, None)
    with pytest.raises(DraftRefused, match="unfinished plan of another ledger; remove it"):
        draft_of(other, tmp_path, "crm")
    with pytest.raises(DraftRefused, match="unfinished plan of other systems; remove it"):
        draft_of(ledger, tmp_path, "crm", "dialer")
    (tmp_path / "plan.jsonl.partial").write_text("what is this " * 100)
    with pytest.raises(DraftRefused, match="is no unfinished plan; remove it"):
        draft_of(ledger, tmp_path, "crm")


# --- reading a system ---------------------------------------------------------------------------------------


class Listing:
    """A connector whose snapshot can break off; each page has two records."""

    def __init__(self, records: int, *, breaks: dict[int, Failure | None] | None = None) -> None:
        self.facts = crm()
        self.connector: Any = self
        self.records = records
        self.breaks = dict(breaks or {})
        self.begun_at: list[str | None] = []

    def lanes(self, lane: Lane) -> Any:
        assert lane is Lane.BACKGROUND
        return no_lanes(lane)

    def snapshot(self, cursor: str | None) -> Iterator[Page]:
        self.begun_at.append(cursor)
        for first in range(int(cursor or 0), self.records, 2):
            if first in self.breaks:
                failure = self.breaks.pop(first)
                if failure is None:
                    return
                raise VendorError(failure)
            keys = range(first, min(first + 2, self.records))
            some = tuple(record(str(i), NUMBERS[i % 8], voice=Flag.SET) for i in keys)
            yield Page(some, str(first + 2), more=first + 2 < self.records)


def read(ledger: Ledger, folder: Path, source: Listing, clock: VirtualClock | None = None) -> list[str]:
    with draft_of(ledger, folder, "crm") as draft:
        read_system(draft, ledger.reader, source, clock or VirtualClock(), BLOCKS, lambda done, total: None)
        draft.conclude(ledger.reader, [source.facts], BLOCKS)
        return [json.dumps((c.key, c.channel, c.kind, c.numbers)) for c in draft.changes()]


TRANSIENT = Failure(FailureKind.TRANSIENT, "busy", retry_after=7.0)


def test_a_bad_moment_of_the_vendor_is_waited_out(make: Callable[..., Ledger], tmp_path: Path) -> None:
    clock = VirtualClock()
    broken = Listing(8, breaks={4: TRANSIENT})
    (tmp_path / "a").mkdir()
    assert read(make(), tmp_path, broken, clock) == read(make(), tmp_path / "a", Listing(8))
    assert broken.begun_at == [None, "4"]
    assert clock.monotonic() == 7.0


def test_a_reading_that_broke_off_goes_on_where_it_stopped_and_makes_the_same_plan(
    make: Callable[..., Ledger], tmp_path: Path
) -> None:
    ledger = make()
    dead = Listing(8, breaks={6: Failure(FailureKind.UNAUTHORISED, "no")})
    with pytest.raises(VendorError):
        read(ledger, tmp_path, dead)
    again = Listing(8)
    (tmp_path / "a").mkdir()
    assert read(ledger, tmp_path, again) == read(ledger, tmp_path / "a", Listing(8))
    assert again.begun_at == ["6"]


def test_an_old_cursor_that_is_refused_begins_the_system_again(
    make: Callable[..., Ledger], tmp_path: Path
) -> None:
    ledger = make()
    with pytest.raises(VendorError):
        read(ledger, tmp_path, Listing(8, breaks={6: Failure(FailureKind.UNAUTHORISED, "no")}))
    again = Listing(4, breaks={6: Failure(FailureKind.REJECTED, "cursor expired")})
    again.records = 8
    assert len(read(ledger, tmp_path, again)) == 16  # 8 imports, and 8 spreads to the other channel
    assert again.begun_at == ["6", None]


def test_a_listing_that_just_ends_proves_nothing(make: Callable[..., Ledger], tmp_path: Path) -> None:
    with pytest.raises(VendorError, match="without saying that everything was read"):
        read(make(), tmp_path, Listing(8, breaks={4: None}))


def test_patience_has_an_end_and_spares_what_only_a_person_can_mend() -> None:
    for kind, tries in ((FailureKind.TRANSIENT, TRIES), (FailureKind.UNAUTHORISED, 1)):
        calls: list[int] = []

        def call(kind: FailureKind = kind, calls: list[int] = calls) -> None:
            calls.append(1)
            raise VendorError(Failure(kind, "no"))

        with pytest.raises(VendorError):
            patiently(call, VirtualClock())
        assert len(calls) == tries


# --- behind opt-outs ----------------------------------------------------------------------------------------


class Vendor:
    """A connector that holds what it is told, and remembers in which order."""

    def __init__(self, facts: SystemFacts, *holdings: Holding) -> None:
        self.facts = facts
        self.capabilities = facts.capabilities
        self.held = {holding.key: holding for holding in holdings}
        self.read_keys: list[list[str]] = []
        self.written: list[list[str]] = []

    def read(self, keys: Sequence[str]) -> Iterator[Looked]:
        self.read_keys.append(list(keys))
        return (Looked(key, self.held.get(key, Holding(key, {}, gone=True))) for key in keys)

    def write(self, changes: Sequence[Change]) -> Iterator[Written]:
        self.written.append([change.key for change in changes])
        for change in changes:
            self.held[change.key] = Holding(change.key, change.wants, (change.key.removeprefix("LIST/"),))
        return (Written(change.key) for change in changes)


def test_a_fresh_opt_out_goes_before_all_that_a_plan_makes_due(make: Callable[..., Ledger]) -> None:
    ledger = make(crm(), dialer())
    numbers = [f"+1312555{i:04d}" for i in range(1000, 1300)]
    crms = Vendor(crm(), *(record(str(i), n, voice=Flag.SET, sms=Flag.SET) for i, n in enumerate(numbers)))
    lists = Vendor(dialer())
    clock = VirtualClock(from_micros(AT + 10**9))
    loops = [
        SystemLoop(
            vendor.facts,
            vendor,  # type: ignore[arg-type]  # of a connector only what a loop without feeds needs
            ledger.writer,
            ledger.intake,
            clock,
            lambda: 0.5,
            pace=Pace(feeds=False),
        )
        for vendor in (crms, lists)
    ]
    ledger.at = AT + 10**9
    looks = {"system": "crm", "keys": list(crms.held), "backfill": True}
    ledger.do(lambda tx, at: commands.run(tx, at, ledger.intake, "look", looks))
    clock.advance(60.0)
    while loops[0].turn() == 0.0:
        pass
    assert sum(map(len, crms.read_keys)) == 300
    assert loops[1].turn() == 0.0
    first, *rest = lists.written
    assert (len(first), rest) == (100, [])
    ledger.at += 10**8
    clock.advance(100.0)
    ledger.block(NUMBERS[0])
    hint = {"system": "crm", "keys": ["2"]}
    ledger.do(lambda tx, at: commands.run(tx, at, ledger.intake, "look", hint))
    ledger.do(lambda tx, at: commands.run(tx, at, ledger.intake, "look", looks | {"keys": ["0", "1", "2"]}))
    clock.advance(10.0)
    while min(loop.turn() for loop in loops) == 0.0:
        pass
    assert lists.written[1] == [f"LIST/{NUMBERS[0]}"]
    assert sum(map(len, lists.written)) == 301
    assert crms.read_keys[-2:] == [["2"], ["0", "1"]]
