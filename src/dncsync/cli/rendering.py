"""What people see on a terminal: Rich tables, and nothing that a script should parse (there is --json).

What is shown came from vendors, files and strangers: it is printed as it is, never as markup, and characters
that a terminal obeys are spelled out. Instants are UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dncsync.cli.failing import printable

PROOF_STYLE = {
    "verified": "green",
    "accepted, cannot be read": "cyan",
    "not confirmed": "yellow",
}
CLOSED = {"superseded": "superseded", "moot": "was so already"}
"""States of deliveries that needed no call, or need none any more."""
WIDE = 120
"""Columns from which on a key has a column of its own."""
_LEFT_OUT = {"due_at", "known_at", "number", "numbers", "private", "received_at", "system", "words"}
"""Of a payload: what every line of a history would repeat, and what is read elsewhere."""
_WHOLE = {"asked", "recorded", "ended", "known", "at", "seen at", "sent", "accepted", "want", "want, known"}
"""Columns that are never folded."""
LONGEST_WHAT = 400
"""Characters of an event's payload in a history."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leaves it to the command's end, where every broken pipe is the same (exit code 141)."""
        raise BrokenPipeError


def console() -> Console:
    """Standard output; without colours where that is no terminal."""
    return _Console(highlight=False, markup=False, emoji=False)


def number(found: Mapping[str, Any]) -> None:
    """A number's state, its requests and deliveries."""
    out = console()
    blocked = found["blocked"]
    state = (
        Text(f"blocked on {' and '.join(blocked)}", "bold red") if blocked else Text("not blocked", "bold")
    )
    out.print(Text(found["number"], "bold"), state)
    for held in found["waits_for"]:
        out.print(Text(_waits(held), "yellow"))
    wide = out.width >= WIDE
    if found["requests"]:
        out.print(_requests(found, wide))
    if found["reversals"]:
        ended = grid("Reversals", "id", "channels", "by", "reason", "basis", "evidence", "at")
        for r in found["reversals"]:
            evidence = f"{r['evidence_name']} ({r['evidence_date']})"
            row(
                ended,
                *(r[k] for k in ("id", "channels", "actor", "reason", "basis")),
                evidence,
                clock(r["at"]),
            )
        out.print(ended)
    if found["deliveries"]:
        out.print(deliveries(found["deliveries"], wide=wide))
        out.print("Seconds count from known. Times are UTC; ids and keys in full: --json.", style="dim")
    elif blocked:
        out.print("No system has been told yet: none holds it, or no daemon has run since.")


def _waits(held: Mapping[str, Any]) -> str:
    plan = held["plan"]
    if held["what"] == "unblock":
        return f"a reversal waits for approval {plan}; the block stands until then (dncsync plan show {plan})"
    if held["state"] == "rejected":
        return f"blocked here by {held['id']}; its spread was rejected (dncsync plan show {plan})"
    return f"blocked here by {held['id']}; its spread waits for approval {plan} (dncsync plan show {plan})"


def _requests(found: Mapping[str, Any], wide: bool) -> Table:
    instants = ("asked", "recorded", "ended") if wide else ("asked", "ended")
    made = grid("Requests", "id", "made on", "source", "where", *instants)
    for r in found["requests"]:
        place = " ".join(p for p in (r["record_key"], r["scope"]) if p and p != found["number"])
        row(
            made,
            shortened(r["id"], 26 if wide else 12),
            r["channel"] + (" (provisional)" if r["provisional"] else ""),
            f"{r['source']} ({r['actor']})" if r["actor"] else r["source"],
            _two(r["origin_system"] or "here", shortened(place, 36 if wide else 20), wide),
            clock(r["occurred_at"]),
            *([clock(r["recorded_at"])] if wide else []),
            clock(r["ended_at"]) or "stands",
        )
    return made


def deliveries(rows: Iterable[Mapping[str, Any]], *, wide: bool) -> Table:
    """The four stamps of each delivery, and what may be claimed of it (law 4). `wide`: one line each."""
    made = grid(
        "Propagation",
        *(("system", "key", "want", "known") if wide else ("system, key", "want, known")),
        "sent",
        "accepted",
        "proof",
    )
    for each in rows:
        first, want = each["known_at"], f"{each['want']} {each['channel']}"
        key = shortened(each["key"], 36 if wide else 18)
        row(
            made,
            *((each["system"], key) if wide else (_two(each["system"], key, wide),)),
            *((want, clock(first)) if wide else (_two(want, clock(first), wide, indent=""),)),
            *(_after(first, each[stamp]) for stamp in ("sent_at", "accepted_at")),
            _proof(each),
        )
    return made


def _two(first: str, second: str, wide: bool, indent: str = "  ") -> Text:
    """Two facts in one cell: beside each other, or below."""
    if not second:
        return Text(printable(first))
    return Text(f"{printable(first)}{' ' if wide else chr(10) + indent}{printable(second)}")


def _proof(delivery: Mapping[str, Any]) -> Text:
    if delivery["state"] in CLOSED:
        return Text(CLOSED[delivery["state"]], "dim")
    words = delivery["proof"]
    if delivery["verified_at"] is not None:
        words = f"{words} {_after(delivery['known_at'], delivery['verified_at'])}"
    elif delivery["last_error"]:
        words = f"{words}: {delivery['last_error']}"
    return Text(printable(words), PROOF_STYLE.get(delivery["proof"], ""))


