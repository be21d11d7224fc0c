"""What people say: recorded once, read carefully, and START that takes back one programme and no more."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest

from dncsync.connector import Look, Says
from dncsync.model import OptOutKind
from integration.sync.vendors import ANN, BOB, SET, SMS, VOICE
from integration.sync.world import World

Make = Callable[..., World]


def test_a_statement_is_recorded_once_however_often_it_comes(world: World) -> None:
    said = world.statement(ANN)
    assert world.hear(said) is OptOutKind.CONCLUSIVE
    before = world.events()

    assert [world.hear(said) for _ in range(3)] == [None, None, None]

    assert world.events() == before
    assert len(world.requests()) == 1


def test_a_webhook_that_is_replayed_changes_nothing(world: World) -> None:
    said = world.statement(ANN)
    assert world.hook("sms", said, Look("anything"), nonce="n1") == 2
    before = world.events()

    assert world.hook("sms", world.statement(BOB), nonce="n1") == 0

    assert world.events() == before
    assert world.blocked(BOB) == set()


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_statements_in_any_order_end_in_the_same_blocks(world: World, order: tuple[int, ...]) -> None:
    """STOP to two programmes and a question: whatever comes first, two requests and one number blocked."""
    said = [
        world.statement(ANN, "STOP", scope="MG1"),
        world.statement(ANN, "stop texting me", scope="MG2"),
        world.statement(ANN, "what are your opening hours", scope="MG1"),
    ]
    for index in order:
        world.hear(said[index])

    assert world.blocked(ANN) == {"voice", "sms"}
    assert sorted(r["scope"] for r in world.requests()) == ["MG1", "MG2"]


def test_t24_a_stop_that_stands_only_in_a_quoted_footer_is_no_request(world: World) -> None:
    assert world.text(ANN, "> Reply STOP to opt out") is OptOutKind.NOT

    assert world.may_contact(ANN, SMS)
    assert world.query("SELECT reading, request_id FROM statements") == [("not", None)]


def test_an_ambiguous_text_blocks_provisionally_and_asks_for_a_reader(world: World) -> None:
    assert world.text(ANN, "no thanks") is OptOutKind.AMBIGUOUS

    (request,) = world.requests()
    assert request["provisional"] == 1
    assert not world.may_contact(ANN)
    (finding,) = world.findings("review")
    assert finding["subject"] == request["id"]
    assert ANN not in finding["summary"]


def test_evidence_is_recorded_beside_the_number_and_asks_for_nothing(world: World) -> None:
    said = world.statement(ANN, "", source="21610", says=Says.STOP, evidence_only=True)

    assert world.hear(said) is OptOutKind.NOT

    assert world.query("SELECT number, reading, source FROM statements") == [(ANN, "evidence", "21610")]
    assert world.may_contact(ANN, SMS)


def test_an_unreadable_sender_is_a_finding_and_the_statement_is_kept(world: World) -> None:
    world.text("SHORTCODE", "STOP")

    (finding,) = world.findings("unreadable-sender")
    assert finding["subject"] == "SM1"
    assert world.query("SELECT number, reading FROM statements") == [(None, "conclusive")]


# --- a second copy that says more -----------------------------------------------------------------------


def test_a_second_copy_with_the_vendors_stop_is_judged_again(world: World) -> None:
    """A custom keyword: the message log has only the words, the webhook has the vendor's own reading."""
    world.crm.put("7", ANN)
    world.work()
    assert world.text(ANN, "GELATO", ref="SM77") is OptOutKind.NOT
    assert world.may_contact(ANN, SMS)

    assert world.text(ANN, "GELATO", ref="SM77", says=Says.STOP) is OptOutKind.CONCLUSIVE
    world.settle()

    assert world.blocked(ANN) == {"voice", "sms"}
    assert world.crm.flag("7", SMS) is SET
    (request,) = world.requests()
    rows = world.query("SELECT reading, request_id FROM statements WHERE number = ? ORDER BY event_seq", ANN)
    assert rows == [("not", None), ("conclusive", request["id"])]


def test_a_second_copy_that_says_more_is_itself_recorded_once(world: World) -> None:
    world.text(ANN, "GELATO", ref="SM77")
    world.text(ANN, "GELATO", ref="SM77", says=Says.STOP)
    before = world.events()

    for says in (Says.STOP, None, Says.START, Says.HELP):
        assert world.text(ANN, "GELATO", ref="SM77", says=says) is None

    assert world.events() == before


def test_a_second_copy_that_says_less_takes_nothing_back(world: World) -> None:
    world.text(ANN, "GELATO", ref="SM77", says=Says.STOP)
    before = world.events()

    assert world.text(ANN, "GELATO", ref="SM77") is None
    assert world.text(ANN, "GELATO", ref="SM77", says=Says.START) is None

    assert world.events() == before
    assert not world.may_contact(ANN, SMS)


def test_a_second_copy_makes_a_provisional_block_a_plain_one(world: World) -> None:
    world.text(ANN, "no thanks", ref="SM77")
    assert world.text(ANN, "no thanks", ref="SM77", says=Says.STOP) is OptOutKind.CONCLUSIVE

    assert [r["provisional"] for r in world.requests()] == [1, 0]


