"""Drafts of plans, and reading a system for one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dncsync.budget import Lane
from dncsync.clock import VirtualClock, from_micros
from dncsync.connector import (
    Change,
    Failure,
    FailureKind,
    Looked,
    Page,
    VendorError,
    Written,
)
from dncsync.ledger import events, projections
from dncsync.model import Channel, Flag, Holding
from dncsync.runtime import commands
from dncsync.sync.full_read import TRIES, patiently, read_system
from dncsync.sync.plan import Kind
from dncsync.sync.plan_draft import Draft, DraftRefused
from dncsync.sync.topology import SystemFacts, Topology
from dncsync.sync.turn import Pace, SystemLoop, no_lanes
from unit.plan.making import (
    AT,
    BLOCKS,
    NUMBERS,
    Ledger,
    crm,
    dialer,
    entry,
    record,
    texts,
)

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
    looks = {"system": "crm", "keys": list(crms.held), "backfill": True, "approved": True}
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
