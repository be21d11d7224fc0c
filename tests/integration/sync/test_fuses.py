"""Law 9: too many new blocks at once stand here and spread nowhere, until their plan is approved."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from dncsync.connector import Look
from dncsync.ledger.sqlite import connect_reader
from dncsync.model import Channel, Holding
from dncsync.policy import BlocksFuse, ClearsFuse, FirstReadFuse, Fuses, LedgerFuse, Policy, Sync
from dncsync.runtime import commands
from dncsync.sync import findings, fuse_decisions, fuse_plan
from dncsync.sync.plan import Compared, Quiet, compare
from dncsync.sync.requests import Refused
from integration.sync.vendors import ABSENT, ANN, BOB, CLEAR, SET, SMS, VOICE
from integration.sync.world import DAY, World

MakeWorld = Callable[..., World]
MANY = 12
NUMBERS = [f"+13125552{i:03d}" for i in range(MANY)]
KEYS = [str(100 + i) for i in range(MANY)]


def small(*, approvals: int = 1, coverage: str = "record", **other: Any) -> Policy:
    """Five in ten minutes from one system, half of a first read, eight in all, three clears."""
    limits = {
        "new_blocks": BlocksFuse(count=5, percent=100, least=1000, approvals=approvals),
        "first_read": FirstReadFuse(percent=50, least=4, approvals=approvals),
        "ledger": LedgerFuse(count=1_000),
        "clears": ClearsFuse(count=3, percent=100, least=1000, approvals=approvals),
        **other,
    }
    return Policy(fuses=Fuses(**limits), sync=Sync(coverage=coverage))  # type: ignore[arg-type]


@pytest.fixture
def office(make_world: MakeWorld) -> World:
    """Twelve people, one record each, read once and known for longer than a first read lasts."""
    return furnished(make_world(policy=small()))


def furnished(world: World) -> World:
    for key, number in zip(KEYS, NUMBERS, strict=True):
        world.crm.put(key, number)
    world.settle()
    world.run(700)
    world.settle()
    return world


def tick(world: World, keys: Iterable[str] = KEYS) -> None:
    """Somebody's import ticks the box of all these records, and the vendor says so in one webhook."""
    keys = list(keys)
    for key in keys:
        world.crm.person(key, SET)
    world.hook("crm", *(Look(key) for key in keys))
    world.settle()


def run(world: World, name: str, **arguments: Any) -> dict[str, Any]:
    done: dict[str, Any] = world.do(lambda tx: commands.run(tx, world.at, world.intake, name, arguments))
    return done


def the_fuse(world: World) -> Any:
    found = world.do(lambda tx: fuse_plan.fuses(tx, every=True))
    return found[-1]


def sha(world: World) -> str:
    shown = world.do(lambda tx: fuse_plan.show(tx, fuse_plan.fuses(tx)[0], 5))
    assert shown.revision is not None
    return str(shown.revision.sha256)


def approve(world: World, by: str = "jane", sha256: str | None = None) -> dict[str, Any]:
    done = run(world, "approve-plan", id=the_fuse(world).id, by=by, sha256=sha256 or sha(world))
    while done["state"] == "approved" and run(world, "apply-plan")["left"]:
        pass
    world.settle()
    return done


def elsewhere(world: World) -> set[str]:
    """The numbers that any system beside the CRM was told about."""
    told = {key.rpartition("/")[2] for _, key, _ in (*world.dialer.written, *world.sms.written)}
    return told & {*NUMBERS, ANN, BOB}


# --- tripping -------------------------------------------------------------------------------------------


def test_a_few_new_blocks_spread_as_ever(office: World) -> None:
    tick(office, KEYS[:4])

    assert elsewhere(office) == set(NUMBERS[:4])
    assert office.query("SELECT count(*) FROM fuses") == [(0,)]


