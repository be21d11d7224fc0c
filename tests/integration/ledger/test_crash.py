"""kill -9 while 8 callers append: whatever was acknowledged is there, and the chain holds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dncsync.ledger.sqlite import connect_reader
from dncsync.ledger.verify import verify
from dncsync.ledger.writer import DirectWriter
from integration.ledger.making import event

CHILD = """
import itertools, os, sys, threading
from pathlib import Path
from dncsync.ledger.events import NewEvent
from dncsync.ledger.writer import GroupWriter

writer = GroupWriter(Path(sys.argv[1]))

def work(caller):
    for n in itertools.count():
        batch = [NewEvent(f"{caller}.{n}", n, {"x": "y" * 200}, numbers=["+12125550001"])] * (1 + n % 3)
        seqs = writer.call(lambda tx: tx.append(batch))
        os.write(1, "".join(f"{seq} {caller}.{n}\\n" for seq in seqs).encode())  # one write: lines stay whole

threads = [threading.Thread(target=work, args=(caller,)) for caller in range(8)]
for thread in threads:
    thread.start()
"""


@pytest.mark.parametrize("acknowledged", [1, 50, 700])
def test_what_was_acknowledged_survives_kill_9(tmp_path: Path, acknowledged: int) -> None:
    ledger = tmp_path / "ledger.db"
    with DirectWriter(ledger, create=True) as writer:
        writer.call(lambda tx: tx.append([event(1)]))
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(ledger)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert child.stdout
    with child:
        lines = [child.stdout.readline() for _ in range(acknowledged)]
        child.kill()
        lines += child.stdout.read().splitlines(keepends=True)  # acknowledged before it died
    told = {int(seq): kind for seq, kind in (line.decode().split() for line in lines)}
    assert len(told) >= acknowledged

    with DirectWriter(ledger) as writer:  # the lock died with its holder, and the log is recovered
        (last,) = writer.call(lambda tx: tx.append([event(2)]))
    report = verify(ledger)
    assert report.problems == ()
    assert report.events == last > max(told)
    conn = connect_reader(ledger)
    there = dict(conn.execute("SELECT seq, kind FROM events"))
    conn.close()
    assert told.items() <= there.items()
