"""A clear counts only in a system that policy names, with a reason, and where nothing may be newer."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dncsync.connector import Look
from dncsync.model import Provenance
from dncsync.policy import ClearsFuse, Fuses, Policy, Sync
from dncsync.sync import findings, fuse_plan
from integration.sync.vendors import ANN, BOB, CLEAR, SET, SMS, VOICE
from integration.sync.world import World, policy

Make = Callable[..., World]
WHY = "she asked to be called again, form 12"


@pytest.fixture
def office(make_world: Make) -> World:
    """The CRM is an authority. Record 7 has Ann's number, and is blocked everywhere since she texted STOP."""
    world = make_world(policy=policy(reversal_authorities=("crm",)))
    world.crm.tells_who = True
    world.crm.put("7", ANN)
    world.settle()
    world.text(ANN)
    world.settle()
    world.run(60)
    return world


def untick(world: World, key: str = "7", reason: str = WHY, **how: Any) -> None:
    """As a person does it, in one save."""
    world.crm.rows[key].reason = reason
    for channel in (VOICE, SMS):
        world.crm.person(key, CLEAR, channel, **how)


def told(world: World) -> str:
    """The one finding about a clear."""
    (finding,) = world.findings("cleared-there")
    return str(finding["summary"])


def assert_put_back(world: World, why: str = "") -> None:
    world.settle()
    assert not world.may_contact(ANN)
    assert world.crm.flag("7", VOICE) is world.crm.flag("7", SMS) is SET
    assert world.query("SELECT count(*) FROM reversals") == [(0,)]
    assert "; it is put back" in told(world)
    assert (f"its reason does not count: {why}" in told(world)) if why else "count" not in told(world)


def test_an_unticked_flag_with_a_reason_ends_the_block_everywhere(office: World) -> None:
    untick(office)
    office.settle()

    assert office.may_contact(ANN, VOICE)
    assert office.may_contact(ANN, SMS)
    assert office.crm.flag("7") is CLEAR
    assert office.dialer.flag(f"DNC/{ANN}") is CLEAR
    assert office.findings("cleared-there") == []
    ((actor, reason, basis, name, digest, channels),) = office.query(
        "SELECT actor, reason, basis, evidence_name, evidence_sha256, channels FROM reversals"
    )
    assert (actor, reason, basis, channels) == ("Rita", WHY, "authority", "sms,voice")
    assert name == "the reason on record 7 of crm"
    assert digest == sha256(WHY.encode()).hexdigest()


def test_nothing_is_kept_of_the_text_but_its_hash_until_it_counts(office: World) -> None:
    office.crm.rows["7"].reason = WHY
    office.hook("crm", Look("7"))
    office.settle()
    assert office.query("SELECT reason FROM reasons WHERE key = '7'") == [(sha256(WHY.encode()).digest(),)]


def test_without_a_reason_it_is_put_back(office: World) -> None:
    untick(office, reason="")
    assert_put_back(office)


def test_in_any_other_system_it_is_put_back(make_world: Make) -> None:
    world = make_world()
    world.crm.tells_who = True
    world.crm.put("7", ANN)
    world.text(ANN)
    world.settle()
    untick(world)
    assert_put_back(world)
    assert world.query("SELECT count(*) FROM reasons") == [(0,)], "nor are reasons kept there"


def test_a_reason_that_was_written_first_counts_when_the_flag_follows(office: World) -> None:
    office.crm.rows["7"].reason = WHY
    office.hook("crm", Look("7"))
    office.settle()
    assert not office.may_contact(ANN)
    office.run(3600)
    untick(office)
    office.settle()
    assert office.may_contact(ANN)


def test_a_reason_that_stood_there_before_the_block_is_none(make_world: Make) -> None:
    world = make_world(policy=policy(reversal_authorities=("crm",)))
    world.crm.put("7", ANN).reason = WHY
    world.settle()
    world.text(ANN)
    world.settle()
    untick(world)
    assert_put_back(world, "nothing shows that the same text was not there before")


def test_a_reason_that_could_not_be_seen_for_a_while_may_have_stood_there(make_world: Make) -> None:
    """Not seen is not empty: the field was hidden from us when the block came."""
    world = make_world(policy=policy(reversal_authorities=("crm",)))
    world.crm.put("7", ANN).reason = WHY
    world.settle()
    world.crm.rows["7"].reason = None
    world.lose_cache("reasons")
    world.text(ANN)
    world.settle()
    untick(world)
    assert_put_back(world, "nothing shows that the same text was not there before")


