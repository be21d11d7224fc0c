"""A reversal made where people work: the real daemon, sandboxes on sockets, the policy's authorities."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from dncsync.connector import plugin
from dncsync.ledger import verify
from dncsync.ledger.sqlite import connect_reader
from dncsync.model import Flag
from dncsync.testing.daemon import DaemonProcess, running
from dncsync.testing.sandbox import Sandbox

ANN, BOB, CAT = "+13125550171", "+13125550172", "+13125550173"
WORDS = {ANN: "asked to be called again, form 12", BOB: "signed a new agreement"}
PATIENCE = 60.0


def rows(daemon: DaemonProcess, sql: str) -> list[tuple[Any, ...]]:
    with closing(connect_reader(daemon.config.with_name("ledger.sqlite"))) as conn:
        return list(conn.execute(sql).fetchall())


def until(what: str, happens: Callable[[], bool], daemon: DaemonProcess) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happens():
        assert time.monotonic() < deadline, f"{what}: it did not happen; {daemon.log.read_text()[-3000:]}"
        time.sleep(0.05)


def held(boxes: dict[str, Sandbox], number: str) -> set[Flag]:
    found = set()
    for box in boxes.values():
        with box.lock:
            found |= {truth.flag for truth in box.truth(number)}
    return found


def test_who_unticks_a_box_and_says_why_frees_the_number_everywhere_and_who_does_not_frees_nobody(
    tmp_path: Path,
) -> None:
    options: dict[str, dict[str, Any]] = {
        "hubspot": {"companions": True},
        "salesforce": {"reason_field": "DNC_Reason__c", "search_lag": 0},
        "vicidial": {},
    }
    boxes = {v: plugin(v).sandbox()(seed=11, contacts=5, **given) for v, given in options.items()}
    for number in (ANN, BOB, CAT):
        for vendor in ("hubspot", "salesforce"):
            boxes[vendor].add_contact([number])
    policy = tmp_path / "policy.toml"
    policy.write_text('[sync]\nreversal_authorities = ["hubspot", "salesforce"]\n', encoding="utf-8")
    with running(tmp_path, boxes, policy={"file": str(policy)}) as (daemon, _):
        daemon.start()
        done = "SELECT count(*) FROM systems WHERE snapshot_at IS NOT NULL"
        until("every system is read", lambda: rows(daemon, done) == [(3,)], daemon)
        for number in (ANN, BOB, CAT):
            with boxes["vicidial"].lock:
                boxes["vicidial"].opt_out(number)
        blocked = "SELECT count(DISTINCT number) FROM blocks WHERE ended_seq IS NULL"
        until("all are blocked", lambda: rows(daemon, blocked) == [(3,)], daemon)
        quiet = "SELECT count(*) FROM deliveries WHERE open = 1"
        until("all is verified", lambda: rows(daemon, quiet) == [(0,)], daemon)
        assert {flag for n in (ANN, BOB, CAT) for flag in held(boxes, n)} == {Flag.SET}

        for vendor, number in (("hubspot", ANN), ("salesforce", BOB)):
            with boxes[vendor].lock:
                boxes[vendor].undo(number, reason=WORDS[number])
        with boxes["hubspot"].lock:
            boxes["hubspot"].undo(CAT)
        told = "SELECT count(*) FROM findings WHERE kind = 'cleared-there'"
        until("Cat's is told", lambda: rows(daemon, told) == [(1,)], daemon)
        until("Ann is free", lambda: held(boxes, ANN) == {Flag.CLEAR}, daemon)
        until("Bob is free", lambda: held(boxes, BOB) == {Flag.CLEAR}, daemon)
        until("Cat is blocked again", lambda: held(boxes, CAT) == {Flag.SET}, daemon)
        assert daemon.stop() == 0
    found = rows(daemon, "SELECT number, reason, basis, evidence_name FROM reversals ORDER BY number")
    assert [row[:3] for row in found] == [(n, WORDS[n], "authority") for n in (ANN, BOB)]
    assert [row[3].rpartition(" of ")[2] for row in found] == ["hubspot", "salesforce"]
    assert rows(daemon, f"{blocked} AND number = '{CAT}'") == [(1,)]
    assert not verify.verify(daemon.config.with_name("ledger.sqlite")).problems
