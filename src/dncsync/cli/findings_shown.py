"""Findings on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.padding import Padding
from rich.text import Text

from dncsync.cli.failing import printable
from dncsync.cli.rendering import ago, clock, console, duration
from dncsync.numbers import mask_text

STYLE = {"page": "bold red", "warning": "yellow", "info": "dim"}


def listed(found: Sequence[Mapping[str, Any]]) -> None:
    """Two lines each: what can be sorted by, and what it says."""
    out = console()
    if not found:
        out.print("No finding waits for a person.")
        return
    columns = [[_cell(each, name) for each in found] for name in ("finding", "severity", "kind", "system")]
    widths = [max(map(len, column)) for column in columns]
    for each, *cells in zip(found, *columns, strict=True):
        line = Text(no_wrap=False)
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True)):
            style = STYLE.get(each["severity"], "") if number == 1 and each["closed_at"] is None else ""
            line.append(f"{cell:<{width}}  ", style)
        line.append(printable(f"{ago(each['opened_at'])} old, {_duty(each)}"), "")
        marks = [*_marks(each)]
        if marks:
            line.append(f"  [{', '.join(marks)}]", "cyan")
        out.print(line)
        out.print(Padding(Text(printable(each["summary"])), (0, 0, 0, widths[0] + 2)))


def _cell(finding: Mapping[str, Any], name: str) -> str:
    return printable(str(finding[name] or "-"))


def _duty(finding: Mapping[str, Any]) -> str:
    if finding["closed_at"] is not None:
        return f"closed {ago(finding['closed_at'])} ago by {finding['closed_by']}"
    seconds = (datetime.fromisoformat(finding["due_at"]) - datetime.now(UTC)).total_seconds()
    due = f"due in {duration(seconds)}" if seconds >= 0 else f"overdue for {duration(-seconds)}"
    return f"{finding['owner']}, {due}"


def _marks(finding: Mapping[str, Any]) -> list[str]:
    marks = [f"{finding['count']:,} times"] if finding["count"] > 1 else []
    marks += ["flapping"] if finding["flapping"] else []
    marks += ["its system is frozen"] if finding["frozen"] else []
    marks += [f"taken on by {printable(finding['acked_by'])}"] if finding["acked_by"] else []
    return marks


def whole(finding: Mapping[str, Any]) -> None:
    """Everything that a person needs to act, and what happened so far."""
    out = console()
    head = Text(f"{finding['finding']}  ", "bold")
    head.append(finding["severity"], STYLE.get(finding["severity"], ""))
    head.append(printable(f"  {finding['kind']} in {finding['system'] or 'this ledger'}"), "bold")
    out.print(head, soft_wrap=True)
    out.print(Text(printable(finding["summary"])))
    out.print()
    detail = dict(finding["detail"])
    facts: list[tuple[str, Any]] = [
        ("about", mask_text(finding["subject"])),
        ("expected", detail.pop("expected", None)),
        ("seen", detail.pop("seen", None)),
        ("well until", clock(detail.pop("since", None))),
        ("found", f"{clock(finding['opened_at'])}, last {clock(finding['last_at'])}"),
        ("seen again", f"{finding['count']:,} times in all" if finding["count"] > 1 else None),
        ("came back", _flapping(finding)),
        ("exposed", _exposed(finding["exposed"])),
        ("query", finding["exposed"]["query"]),
        ("how to mend", detail.pop("mend", None)),
        ("frozen", _frozen(finding)),
        ("state", _state(finding)),
        ("note", finding["note"]),
    ]
    changed = detail.pop("changed", None)
    if changed:
        facts.append(("said before", "; ".join(f"{k}: {v}" for k, v in changed.items())))
    normal = detail.pop("baseline", None)
    if normal and finding["closed_at"] is None:
        facts.append(
            ("if it is normal", f"dncsync findings accept {finding['finding']} --by NAME --note TEXT")
        )
    facts += [(name.replace("_", " "), value) for name, value in detail.items()]
    for name, value in facts:
        if value not in (None, ""):
            out.print(Text(f"{name}: ", "bold"), Text(printable(str(value))), sep="", soft_wrap=True)
    out.print()
    out.print(Text("History (UTC)", "bold"))
    for event in finding["history"]:
        line = Text(f"{event['seq']:>7}  {clock(event['at'])}  ")
        line.append(printable(_said(event)))
        out.print(line)


def _flapping(finding: Mapping[str, Any]) -> str | None:
    if not finding["flaps"]:
        return None
    times = f"{finding['flaps']:,} times after it had closed"
    return f"{times}; it is flapping, and nobody is called anew" if finding["flapping"] else times


def _exposed(exposed: Mapping[str, Any]) -> str:
    if not exposed["numbers"]:
        return "no blocked number"
    sample = f", e.g. {', '.join(exposed['sample'])}" if exposed["sample"] else ""
    least = "at least " if exposed.get("or_more") else ""
    return (
        f"{least}{exposed['numbers']:,} blocked {'number' if exposed['numbers'] == 1 else 'numbers'}{sample}"
    )


def _frozen(finding: Mapping[str, Any]) -> str | None:
    if not finding["frozen"]:
        return None
    return (
        f"clears and absences that {finding['system']} shows are not believed "
        f"({finding['unbelieved_holdings']:,} holdings so far); release it: resolve this finding, or "
        f"dncsync findings release {finding['system']} --by NAME --note TEXT"
    )


def _state(finding: Mapping[str, Any]) -> str:
    if finding["closed_at"] is not None:
        return f"closed {clock(finding['closed_at'])} by {finding['closed_by']}"
    words = [f"open; {_duty(finding)}"]
    if finding["acked_by"]:
        words.append(f"taken on by {finding['acked_by']} {clock(finding['acked_at'])}")
    if finding["healed_at"]:
        words.append(f"not seen any more since {clock(finding['healed_at'])} ({finding['healed_by']})")
    return "; ".join(words)


def _said(event: Mapping[str, Any]) -> str:
    payload, actor = event["payload"], event["actor"]
    kind = event["kind"]
    if kind == "finding.opened":
        again = {"soon": "came back soon: ", "late": "came back: "}.get(payload.get("returned"), "")
        return f"{again}{payload['summary']} ({payload['severity']})"
    if kind == "finding.acked":
        note = f": {payload['note']}" if payload["note"] else ""
        return f"taken on by {actor}, {payload['owner']} deals with it{note}"
    if kind == "finding.closed":
        note = f": {payload['note']}" if payload.get("note") else ""
        return f"closed by {payload['by']}{note}"
    if kind == "finding.healed":
        return f"not seen any more ({payload['by']}); the freeze waits for a person"
    if kind == "system.frozen":
        return "the system's reads were frozen"
    if kind == "system.released":
        return f"the system was released by {actor}: {payload['note']}"
    return str(kind)
