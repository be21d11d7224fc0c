"""A canary run as an admin makes it: the real daemon, sandboxes on sockets, the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from dncsync.connector import plugin
from dncsync.ledger.sqlite import connect_reader
from dncsync.model import Flag
from dncsync.testing.daemon import DaemonProcess, running
from dncsync.testing.faults import FaultKind
from dncsync.testing.sandbox import Sandbox

OWN = "+13125550177"
PATIENCE = 60.0


def dncsync(daemon: DaemonProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("DNCSYNC_")}
    return subprocess.run(
        [sys.executable, "-m", "dncsync.cli.main", "canary", *arguments, "--config", str(daemon.config)],
        capture_output=True,
        text=True,
        timeout=90,
        env={**environ, **daemon.environ},
    )


def rows(daemon: DaemonProcess, sql: str) -> list[tuple[Any, ...]]:
    with closing(connect_reader(daemon.config.with_name("ledger.sqlite"))) as conn:
        return list(conn.execute(sql).fetchall())


def flags(box: Sandbox) -> set[Flag]:
    with box.lock:
        return {truth.flag for truth in box.truth(OWN)}


def test_a_run_by_hand_is_shown_to_its_end_and_leaves_nothing(tmp_path: Path) -> None:
    boxes = {vendor: plugin(vendor).sandbox()(seed=7, contacts=5) for vendor in ("hubspot", "vicidial")}
    boxes["hubspot"].add_contact([OWN])
    within = {"crm": 20.0, "dialer": 8.0}
    with running(tmp_path, boxes, canary={"numbers": [OWN], "within": within}) as (daemon, _):
        ran = dncsync(daemon, "run", "--actor", "jane")
        assert ran.returncode == 1
        assert "no daemon runs" in ran.stderr
        assert ran.stderr.count("\n") == 1
        daemon.start()
        # The first round begins by itself as soon as the systems are read in full.
        deadline = time.monotonic() + PATIENCE
        while [r[0] for r in rows(daemon, "SELECT outcome FROM canary_runs")] != ["good"]:
            assert time.monotonic() < deadline, daemon.log.read_text()[-2000:]
            time.sleep(0.1)
        would = json.loads(dncsync(daemon, "run", "--dry-run", "--json").stdout)
        assert would["origin"] == "hubspot"
        assert [(p["system"], p["expects"]) for p in would["pairs"]] == [("vicidial", "verified")]
        ran = dncsync(daemon, "run", "--actor", "jane", "--json")
        assert ran.returncode == 0, (ran.stdout, ran.stderr, daemon.log.read_text()[-2000:])
        run = json.loads(ran.stdout)
        assert (run["outcome"], run["by"], run["webhook"]) == ("good", "jane", "arrived")
        (leg,) = [p for p in run["pairs"] if p["system"] == "vicidial"]
        assert 0 < leg["seconds"] < 28
        assert flags(boxes["hubspot"]) | flags(boxes["vicidial"]) == {Flag.CLEAR}
        boxes["vicidial"].faults.add(FaultKind.DROPPED_WRITE)
        ran = dncsync(daemon, "run", "--actor", "jane", "--timeout", "15")
        assert ran.returncode == 3, (ran.stdout, ran.stderr)
        assert "accepted, not kept" in ran.stdout
        found = rows(
            daemon, "SELECT kind, system FROM findings WHERE kind LIKE 'canary-%' AND closed_at IS NULL"
        )
        assert ("canary-late", "vicidial") in found
        assert OWN not in ran.stdout
