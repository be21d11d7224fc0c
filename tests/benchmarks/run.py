"""Runs every benchmark and prints each figure with its baseline, ratio and goal. None of them is a test.

.venv/bin/python tests/benchmarks/run.py [--quick] [--only NAME ...] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from rich.console import Console

from benchmarks import (
    bench_calls,
    bench_drift,
    bench_full_read,
    bench_latency,
    bench_ledger,
    bench_reconcile,
    bench_virtual_day,
)
from benchmarks.figures import Figure, machine, show


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What to run, and with which sizes."""

    about: str
    run: Callable[..., list[Figure]]
    quick: Mapping[str, Any]
    """Sizes for `--quick`, minutes less."""
    tiny: Mapping[str, Any]
    """Sizes that only show that it still works; their figures mean nothing."""


BENCHMARKS: Mapping[str, Benchmark] = {
    "added_latency": Benchmark(
        "webhook to write, against a bare script; 20 opt-outs a second",
        bench_latency.run,
        quick={"rounds": 2, "seconds": 3.0},
        tiny={"rounds": 1, "seconds": 0.3},
    ),
    "virtual_day": Benchmark(
        "change seen to verified everywhere, during full reads, under virtual time",
        bench_virtual_day.run,
        quick={"contacts": 20_000, "hours": 0.25, "resyncs": 9},
        tiny={"contacts": 300, "hours": 0.01, "resyncs": 1},
    ),
    "full_read": Benchmark(
        "the engine against the bare SDK, and peak memory",
        bench_full_read.run,
        quick={"contacts": 20_000, "many": 100_000, "rounds": 2},
        tiny={"contacts": 150, "many": 300, "rounds": 1, "soql": False, "memory": ("hubspot",)},
    ),
    "calls": Benchmark(
        "calls made against the fewest possible",
        bench_calls.run,
        quick={"contacts": 20_000, "burst": 1_000},
        tiny={"contacts": 200, "burst": 30},
    ),
    "drift": Benchmark(
        "planted drift that is found and named, within two check intervals",
        bench_drift.run,
        quick={"canary_seeds": 24, "quarter_seeds": 4},
        tiny={"canary_seeds": 2, "quarter_seeds": 1, "quarter_weeks": 1},
    ),
    "reconcile": Benchmark(
        "a system against the ledger, and a quarter's report",
        bench_reconcile.run,
        quick={"numbers": 100_000, "requests": 10_000, "rounds": 3},
        tiny={"numbers": 2_000, "requests": 200, "rounds": 1},
    ),
    "ledger": Benchmark(
        "durable chained appends, group commit, verification",
        bench_ledger.run,
        quick={},
        tiny={"transactions": 20, "rounds": 1, "events": 2_000},
    ),
}


def main() -> int:
    """0 also where goals are missed: figures are for reading, and no test."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument(
        "--only", action="append", choices=sorted(BENCHMARKS), metavar="NAME", help=", ".join(BENCHMARKS)
    )
    parser.add_argument("--quick", action="store_true", help="smaller sizes: some minutes in all")
    given = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    where = machine()
    console.print(
        f"{where['cores']} cores ({where['cpu']}), Python {where['python']}, SQLite {where['sqlite']}, "
        f"load {where['load'][0]}"
    )
    results: dict[str, Any] = {"at": datetime.now(UTC).isoformat(), "quick": given.quick, "machine": where}
    results["benchmarks"] = {}
    missed = 0
    for name in given.only or BENCHMARKS:
        benchmark = BENCHMARKS[name]
        load, began = machine()["load"][0], time.monotonic()
        with console.status(f"{name}: {benchmark.about}"):
            figures = benchmark.run(**(benchmark.quick if given.quick else {}))
        took = time.monotonic() - began
        show(console, f"\n{name}: {benchmark.about} [{took:.0f} s, load {load}]", figures)
        missed += sum(not figure["ok"] for figure in figures)
        results["benchmarks"][name] = {"load": load, "seconds": round(took, 1), "figures": figures}
        if given.json is not None:  # after each: hours of work are not lost to the last one's fault
            given.json.write_text(json.dumps(_plain(results), indent=2) + "\n", encoding="utf-8")
    console.print("\nall goals met" if not missed else f"\n{missed} goals missed")
    return 0


def _plain(value: Any) -> Any:
    """JSON knows no infinity and no NaN: they become null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


if __name__ == "__main__":
    sys.exit(main())