def test_too_many_are_blocked_here_at_once_and_what_passed_the_limit_spreads_nowhere(office: World) -> None:
    tick(office)

    fuse = the_fuse(office)
    assert (fuse.direction, fuse.system, fuse.state) == ("blocks", "crm", "waiting")
    assert all(not office.may_contact(number) for number in NUMBERS), "the gate already says no"
    held = {row[0] for row in office.query("SELECT number FROM held WHERE number <> ''")}
    # The vendor is read four keys at a time: four passed, and the batch that went over is held as a whole.
    assert held == set(NUMBERS[4:])
    assert elsewhere(office) == set(NUMBERS[:4])
    assert office.query("SELECT count(*) FROM deliveries WHERE open = 1") == [(0,)]


def test_the_waiting_hangs_on_a_finding_that_pages_a_person(office: World) -> None:
    tick(office)

    (finding,) = office.findings("fuse-tripped")
    assert finding["severity"] == "page"
    assert finding["owner"]
    assert the_fuse(office).id in finding["summary"]
    assert not any(number in finding["summary"] + finding["detail"] for number in NUMBERS)


def test_what_people_say_flows_meanwhile(office: World) -> None:
    """Thousands are held; a STOP, a request by hand and a disposition reach every system."""
    many = [f"+1312556{i:04d}" for i in range(5_000)]
    rows = [{"number": number, "source": "list"} for number in many]
    for start in range(0, len(rows), 2_500):
        answer = run(office, "import", rows=rows[start : start + 2_500], actor="ada")
    assert answer["waits_for"] == the_fuse(office).id

    office.text(NUMBERS[0])
    office.block(NUMBERS[1])
    office.text(many[7], "please stop texting me")
    office.settle()

    assert elsewhere(office) == set(NUMBERS[:2])
    assert office.crm.flag(KEYS[0]) is office.crm.flag(KEYS[1]) is SET
    assert office.dialer.flag(f"DNC/{many[7]}") is SET, "held, and now asked for by its owner"
    told = {key.rpartition("/")[2] for _, key, _ in office.dialer.written}
    assert told & set(many) == {many[7]}


def test_a_number_that_somebody_else_asked_for_is_written_where_it_is_held_too(office: World) -> None:
    tick(office)
    held = NUMBERS[-1]
    office.block(held)
    office.settle()

    assert office.dialer.flag(f"DNC/{held}") is SET
    (cause,) = {d["request_id"] for d in office.deliveries("dialer", f"DNC/{held}")}
    (request,) = [r for r in office.requests() if r["id"] == cause]
    assert request["source"] == "admin", "nobody writes on account of what is held"


def test_what_comes_later_from_that_system_is_held_and_from_others_is_not(office: World) -> None:
    tick(office, KEYS[:10])
    office.run(3_000)
    tick(office, KEYS[10:])
    office.dialer.person(f"DNC/{ANN}", SET)
    office.hook("dialer", Look(f"DNC/{ANN}"))
    office.settle()

    assert NUMBERS[10] not in elsewhere(office)
    assert not office.may_contact(NUMBERS[10])
    assert office.sms.flag(f"MG1/{ANN}", SMS) is SET


def test_the_window_passes_and_the_same_number_again_is_no_mass(office: World) -> None:
    for start in range(0, MANY, 4):
        tick(office, KEYS[start : start + 4])
        office.run(601)

    assert elsewhere(office) == set(NUMBERS)


def test_an_inverted_flag_at_the_first_connection_trips(make_world: MakeWorld) -> None:
    world = make_world(policy=small())
    for key, number in zip(KEYS, NUMBERS, strict=True):
        world.crm.put(key, number, voice=SET)
    world.settle()

    assert the_fuse(world).reason.startswith("blocks found in the first full read of crm")
    assert len(elsewhere(world)) < 4, "what passed before the limit was reached"
    assert all(not world.may_contact(number) for number in NUMBERS)


