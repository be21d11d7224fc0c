"""A plan file is read as it was written, and refused once it was touched."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from dncsync.model import Channel, Flag
from dncsync.sync import plan_file
from dncsync.sync.plan import Kind, PlannedChange
from dncsync.sync.plan_file import Header, Plan, PlanRefused

CHANGES = [
    PlannedChange("crm", "1", Channel.VOICE, Kind.IMPORT, Flag.SET, ("+13125550100", "+13125550101")),
    PlannedChange("crm", "Zoë/2", Channel.SMS, Kind.SUPPRESS, Flag.CLEAR),
    PlannedChange("dialer", "LIST/+13125550100", Channel.VOICE, Kind.SPREAD, Flag.CLEAR, ("+13125550100",)),
]
HEADER = Header(
    datetime(2026, 11, 23, 15, tzinfo=UTC), "a-ledger", 7, "ab12", {"crm": {"holdings": 3}, "dialer": {}}
)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return plan_file.write(tmp_path / "plan.jsonl", HEADER, CHANGES)


def test_a_plan_is_read_as_it_was_written(plan: Plan) -> None:
    again = plan_file.read(plan.path)
    assert again == plan
    assert list(again.changes()) == CHANGES
    assert again.totals == {"import": 1, "suppress": 1, "spread": 1}
    assert plan.path.stat().st_mode & 0o777 == 0o600


def test_a_plan_is_not_written_over_another_nor_left_half_written(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        plan_file.write(plan.path, HEADER, [])

    def broken() -> Iterator[PlannedChange]:
        yield CHANGES[0]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        plan_file.write(tmp_path / "other.jsonl", HEADER, broken())
    assert not (tmp_path / "other.jsonl").exists()


def test_any_changed_byte_is_found(plan: Plan) -> None:
    good = plan.path.read_bytes()
    rng = Random(20261123)
    for _ in range(300):
        at = rng.randrange(len(good) - 1)  # the last line break says nothing
        bad = bytearray(good)
        bad[at] ^= 1 << rng.randrange(8)
        plan.path.write_bytes(bad)
        try:
            again = plan_file.read(plan.path)
        except PlanRefused:
            continue
        # Only what the last line repeats for people may differ unseen, and it is not used.
        assert (again.header, list(again.changes())) == (plan.header, CHANGES)
        assert at > good.rindex(b'{"changes"')


def test_any_cut_or_added_line_is_found(plan: Plan) -> None:
    good = plan.path.read_bytes()
    lines = good.splitlines(keepends=True)
    for at in range(len(good) - 1):
        plan.path.write_bytes(good[:at])
        with pytest.raises(PlanRefused):
            plan_file.read(plan.path)
    for bad in (lines[:1] + lines[2:], [*lines, lines[1]], [lines[0], *lines[2:0:-1], lines[3]]):
        plan.path.write_bytes(b"".join(bad))
        with pytest.raises(PlanRefused):
            plan_file.read(plan.path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "is empty; it is no plan"),
        (b"\xff\xfe\x00", "is no plan of `dncsync resync`"),
        (b"number,channel\n+13125550100,voice\n", "is no plan of `dncsync resync`"),
        (b'{"format":"dncsync resync plan","version":2}\n', "is of another dncsync .plan version 2."),
        (b'{"format":"dncsync resync plan","version":1}\n', "line 1 is no header"),
        (b"[" * 100_000, "is no plan of `dncsync resync`"),
    ],
)
def test_what_is_no_plan_is_refused_in_one_line(tmp_path: Path, text: bytes, words: str) -> None:
    path = tmp_path / "plan.jsonl"
    path.write_bytes(text)
    with pytest.raises(PlanRefused, match=words) as refused:
        plan_file.read(path)
    assert "\n" not in str(refused.value)
