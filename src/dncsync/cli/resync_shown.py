"""What `dncsync resync` shows: a plan by kind and system, a sample of it, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dncsync.sync.plan import PlannedChange
    from dncsync.sync.plan_file import Plan


def summary(made: Plan, sample: int, show_numbers: bool) -> dict[str, Any]:
    """A plan as JSON values: counts by system, and so many changes of each kind."""
    from dncsync.sync.plan import Kind

    counts: dict[str, dict[str, int]] = {}
    shown: dict[Kind, list[dict[str, Any]]] = {kind: [] for kind in Kind}
    for change in made.changes():
        of = counts.setdefault(change.system, {})
        of[str(change.kind)] = of.get(change.kind, 0) + 1
        if len(shown[change.kind]) < sample:
            shown[change.kind].append(
                {
                    "kind": change.kind,
                    "system": change.system,
                    "key": _key(change, made, show_numbers),
                    "channel": change.channel,
                    "shows": change.observed,
                    "numbers": [_number(number, show_numbers) for number in change.numbers],
                }
            )
    return {
        "plan": str(made.path),
        "sha256": made.sha256,
        "created_at": made.header.created_at.isoformat(),
        "changes": sum(made.totals.values()),
        "totals": dict(made.totals),
        "systems": {
            name: {k: v for k, v in facts.items() if k != "cursor"} | {"changes": counts.get(name, {})}
            for name, facts in made.header.systems.items()
        },
        "sample": [row for rows in shown.values() for row in rows],
    }


def _number(number: str, show_numbers: bool) -> str:
    from dncsync.numbers import mask

    return number if show_numbers else mask(number)


def _key(change: PlannedChange, made: Plan, show_numbers: bool) -> str:
    from dncsync.connector import Unit
    from dncsync.numbers import mask_text

    is_number = made.header.systems[change.system].get("unit") == Unit.NUMBER
    return mask_text(change.key) if is_number and not show_numbers else change.key


def plan(shown: Mapping[str, Any], ledger: Path) -> None:
    """The summary, on a terminal."""
    from rich.text import Text

    from dncsync.cli import rendering
    from dncsync.sync.plan import Kind, Quiet

    out = rendering.console()
    read = {name: facts for name, facts in shown["systems"].items() if "skipped" not in facts}
    made = rendering.grid(f"Compared with {ledger}", "", *read)
    made.add_row("holdings", *(f"{facts.get('holdings', 0):,}" for facts in read.values()))
    for kind in Kind:
        found = [facts["changes"].get(kind, 0) for facts in read.values()]
        if any(found):
            made.add_row(Text(kind, "bold"), *(Text(f"{n:,}", "bold" if n else "dim") for n in found))
    words = [str(q) for q in Quiet]
    words += sorted({what for facts in read.values() for what in facts.get("counts", {})} - set(words))
    for what in words:
        found = [facts.get("counts", {}).get(what, 0) for facts in read.values()]
        if any(found):
            made.add_row(Text(what, "dim"), *(Text(f"{n:,}", "dim") for n in found))
    out.print(made)
    for name, facts in shown["systems"].items():
        if "skipped" in facts:
            out.print(Text(f"{name}: not compared: {facts['skipped']}", "yellow"))
    if not shown["changes"]:
        out.print(Text("Nothing would change.", "bold green"), f"The plan is {shown['plan']}.")
        return
    rows = [{**row, "numbers": ", ".join(row["numbers"])} for row in shown["sample"]]
    if rows:
        rendering.table("A sample of what would change", rows)
    out.print(
        f"{shown['changes']:,} changes are planned in {shown['plan']}; nothing was changed. To apply it:\n"
        f"  dncsync resync --apply {shown['plan']} --actor NAME",
        markup=False,
    )


def outcome(done: Mapping[str, Any]) -> None:
    """What became of a plan, on a terminal."""
    from dncsync.cli import rendering

    out = rendering.console()
    queued = "would be queued" if done["dry_run"] else "applied"
    lines = {
        "queued": f"{done['queued'] - done['waiting']:,} {queued}",
        "agreed": f"{done['agreed']:,} needed nothing any more",
        "changed": f"{done['changed']:,} changed since the plan; left alone",
        "unread": f"{done['unread']:,} could not be read now; run it again",
        "for_a_person": f"{done['for_a_person']:,} need a person: the field does not show",
        "waiting": f"{done['waiting']:,} are queued and not settled yet; see `dncsync status`",
    }
    if done["dry_run"]:
        lines["spread"] = f"{done['spread']:,} would follow from the imports"
    for what, line in lines.items():
        if done[what] or what == "queued":
            out.print(line, markup=False)
    if done["interrupted"]:
        out.print("Stopped. What is queued stays queued; run it again to go on.")