def test_the_reason_of_an_earlier_reversal_does_not_end_a_later_request(office: World) -> None:
    untick(office)
    office.settle()
    office.run(60)
    office.text(ANN)
    office.settle()
    untick(office, how="CRM_UI")
    office.settle()
    assert not office.may_contact(ANN)
    assert "may be newer" in told(office)
    assert office.query("SELECT count(*) FROM reversals") == [(1,)]


def test_a_request_that_may_be_newer_wins(office: World) -> None:
    """CON-05: she texted again while the flag was being taken away there; nobody can say which came last."""
    untick(office)
    office.text(ANN)
    assert_put_back(office, "request R")


def test_a_reading_that_was_begun_before_a_request_shows_nothing_newer_than_it(office: World) -> None:
    """The request comes while the record is being read: the text may have been written just before it."""

    def texts_again(call: Any) -> None:
        if call.op == "read" and "7" in call.keys:
            office.crm.before_call = lambda call: None
            office.text(ANN)

    office.crm.before_call = texts_again
    office.hook("crm", Look("7"))
    office.work("crm")
    assert len(office.requests()) == 2
    untick(office)
    assert_put_back(office, "request R")


def test_a_tick_made_on_the_record_itself_can_be_taken_back_there(office: World) -> None:
    office.crm.put("8", BOB)
    office.crm.person("8", SET, VOICE)
    office.settle()
    assert not office.may_contact(BOB)
    office.run(5)
    untick(office, "8")
    office.settle()
    assert office.may_contact(BOB)
    assert office.crm.flag("8") is CLEAR
    assert [r["ended_at"] is not None for r in office.requests() if r["record_key"] == "8"] == [True]


def test_one_of_two_flags_alone_is_not_enough(office: World) -> None:
    """Requests cover both channels here, and the other flag still says do not contact."""
    office.crm.rows["7"].reason = WHY
    office.crm.person("7", CLEAR, VOICE)
    assert_put_back(office, "another of its flags still says do not contact")


def test_where_channels_are_separate_a_flag_speaks_of_its_own(make_world: Make) -> None:
    world = make_world(policy=policy(reversal_authorities=("crm",), channels="separate"))
    world.crm.put("7", ANN)
    world.settle()
    world.block(ANN, VOICE)
    world.block(ANN, SMS)
    world.settle()
    world.run(60)
    world.crm.rows["7"].reason = WHY
    world.crm.person("7", CLEAR, VOICE)
    world.settle()
    assert world.may_contact(ANN, VOICE)
    assert not world.may_contact(ANN, SMS)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("IMPORT", "an import"),
        ("AUTOMATION_PLATFORM", "a workflow changed it back"),
        ("MERGE_CONTACTS", "a merge of records"),
        ("INTEGRATION", "another integration"),
        ("BATCH_UPDATE", "a bulk change in the vendor's screens"),
    ],
)
def test_what_no_person_did_to_this_record_is_no_reversal(office: World, how: str, words: str) -> None:
    """CON-06: turned off by sync, import, merge or API."""
    untick(office, how=how)
    assert_put_back(office, f"{words} cleared it, and no person")


def test_what_our_own_user_cleared_is_no_reversal(office: World) -> None:
    untick(office)
    for channel in (VOICE, SMS):
        office.crm.rows["7"].provenance[channel] = Provenance("dncsync", "API", ours=True)
    assert_put_back(office, "our own user cleared it")


def test_a_vendor_that_does_not_say_who_is_believed_where_policy_says_so(office: World) -> None:
    office.crm.tells_who = False
    untick(office)
    office.settle()
    assert office.may_contact(ANN)
    assert office.query("SELECT actor FROM reversals") == [("crm (not named)",)]


def test_a_request_on_another_record_with_the_number_is_not_this_ones_to_end(office: World) -> None:
    """A shared line: who asked on record 8 is somebody else."""
    office.crm.put("8", ANN)
    office.settle()
    office.crm.person("8", SET, VOICE, who="Otto")
    office.settle()
    office.crm.person("8", SET, VOICE, who="Otto")
    office.settle()
    office.run(60)
    office.hook("crm", Look("7"))
    office.settle()
    assert any(r["record_key"] == "8" for r in office.requests())
    untick(office)
    office.settle()
    assert not office.may_contact(ANN)
    assert "was made on another record (8) with the same number" in told(office)


def test_a_request_that_also_blocks_a_number_which_moved_away_stands(office: World) -> None:
    office.crm.put("8", BOB)
    office.crm.person("8", SET, VOICE)
    office.settle()
    office.crm.rows["8"].numbers = (ANN,)
    office.crm.feed.append("8")
    office.settle()
    office.run(60)
    office.hook("crm", Look("8"))
    office.settle()
    untick(office, "8")
    office.settle()
    assert not office.may_contact(BOB)
    assert not office.may_contact(ANN)
    assert "also blocks a number that it no longer has" in told(office)


