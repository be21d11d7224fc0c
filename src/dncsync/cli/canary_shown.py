"""What `dncsync canary` shows: a run as it goes on, past runs, and what a run would do."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dncsync.cli import rendering
from dncsync.cli.failing import printable

_STYLE = {"good": "green", "late": "yellow", "lost": "bold red", "kept": "yellow", "broken off": "yellow"}

Show = Callable[[Mapping[str, Any]], None]


@contextlib.contextmanager
def live(*, quiet: bool) -> Iterator[Show]:
    """Shows a run anew each time; on no terminal only its last state. `quiet`: nothing."""
    last: list[Mapping[str, Any]] = []
    if quiet:
        yield lambda found: None
    elif sys.stdout.isatty():
        with Live(console=rendering.console(), auto_refresh=False) as shown:
            yield lambda found: shown.update(_run(found), refresh=True)
    else:
        yield last.append
        if last:
            whole(last[-1])


def whole(found: Mapping[str, Any]) -> None:
    """One run."""
    rendering.console().print(_run(found))


def _run(found: Mapping[str, Any]) -> Group:
    head = Text(f"{found['id']} ", "bold").append(
        f"{found['number']} from {found['origin']} ({found['channel']}), asked for by {found['by']}: ", ""
    )
    head.append(found["outcome"], _STYLE.get(found["outcome"], "bold"))
    lines: list[Text | Table] = [Text(printable(head.plain), spans=head.spans), _way(found), _pairs(found)]
    if found["note"]:
        lines.append(Text(printable(found["note"]), "yellow"))
    return Group(*lines)


def _way(found: Mapping[str, Any]) -> Text:
    """From the origin to us."""
    if found["refused"]:
        return Text(f"{found['origin']}: not written ({found['refused']})", "bold red")
    if found["written_at"] is None:
        return Text(f"{found['origin']}: the write is due", "dim")
    line = f"{found['origin']}: written {rendering.clock(found['written_at'])}, "
    seconds = found["seen_seconds"]
    line += "not seen yet" if seconds is None else f"known here after {rendering.duration(seconds)}"
    late = f"; {found['late']}" if found["late"] else ""
    return Text(f"{line}{late}; webhook: {found['webhook']}", "yellow" if late else "")


def _pairs(found: Mapping[str, Any]) -> Table:
    made = rendering.grid("", "system", "arrived", "after", "limit", "taken back", "")
    for pair in found["pairs"]:
        if pair["expects"] == "origin":
            cells: tuple[object, ...] = ("origin", "", "")
        else:
            cells = (_arrived(pair), _after(pair["seconds"]), rendering.duration(pair["within_seconds"]))
        rendering.row(made, pair["system"], *cells, _cleared(found, pair), Text(pair["why"], "dim"))
    return made


def _arrived(pair: Mapping[str, Any]) -> Text:
    if pair["expects"] in ("skipped", "standing"):
        return Text(pair["expects"], "dim")
    if pair["lost"]:
        return Text(f"lost: {pair['late']}", "bold red")
    if pair["verified_at"] is None:
        return Text(f"late: {pair['late']}", "yellow") if pair["late"] else Text("awaited", "dim")
    return Text(pair["expects"], "yellow" if pair["late"] else "green")


def _cleared(found: Mapping[str, Any], pair: Mapping[str, Any]) -> Text:
    if pair["expects"] in ("skipped", "standing"):
        return Text("")
    if pair["cleared_at"] is not None:
        return Text(_after(pair["cleared_seconds"]), "yellow" if pair["cleared_late"] else "green")
    if pair["cleared_late"]:
        return Text(f"late: {pair['cleared_late']}", "yellow")
    if found["reversed_at"] is None or pair["expects"].startswith("accepted"):
        return Text("-", "dim")
    return Text("awaited" if found["ended_at"] is None else "left to the loop", "dim")


def _after(seconds: float | None) -> str:
    return "-" if seconds is None else rendering.duration(seconds)


def listed(runs: Sequence[Mapping[str, Any]]) -> None:
    """Past runs with the seconds of each pair, the newest first."""
    out = rendering.console()
    if not runs:
        out.print("No canary has flown yet.")
        return
    systems = sorted({pair["system"] for run in runs for pair in run["pairs"]})
    made = rendering.grid("", "run", "at", "origin", "outcome", "seen", *systems)
    for run in runs:
        pairs = {pair["system"]: pair for pair in run["pairs"]}
        rendering.row(
            made,
            run["id"],
            rendering.clock(run["begun_at"]),
            run["origin"],
            Text(run["outcome"], _STYLE.get(run["outcome"], "")),
            _after(run["seen_seconds"]),
            *(_cell(pairs.get(system)) for system in systems),
        )
    out.print(made)


def _cell(pair: Mapping[str, Any] | None) -> Text:
    if pair is None or pair["expects"] == "origin":
        return Text("")
    if pair["seconds"] is not None:
        return Text(_after(pair["seconds"]), "yellow" if pair["late"] else "")
    return Text("lost", "bold red") if pair["lost"] else Text("-", "dim")


def would(found: Mapping[str, Any]) -> None:
    """What a run would do, step by step."""
    out = rendering.console()
    out.print(
        f"{found['number']} would be opted out ({found['channel']}) in {found['origin']}, "
        f"record {printable(found['key'])}; known here within "
        f"{rendering.duration(found['seen_within_seconds'])}; webhook: {found['webhook']}."
    )
    made = rendering.grid("Then awaited, and taken back everywhere", "system", "awaited", "within", "")
    for pair in found["pairs"]:
        skipped = pair["expects"] in ("skipped", "standing")
        within = "" if skipped else rendering.duration(pair["within_seconds"])
        rendering.row(made, pair["system"], pair["expects"], within, Text(pair["why"], "dim"))
    out.print(made)
    out.print("Nothing was done.")
