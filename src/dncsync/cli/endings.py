"""`dncsync endings`: the calendar of what vendors will take away."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from cyclopts import Parameter

from dncsync.cli.failing import EXIT_DONE, EXIT_FOUND, Cannot, printable
from dncsync.cli.options import NOTHING, Common, print_json

SOON = 30
"""Days before an ending from which on the exit code says that a person must act."""


def endings(
    *,
    on: Annotated[str, Parameter(help="Count the days from this day (YYYY-MM-DD) instead of today.")] = "",
    common: Common = NOTHING,
) -> int:
    """List what vendors have announced to end, soonest first, and how to mend it.

    With a configuration: what hits its systems. Without one: what is known of every installed connector.
    With a ledger also what the vendors' answers themselves announce. No vendor is called.

    Exit code 0: nothing ends within 30 days; 3: something does, or has ended.

    Example: dncsync endings --config dncsync.toml
    """
    from dncsync.clock import SystemClock

    try:
        today = date.fromisoformat(on) if on else SystemClock().now().date()
    except ValueError:
        raise Cannot(f"--on {on!r}: give a day as YYYY-MM-DD") from None
    found = gather(common, today)
    if common.json:
        print_json({"on": today.isoformat(), **found})
    else:
        _show(found)
    soon = any(entry["days"] <= SOON for entry in found["calendar"])
    return EXIT_FOUND if soon or found["announced"] else EXIT_DONE


def gather(common: Common, today: date) -> dict[str, Any]:
    """`calendar`: entries of the connectors' manifests; `announced`: open findings from answers' headers."""
    from dncsync.connector import plugins
    from dncsync.drift.endings import calendar, declared

    systems: dict[str, Any] = {}
    if common.config is not None:
        systems = {n: s for n, s in common.settings().systems.items() if s.enabled}
    known = [ending for vendor in sorted(plugins()) for ending in declared(vendor)]
    return {
        "calendar": [
            {
                "on": entry.on.isoformat(),
                "days": entry.days,
                "system": entry.system,
                "vendor": entry.vendor,
                "what": entry.what,
                "mend": entry.mend,
                "source": entry.source,
            }
            for entry in calendar(systems, today, endings=known)
        ],
        "announced": _announced(common),
    }


def _announced(common: Common) -> list[dict[str, str]]:
    """What the open findings say that answers announced; none where no ledger is named."""
    from dncsync.drift.endings import announced

    if common.ledger is None and (common.config is None or not common.ledger_path().exists()):
        return []
    with common.reading() as conn:
        return announced(conn)


def _show(found: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    from dncsync.cli import rendering

    out = rendering.console()
    if not found["calendar"] and not found["announced"]:
        out.print("Nothing that is used here is known to end.")
        return
    if found["calendar"]:
        table = Table(box=None, pad_edge=False)
        for name in ("ends", "days", "system", "what", "mend"):
            table.add_column(name, justify="right" if name == "days" else "left")
        for entry in found["calendar"]:
            style = "bold red" if entry["days"] <= SOON else "yellow" if entry["days"] <= 180 else ""
            cells = (entry["on"], str(entry["days"]), entry["system"], entry["what"], entry["mend"])
            table.add_row(*(Text(printable(cell)) for cell in cells), style=style)
        out.print(table)
    for entry in found["announced"]:
        out.print(Text(printable(f"{entry['system']}: {entry['summary']}"), "yellow"))
