"""What people see on a terminal: Rich tables, and nothing that a script should parse (there is --json)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

STAMPS = ("known_at", "sent_at", "accepted_at", "verified_at")
PROOF_STYLE = {
    "verified": "green",
    "accepted, cannot be read": "cyan",
    "not confirmed": "yellow",
}


def console() -> Console:
    """Standard output; without colours where that is no terminal."""
    return Console(highlight=False)


def number(found: Mapping[str, Any]) -> None:
    """A number's state, its requests and deliveries."""
    out = console()
    blocked = found["blocked"]
    state = (
        Text(f"blocked on {' and '.join(blocked)}", "bold red") if blocked else Text("not blocked", "bold")
    )
    out.print(Text(found["number"], "bold"), state)
    if found["requests"]:
        made = grid("Requests", "id", "made on", "by", "source", "where", "occurred", "recorded", "ended")
        for r in found["requests"]:
            made.add_row(
                r["id"],
                r["channel"] + (" (provisional)" if r["provisional"] else ""),
                r["actor"] or "",
                r["source"],
                " ".join(filter(None, (r["origin_system"] or "here", r["record_key"], r["scope"]))),
                clock(r["occurred_at"]),
                clock(r["recorded_at"]),
                clock(r["ended_at"]),
            )
        out.print(made)
    if found["reversals"]:
        ended = grid("Reversals", "id", "channels", "by", "reason", "basis", "evidence", "at")
        for r in found["reversals"]:
            ended.add_row(
                *(r[k] for k in ("id", "channels", "actor", "reason", "basis", "evidence_name")),
                clock(r["at"]),
            )
        out.print(ended)
    if found["deliveries"]:
        out.print(deliveries(found["deliveries"]))
    elif blocked:
        out.print("No system has been told yet: none holds it, or no daemon has run since.")


def deliveries(rows: Iterable[Mapping[str, Any]], *, with_number: bool = False) -> Table:
    """The four stamps of each delivery, and what may be claimed of it."""
    head = ["number"] if with_number else []
    made = grid(
        "Propagation", *head, "system", "key", "want", "known", "sent", "accepted", "verified", "proof"
    )
    for row in rows:
        first = row["known_at"]
        proof = Text(row["proof"], PROOF_STYLE.get(row["proof"], ""))
        if row["state"] in ("superseded", "moot"):
            proof = Text({"superseded": "superseded", "moot": "was so already"}[row["state"]], "dim")
        made.add_row(
            *([row["number"] or ""] if with_number else []),
            row["system"],
            row["key"],
            f"{row['channel']} {row['want']}",
            clock(first),
            *(_after(first, row[stamp]) for stamp in STAMPS[1:]),
            proof,
        )
    return made


def history(e164: str, events: Sequence[Mapping[str, Any]]) -> None:
    """Events, one line each."""
    made = grid(f"History of {e164}", "seq", "at", "event", "system", "by", "what")
    for event in events:
        payload = {k: v for k, v in event["payload"].items() if k not in ("numbers", "private")}
        what = ", ".join(f"{k}={v}" for k, v in payload.items())
        made.add_row(
            str(event["seq"]),
            clock(event["at"]),
            event["kind"],
            event["system"] or "",
            event["actor"] or "",
            what if len(what) <= 160 else what[:157] + "...",
        )
    console().print(made)


def verdict(found: Mapping[str, Any]) -> None:
    """One line: may it be contacted, and why not."""
    style, words = ("green", "may be contacted") if found["contact"] else ("bold red", "do not contact")
    console().print(
        Text(f"{found['number']} ({found['channel']}): "), Text(words, style), f"- {found['why']}"
    )


def table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Any rows with the same columns."""
    if not rows:
        console().print(f"{title}: none.")
        return
    made = grid(title, *rows[0])
    for row in rows:
        made.add_row(*("" if value is None else str(value) for value in row.values()))
    console().print(made)


def result(found: Mapping[str, Any]) -> None:
    """What a command did, one fact a line."""
    out = console()
    for name, value in found.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        out.print(Text(f"{name.replace('_', ' ')}: ", "bold"), Text(text), sep="")


def clock(instant: str | None) -> str:
    """A UTC instant as people read it."""
    return "" if instant is None else instant[:19].replace("T", " ")


def _after(first: str, later: str | None) -> str:
    """Seconds since the first stamp; a dash where it did not happen."""
    if later is None:
        return "-"
    from datetime import datetime

    seconds = (datetime.fromisoformat(later) - datetime.fromisoformat(first)).total_seconds()
    return f"+{duration(seconds)}"


def duration(seconds: float) -> str:
    """`0.02 s`, `3 m 10 s`, `2 h 05 m`, `3 d 4 h`."""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} m" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def grid(title: str, *columns: str) -> Table:
    """An empty table in the house style."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        made.add_column(column.replace("_", " "), overflow="fold")
    return made
