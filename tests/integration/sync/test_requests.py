"""Requests: what they cover, what they carry with them, and when their legal clock ends."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from dncsync.clock import from_micros, to_micros
from dncsync.deadlines import clock_start, deadlines
from dncsync.ledger.verify import verify
from dncsync.numbers import region_zones
from integration.sync.vendors import ANN, BOB, CID, CLEAR, DEB, SET, SMS, VOICE
from integration.sync.world import World, policy

Make = Callable[..., World]


# --- coverage (design section 3, "What a request covers") -----------------------------------------------


def test_a_request_made_on_a_record_covers_all_its_numbers(world: World) -> None:
    world.crm.put("7", ANN, BOB)
    world.work()
    world.crm.person("7", SET)
    world.settle()

    assert world.blocked(ANN) == world.blocked(BOB) == {"voice", "sms"}
    assert world.dialer.flag(f"DNC/{BOB}") is SET


def test_a_request_made_on_a_record_covers_numbers_added_later(world: World) -> None:
    world.crm.put("7", ANN)
    world.crm.person("7", SET)
    world.settle()
    assert world.blocked(BOB) == set()

    world.crm.rows["7"].numbers = (ANN, BOB)
    world.crm.feed.append("7")
    world.run(20.0)

    assert world.blocked(BOB) == {"voice", "sms"}
    assert world.dialer.flag(f"DNC/{BOB}") is SET
    assert len(world.requests()) == 1, "it is the same request"


def test_a_request_made_on_a_record_without_numbers_waits_for_the_first(world: World) -> None:
    world.crm.put("7")
    world.crm.person("7", SET)
    world.settle()

    world.crm.rows["7"].numbers = (ANN,)
    world.crm.feed.append("7")
    world.run(20.0)

    assert world.blocked(ANN) == {"voice", "sms"}


def test_a_block_that_we_wrote_onto_a_record_does_not_spread_to_its_other_numbers(world: World) -> None:
    world.crm.put("7", ANN, BOB)
    world.text(ANN)
    world.settle()
    assert world.crm.flag("7", VOICE) is world.crm.flag("7", SMS) is SET

    world.crm.feed.append("7")
    world.hook("crm")
    world.loops["crm"].snapshot_now()
    world.run(60.0)

    assert world.blocked(BOB) == set()
    assert world.may_contact(BOB)
    assert world.dialer.flag(f"DNC/{BOB}") is CLEAR
    assert len(world.requests()) == 1


def test_a_number_that_moves_to_another_record_stays_blocked_and_takes_its_block_along(world: World) -> None:
    world.crm.put("7", ANN)
    world.crm.put("8", CID)
    world.text(ANN)
    world.settle()
    assert (world.crm.flag("7"), world.crm.flag("8")) == (SET, CLEAR)

    world.crm.rows["7"].numbers = (DEB,)
    world.crm.rows["8"].numbers = (CID, ANN)
    world.crm.feed += ["7", "8"]
    world.run(20.0)

    assert world.blocked(ANN) == {"voice", "sms"}
    assert world.crm.flag("8") is SET
    assert world.blocked(DEB) == world.blocked(CID) == set()
    assert world.crm.flag("7") is CLEAR, "no number on it is blocked, and nobody asked on the record"


def test_a_request_made_on_a_record_follows_the_record_when_its_number_leaves(world: World) -> None:
    world.crm.put("7", ANN)
    world.crm.person("7", SET)
    world.settle()

    world.crm.rows["7"].numbers = (BOB,)
    world.crm.feed.append("7")
    world.run(20.0)

    assert world.blocked(ANN) == {"voice", "sms"}, "the old number stays blocked"
    assert world.blocked(BOB) == {"voice", "sms"}
    assert world.crm.flag("7") is SET


# --- coverage by person ---------------------------------------------------------------------------------


def test_coverage_person_extends_by_one_hop_and_no_further(make_world: Make) -> None:
    world = make_world(policy=policy(coverage="person"))
    world.crm.put("1", ANN, BOB)
    world.crm.put("2", BOB, CID)
    world.work()

    world.text(ANN)
    world.settle()

    assert world.blocked(BOB) == {"voice", "sms"}
    assert world.blocked(CID) == set(), "two hops away"
    assert world.findings("shared-line") == []


def test_coverage_person_does_not_extend_from_a_shared_line(make_world: Make) -> None:
    world = make_world(policy=policy(coverage="person", shared_line_limit=2))
    for key, other in zip("123", (BOB, CID, DEB), strict=True):
        world.crm.put(key, ANN, other)
    world.work()

    world.text(ANN)
    world.settle()

    assert [world.blocked(n) for n in (ANN, BOB, CID, DEB)] == [{"voice", "sms"}, set(), set(), set()]
    (finding,) = world.findings("shared-line")
    assert "3 records" in finding["summary"]
    assert ANN not in finding["summary"]


def test_coverage_record_is_the_default(world: World) -> None:
    world.crm.put("1", ANN, BOB)
    world.work()
    world.text(ANN)
    world.settle()

    assert world.blocked(BOB) == set()


# --- channels -------------------------------------------------------------------------------------------


def test_unified_channels_a_stop_by_text_blocks_voice_too_and_the_channel_is_kept(world: World) -> None:
    world.text(ANN)

    assert world.blocked(ANN) == {"voice", "sms"}
    (request,) = world.requests()
    assert (request["channel"], request["channels"]) == ("sms", "sms,voice")
    derived = dict(world.query("SELECT channel, derived FROM blocks"))
    assert derived == {"sms": 0, "voice": 1}


def test_separate_channels_a_stop_by_text_blocks_text_only(make_world: Make) -> None:
    world = make_world(policy=policy(channels="separate"))
    world.crm.put("7", ANN)
    world.work()
    world.text(ANN)
    world.settle()

    assert world.blocked(ANN) == {"sms"}
    assert (world.crm.flag("7", SMS), world.crm.flag("7", VOICE)) == (SET, CLEAR)
    assert world.dialer.flag(f"DNC/{ANN}") is CLEAR


# --- the legal clock (regulation section 8, REV-05) -----------------------------------------------------


@pytest.mark.parametrize(
    ("number", "said_at"),
    [
        pytest.param("+13125550100", datetime(2026, 11, 23, 15, 0, tzinfo=UTC), id="Chicago at noon"),
        pytest.param("+18085550100", datetime(2026, 11, 24, 4, 30, tzinfo=UTC), id="T21: two dates at once"),
        pytest.param(
            "+12085550100", datetime(2026, 12, 31, 6, 30, tzinfo=UTC), id="T21: Idaho has two zones"
        ),
        pytest.param(
            "+18005550100", datetime(2026, 3, 8, 6, 59, tzinfo=UTC), id="toll-free, change of clocks"
        ),
    ],
)
def test_the_deadlines_on_a_request_are_those_of_its_zones(
    make_world: Make, number: str, said_at: datetime
) -> None:
    world = make_world(start=said_at, company_zone="America/Denver")

    world.text(number)

    (request,) = world.requests()
    due = deadlines(said_at, [*region_zones(number), "America/Denver"], 10)
    assert request["deadline_strict"] == to_micros(due.strict)
    assert request["deadline_federal"] == to_micros(due.federal_end)


def test_t21_of_two_zones_the_earlier_deadline_wins(make_world: Make) -> None:
    """23:30 on Monday in Honolulu is Tuesday in New York: the Monday counts."""
    world = make_world(start=datetime(2026, 12, 1, 9, 30, tzinfo=UTC))

    world.text("+18085550100")

    (request,) = world.requests()
    # Day 10 after Monday 30 November is Monday 14 December; it begins first by UTC.
    assert from_micros(request["deadline_strict"]) == datetime(2026, 12, 14, 0, 0, tzinfo=UTC)


def test_the_clock_starts_when_the_consumer_spoke_and_not_when_it_reached_us(world: World) -> None:
    said = world.statement(ANN)
    world.clock.advance(5 * 86_400.0)

    world.hear(said)

    (request,) = world.requests()
    assert from_micros(request["occurred_at"]) == said.at
    assert from_micros(request["received_at"]) == said.at + timedelta(days=5)
    assert from_micros(request["deadline_strict"]) < clock_start(said.at) + timedelta(days=15)


def test_a_vendors_clock_that_is_ahead_does_not_make_a_deadline_later(world: World) -> None:
    """Law 7: a vendor's time is evidence; one in our future is a wrong clock."""
    now = world.clock.now()
    said = world.statement(ANN)
    object.__setattr__(said, "at", now + timedelta(days=300))

    world.hear(said)

    assert from_micros(world.requests()[0]["occurred_at"]) == now


