"""A full read through the engine into a ledger on disk, against the bare SDK paging through the same pages
and throwing them away; and the reading process's peak memory.

Sandboxes on sockets in their own process, readers in theirs, taking turns. HubSpot's limit is lifted for this
figure only: at its 190 calls in ten seconds both sides would wait most of the time, and the ratio flatter us.
Salesforce is read as configured by default: above 50,000 records of an object by Bulk 2.0, and, for a figure
more, by SOQL pages alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.figures import Figure, figure
from benchmarks.vendor_process import VendorProcess

OPTIONS: dict[str, dict[str, Any]] = {
    "hubspot": {"seed": 5, "limits": False, "burst": 10_000_000},
    "salesforce": {"seed": 5, "bulk_seconds": 0.0, "daily_limit": 10_000_000},
}
SOQL_ALONE = 100_000_000


def run(
    *,
    contacts: int = 100_000,
    many: int = 1_000_000,
    rounds: int = 3,
    vendors: Sequence[str] = ("hubspot", "salesforce"),
    soql: bool = True,
    memory: Sequence[str] = ("hubspot", "salesforce"),
) -> list[Figure]:
    """`contacts` for times and the smaller memory, `many` for the larger; `soql`: Salesforce that way too;
    `memory`: vendors whose reader's memory is measured."""
    figures: list[Figure] = []
    peak: dict[str, float] = {}
    with VendorProcess() as process:
        told = process.ask("open", "few", {v: {**OPTIONS[v], "contacts": contacts} for v in vendors})
        ways: list[tuple[str, dict[str, Any]]] = [(v, {}) for v in vendors]
        if soql and "salesforce" in vendors:
            ways.append(("salesforce", {"bulk_threshold": SOQL_ALONE}))
        for vendor, config in ways:
            turns = [_both(vendor, told[vendor], config) for _ in range(rounds)]
            ours, plain = (median(turn[of]["seconds"] for turn in turns) for of in ("ours", "plain"))
            how = "" if vendor != "salesforce" else " by SOQL" if config else " (Bulk when large)"
            figures.append(figure(f"full read of {contacts:,}, {vendor}{how}", ours, "s", plain, most=1.5))
            if not config:
                peak[vendor] = median(turn["ours"]["megabytes"] for turn in turns)
    for vendor in memory:
        with VendorProcess() as process:
            told = process.ask("open", "many", {vendor: {**OPTIONS[vendor], "contacts": many}})
            most = _read("ours", vendor, told[vendor], {})["megabytes"]
        words = f"peak memory reading {many:,}, {vendor}"
        figures.append(figure(f"{words}, against {contacts:,}", most, "MB", peak[vendor], most=1.2))
        figures.append(figure(words, most, "MB", most_value=300))
    return figures


def _both(vendor: str, told: dict[str, Any], config: dict[str, Any]) -> dict[str, dict[str, float]]:
    both = {of: _read(of, vendor, told, config) for of in ("plain", "ours")}
    if both["plain"]["rows"] != both["ours"]["rows"]:
        raise RuntimeError(f"{vendor}: the two did not read the same: {both}")
    return both


def _read(of: str, vendor: str, told: dict[str, Any], config: dict[str, Any]) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="dncsync-bench-") as folder:
        task = {
            "of": of,
            "vendor": vendor,
            "url": told["url"],
            "config": {**told["config"], **config},
            "secrets": told["secrets"],
            "ledger": str(Path(folder) / "ledger.sqlite"),
        }
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("reader.py"))],
            input=json.dumps(task),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise RuntimeError(f"reading {vendor} failed: {done.stderr.strip().splitlines()[-1:]}")
    read: dict[str, float] = json.loads(done.stdout)
    return read
