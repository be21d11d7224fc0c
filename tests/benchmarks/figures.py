"""A measured figure with its baseline and goal, and how figures are shown."""

from __future__ import annotations

import math
import os
import platform
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

from rich.console import Console
from rich.table import Table

from dncsync.ledger.sqlite import sqlite3


class Figure(TypedDict):
    """One line of the table."""

    name: str
    value: float
    unit: str
    baseline: float | None
    """The plain way, or the fewest possible, or the vendor's limit; None: nothing to compare with."""
    ratio: float | None
    """value / baseline."""
    goal: str
    ok: bool


def figure(
    name: str,
    value: float,
    unit: str,
    baseline: float | None = None,
    *,
    most: float | None = None,
    least: float | None = None,
    most_value: float | None = None,
    least_value: float | None = None,
) -> Figure:
    """A figure judged by one goal: its ratio at most `most` or at least `least`, or itself at most
    `most_value` or at least `least_value`. Without a goal it is for information and always met."""
    ratio = value / baseline if baseline else None
    goal, ok = "", True
    if most_value is not None:
        goal, ok = f"<= {most_value:g} {unit}", value <= most_value
    elif least_value is not None:
        goal, ok = f">= {least_value:,g} {unit}", value >= least_value
    elif most is not None:
        goal, ok = f"<= {most:g}x", ratio is not None and ratio <= most
    elif least is not None:
        goal, ok = f">= {least:g}x", ratio is not None and ratio >= least
    return Figure(
        name=name,
        value=_round(value),
        unit=unit,
        baseline=None if baseline is None else _round(baseline),
        ratio=None if ratio is None else round(ratio, 3),
        goal=goal,
        ok=ok and not math.isnan(value),
    )


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which that share of them lies (nearest rank); NaN for none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def machine() -> dict[str, Any]:
    """Where and under what load figures were taken."""
    load = os.getloadavg()
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        models = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    return {
        "cores": os.cpu_count(),
        "cpu": models[0] if models else platform.machine(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": platform.platform(),
        "load": [round(x, 2) for x in load],
        "command": sys.argv[1:],
    }


def show(console: Console, title: str, figures: Sequence[Figure]) -> None:
    """Prints a table."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("figure", overflow="fold")
    for name in ("value", "unit", "baseline", "ratio"):
        table.add_column(name, justify="left" if name == "unit" else "right")
    table.add_column("goal")
    table.add_column("")
    for one in figures:
        verdict = "" if not one["goal"] else "[green]met[/]" if one["ok"] else "[bold red]MISSED[/]"
        baseline = "" if one["baseline"] is None else _shown(one["baseline"])
        ratio = "" if one["ratio"] is None else f"{one['ratio']:.2f}x"
        table.add_row(one["name"], _shown(one["value"]), one["unit"], baseline, ratio, one["goal"], verdict)
    console.print(table)


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 or value == round(value) else f"{value:,.3g}"


def _round(value: float) -> float:
    return value if math.isnan(value) else float(f"{value:.5g}")