# --- a block stays --------------------------------------------------------------------------------------


def test_t4_a_purchase_or_any_time_that_passes_does_not_revive_a_number(world: World) -> None:
    """An internal block of 1 January, a purchase in October, a call in November: blocked."""
    world.crm.put("7", ANN)
    world.work()
    world.block(ANN)
    world.settle()

    world.clock.advance(300 * 86_400.0)
    world.crm.person("7", CLEAR, who="the shop's order import")
    world.settle()

    assert not world.may_contact(ANN)
    assert world.crm.flag("7") is SET


# --- words are personal data ----------------------------------------------------------------------------


def test_words_are_in_the_private_table_and_in_no_event(world: World) -> None:
    world.text(ANN, "Please take me off your list, yours, Ann Onymous")
    world.do(
        lambda tx: world.intake.block(
            tx, world.at, BOB, VOICE, actor="ada", source="admin", words="Bob Onymous called me"
        )
    )

    assert [row[0] for row in world.query("SELECT payload FROM events WHERE payload LIKE '%Onymous%'")] == []
    bodies = [row[0] for row in world.query("SELECT body FROM private ORDER BY seq")]
    assert bodies == ["Please take me off your list, yours, Ann Onymous", "Bob Onymous called me"]


def test_purged_words_leave_a_chain_that_still_verifies(world: World) -> None:
    world.text(ANN, "Please take me off your list, yours, Ann Onymous")
    (digest,) = world.query("SELECT words FROM statements")[0]

    world.do(lambda tx: tx.purge(bytes.fromhex(digest), at=world.at, reason="erasure request", actor="ada"))

    assert verify(world.path).problems == ()
    files = b"".join(file.read_bytes() for file in world.path.parent.iterdir())
    assert b"+1312555" in files
    assert b"Onymous" not in files
    assert world.blocked(ANN) == {"voice", "sms"}, "T17: the words are gone, the number is still blocked"
