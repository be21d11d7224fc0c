"""Drift planted in simulated worlds: what finds it, and how soon; and what is found where nothing drifted."""

from __future__ import annotations

import math
from concurrent.futures import ProcessPoolExecutor

from benchmarks.figures import Figure, figure, percentile
from simulation import canary_drift, quiet_quarter

MOST_INTERVALS = 2.0


def run(
    *, canary_seeds: int = 100, quarter_seeds: int = 20, quarter_weeks: int = quiet_quarter.WEEKS
) -> list[Figure]:
    """`canary_seeds`: worlds in which the canary is to find one planted drift; `quarter_seeds`: quarters of
    `quarter_weeks` in which nothing drifts, and as many again for each drift that shows in the ledger."""
    return [*_canary(canary_seeds), *_quarters(quarter_seeds, quarter_weeks), *_in_the_ledger(quarter_seeds)]


def _quarters(seeds: int, weeks: int) -> list[Figure]:
    """What the detectors that read the ledger open where nothing drifts."""
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(_alarms, range(1, seeds + 1), [weeks] * seeds))
    return [
        figure("false alarms in a quiet quarter, most", max(found), "findings", most_value=1),
        figure(f"false alarms in {seeds} quiet quarters together", sum(found), "findings"),
    ]


def _alarms(seed: int, weeks: int) -> int:
    return len(quiet_quarter.false_alarms([seed], weeks)[seed])


def _in_the_ledger(seeds: int) -> list[Figure]:
    """Each drift in as many quarters as there are seeds; how many checks it took, of 15 minutes each."""
    figures: list[Figure] = []
    with ProcessPoolExecutor() as pool:
        for drift in quiet_quarter.DRIFTS:
            found = list(pool.map(quiet_quarter.checks_until_found, [drift] * seeds, range(1, seeds + 1)))
            took = [math.inf if checks is None else checks for checks in found]
            named = sum(checks is not None for checks in found)
            figures.append(figure(f"{drift}: found", named, "quarters", seeds, least=1.0))
            figures.append(figure(f"{drift}: checks until then, p50", percentile(took, 0.5), "checks"))
            figures.append(figure(f"{drift}: checks until then, longest", max(took), "checks"))
    return figures


def _canary(seeds: int) -> list[Figure]:
    """One drift a world, every kind of every system in turn; within two check intervals it is found and
    named, by its kind of finding and the stage that the finding tells."""
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(canary_drift.quietly, range(1, seeds + 1), chunksize=4))
    figures: list[Figure] = []
    for kind in dict.fromkeys(str(kind) for _, kind in canary_drift.PLANTS):
        of_kind = [each for each in found if each.drift == kind]
        if of_kind:
            named = sum(_in_time(each) for each in of_kind)
            figures.append(
                figure(f"canary names {kind} in time", named, "worlds", len(of_kind), least=1.0),
            )
    took = [each.intervals if each.intervals is not None else math.inf for each in found]
    alarms = sum(bool(each.false_alarms) for each in found)
    named = sum(map(_in_time, found))
    return [
        figure("planted drift that the canary names within two intervals", named, "worlds", seeds, least=1.0),
        *figures,
        figure("check intervals until then, p50", percentile(took, 0.5), "intervals"),
        figure("check intervals until then, longest", max(took), "intervals", most_value=MOST_INTERVALS),
        figure("worlds with a canary finding before anything drifted", alarms, "worlds", most_value=0),
    ]


def _in_time(each: canary_drift.Found) -> bool:
    return each.intervals is not None and each.intervals <= MOST_INTERVALS
