"""`make simulate SEEDS=n FIRST=s`: n seeded worlds, on every core; SEEDS=1 replays one with its trace."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from simulation.world import LawBroken, simulate


def attempt(seed: int) -> tuple[int, str, list[str]]:
    """(seed, what broke or "", the story)."""
    logging.disable(logging.CRITICAL)
    try:
        made = simulate(seed)
    except LawBroken as broken:
        return seed, str(broken), broken.trace
    return seed, "", made.trace


def main() -> int:
    """0 only if every law held in every world."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, default=500)
    options.add_argument("--first", type=int, default=1)
    chosen = options.parse_args()
    seeds = range(chosen.first, chosen.first + chosen.seeds)
    began = time.monotonic()
    broken = 0
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        for seed, what, trace in pool.map(attempt, seeds, chunksize=4):
            if what:
                broken += 1
                print(f"seed {seed}: {what}")
                if broken == 1 or chosen.seeds == 1:
                    print("\n".join(trace))
                    print(f"replay it: make simulate SEEDS=1 FIRST={seed}")
            elif chosen.seeds == 1:
                print("\n".join(trace))
                print(f"seed {seed}: every law held")
    took = time.monotonic() - began
    print(f"{len(seeds)} worlds from seed {chosen.first}: {broken} broke a law ({took:.0f} s)")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
