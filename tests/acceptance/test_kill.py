"""kill -9 on the real daemon while vendors take opt-outs: nothing acknowledged is lost, no claim is false."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from random import Random

import pytest

from dncsync.connector import plugin
from dncsync.ledger import reading, verify
from dncsync.ledger.sqlite import connect_reader
from dncsync.model import Flag
from dncsync.testing.daemon import DaemonProcess, running
from dncsync.testing.sandbox import Sandbox, seeded_number

SEED = 20261121
VENDORS = ("twilio", "hubspot", "salesforce", "vicidial")
KILLS = 6
PATIENCE = 90.0


@pytest.mark.parametrize("seed", [SEED])
def test_nothing_acknowledged_is_lost_and_nothing_is_verified_falsely(tmp_path: Path, seed: int) -> None:
    print(f"seed {seed}")
    rng = Random(seed)
    boxes: dict[str, Sandbox] = {v: plugin(v).sandbox()(seed=seed, contacts=60) for v in VENDORS}
    numbers = [seeded_number(seed + 1, i) for i in range(40)]
    for number in numbers:
        for vendor in ("hubspot", "salesforce", "vicidial"):
            boxes[vendor].add_contact([number])
    asked: list[str] = []
    with running(tmp_path, boxes) as (daemon, _):
        daemon.start()
        for _ in range(KILLS):
            moment = rng.uniform(0.0, 0.6)
            killer = threading.Timer(moment, daemon.kill)
            killer.start()
            while killer.is_alive() and numbers:
                number = numbers.pop()
                vendor = rng.choice(("twilio", "twilio", "hubspot", "vicidial", "salesforce"))
                with boxes[vendor].lock:
                    boxes[vendor].opt_out(number)
                asked.append(number)
                killer.join(rng.uniform(0.0, 0.1))
            killer.join()
            daemon.start()
        _wait_until_everywhere(boxes, asked, daemon)
        acknowledged = [hook for box in boxes.values() for hook in box.calls if hook == "webhook 200"]
        assert acknowledged, "no webhook was acknowledged: the test tested nothing"
        assert daemon.stop() == 0
        _check_claims(tmp_path / "ledger.sqlite", boxes, asked)
    report = verify.verify(tmp_path / "ledger.sqlite")
    assert report.ok, report.problems


def _wait_until_everywhere(boxes: dict[str, Sandbox], asked: list[str], daemon: DaemonProcess) -> None:
    deadline = time.monotonic() + PATIENCE
    missing = list(asked)
    while missing:
        missing = [n for n in missing if not all(_suppressed(box, n) for box in boxes.values())]
        if time.monotonic() > deadline:
            where = {n: [v for v, box in boxes.items() if not _suppressed(box, n)] for n in missing}
            raise AssertionError(f"not suppressed everywhere: {where}; log: {daemon.log.read_text()[-2000:]}")
        threading.Event().wait(0.2)


def _suppressed(box: Sandbox, number: str) -> bool:
    with box.lock:
        held = box.truth(number)
    return bool(held) and all(truth.flag is Flag.SET for truth in held)


def _check_claims(ledger: Path, boxes: dict[str, Sandbox], asked: list[str]) -> None:
    conn = connect_reader(ledger)
    try:
        for number in asked:
            found = reading.number(conn, number)
            assert found["blocked"] == ["sms", "voice"], f"{number} asked and is not blocked"
            for delivery in found["deliveries"]:
                if delivery["proof"] != "verified" or delivery["want"] != "set":
                    continue
                truths = {t.key: t.flag for t in boxes[delivery["system"]].truth(number)}
                assert truths.get(delivery["key"]) is Flag.SET, f"verified, and not so: {delivery}"
                assert delivery["system"] != "twilio", "Twilio cannot be read"
    finally:
        conn.close()
