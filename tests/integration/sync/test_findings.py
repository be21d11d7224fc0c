"""The life of a finding: policy, flapping, taking on, resolving; and the review of ambiguous messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dncsync.drift.sighting import Sighting, baseline, exposed, settle
from dncsync.policy import Drift, Policy
from dncsync.sync import attending, findings
from dncsync.sync.requests import Refused
from integration.sync.vendors import ANN, BOB, CLEAR, SET, VOICE
from integration.sync.world import World

MINUTE = 60_000_000
DAY = 1440 * MINUTE


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def under(world: World, **rules: Any) -> None:
    world.do(lambda tx: findings.adopt(tx, world.at, Drift(**rules)))


def seen(world: World, kind: str = "list-shrunk", subject: str = "all", *, at: int = 0, **more: Any) -> None:
    world.do(lambda tx: findings.open_finding(tx, world.at + at, kind, "crm", subject, "it shrank", **more))


def over(world: World, kind: str = "list-shrunk", subject: str = "all", *, at: int = 0) -> None:
    world.do(lambda tx: findings.close_finding(tx, world.at + at, kind, "crm", subject, "it grew"))


def one(world: World, kind: str = "%") -> dict[str, Any]:
    (found,) = world._dicts("SELECT * FROM findings WHERE kind LIKE ?", kind)
    return found


# --- policy -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "severity", "comes_to"),
    [
        ("page", "info", "page"),
        ("freeze", "warning", "page"),
        ("warn", "page", "warning"),
        ("warn", "info", "info"),
        ("as_seen", "page", "page"),
        ("as_seen", "info", "info"),
        ("accept", "page", "info"),
    ],
)
def test_policy_has_the_last_word_on_how_grave_it_is(
    world: World, action: str, severity: str, comes_to: str
) -> None:
    under(world, actions={"list-shrunk": action})
    seen(world, severity=severity)
    assert one(world)["severity"] == comes_to
    assert (one(world)["paged_at"] is not None) == (comes_to == "page")
    world.assert_ledger_is_whole()


def test_what_policy_accepts_is_recorded_once_and_closed(world: World) -> None:
    under(world, actions={"list-shrunk": "accept"})
    for hours in range(3):
        seen(world, at=hours * 60 * MINUTE, quiet=True)
    assert world.findings() == []
    found = one(world)
    assert (found["count"], found["flaps"], found["closed_by"]) == (1, 0, "accepted by policy")
    under(world)
    seen(world, quiet=True)
    assert one(world)["severity"] == "page", "policy changed its mind"
    assert one(world)["flaps"] == 0


def test_the_policy_in_force_is_told_to_the_ledger_once(world: World) -> None:
    before = world.events()
    under(world)
    assert world.events() == before, "the built-in one needs no telling"
    for _ in range(2):
        under(world, flap_minutes=5)
    assert world.events() == before + 1
    under(world)
    assert world.do(findings.in_force) == Policy().drift
    world.assert_ledger_is_whole()


def test_everyone_has_until_the_day_that_policy_gives(world: World) -> None:
    for kind, days in (("list-shrunk", 1), ("not-kept", 7), ("quarantined", 30), ("review", 1)):
        seen(world, kind, severity="info" if kind == "quarantined" else "warning")
        assert one(world, kind)["due_at"] == world.at + days * DAY, kind
        assert one(world, kind)["owner"] == "compliance"


# --- flapping -------------------------------------------------------------------------------------------


def test_what_comes_back_soon_is_one_trouble_and_calls_nobody_anew(world: World) -> None:
    seen(world)
    first = one(world)
    world.do(
        lambda tx: attending.acknowledge(
            tx, world.at, first["id"], owner="bob", note="asked", due_at=world.at + DAY // 2, actor="jane"
        )
    )
    for n in range(1, 4):
        over(world, at=(40 * n) * MINUTE)
        seen(world, at=(40 * n + 20) * MINUTE)
    found = one(world)
    assert (found["flaps"], found["flapping"], found["count"]) == (3, 1, 4)
    assert found["paged_at"] == first["paged_at"]
    assert (found["owner"], found["acked_by"], found["due_at"]) == ("bob", "jane", world.at + DAY // 2)
    assert found["opened_at"] == first["opened_at"]
    world.assert_ledger_is_whole()


def test_what_comes_back_after_long_calls_anew(world: World) -> None:
    seen(world)
    first = one(world)
    world.do(
        lambda tx: attending.acknowledge(
            tx, world.at, first["id"], owner="bob", note="asked", due_at=world.at + DAY, actor="jane"
        )
    )
    over(world, at=MINUTE)
    seen(world, at=62 * MINUTE)
    found = one(world)
    assert (found["flaps"], found["flapping"], found["count"]) == (1, 0, 2)
    assert found["paged_at"] == world.at + 62 * MINUTE
    assert (found["owner"], found["acked_by"], found["note"]) == ("compliance", None, None)
    assert found["due_at"] == world.at + 62 * MINUTE + DAY


def test_what_grows_worse_calls_people(world: World) -> None:
    seen(world, "volume-high", severity="warning")
    assert one(world)["paged_at"] is None
    seen(world, "volume-high", at=MINUTE, severity="page")
    seen(world, "volume-high", at=2 * MINUTE, severity="page")
    assert one(world)["paged_at"] == world.at + MINUTE


# --- sightings ------------------------------------------------------------------------------------------


def sighting(kind: str = "field-missing", subject: str = "dnc", **more: Any) -> Sighting:
    given = {"expected": "a box", "seen": "nothing", "mend": "make it again", "summary": f"{subject} is gone"}
    return Sighting(kind, "crm", subject, **{**given, **more})


def look(world: World, *sightings: Sighting, at: int = 0) -> None:
    kinds = ("field-missing", "field-renamed")
    world.do(lambda tx: settle(tx, world.at + at, "crm", kinds, sightings, "the field is as it was"))


def test_a_look_that_sees_the_same_says_nothing(world: World) -> None:
    look(world, sighting(since=5, baseline=("contract", "dnc", ("a", 1))))
    before = world.events()
    look(world, sighting(since=9, baseline=("contract", "dnc", ("a", 1))), at=MINUTE)
    assert world.events() == before


def test_a_look_that_sees_something_else_says_what_changed(world: World) -> None:
    look(world, sighting(since=5))
    look(world, sighting(since=9, seen="a text field"), at=MINUTE)
    detail = json.loads(one(world)["detail"])
    assert detail["changed"] == {"seen": "nothing"}
    assert detail["since"] == 5, "it was well until then, whatever changed later"
    assert one(world)["count"] == 2


def test_a_sighting_that_grows_worse_is_told_again(world: World) -> None:
    for severity in ("warning", "page", "page"):
        world.do(
            lambda tx, s=severity: settle(  # type: ignore[misc]
                tx, world.at, "crm", ["ending-announced"], [sighting("ending-announced", severity=s)], "."
            )
        )
    assert (one(world)["severity"], one(world)["count"]) == ("page", 2)


def test_a_drift_that_turns_out_to_be_another_kind_closes_the_first(world: World) -> None:
    look(world, sighting("field-missing"))
    look(world, sighting("field-renamed"), at=MINUTE)
    assert [f["kind"] for f in world.findings()] == ["field-renamed"]
    look(world, at=2 * MINUTE)
    assert world.findings() == []
    assert one(world, "field-renamed")["closed_by"] == "the field is as it was"


def test_the_exposed_are_counted_and_their_query_names_no_number(world: World) -> None:
    world.crm.put("1", ANN)
    world.crm.put("it's ?", BOB)
    world.settle()
    world.block(ANN)
    world.block(BOB)
    world.settle()
    assert world.do(lambda tx: exposed(tx, "crm"))["numbers"] == 2
    few = world.do(lambda tx: exposed(tx, "crm", ["it's ?"]))
    assert (few["numbers"], world.query(few["query"])) == (1, [(BOB,)])
    ((key,),) = world.query("SELECT key FROM holding_numbers WHERE number = ? AND system = 'dialer'", ANN)
    of_a_list = world.do(lambda tx: exposed(tx, "dialer", [key]))
    assert of_a_list == {"numbers": 1, "query": None}


def test_millions_of_exposed_numbers_are_not_all_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dncsync.drift.sighting.COUNTED", 1)
    world.crm.put("1", ANN, BOB)
    world.settle()
    world.block(ANN)
    world.block(BOB)

    told = world.do(lambda tx: exposed(tx, "crm"))

    assert (told["numbers"], told["or_more"]) == (1, True)
    assert len(world.query(told["query"])) == 2


# --- ambiguous messages -----------------------------------------------------------------------------------


def review(world: World) -> tuple[str, str]:
    """(finding id, request id) of an ambiguous message."""
    assert world.text(ANN, "who is this?") == "ambiguous"
    (found,) = world.findings("review")
    return found["id"], found["subject"]


def release(world: World, request: str) -> list[str]:
    ids: list[str] = world.do(
        lambda tx: attending.let_go(tx, world.at, world.intake, request, note="a wrong number", actor="jane")
    )
    return ids


def test_a_reviewer_releases_what_was_blocked_provisionally(world: World) -> None:
    world.crm.put("1", ANN)
    world.settle()
    _, request = review(world)
    world.settle()
    assert world.crm.flag("1") is SET
    world.clock.advance(60.0)
    (reversal,) = release(world, request)
    world.settle()
    assert world.blocked(ANN) == set()
    assert world.crm.flag("1") is CLEAR
    (kept,) = world._dicts("SELECT * FROM reversals")
    assert (kept["id"], kept["actor"], kept["reason"]) == (reversal, "jane", "a wrong number")
    ((digest,),) = world.query(
        "SELECT e.hash FROM events e JOIN statements s ON s.event_seq = e.seq WHERE s.number = ?", ANN
    )
    assert kept["evidence_sha256"] == bytes(digest).hex(), "the message itself is the evidence"
    world.assert_ledger_is_whole()


def test_a_release_ends_nothing_but_the_provisional_request(world: World) -> None:
    """Law 2: another request on the same number stands."""
    _, request = review(world)
    firm = world.block(ANN)
    world.clock.advance(60.0)
    release(world, request)
    assert world.blocked(ANN) == {"voice", "sms"}
    assert {r["id"]: r["ended_at"] is None for r in world.requests()} == {request: False, firm: True}
    assert not world.may_contact(ANN, VOICE)
    world.assert_ledger_is_whole()


def test_a_request_that_was_kept_is_a_firm_one(world: World) -> None:
    _, request = review(world)
    world.do(lambda tx: attending.keep(tx, world.at, request, note="she means it", actor="jane"))
    assert world.requests()[0]["provisional"] == 0
    with pytest.raises(Refused, match="firm"):
        world.do(lambda tx: attending.provisional(tx, "review", request))
    world.assert_ledger_is_whole()


def test_only_a_review_has_a_provisional_request(world: World) -> None:
    request = world.block(ANN)
    with pytest.raises(Refused, match="no provisional request"):
        world.do(lambda tx: attending.provisional(tx, "not-kept", request))


def test_a_baseline_is_kept_as_it_was_accepted(world: World) -> None:
    from dncsync.runtime import finding_commands

    look(world, sighting(baseline=("contract", "dnc", {"type": "enumeration"})))
    arguments = {"id": "field-missing", "actor": "jane", "note": "we moved it"}
    done = world.do(lambda tx: finding_commands.accept(tx, world.at, world.intake, arguments))
    assert done == {"accepted": f"f{one(world)['event_seq']}", "detector": "contract", "subject": "dnc"}
    assert world.do(lambda tx: baseline(tx, "contract", "crm", "dnc")) == {"type": "enumeration"}
    assert world.findings() == []
    assert world.query("SELECT actor FROM baselines") == [("jane",)]
    world.assert_ledger_is_whole()
