"""The comparison says, key by key, what the rules would do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from dncsync.ledger import events
from dncsync.ledger.writer import Tx
from dncsync.model import Channel, Flag, Holding, Provenance
from dncsync.runtime import commands
from dncsync.sync.plan import Kind, Quiet, compare
from dncsync.sync.topology import SystemFacts, Topology
from unit.plan.making import (
    BLOCKS,
    NUMBERS,
    Ledger,
    crm,
    dialer,
    entry,
    kinds,
    look_at,
    record,
)

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
        elif event.kind == "deliveries.opened":
            mine = [d for d in body["deliveries"] if (d["system"], d["key"]) == (facts.name, key)]
            opened |= {(d["channel"], d["want"]) for d in mine}
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