def test_history_within_a_usual_share_is_imported_however_much_it_is(make_world: MakeWorld) -> None:
    """Twelve of forty records are set: far more than five in ten minutes, and no inverted flag."""
    world = make_world(policy=small())
    for i in range(40):
        flag = {"voice": SET} if i % 4 == 3 or i in (2, 6) else {}
        world.crm.put(f"{i:03d}", f"+13125553{i:03d}", **flag)
    world.settle()

    assert world.query("SELECT count(*) FROM fuses") == [(0,)]
    assert len({key for _, key, _ in world.dialer.written}) == 12


def test_a_list_is_all_set_by_its_nature(make_world: MakeWorld) -> None:
    world = make_world(policy=small())
    for number in NUMBERS:
        world.dialer.put(f"DNC/{number}", number, voice=SET)
    world.settle()

    assert world.query("SELECT count(*) FROM fuses") == [(0,)]
    assert {key.rpartition("/")[2] for _, key, _ in world.sms.written} == set(NUMBERS)


def test_imports_and_all_systems_together_have_a_limit_of_their_own(make_world: MakeWorld) -> None:
    world = furnished(make_world(policy=small(ledger=LedgerFuse(count=8))))
    tick(world, KEYS[:4])
    rows = [{"number": number} for number in NUMBERS[4:]]
    run(world, "import", rows=rows[:4], actor="ada")
    assert elsewhere(world) | set() == set(NUMBERS[:4])
    world.settle()
    assert elsewhere(world) == set(NUMBERS[:8])

    answer = run(world, "import", rows=rows[4:], actor="ada")
    world.settle()

    assert (the_fuse(world).system, answer["waits_for"]) == (None, the_fuse(world).id)
    assert elsewhere(world) == set(NUMBERS[:8])


def test_a_plan_that_a_person_approved_is_not_asked_about_again(office: World) -> None:
    for key in KEYS:
        office.crm.person(key, SET)
    office.crm.feed.clear()
    run(office, "look", system="crm", keys=KEYS, backfill=True, approved=True)
    office.settle()

    assert office.query("SELECT count(*) FROM fuses") == [(0,)]
    assert elsewhere(office) == set(NUMBERS)


def test_numbers_that_come_to_a_held_record_are_held_with_it(office: World) -> None:
    tick(office)
    office.crm.rows[KEYS[-1]].numbers = (NUMBERS[-1], BOB)
    office.hook("crm", Look(KEYS[-1]))
    office.settle()

    assert not office.may_contact(BOB)
    assert BOB not in elsewhere(office)
    approve(office)
    assert BOB in elsewhere(office)


# --- deciding -------------------------------------------------------------------------------------------


def test_after_approval_everything_of_it_spreads_behind_fresh_opt_outs(office: World) -> None:
    tick(office)
    done = approve(office)

    assert done["state"] == "approved"
    assert the_fuse(office).state == "applied"
    assert elsewhere(office) == set(NUMBERS)
    assert all(office.crm.flag(key, SMS) is SET for key in KEYS), "also the record's other channel"
    assert office.findings("fuse-tripped") == []
    released = [d for d in office.deliveries("dialer") if d["number"] in NUMBERS[4:]]
    assert {d["backfill"] for d in released} == {1}
    assert {d["state"] for d in released} == {"verified"}


def test_exactly_the_plan_that_was_looked_at_is_approved(office: World) -> None:
    tick(office, KEYS[:10])
    looked_at = sha(office)
    tick(office, KEYS[10:])
    assert sha(office) != looked_at

    approve(office, sha256=looked_at)

    assert elsewhere(office) == set(NUMBERS[:10])
    fuse = the_fuse(office)
    assert fuse.state == "waiting", "what came later is the next revision"
    assert office.findings("fuse-tripped")
    approve(office)
    assert elsewhere(office) == set(NUMBERS)


def test_a_hash_that_is_no_revision_approves_nothing(office: World) -> None:
    tick(office)
    before = office.events()
    with pytest.raises(Refused, match="no plan of F"):
        approve(office, sha256="0" * 64)
    with pytest.raises(Refused, match="who decides"):
        approve(office, by="  ")
    assert office.events() == before


