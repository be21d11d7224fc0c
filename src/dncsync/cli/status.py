"""`dncsync status`: how the systems stand."""

from __future__ import annotations

from typing import Any

from dncsync.cli.failing import EXIT_DONE, EXIT_FOUND
from dncsync.cli.options import NOTHING, Common, print_json


def status(*, common: Common = NOTHING) -> int:
    """Show each system's state, lag, call budget, open and late deliveries, and the oldest exposure.

    Exit code 0: all is well; 3: a system is down, a delivery is late, or a finding waits for a person.

    Example: dncsync status --ledger /var/lib/dncsync/dncsync.sqlite --json
    """
    found = gather(common)
    if common.json:
        print_json(found)
    else:
        _show(found)
    ill = found["findings"] or any(s["state"] != "up" or s["late"] for s in found["systems"])
    return EXIT_FOUND if ill else EXIT_DONE


def gather(common: Common) -> dict[str, Any]:
    """Everything that `status` tells, as JSON values."""
    from dncsync.clock import SystemClock, to_micros
    from dncsync.ledger import reading
    from dncsync.runtime import control
    from dncsync.sync.requests import Refused

    path = common.ledger_path()
    conn = common.reader()
    try:
        now = to_micros(SystemClock().now())
        found: dict[str, Any] = {
            "ledger": str(path),
            "daemon": False,
            **reading.totals(conn),
            "systems": reading.systems(conn, now),
            "findings": reading.open_findings(conn, 20),
        }
    finally:
        conn.close()
    budgets: dict[str, Any] = {}
    try:
        budgets = control.send(path, "status", {}, timeout=3.0)["budgets"]
        found["daemon"] = True
    except (control.NoDaemon, Refused):
        pass
    for system in found["systems"]:
        system["budget"] = budgets.get(system["system"])
    found["sqlite_warning"] = sqlite_warning()
    return found


def sqlite_warning() -> str | None:
    """What to say where this Python's SQLite can corrupt a ledger that has several connections."""
    from dncsync.ledger import sqlite

    if not sqlite.has_wal_reset_bug():
        return None
    version = ".".join(map(str, sqlite.VERSION))
    return (
        f"SQLite {version} has the WAL-reset bug, which can corrupt a ledger; install pysqlite3 or a Python "
        "with SQLite 3.51.3 or newer"
    )


def _show(found: dict[str, Any]) -> None:
    from rich.text import Text

    from dncsync.cli import rendering

    out = rendering.console()
    daemon = Text("running", "green") if found["daemon"] else Text("not running", "yellow")
    out.print(Text(found["ledger"], "bold"), "- daemon", daemon)
    out.print(
        f"{found['blocked_numbers']:,} numbers blocked by {found['requests']:,} requests; "
        f"{found['events']:,} events; {found['open_findings']:,} open findings"
    )
    if not found["systems"]:
        out.print("No system has been connected yet: start the daemon with `dncsync run`.")
    made = rendering.grid(
        "Systems",
        "system",
        "state",
        "holdings",
        "read to",
        "snapshot",
        "open",
        "late",
        "exposed for",
        "budget",
    )
    for s in found["systems"]:
        exposed = s["oldest_exposure_seconds"]
        snapshot = rendering.clock(s["snapshot_at"])
        if s["snapshot_running"] is not None:
            snapshot = f"running: {s['snapshot_running']:,}"
        made.add_row(
            f"{s['system']} ({s['vendor']})",
            Text(s["state"], "green" if s["state"] == "up" else "bold red"),
            f"{s['holdings']:,}",
            rendering.clock(s["polled_at"]),
            snapshot,
            f"{s['open']:,}",
            Text(f"{s['late']:,}", "bold red" if s["late"] else ""),
            rendering.duration(exposed) if exposed is not None else "",
            ", ".join(f"{name} {used}/{allowed}" for name, (used, allowed) in (s["budget"] or {}).items()),
        )
    if found["systems"]:
        out.print(made)
    for finding in found["findings"]:
        style = "bold red" if finding["severity"] == "page" else "yellow"
        times = f" ({finding['count']} times)" if finding["count"] > 1 else ""
        out.print(Text(f"{finding['severity']}: ", style), Text(finding["summary"] + times), sep="")
    if found["sqlite_warning"]:
        out.print(Text(found["sqlite_warning"], "yellow"))