def test_words_of_a_second_copy_are_not_kept_twice(world: World) -> None:
    world.text(ANN, "GELATO, says Ann", ref="SM77")
    world.text(ANN, "GELATO, says Ann", ref="SM77", says=Says.STOP)

    assert world.query("SELECT count(*) FROM private WHERE body LIKE '%Ann%'") == [(1,)]


def test_evidence_that_turns_out_to_be_a_statement_is_judged_again(world: World) -> None:
    world.text(ANN, "STOP", ref="SM77", evidence_only=True)
    assert world.may_contact(ANN, SMS)

    assert world.text(ANN, "STOP", ref="SM77") is OptOutKind.CONCLUSIVE

    assert not world.may_contact(ANN, SMS)


# --- START (SEED-15) ------------------------------------------------------------------------------------


def test_t11_start_restores_the_programme_and_voice_stays(world: World) -> None:
    world.text(ANN, "STOP", scope="MG1")
    world.block(ANN, VOICE)
    world.settle()

    assert world.text(ANN, "START", scope="MG1") is OptOutKind.START
    world.settle()

    assert world.query("SELECT number, system, scope FROM restorations WHERE ended_seq IS NULL") == [
        (ANN, "sms", "MG1")
    ]
    assert not world.may_contact(ANN, VOICE)
    assert world.dialer.flag(f"DNC/{ANN}") is SET


def test_start_after_stop_writes_nothing_onto_the_restored_programme(world: World) -> None:
    """The vendor lifted its own block when it saw START; putting it back would undo what the consumer did."""
    world.text(ANN, "STOP", scope="MG1")
    world.settle()
    writes = len(world.sms.written)

    world.text(ANN, "START", scope="MG1")
    world.run(3600.0)

    assert world.sms.written[writes:] == []


def test_start_restores_no_other_programme(world: World) -> None:
    world.text(ANN, "STOP", scope="MG1")
    world.text(ANN, "START", scope="MG2")
    world.settle()

    assert world.query("SELECT * FROM restorations") == []
    assert world.sms.flag(f"MG2/{ANN}", SMS) is SET


def test_start_takes_back_nothing_that_was_not_stopped_by_text(world: World) -> None:
    world.crm.put("7", ANN)
    world.crm.person("7", SET, SMS)
    world.settle()

    world.text(ANN, "START", scope="MG1")
    world.settle()

    assert world.query("SELECT * FROM restorations") == []
    assert not world.may_contact(ANN, SMS)


def test_start_clears_nothing_in_a_crm(world: World) -> None:
    world.crm.put("7", ANN)
    world.text(ANN, "STOP")
    world.settle()

    world.text(ANN, "START")
    world.settle()

    assert (world.crm.flag("7", SMS), world.crm.flag("7", VOICE)) == (SET, SET)
    assert len(world.crm.written) == 1, "set once, and never touched again"


@pytest.mark.parametrize("newer", ["stop", "tick", "admin", "other programme"])
def test_a_restored_programme_is_taken_back_by_any_newer_request(world: World, newer: str) -> None:
    world.crm.put("7", BOB, ANN)
    world.text(ANN, "STOP", scope="MG1")
    world.clock.advance(5.0)
    world.text(ANN, "START", scope="MG1")
    assert len(world.query("SELECT 1 FROM restorations WHERE ended_seq IS NULL")) == 1
    world.settle()
    world.sms.rows.pop(f"MG1/{ANN}", None)  # as the vendor did by itself

    if newer == "stop":
        world.text(ANN, "STOP", scope="MG1")
    elif newer == "tick":
        world.crm.tells_who = True
        world.crm.person("7", SET, VOICE)
        world.run(20.0)
    elif newer == "admin":
        world.block(ANN, VOICE)
    else:
        world.text(ANN, "STOP", scope="MG2")
    world.settle()

    assert world.query("SELECT 1 FROM restorations WHERE ended_seq IS NULL") == []
    assert world.sms.flag(f"MG1/{ANN}", SMS) is SET


@pytest.mark.parametrize("first", ["START", "STOP"])
def test_t8_consent_and_stop_in_the_same_second_block(world: World, first: str) -> None:
    """Whichever of the two arrives first."""
    said = {text: world.statement(ANN, text) for text in ("START", "STOP")}
    assert said["START"].at == said["STOP"].at

    world.hear(said.pop(first))
    for other in said.values():
        world.hear(other)
    world.settle()

    assert world.blocked(ANN) == {"voice", "sms"}
    assert not world.may_contact(ANN, SMS)
    assert world.query("SELECT 1 FROM restorations WHERE ended_seq IS NULL") == []
    assert world.sms.flag(f"MG1/{ANN}", SMS) is SET


def test_a_start_that_was_said_before_the_stop_and_arrives_after_it_restores_nothing(world: World) -> None:
    early = world.statement(ANN, "START")
    world.clock.advance(30.0)
    world.text(ANN, "STOP")

    world.hear(early)
    world.settle()

    assert world.query("SELECT * FROM restorations") == []
    assert world.sms.flag(f"MG1/{ANN}", SMS) is SET
