"""Every benchmark still runs, with sizes so small that its figures mean nothing and are not looked at."""

from __future__ import annotations

import math

import pytest

from benchmarks.figures import figure, percentile
from benchmarks.run import BENCHMARKS


@pytest.mark.parametrize("name", BENCHMARKS)
def test_it_runs_and_names_its_figures(name: str) -> None:
    figures = BENCHMARKS[name].run(**BENCHMARKS[name].tiny)
    assert figures
    for one in figures:
        assert one["name"]
        assert one["unit"]
        assert not math.isnan(one["value"]), one
        assert one["value"] != math.inf, one


def test_a_figure_is_judged_by_its_goal() -> None:
    assert figure("a", 15, "s", 10, most=1.5)["ok"]
    assert not figure("a", 16, "s", 10, most=1.5)["ok"]
    assert not figure("a", 4, "rows/s", 10, least=0.5)["ok"]
    assert not figure("a", 61, "s", most_value=60)["ok"]
    assert not figure("a", math.nan, "s", most_value=60)["ok"]
    assert not figure("a", 1, "s", 0, most=1.5)["ok"]


def test_percentiles_are_of_the_nearest_rank() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]
    assert percentile([7.0], 0.99) == 7.0
    assert math.isnan(percentile([], 0.5))