def test_twice_by_the_same_person_changes_nothing(office: World) -> None:
    tick(office)
    digest = sha(office)
    approve(office, sha256=digest)
    before = office.events()

    again = run(office, "approve-plan", id=the_fuse(office).id, by="Jane", sha256=digest)

    assert again["already"]
    assert office.events() == before


@pytest.mark.parametrize("same", ["jane", "JANE", "  Ja ne "])
def test_two_different_persons_where_the_policy_says_two(make_world: MakeWorld, same: str) -> None:
    world = furnished(make_world(policy=small(approvals=2)))
    tick(world)

    assert approve(world, "Jane")["state"] == "waiting"
    assert approve(world, same).get("already")
    assert elsewhere(world) == set(NUMBERS[:4])
    assert approve(world, "John")["state"] == "approved"
    assert elsewhere(world) == set(NUMBERS)


def test_of_two_approvals_only_what_both_saw_is_approved(make_world: MakeWorld) -> None:
    world = furnished(make_world(policy=small(approvals=2)))
    tick(world, KEYS[:10])
    early = sha(world)
    tick(world, KEYS[10:])

    approve(world, "Jane", early)
    approve(world, "John")

    assert elsewhere(world) == set(NUMBERS[:10])
    assert the_fuse(world).state == "waiting"


def test_what_was_rejected_stands_here_and_never_spreads(office: World) -> None:
    tick(office)
    run(office, "reject-plan", id=the_fuse(office).id, by="jane", reason="the wrong column")
    office.restart()
    office.loops["crm"].snapshot_now()
    office.settle()
    office.run(2 * DAY)

    assert all(not office.may_contact(number) for number in NUMBERS)
    assert elsewhere(office) == set(NUMBERS[:4])
    assert office.findings("fuse-tripped") == []
    assert run(office, "reject-plan", id=the_fuse(office).id, by="joe", reason="again")["already"]


def test_a_later_tick_on_a_rejected_record_is_heard(office: World) -> None:
    tick(office)
    run(office, "reject-plan", id=the_fuse(office).id, by="jane", reason="the wrong column")
    office.run(601)
    office.crm.person(KEYS[-1], CLEAR)
    tick(office, KEYS[-1:])

    assert NUMBERS[-1] in elsewhere(office)


def test_after_a_rejection_only_a_reversal_frees_a_number(office: World) -> None:
    tick(office)
    run(office, "reject-plan", id=the_fuse(office).id, by="jane", reason="the wrong column")
    office.reverse(NUMBERS[-1])
    office.settle()

    assert office.may_contact(NUMBERS[-1])
    assert office.crm.flag(KEYS[-1]) is CLEAR


# --- crashes, and the rest of the world ---------------------------------------------------------------------


def test_a_death_between_the_trip_and_the_approval_loses_nothing(office: World) -> None:
    tick(office)
    digest = sha(office)
    office.restart()
    office.settle()

    assert elsewhere(office) == set(NUMBERS[:4])
    assert sha(office) == digest
    approve(office)
    assert elsewhere(office) == set(NUMBERS)


def test_a_plan_that_was_applied_half_way_is_gone_on_with(office: World) -> None:
    tick(office)
    run(office, "approve-plan", id=the_fuse(office).id, by="jane", sha256=sha(office))
    office.do(lambda tx: fuse_decisions.apply_piece(tx, office.at, office.intake, most=3))
    office.restart()
    office.settle()
    assert set(NUMBERS[:4]) < elsewhere(office) < set(NUMBERS)

    while office.do(lambda tx: fuse_decisions.apply_piece(tx, office.at, office.intake, most=3)):
        pass
    office.settle()

    assert elsewhere(office) == set(NUMBERS)
    assert the_fuse(office).state == "applied"


