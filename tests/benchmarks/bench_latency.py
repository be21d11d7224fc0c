"""Added latency: from the SMS vendor's webhook to the write arriving at each other system, against a bare
script that does one durable insert and the same SDK calls.

The real daemon and the script are processes of their own; all sandboxes are in a third, a set for each. The
two take turns of a few seconds. Limits are lifted for this figure only, since a script without batches could
not keep HubSpot's at 20 opt-outs a second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tomli_w

from benchmarks.figures import Figure, figure, percentile
from benchmarks.vendor_process import WATCHED, VendorProcess
from dncsync.ledger.sqlite import LedgerError, connect_reader
from dncsync.testing.daemon import DaemonProcess, free_port

RATE = 20.0
"""Opt-outs a second."""
UNLIMITED = {
    "twilio": {"seed": 3},
    "hubspot": {"seed": 3, "limits": False, "burst": 1_000_000},
    "salesforce": {"seed": 3, "daily_limit": 10_000_000},
    "vicidial": {"seed": 3, "calls_per_second": 500, "parallel": 4},
}


def run(*, rounds: int = 3, seconds: float = 5.0, rate: float = RATE) -> list[Figure]:
    """`rounds` turns of `seconds` each, for either side."""
    each = round(seconds * rate)
    warm = min(each, round(rate))
    with tempfile.TemporaryDirectory(prefix="dncsync-bench-") as folder, VendorProcess() as vendors:
        ours, keys = _opened(vendors, "ours", rounds * each + warm)
        plain, plain_keys = _opened(vendors, "plain", rounds * each + warm)
        script = _script(plain, plain_keys, Path(folder))
        daemon = _daemon(ours, Path(folder))
        try:
            daemon.start(60)
            _read_in_full(Path(folder) / "ledger.sqlite", len(WATCHED), len(keys["hubspot"]))
            hooks = {vendor: f"{daemon.url}/hooks/{vendor}" for vendor in ("twilio", "hubspot", "vicidial")}
            vendors.ask("send_to", "ours", hooks)
            assert script.stdout is not None
            port = int(script.stdout.readline())
            vendors.ask("send_to", "plain", {"twilio": f"http://127.0.0.1:{port}/"})
            found: dict[str, dict[str, list[float]]] = {"ours": {}, "plain": {}}
            for of in found:
                vendors.ask("opt_outs", of, warm, rate)
            assert daemon.process is not None
            pids = {"ours": daemon.process.pid, "plain": script.pid}
            cpu = {of: -_cpu_seconds(pid) for of, pid in pids.items()}
            for _ in range(rounds):
                for of, seen in found.items():
                    for name, times in vendors.ask("opt_outs", of, each, rate).items():
                        seen.setdefault(name, []).extend(times)
            cpu = {of: cpu[of] + _cpu_seconds(pid) for of, pid in pids.items()}
            if daemon.stop() != 0:
                raise RuntimeError("the daemon did not end well")
        except RuntimeError as error:
            words = daemon.log.read_text(errors="replace").splitlines()[-3:]
            raise RuntimeError(f"{error}; the daemon says: {' | '.join(words)}") from None
        finally:
            daemon.kill()
            assert script.stdin is not None
            script.stdin.close()
            script.wait(10)
            assert script.stdout is not None
            script.stdout.close()
    asked = rounds * each
    spent = (1000 * cpu[of] / asked for of in ("ours", "plain"))
    return [*_figures(found, asked), figure("CPU for an opt-out", next(spent), "ms", next(spent))]


def _figures(found: dict[str, dict[str, list[float]]], asked: int) -> list[Figure]:
    ours, plain = found["ours"], found["plain"]
    figures = []
    for name in WATCHED:
        for words, share, most in (("p50", 0.5, 2.0), ("p99", 0.99, 4.0)):
            mine, theirs = (1000 * percentile(_all(s[name], asked), share) for s in (ours, plain))
            figures.append(figure(f"added latency, {name}, {words}", mine, "ms", theirs, most=most))
    pooled = [[t for name in WATCHED for t in _all(s[name], asked)] for s in (ours, plain)]
    for words, share, most in (("p50", 0.5, 2.0), ("p99", 0.99, 4.0)):
        mine, theirs = (1000 * percentile(times, share) for times in pooled)
        figures.append(figure(f"added latency, all three, {words}", mine, "ms", theirs, most=most))
    answers = (1000 * percentile(s["webhook"], 0.5) for s in (ours, plain))
    figures.append(figure("webhook answered, p50", next(answers), "ms", next(answers)))
    return figures


def _cpu_seconds(pid: int) -> float:
    """Of a process and its threads, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _all(times: list[float], asked: int) -> list[float]:
    """A write that never came took for ever."""
    return times + [float("inf")] * (asked - len(times))


def _opened(vendors: VendorProcess, of: str, people: int) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    return vendors.ask("open", of, UNLIMITED), vendors.ask("people", of, people)


def _script(plain: dict[str, Any], keys: dict[str, dict[str, str]], folder: Path) -> subprocess.Popen[str]:
    config = {
        "database": str(folder / "plain.sqlite"),
        "systems": {vendor: told["config"] for vendor, told in plain.items()},
        "secrets": {vendor: told["secrets"] for vendor, told in plain.items()},
        "keys": keys,
    }
    script = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("plain_script.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert script.stdin is not None
    script.stdin.write(json.dumps(config) + "\n")
    script.stdin.flush()
    return script


def _daemon(ours: dict[str, Any], folder: Path) -> DaemonProcess:
    environ = {
        f"DNCSYNC_SYSTEMS__{vendor.upper()}__{name.upper()}": value
        for vendor, told in ours.items()
        for name, value in told["secrets"].items()
    }
    tables = {
        "ledger": {"path": str(folder / "ledger.sqlite")},
        "web": {"listen": f"127.0.0.1:{free_port()}"},
        "systems": {vendor: told["config"] for vendor, told in ours.items()},
    }
    config = folder / "dncsync.toml"
    config.write_text(tomli_w.dumps(tables), encoding="utf-8")
    return DaemonProcess(config, environ, folder / "daemon.log")


def _read_in_full(ledger: Path, systems: int, people: int) -> None:
    """Returns when the daemon knows everybody."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            conn = connect_reader(ledger)
        except LedgerError:
            time.sleep(0.1)
            continue
        read = conn.execute("SELECT count(*) FROM systems WHERE snapshot_at IS NOT NULL").fetchone()[0]
        known = conn.execute("SELECT count(*) FROM holdings WHERE system = 'hubspot'").fetchone()[0]
        conn.close()
        if read >= systems and known >= people:
            return
        time.sleep(0.1)
    raise RuntimeError("the daemon did not read all systems in full")