def test_a_record_without_a_usable_number_has_nothing_to_end(office: World) -> None:
    office.crm.put("8", "N/A")
    office.crm.person("8", SET, VOICE)
    office.settle()
    untick(office, "8")
    office.settle()
    assert office.crm.flag("8") is SET
    assert "it has no usable number" in told(office)


def test_while_its_reads_are_frozen_nothing_it_clears_counts(office: World) -> None:
    office.do(
        lambda tx: findings.open_finding(tx, office.at, "inverted-flag", "crm", "voice", "half of it flipped")
    )
    untick(office)
    office.settle()
    assert not office.may_contact(ANN)


def test_with_its_memory_of_reasons_lost_it_waits_for_the_next_reading(office: World) -> None:
    office.lose_cache("reasons")
    untick(office)
    assert_put_back(office, "nothing shows that the same text was not there before")
    office.run(60)
    untick(office, reason="form 13")
    office.settle()
    assert office.may_contact(ANN)


def test_what_a_person_approved_as_put_back_is_put_back(office: World) -> None:
    untick(office)
    office.crm.feed.clear()
    office.do(
        lambda tx: tx.execute("INSERT INTO looks VALUES ('crm', '7', ?, 0, 0, 1)", (office.at,)) and None
    )
    assert_put_back(office)


def test_a_list_has_no_place_for_reasons(make_world: Make) -> None:
    world = make_world(policy=policy(reversal_authorities=("dialer",)))
    world.text(ANN)
    world.settle()
    world.dialer.rows[f"DNC/{ANN}"].reason = WHY
    world.dialer.person(f"DNC/{ANN}", CLEAR)
    world.loops["dialer"].snapshot_now()
    world.settle()
    assert world.dialer.flag(f"DNC/{ANN}") is SET
    assert not world.may_contact(ANN)


def test_more_than_the_fuse_allows_wait_and_stay_blocked(make_world: Make) -> None:
    """Law 9: an import that unticks everybody, with a reason for each, asks first."""
    few = Fuses(clears=ClearsFuse(count=3, percent=100, least=1000))
    world = make_world(policy=Policy(sync=Sync(reversal_authorities=("crm",)), fuses=few))
    numbers = [f"+1312555010{i}" for i in range(6)]
    for i, number in enumerate(numbers):
        world.crm.put(str(i), number)
    world.settle()
    for number in numbers:
        world.text(number)
    world.settle()
    world.run(60)
    for i in range(6):
        untick(world, str(i))
    world.settle()

    free = {number for number in numbers if world.may_contact(number)}
    assert len(free) == 3
    assert {world.crm.flag(str(i)) for i in range(6) if numbers[i] not in free} == {SET}
    (fuse,) = world.do(lambda tx: fuse_plan.fuses(tx, every=True))
    assert str(fuse.direction) == "clears"


# --- law 2 as a property ----------------------------------------------------------------------------------

STEPS = st.lists(
    st.sampled_from(
        ["texts STOP", "writes a reason", "the same again", "un-ticks", "import un-ticks", "read"]
    ),
    max_size=14,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS, st.booleans(), st.booleans())
def test_nobody_is_freed_but_by_a_reason_that_was_written_after_all_they_asked(
    make_world: Make, life: list[str], tells_who: bool, stood_there: bool
) -> None:
    """Laws 2 and 7, CON-05: whatever happens between our readings, in whatever order."""
    world = make_world(policy=policy(reversal_authorities=("crm",)))
    world.crm.tells_who = tells_who
    row = world.crm.put("7", ANN)
    row.reason = "form 0" if stood_there else ""
    world.settle()
    asked, written, texts = -1, -1, 0  # when she asked last, and when the text that stands was written
    for moment, act in enumerate(["texts STOP", "read", *life, "read"]):
        world.run(1)
        if act == "texts STOP":
            world.text(ANN)
            asked = moment
        elif act == "writes a reason":
            texts += 1
            row.reason, written = f"form {texts}", moment
        elif act in ("un-ticks", "import un-ticks") and row.flags[VOICE] is SET:
            for channel in (VOICE, SMS):
                world.crm.person("7", CLEAR, channel, how="IMPORT" if act.startswith("import") else "CRM_UI")
        elif act == "read":
            world.hook("crm", Look("7"))
            world.settle()
        if world.may_contact(ANN):
            assert written > asked, "freed by a text that was there when she asked"