def test_approved_where_no_daemon_runs_it_spreads_with_the_next_one(office: World) -> None:
    from dncsync.policy import Policies
    from dncsync.sync.requests import Intake
    from dncsync.sync.topology import NO_SYSTEMS

    tick(office)
    connected, office.intake = office.intake, Intake(Policies(office.policy), NO_SYSTEMS)
    approve(office)
    assert elsewhere(office) == set(NUMBERS[:4])
    office.intake = connected

    office.restart()
    office.settle()
    assert elsewhere(office) == set(NUMBERS)


def test_the_finding_comes_back_where_somebody_only_closed_it(office: World) -> None:
    tick(office)
    fuse = the_fuse(office).id
    office.do(lambda tx: findings.close_finding(tx, office.at, "fuse-tripped", "crm", fuse, "joe"))
    office.clock.advance(2 * DAY)
    assert office.findings("fuse-tripped") == []

    for _ in range(2):
        office.do(lambda tx: fuse_decisions.remind(tx, office.at))

    (finding,) = office.findings("fuse-tripped")
    assert fuse in finding["id"]
    approve(office)
    office.do(lambda tx: fuse_decisions.remind(tx, office.at))
    assert office.findings("fuse-tripped") == []


def test_a_full_comparison_does_not_plan_what_a_fuse_holds(office: World) -> None:
    tick(office)
    numbers = [Holding(f"DNC/{number}", {VOICE: CLEAR}, (number,)) for number in NUMBERS]
    blocks = {channel: frozenset(Channel) for channel in Channel}

    def found() -> Compared:
        conn = connect_reader(office.path)
        try:
            return compare(conn, office.topology["dialer"], numbers, blocks)
        finally:
            conn.close()

    assert found().quiet[Quiet.HELD] == len(NUMBERS[4:])
    approve(office)
    assert found().quiet[Quiet.HELD] == 0


# --- an empty, short or all-changed side never becomes removals -------------------------------------------


@pytest.fixture
def listed(office: World) -> World:
    """All twelve asked to be left alone, and every system holds it."""
    for number in NUMBERS:
        office.text(number)
    office.settle()
    assert elsewhere(office) == set(NUMBERS)
    return office


def test_an_empty_listing_removes_nobody(listed: World) -> None:
    listed.crm.hidden |= set(KEYS)
    listed.dialer.hidden |= set(listed.dialer.rows)
    before = len(listed.dialer.written) + len(listed.sms.written)
    for name in ("crm", "dialer"):
        listed.loops[name].snapshot_now()
    listed.settle()

    _nobody_is_free(listed)
    assert len(listed.dialer.written) + len(listed.sms.written) == before


def test_a_short_page_removes_nobody(listed: World) -> None:
    listed.crm.hidden |= set(KEYS[3:])
    listed.loops["crm"].snapshot_now()
    listed.settle()

    _nobody_is_free(listed)


def test_a_flag_that_turned_clear_everywhere_removes_nobody(listed: World) -> None:
    for key in KEYS:
        for channel in (VOICE, SMS):
            listed.crm.rows[key].flags[channel] = CLEAR
    before = [w for w in listed.dialer.written if w[2].get(VOICE) is not SET]
    listed.loops["crm"].snapshot_now()
    listed.settle()

    _nobody_is_free(listed)
    assert [w for w in listed.dialer.written if w[2].get(VOICE) is not SET] == before == []


def test_a_field_that_vanished_everywhere_removes_nobody(listed: World) -> None:
    for key in KEYS:
        listed.crm.rows[key].flags = dict.fromkeys((VOICE, SMS), ABSENT)
    listed.loops["crm"].snapshot_now()
    listed.settle()

    _nobody_is_free(listed)


def _nobody_is_free(world: World) -> None:
    assert all(not world.may_contact(number) for number in NUMBERS)
    assert all(world.dialer.flag(f"DNC/{number}") is SET for number in NUMBERS)
    assert world.query("SELECT count(*) FROM reversals") == [(0,)]
