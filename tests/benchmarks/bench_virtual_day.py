"""From change seen to verified everywhere: vendors at their documented limits and lags, under virtual time,
2,000 opt-outs an hour by text while every system is being read in full again.

A call takes 0.15 s on average (0.075 to 0.225). HubSpot's index is 30 to 60 s late, Salesforce shows changes
up to 120 s late, Twilio lists messages after 1 s; all limits are the sandboxes' own.
"""

from __future__ import annotations

import math
import tempfile
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.figures import Figure, figure, percentile
from benchmarks.virtual import VirtualWorld
from dncsync.testing.sandbox import seeded_number

LIMITS = {
    "hubspot": {"burst": (190, 10.0), "search": (5, 1.0)},
    "salesforce": {"daily": (100_000, 86_400.0), "logins": (3_600, 3_600.0)},
    "twilio": {"consents": (100, 60.0)},
    "vicidial": {"calls": (8, 1.0)},
}
"""As documented by the vendors; VICIdial's is our own figure, since it has none."""
HIGHEST_SHARE = 0.8


def run(
    *, contacts: int = 100_000, hours: float = 0.5, an_hour: float = 2_000, resyncs: int = 9, seed: int = 1
) -> list[Figure]:
    """`resyncs`: full reads begun in that time, at equal distances."""
    shared = {"seed": seed, "contacts": contacts, "opted_out_share": 0.002}
    options: dict[str, dict[str, Any]] = {
        "twilio": {"seed": seed},
        "hubspot": {**shared, "index_lag": 30.0, "index_jitter": 30.0},
        "salesforce": {**shared, "visibility_delay": (0.0, 120.0)},
        "vicidial": shared,
    }
    with (
        tempfile.TemporaryDirectory(prefix="dncsync-bench-") as folder,
        VirtualWorld(Path(folder), options, seed=seed) as world,
    ):
        world.run(86_400, stop=lambda: world.read_in_full() and world.is_quiet(), every=200)
        if not world.read_in_full():
            raise RuntimeError("the first full read did not end within a day")
        return _measured(world, contacts, hours * 3_600, an_hour, resyncs, seed)


def _measured(
    world: VirtualWorld, contacts: int, seconds: float, an_hour: float, resyncs: int, seed: int
) -> list[Figure]:
    rng = Random(seed)
    began = max(clock.monotonic() for clock in world.clocks.values()) + 30
    blocked = {row[0] for row in world.query("SELECT number FROM blocks")}
    numbers = (seeded_number(seed, i) for i in rng.sample(range(contacts), contacts))
    people = (number for number in numbers if number not in blocked)
    when, asked = began, 0
    while (when := when + rng.expovariate(an_hour / 3_600)) < began + seconds:
        world.opt_out("twilio", next(people), when)
        asked += 1
    for turn in range(resyncs):
        for loop in world.loops.values():
            if loop.facts.capabilities.can_list:
                world.at(began + turn * seconds / resyncs, loop.snapshot_now)
    world.run(began + seconds)
    world.run(began + seconds + 7_200, stop=world.is_quiet)
    rows = world.query(
        "SELECT (max(coalesce(d.verified_at, CASE WHEN d.system = 'twilio' THEN d.accepted_at END, 9e18)) "
        "- min(r.received_at)) / 1e6 FROM requests r JOIN deliveries d ON d.request_id = r.id "
        "WHERE r.source = 'sms-inbound' GROUP BY r.number",
    )
    took = [row[0] if row[0] < 1e9 else math.inf for row in rows] + [math.inf] * (asked - len(rows))
    refused = sum(box.limited_429() for box in world.boxes.values())
    reading = _reading_share(world, began, seconds)
    figures = [
        figure(f"change seen to verified everywhere, p50 ({asked:,} opt-outs)", percentile(took, 0.5), "s"),
        figure("change seen to verified everywhere, p95", percentile(took, 0.95), "s", most_value=60),
        figure("change seen to verified everywhere, p99", percentile(took, 0.99), "s", most_value=300),
        figure("change seen to verified everywhere, slowest", max(took), "s"),
        figure("share of that time in which HubSpot was being read", reading, "share"),
        figure("answers 429", refused, "answers", most_value=0),
    ]
    for name, limits in LIMITS.items():
        for limit, (calls, window) in limits.items():
            sent = [t for t in world.wires[name].sent.get(limit, []) if t >= began - window]
            share = _peak(sent, window) / calls
            figures.append(
                figure(f"{name}, busiest {window:g} s of {limit!r}", share, "share", most_value=HIGHEST_SHARE)
            )
    return figures


def _peak(times: Sequence[float], window: float) -> int:
    """Most calls in any window of so many seconds. The budget counts in milliseconds, so do we."""
    ordered = sorted(int(t * 1000) for t in times)
    first = (bisect_left(ordered, t - int(window * 1000) + 1) for t in ordered)
    return max((last + 1 - began for last, began in enumerate(first)), default=0)


def _reading_share(world: VirtualWorld, began: float, seconds: float) -> float:
    """How much of the measured time HubSpot, the slowest to read, was being read."""
    reads = world.query(
        "SELECT payload ->> 'started_at', at FROM events "
        "WHERE kind = 'snapshot.completed' AND system = 'hubspot' ORDER BY seq"
    )
    total: float = sum((end - int(start)) / 1e6 for start, end in reads[1:])
    return min(1.0, total / seconds)
