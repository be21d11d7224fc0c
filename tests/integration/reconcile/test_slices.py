"""The rolling comparison: a slice a day by key, where a listing does not do it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from dncsync.ledger.events import NewEvent
from dncsync.ledger.projections import record
from dncsync.ledger.sqlite import reading
from dncsync.model import Flag
from dncsync.reconcile.slices import Slices, covered
from dncsync.sync.turn import Pace, SystemLoop
from integration.sync.vendors import SMS, VOICE, Row, crm
from integration.sync.world import World

RECORDS = 9
DAY = 86_400.0


class Rolling:
    """A CRM whose loop has the chore, and nothing else to do."""

    def __init__(self, folder: Path, *, can_list: bool = False, can_read: bool = True) -> None:
        make = partial(crm, can_list=can_list, can_poll=False, can_read=can_read)
        self.world = World(folder, without=("dialer", "sms"), crm=make)
        assert self.world.writer is not None
        for i in range(RECORDS):
            clear = {VOICE: Flag.CLEAR, SMS: Flag.CLEAR}
            self.world.crm.rows[f"c/{i}"] = Row((f"+1212555{i:04}",), clear)
        self.chore = Slices(
            self.world.topology["crm"], self.world.path, self.world.writer, self.world.clock, within_days=3
        )
        self.loop = SystemLoop(
            self.world.topology["crm"],
            self.world.crm,
            self.world.writer,
            self.world.intake,
            self.world.clock,
            lambda: 0.5,
            lanes=self.world.crm.lanes,
            pace=Pace(feeds=False),
            chores=[self.chore],
        )
        self.loop.start()

    def known(self) -> None:
        """Every record was read once, now."""
        rows = [
            ("crm", key, json.dumps(list(row.numbers)), "clear", "clear", self.world.at)
            for key, row in self.world.crm.rows.items()
        ]
        assert self.world.writer is not None
        sql = (
            "INSERT INTO holdings (system, key, numbers, base_voice, base_sms, revision, gone, seen_at) "
            "VALUES (?,?,?,?,?,'',0,?)"
        )
        self.world.writer.call(
            lambda tx: tx.executemany(sql, rows) and None,
        )

    def run(self, days: float) -> list[int]:
        """Keys read on each day."""
        counts = []
        for _ in range(int(days)):
            before = len(self.world.crm.readings)
            end = self.world.clock.monotonic() + DAY
            while self.world.clock.monotonic() < end:
                self.world.clock.sleep(max(1.0, min(self.loop.turn(), end - self.world.clock.monotonic())))
            counts.append(len(self.world.crm.readings) - before)
        return counts

    def promise(self) -> tuple[bool, str]:
        with reading(self.world.path) as conn:
            said = covered(
                conn, self.world.at, "crm", by_number=False, can_read=True, can_list=False, within=3
            )
        return said.kept, said.statement


@pytest.fixture
def rolling(tmp_path: Path) -> Iterator[Rolling]:
    made = Rolling(tmp_path)
    yield made
    made.world.close()


def test_a_third_of_the_keys_is_read_each_day(rolling: Rolling) -> None:
    rolling.known()
    for _ in range(9):
        (read_today,) = rolling.run(1)
        assert read_today in (3, 6), "6: two slices, of which one begins a little before the day ends"
        assert rolling.promise() == (True, "every holding compared within the last 3 days")
    assert len(rolling.world.crm.readings) <= 11 * 3
    read = [key for _, key, _ in rolling.world.crm.readings]
    assert sorted(read[:RECORDS]) == sorted(rolling.world.crm.rows), "each once before any is read twice"


def test_what_is_too_old_is_read_at_once(rolling: Rolling) -> None:
    rolling.known()
    rolling.world.clock.advance(10 * DAY)
    assert not rolling.promise()[0]
    assert rolling.run(1)[0] >= RECORDS
    assert rolling.promise()[0]


def test_a_restart_goes_on_with_todays_slice(rolling: Rolling, tmp_path: Path) -> None:
    rolling.known()
    rolling.run(1)
    rolling.chore = Slices(
        rolling.world.topology["crm"],
        rolling.world.path,
        rolling.world.writer,  # type: ignore[arg-type]
        rolling.world.clock,
        within_days=3,
    )
    rolling.chore._step(rolling.world.at - 3_600_000_000)
    with reading(rolling.world.path) as conn:
        assert conn.execute("SELECT count(*) FROM looks").fetchone() == (0,), "the slice was done"


def test_a_drift_is_found_by_the_slice(rolling: Rolling) -> None:
    """Somebody ticks a box, and no feed tells of it."""
    rolling.known()
    rolling.world.crm.rows["c/5"].flags[VOICE] = Flag.SET
    rolling.run(3)
    with reading(rolling.world.path) as conn:
        asked = conn.execute("SELECT record_key FROM requests").fetchall()
    assert {key for (key,) in asked} == {"c/5"}


def test_a_listing_that_comes_through_leaves_nothing_to_read(tmp_path: Path) -> None:
    listed = Rolling(tmp_path, can_list=True)
    listed.known()
    at = listed.world.at
    new = NewEvent("snapshot.completed", at, {"started_at": at}, system="crm")
    listed.world.writer.call(lambda tx: record(tx, new))  # type: ignore[union-attr]
    assert listed.run(2) == [0, 0]
    # No other comes through: from the third day on the keys are read, all before they are too old.
    assert listed.run(1)[0] >= RECORDS
    assert listed.promise()[0]
    listed.world.close()


def test_a_vendor_that_shows_nothing_is_not_asked(tmp_path: Path) -> None:
    mute = Rolling(tmp_path, can_read=False)
    mute.known()
    mute.world.clock.advance(10 * DAY)
    assert mute.run(1) == [0]
    mute.world.close()
