"""The laws of the house against everything that one process can be put through, in any order.

A machine of small steps: people text, tick, untick, edit, merge and delete; vendors fail, forget and lag; the
process dies and begins again. After every step the laws that always hold are checked against what people did
(not against what the ledger believes); in the end the world calms down, and the laws of the end are checked
against the vendors' own truth.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dncsync.clock import to_micros
from dncsync.connector import Look, Statement
from dncsync.model import Holding
from dncsync.sync.breaker import AUTH_PAUSE
from dncsync.sync.observe import observe
from dncsync.sync.requests import Refused
from integration.sync.vendors import (
    ABSENT,
    ANN,
    BOB,
    BUSY,
    CID,
    CLEAR,
    DEB,
    EVE,
    LOCKED_OUT,
    REFUSED,
    SET,
    SILENT,
    SMS,
    UNREACHABLE,
    VOICE,
    crm,
    dialer,
    texts,
)
from integration.sync.world import World, policy

SCAN = 400.0
"""Seconds between two full comparisons."""

NUMBERS = (ANN, BOB, CID, DEB, EVE)
CHANNELS = (VOICE, SMS)
RECORDS = ("1", "2", "3")
LISTED = tuple(f"DNC/{number}" for number in NUMBERS)

numbers = st.sampled_from(NUMBERS)
records = st.sampled_from(RECORDS)
channels = st.sampled_from(CHANNELS)
systems = st.sampled_from(["crm", "dialer", "sms"])
wishes = st.sampled_from(["STOP", "stop texting me", "no thanks"])
scopes = st.sampled_from(["MG1", "MG2"])
failures = st.sampled_from([UNREACHABLE, SILENT, BUSY, LOCKED_OUT, REFUSED])
operations = st.sampled_from(["write", "read", "changes", "snapshot"])
seconds = st.sampled_from([0.1, 1.0, 12.0, 100.0, 700.0])


class Laws(RuleBasedStateMachine):
    """One world; `coverage`, channels and the vendors' talents differ from run to run."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="dncsync-laws-"))
        self.world: World
        self.said: list[Statement] = []
        """Everything that was ever texted; any of it may come again."""
        self.asked: dict[tuple[str, str], int] = {}
        """(number, channel) -> events in the ledger when it was last asked for and acknowledged."""
        self.pages: list[tuple[str, Holding]] = []
        """What vendors showed once; a feed may show it again."""
        self.hearts: dict[str, set[str]] = {}
        """Record -> its numbers, where somebody ticked again after a reversal and nobody touched it since."""
        self.people: set[str] = set()
        """Keys on which a person ever set a flag."""

    @initialize(
        tells_who=st.booleans(),
        marks=st.booleans(),
        unified=st.booleans(),
        person=st.booleans(),
        read_after=st.sampled_from([0.0, 3.0]),
    )
    def begin(self, tells_who: bool, marks: bool, unified: bool, person: bool, read_after: float) -> None:
        self.unified, self.person = unified, person
        self.world = World(
            self.folder,
            policy=policy(
                channels="unified" if unified else "separate", coverage="person" if person else "record"
            ),
            snapshot_every=SCAN,
            crm=lambda name, clock: crm(name, clock, read_after=read_after, poll_every=60.0),
            dialer=lambda name, clock: dialer(name, clock, read_after=read_after),
            sms=lambda name, clock: texts(name, clock, poll_every=60.0),
        )
        self.world.crm.tells_who, self.world.crm.marks = tells_who, marks
        self.world.crm.put("1", ANN)
        self.world.crm.put("2", BOB, CID)
        self.world.crm.put("3", CID, "N/A")
        self.world.catch_up()

    # --- people -----------------------------------------------------------------------------------

    @rule(number=numbers, text=wishes, scope=scopes)
    def somebody_texts(self, number: str, text: str, scope: str) -> None:
        said = self.world.statement(number, text, scope=scope)
        self.said.append(said)
        self.world.hear(said)
        self._asked(number, SMS)

    @rule(number=numbers, scope=scopes)
    def somebody_texts_start(self, number: str, scope: str) -> None:
        said = self.world.statement(number, "START", scope=scope)
        self.said.append(said)
        self.world.hear(said)

    @rule(number=numbers, scope=scopes)
    def a_text_comes_by_the_feed_only(self, number: str, scope: str) -> None:
        said = self.world.statement(number, "STOP", scope=scope)
        self.said.append(said)
        self.world.sms.feed.append(said)

    @precondition(lambda self: self.said)
    @rule(data=st.data())
    def an_old_statement_comes_again(self, data: Any) -> None:
        said = data.draw(st.sampled_from(self.said))
        known = self.world.query("SELECT 1 FROM statements WHERE ref = ?", said.ref)
        before = self.world.events()
        self.world.hear(said)
        if known:
            assert self.world.events() == before, "a statement was recorded twice"

    @rule(number=numbers, channel=channels)
    def an_admin_blocks(self, number: str, channel: Any) -> None:
        self.world.block(number, channel)
        self._asked(number, channel)

    @rule(number=numbers, which=st.sampled_from([(VOICE,), (SMS,), CHANNELS]))
    def an_admin_reverses(self, number: str, which: tuple[Any, ...]) -> None:
        try:
            self.world.reverse(number, *which)
        except Refused:
            return
        for channel in which:
            self.asked.pop((number, channel), None)
        self.hearts = {key: found for key, found in self.hearts.items() if number not in found}

    @rule(key=records)
    def somebody_ticks_again_after_a_reversal(self, key: str) -> None:
        """Anything newer than a reversal is a new request and wins, where the vendor has marks to tell by."""
        row, crm = self.world.crm.rows[key], self.world.crm
        cached = self.world.query(
            "SELECT base_voice FROM holdings WHERE system = 'crm' AND key = ? AND written_voice IS NULL "
            "AND written_sms IS NULL AND revision <> ''",
            key,
        )
        if not crm.marks or row.gone or cached != [("set",)] or row.flags[VOICE] is not SET:
            return
        for number in set(row.numbers) & set(NUMBERS):
            self.an_admin_reverses(number, CHANNELS)
        self.people.add(key)
        crm.person(key, CLEAR, VOICE)
        crm.person(key, SET, VOICE)
        self.hearts[key] = set(row.numbers) & set(NUMBERS)

    @rule(key=records, channel=channels, hint=st.booleans())
    def somebody_ticks(self, key: str, channel: Any, hint: bool) -> None:
        if not self.world.crm.rows[key].gone:
            self.people.add(key)
            self.world.crm.person(key, SET, channel)
            if hint:
                self.world.hook("crm", Look(key))

    @rule(key=records, channel=channels, hint=st.booleans())
    def somebody_unticks(self, key: str, channel: Any, hint: bool) -> None:
        if not self.world.crm.rows[key].gone:
            self.hearts.pop(key, None)
            self.world.crm.person(key, CLEAR, channel)
            if hint:
                self.world.hook("crm", Look(key))

    @rule(number=numbers, flag=st.sampled_from([SET, CLEAR]), hint=st.booleans())
    def an_agent_changes_the_dialers_list(self, number: str, flag: Any, hint: bool) -> None:
        if flag is SET:
            self.people.add(f"DNC/{number}")
        self.world.dialer.person(f"DNC/{number}", flag)
        if hint:
            self.world.hook("dialer", Look(f"DNC/{number}"))

    @rule(key=records, found=st.lists(numbers, max_size=2, unique=True))
    def somebody_edits_a_record(self, key: str, found: list[str]) -> None:
        self.hearts.pop(key, None)
        self.world.crm.rows[key].numbers = tuple(found)
        self.world.crm.feed.append(key)

    @rule(key=records, back=st.booleans())
    def somebody_deletes_a_record_or_brings_it_back(self, key: str, back: bool) -> None:
        row = self.world.crm.rows[key]
        self.hearts.pop(key, None)
        if row.became is None:
            row.gone = not back
            self.world.crm.feed.append(key)

    # --- the vendors' side ---------------------------------------------------------------------------

    @rule(name=systems, op=operations, failure=failures, times=st.integers(1, 4))
    def calls_fail(self, name: str, op: str, failure: Any, times: int) -> None:
        self.world.vendors[name].calls_fail(op, failure, times)

    @rule(key=records, op=st.sampled_from(["write", "read"]), failure=failures)
    def an_item_fails(self, key: str, op: str, failure: Any) -> None:
        self.world.crm.item_fails(op, key, failure)

    @rule(number=numbers, scope=scopes, failure=failures)
    def an_item_fails_where_nothing_can_be_read(self, number: str, scope: str, failure: Any) -> None:
        self.world.sms.item_fails("write", f"{scope}/{number}", failure)

    @rule(key=records, op=st.sampled_from(["write", "read"]))
    def an_item_is_left_out_of_the_answer(self, key: str, op: str) -> None:
        self.world.crm.item_is_left_out(op, key)

    @rule(name=systems)
    def an_answer_is_lost_after_the_write(self, name: str) -> None:
        self.world.vendors[name].answer_is_lost()

    @rule(name=st.sampled_from(["crm", "dialer"]), data=st.data())
    def a_write_is_accepted_and_not_kept(self, name: str, data: Any) -> None:
        self.world.vendors[name].drops(data.draw(st.sampled_from(RECORDS if name == "crm" else LISTED)))

    @rule(key=records, channel=channels)
    def a_field_disappears_for_a_while(self, key: str, channel: Any) -> None:
        vendor = self.world.crm
        if vendor.rows[key].gone:
            return
        self.hearts.pop(key, None)
        kept, vendor.rows[key].flags[channel] = vendor.rows[key].flags[channel], ABSENT
        self.world.hook("crm", Look(key))
        self.world.turn("crm")
        # What we wrote meanwhile brought the field back by itself; else it comes back as it was.
        if vendor.rows[key].flags[channel] is ABSENT:
            vendor.rows[key].flags[channel] = kept

    @rule(key=records)
    def a_listing_begins_to_lag(self, key: str) -> None:
        vendor = self.world.crm
        vendor.stale[key] = vendor._holding(key, told=False)
        self.pages.append(("crm", vendor.stale[key]))

    @rule(key=records)
    def a_listing_leaves_a_record_out(self, key: str) -> None:
        self.world.crm.hidden.add(key)

    @precondition(lambda self: self.pages)
    @rule(data=st.data())
    def an_old_page_comes_again(self, data: Any) -> None:
        name, holding = data.draw(st.sampled_from(self.pages))
        world = self.world
        world.do(
            lambda tx: observe(
                tx,
                world.at,
                world.intake,
                world.topology[name],
                (holding, holding),
                fresh=False,
                jitter=lambda: 0.5,
            )
        )

    @rule(name=systems)
    def a_hint_without_a_cause(self, name: str) -> None:
        self.world.hook(name, Look("2" if name == "crm" else f"DNC/{ANN}"))

    # --- time and the process -------------------------------------------------------------------------

    @rule(name=systems)
    def a_turn(self, name: str) -> None:
        self.world.turn(name)

    @rule(passing=seconds)
    def time_passes(self, passing: float) -> None:
        self.world.run(passing)

    @rule()
    def the_process_dies_and_begins_again(self) -> None:
        self.world.restart()

    @rule(tables=st.sampled_from([("holdings", "holding_numbers"), ("bookmarks",), ("looks",)]))
    def a_cache_is_lost(self, tables: tuple[str, ...]) -> None:
        """A lost base is a first run: a flag that stands there may become a request (law 8)."""
        self.world.lose_cache(*tables, system="crm")
        self.hearts.clear()
        if "holdings" in tables:
            self.people |= {key for key, row in self.world.crm.rows.items() if SET in row.flags.values()}
        self.world.restart()
        self.world.loops["crm"].snapshot_now()

    # --- what always holds ----------------------------------------------------------------------------

    @invariant()
    def law_1_and_2_what_was_asked_and_acknowledged_is_blocked(self) -> None:
        if not hasattr(self, "world"):
            return
        for number, channel in self.asked:
            assert channel in self.world.blocked(number), f"{number} asked, and is free on {channel}"

    @invariant()
    def law_2_only_a_reversal_ended_anything(self) -> None:
        if not hasattr(self, "world"):
            return
        for table in ("blocks", "requests"):
            ended = self.world.query(
                f"SELECT * FROM {table} WHERE ended_seq IS NOT NULL "
                "AND ended_seq NOT IN (SELECT event_seq FROM reversals)"
            )
            assert ended == []

    @invariant()
    def law_4_behind_every_receipt_there_is_a_reading(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        start = to_micros(world.clock.now()) - int(world.clock.monotonic() * 1e6)
        for name in ("crm", "dialer"):
            for d in world.deliveries(name):
                if d["verified_at"] is None:
                    assert d["state"] != "verified"
                    continue
                sent, done = (d["sent_at"] - start) / 1e6, (d["verified_at"] - start) / 1e6
                read = [
                    flags
                    for at, key, flags in world.vendors[name].readings
                    if key == d["key"] and sent - 1e-5 <= at <= done + 1e-5
                ]
                assert read, f"{name} {d['key']} is verified, and nobody looked"
                assert read[-1].get(d["channel"], CLEAR) == d["want"]
        for d in world.deliveries("sms"):
            assert d["verified_at"] is None, "it cannot be read"
            if d["state"] == "accepted":
                sent, done = (d["sent_at"] - start) / 1e6, (d["accepted_at"] - start) / 1e6
                told = [at for at, key, _ in world.sms.written if key == d["key"]]
                assert [at for at in told if sent - 1e-5 <= at <= done + 1e-5], f"{d['key']} was never told"

    @invariant()
    def law_5_whatever_is_open_has_its_hour(self) -> None:
        if not hasattr(self, "world"):
            return
        horizon = self.world.at + 86_400 * 1_000_000
        for delivery in self.world.deliveries():
            if delivery["open"]:
                assert delivery["due_at"] is not None
                assert delivery["due_at"] <= horizon
            else:
                assert delivery["state"] in ("verified", "accepted", "superseded", "moot")

    @invariant()
    def law_7_nobody_asked_but_people(self) -> None:
        if not hasattr(self, "world"):
            return
        for request in self.world.requests():
            if request["origin_system"] in ("crm", "dialer"):
                key = request["record_key"] or f"{request['scope']}/{request['number']}"
                assert key in self.people, f"an echo became the request {request['id']} on {key}"

    @invariant()
    def law_10_the_check_says_no_for_whoever_is_blocked(self) -> None:
        if not hasattr(self, "world"):
            return
        for number in NUMBERS:
            for channel in CHANNELS:
                if channel in self.world.blocked(number):
                    assert not self.world.may_contact(number, channel)

    # --- what holds in the end ------------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                self.in_the_end()
        finally:
            if hasattr(self, "world"):
                self.world.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def in_the_end(self) -> None:
        """Everything works again, and one scan interval has passed."""
        world = self.world
        for vendor in world.vendors.values():
            vendor.calm()
            vendor.hidden.clear()
            vendor.stale.clear()
        for vendor in (world.crm, world.dialer):
            vendor.page_size = 50
        world.run(2 * SCAN + AUTH_PAUSE)
        world.settle()
        for check in (
            self.law_1_and_2_what_was_asked_and_acknowledged_is_blocked,
            self.law_2_only_a_reversal_ended_anything,
            self.law_4_behind_every_receipt_there_is_a_reading,
            self.law_5_whatever_is_open_has_its_hour,
            self.law_7_nobody_asked_but_people,
        ):
            check()
        self.law_3_whatever_can_be_read_says_what_the_ledger_says()
        self.law_6_a_quiet_world_is_quiet()
        world.close()
        world.assert_ledger_is_whole()

    def law_3_whatever_can_be_read_says_what_the_ledger_says(self) -> None:
        world = self.world
        standing = {
            (key, channel)
            for key, listed in world.query(
                "SELECT record_key, channels FROM requests WHERE record_key IS NOT NULL AND ended_seq IS NULL"
            )
            for channel in listed.split(",")
        }
        blocked = {number: world.blocked(number) for number in NUMBERS}
        for key, row in world.crm.rows.items():
            for channel in CHANNELS:
                held = any(channel in blocked.get(number, ()) for number in row.numbers)
                want = SET if held or (key, channel) in standing else CLEAR
                assert row.gone or row.flags[channel] is want, f"record {key} {channel} is not {want}"
        for number in NUMBERS:
            want = SET if "voice" in blocked[number] else CLEAR
            assert world.dialer.flag(f"DNC/{number}") is want, f"{number} on the dialer's list"
        for number in NUMBERS:
            for scope in ("MG1", "MG2"):
                back = "SELECT 1 FROM restorations WHERE number = ? AND scope = ? AND ended_seq IS NULL"
                if "sms" in blocked[number] and not world.query(back, number, scope):
                    assert world.sms.flag(f"{scope}/{number}", SMS) is SET, f"{scope}/{number} was not told"
        for key, found in self.hearts.items():
            assert (key, VOICE) in standing, f"somebody ticked record {key} again, and it is forgotten"
            assert all(VOICE in blocked[number] for number in found)
        for said in self.said:
            assert world.query("SELECT 1 FROM statements WHERE ref = ?", said.ref), f"{said.ref} is unheard"

    def law_6_a_quiet_world_is_quiet(self) -> None:
        world = self.world
        before, writes = world.events(), [len(vendor.written) for vendor in world.vendors.values()]
        world.run(2 * SCAN)
        assert [len(vendor.written) for vendor in world.vendors.values()] == writes
        assert set(world.kinds(before)) <= {"snapshot.completed"}

    def _asked(self, number: str, channel: Any) -> None:
        self.asked[number, channel] = self.world.events()
        if self.unified:
            for other in CHANNELS:
                self.asked[number, other] = self.world.events()


def test_the_laws_hold_whatever_happens() -> None:
    run_state_machine_as_test(Laws, settings=settings(max_examples=40, stateful_step_count=40))