def history(e164: str, events: Sequence[Mapping[str, Any]]) -> None:
    """Events in the ledger's order, each with what it says below it."""
    out = console()
    if not events:
        out.print(f"No event concerns {e164}.")
        return
    out.print(Text(f"History of {e164} (UTC)", "bold"))
    for event in events:
        head = Text(f"{event['seq']:>7}  {clock(event['at'])}  ")
        head.append(event["kind"], "bold")
        systems = event["system"] or _systems(event["payload"])
        head.append(printable("".join(f"  {who}" for who in (systems, event["actor"]) if who)), "cyan")
        out.print(head)
        what = printable(_said(event["payload"]))
        what = what if len(what) <= LONGEST_WHAT else what[: LONGEST_WHAT - 3] + "..."
        if what:
            out.print(Padding(Text(what, "dim"), (0, 0, 0, 9)))


def _systems(payload: Mapping[str, Any]) -> str:
    """Those of an event that concerns several systems."""
    return ", ".join(dict.fromkeys(d["system"] for d in payload.get("deliveries", ())))


def _said(value: Any, key: str = "") -> str:
    """A payload in words: `channel=sms, source=sms-inbound`."""
    if isinstance(value, Mapping):
        parts = (
            f"{name}={_said(inner, name)}"
            for name, inner in value.items()
            if name not in _LEFT_OUT and inner not in (None, False, "", [], {})
        )
        return ", ".join(parts)
    if isinstance(value, list | tuple):
        if len(value) > 3:
            return f"{len(value):,} of them"
        return "; ".join(f"({_said(v)})" if isinstance(v, Mapping) else _said(v) for v in value)
    if isinstance(value, int) and (key.endswith("_at") or key.startswith("deadline") or key == "at"):
        return clock(datetime.fromtimestamp(value / 1e6, UTC).isoformat())
    return str(value)


def verdict(found: Mapping[str, Any]) -> None:
    """One line: may it be contacted, and why not."""
    style, words = ("green", "may be contacted") if found["contact"] else ("bold red", "do not contact")
    line = Text(printable(f"{found['number']} ({found['channel']}): "))
    line.append(words, style)
    line.append(f" - {found['why']}")
    console().print(line, soft_wrap=True)


def table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Any rows with the same columns."""
    if not rows:
        console().print(f"{title}: none.")
        return
    made = grid(title, *rows[0])
    for each in rows:
        row(made, *(clock(v) if k.endswith("_at") else v for k, v in each.items()))
    console().print(made)


def rows(columns: Sequence[str], found: Iterable[Sequence[Any]]) -> None:
    """The rows of a query: a table where it fits into the width, else one block a row."""
    out = console()
    kept = [tuple("" if value is None else printable(str(value)) for value in each) for each in found]
    widths = (max([len(name), *(len(each[i]) for each in kept)]) for i, name in enumerate(columns))
    if sum(widths) + 2 * len(columns) <= out.width:
        made = grid("", *columns)
        for each in kept:
            row(made, *each)
        out.print(made)
        return
    longest = max(map(len, columns))
    for count, each in enumerate(kept, 1):
        out.print(f"--- row {count:,}", style="dim")
        for name, value in zip(columns, each, strict=True):
            label = Text(f"{printable(name):<{longest}}  ", "bold")
            out.print(label, Text(value), sep="", soft_wrap=True)


def result(found: Mapping[str, Any]) -> None:
    """What a command did, one fact a line."""
    out = console()
    for name, value in found.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        out.print(Text(f"{name.replace('_', ' ')}: ", "bold"), Text(printable(text)), sep="", soft_wrap=True)


def clock(instant: str | None) -> str:
    """A UTC instant as people read it: `11-21 20:31:05`, and with its year when that is another."""
    if instant is None:
        return ""
    short = instant[:19].replace("T", " ")
    return short[5:] if short.startswith(f"{datetime.now(UTC).year}-") else short


def ago(instant: str | None) -> str:
    """How long ago a UTC instant was; empty for none."""
    if instant is None:
        return ""
    return duration(max(0.0, (datetime.now(UTC) - datetime.fromisoformat(instant)).total_seconds()))


def _after(first: str, later: str | None) -> str:
    """Seconds since the first stamp; a dash where it did not happen."""
    if later is None:
        return "-"
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


def shortened(text: str, longest: int) -> str:
    """With its middle left out where it is longer."""
    if len(text) <= longest:
        return text
    tail = (longest - 1) // 2
    return f"{text[: longest - 1 - tail]}\N{HORIZONTAL ELLIPSIS}{text[-tail:]}"


def grid(title: str, *columns: str) -> Table:
    """An empty table in the house style: no frame, words kept whole."""
    made = Table(
        title=Text(printable(title)) if title else None,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for column in columns:
        name = printable(column.replace("_", " "))
        made.add_column(Text(name), overflow="fold", no_wrap=name in _WHOLE)
    return made


def row(made: Table, *cells: object) -> None:
    """Adds a row of plain text; a `Text` keeps its style."""
    made.add_row(*(c if isinstance(c, Text) else Text("" if c is None else printable(str(c))) for c in cells))
