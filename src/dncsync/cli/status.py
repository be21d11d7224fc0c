"""`dncsync status`: how the systems stand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from dncsync.cli.failing import EXIT_DONE, EXIT_FOUND, Cannot, printable
from dncsync.cli.options import NOTHING, Common, print_json

if TYPE_CHECKING:
    from dncsync.ledger.sqlite import Connection

GROUPS = 8
"""Kinds of findings that are shown without --findings."""


def status(
    *,
    findings: Annotated[
        int | None,
        Parameter(help="List so many open findings one by one (0: all); without it they are grouped."),
    ] = None,
    common: Common = NOTHING,
) -> int:
    """Show each system's state, lag, call budget, open and late deliveries, and the oldest exposure.

    Exit code 0: all is well; 3: a system is down, a delivery is late, or a finding waits for a person.

    Example: dncsync status --ledger /var/lib/dncsync/dncsync.sqlite --json
    """
    if findings is not None and findings < 0:
        raise Cannot("--findings: 0 (all) or more")
    found = gather(common, 100 if findings is None else findings or -1)
    if common.json:
        print_json(found)
    else:
        _show(found, one_by_one=findings is not None)
    waiting = sum(n for severity, n in found["findings_by_severity"].items() if severity != "info")
    ill = waiting or any(s["state"] != "up" or s["late"] for s in found["systems"])
    return EXIT_FOUND if ill else EXIT_DONE


def gather(common: Common, findings: int) -> dict[str, Any]:
    """Everything that `status` tells, as JSON values; so many findings at most (-1: all)."""
    from dncsync.clock import SystemClock, to_micros
    from dncsync.ledger import reading, reading_findings
    from dncsync.runtime import control
    from dncsync.sync import fuse_plan
    from dncsync.sync.requests import Refused

    path = common.ledger_path()
    with common.reading() as conn:
        now = to_micros(SystemClock().now())
        by_severity = conn.execute(
            "SELECT severity, count(*) FROM findings WHERE closed_at IS NULL GROUP BY severity"
        )
        found: dict[str, Any] = {
            "ledger": str(path),
            "daemon": False,
            **reading.totals(conn),
            "systems": reading.systems(conn, now),
            "findings_by_severity": dict(by_severity.fetchall()),
            "overdue_findings": reading_findings.overdue(conn, now),
            "findings": reading.open_findings(conn, findings),
            "canary": _canary(common, conn),
            "plans": [fuse_plan.brief(conn, of) for of in fuse_plan.fuses(conn)],
        }
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


def _canary(common: Common, conn: Connection) -> dict[str, Any]:
    """Whether one is configured (None: no configuration was given), and how the latest run went."""
    from dncsync.drift import canary_runs

    latest = canary_runs.recent(conn, 1)
    configured = bool(common.settings().canary.numbers) if common.config is not None else None
    return {"configured": configured, "latest": latest[0] if latest else None}


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


def _show(found: Mapping[str, Any], *, one_by_one: bool) -> None:
    from rich.text import Text

    from dncsync.cli import rendering

    out = rendering.console()
    out.print(Text(found["ledger"], "bold"), soft_wrap=True)
    daemon = Text("running", "green") if found["daemon"] else Text("not running", "yellow")
    out.print(
        "daemon",
        daemon,
        f"- {found['blocked_numbers']:,} numbers blocked by {found['requests']:,} requests; "
        f"{found['events']:,} events",
    )
    if found["systems"]:
        out.print()
        _show_systems(found["systems"])
    else:
        out.print("No system has been connected yet: start the daemon with `dncsync run`.")
    _show_canary(found["canary"])
    out.print()
    for plan in found["plans"]:
        line = f"{plan['id']} waits for approval ({plan['reason']}; {plan['held']:,} held): "
        out.print(Text(printable(f"{line}dncsync plan show {plan['id']}"), "bold red"))
    if found["overdue_findings"]:
        line = f"{found['overdue_findings']:,} findings are overdue: dncsync findings list --overdue"
        out.print(Text(line, "bold red"))
    if one_by_one:
        _list_findings(found)
    else:
        _group_findings(found)
    if found["sqlite_warning"]:
        out.print(Text(found["sqlite_warning"], "yellow"))


def _show_canary(canary: Mapping[str, Any]) -> None:
    from rich.text import Text

    from dncsync.cli import rendering

    run = canary["latest"]
    if canary["configured"] is False:
        line = Text("canary off: no number of your own is configured as [canary] numbers", "yellow")
    elif run is None:
        line = Text("canary: none has flown yet", "dim")
    else:
        line = Text(f"canary {run['id']} from {run['origin']}: {run['outcome']}", "")
        line.append(f", begun {_past(rendering.ago(run['begun_at']))}", "dim")
    rendering.console().print(line)


def _show_systems(systems: Iterable[Mapping[str, Any]]) -> None:
    from rich.text import Text

    from dncsync.cli import rendering

    out = rendering.console()
    made = rendering.grid(
        "", "system", "state", "holdings", "changes", "snapshot", "open", "late", "exposed for"
    )
    for column in made.columns[2:]:
        column.justify = "right"
    budgets = []
    for s in systems:
        exposed = s["oldest_exposure_seconds"]
        running = s["snapshot_running"]
        since = rendering.ago(s["snapshot_at"])
        rendering.row(
            made,
            s["system"] if s["vendor"] == s["system"] else f"{s['system']} ({s['vendor']})",
            Text(s["state"], "green" if s["state"] == "up" else "bold red"),
            f"{s['holdings']:,}",
            _past(rendering.ago(s["polled_at"])),
            f"at {running:,}" if running is not None else _past(since),
            f"{s['open']:,}",
            Text(f"{s['late']:,}", "bold red" if s["late"] else ""),
            "-" if exposed is None else rendering.duration(exposed),
        )
        used = ", ".join(
            f"{name} {calls:,} of {most:,}" for name, (calls, most) in (s["budget"] or {}).items()
        )
        if used:
            budgets.append(f"  {s['system']}: {used}")
    out.print(made)
    for s in systems:
        if s["state"] != "up" and s["reason"]:
            line = f"{s['system']} is {s['state']} for {rendering.ago(s['since'])}: {printable(s['reason'])}"
            out.print(Text(line, "red"))
        if s["frozen"]:
            line = f"{s['system']} is frozen: its clears and absences are not believed; dncsync findings list"
            out.print(Text(line, "red"))
    if budgets:
        out.print(Text("Calls in the present window", "bold"))
        for line in budgets:
            out.print(line)


def _past(age: str) -> str:
    return f"{age} ago" if age else "-"


def _list_findings(found: Mapping[str, Any]) -> None:
    from rich.text import Text

    from dncsync.cli import rendering

    out = rendering.console()
    for finding in found["findings"]:
        times = f" ({finding['count']:,} times)" if finding["count"] > 1 else ""
        since = rendering.clock(finding["opened_at"])
        line = Text(f"{finding['severity']}: ", _style(finding["severity"]))
        line.append(printable(f"{finding['summary']}{times}"), "")
        line.append(printable(f"  [{finding['id']}, since {since}]"), "dim")
        out.print(line)
    left = found["open_findings"] - len(found["findings"])
    if left > 0:
        out.print(f"and {left:,} more; all: dncsync status --findings 0")
    if not found["open_findings"]:
        out.print("No finding waits for a person.")


def _group_findings(found: Mapping[str, Any]) -> None:
    """The gravest first, those of one kind and system together."""
    from rich.text import Text

    from dncsync.cli import rendering

    out = rendering.console()
    if not found["open_findings"]:
        out.print("No finding waits for a person.")
        return
    counted = ", ".join(f"{n:,} {severity}" for severity, n in sorted(found["findings_by_severity"].items()))
    out.print(Text(f"{found['open_findings']:,} open findings ({counted})", "bold"))
    groups: dict[tuple[str, str, str | None], list[Mapping[str, Any]]] = {}
    for finding in found["findings"]:
        groups.setdefault((finding["severity"], finding["kind"], finding["system"]), []).append(finding)
    for (severity, _, _), alike in list(groups.items())[:GROUPS]:
        line = Text(f"{severity}: ", _style(severity))
        line.append(printable(alike[0]["summary"]), "")
        if len(alike) > 1:
            line.append(f" (and {len(alike) - 1:,} more of this kind)", "dim")
        out.print(line)
    if len(groups) < found["open_findings"]:
        out.print("Each of them: dncsync status --findings 0; what to do: dncsync findings list", style="dim")


def _style(severity: str) -> str:
    return {"page": "bold red", "info": "dim"}.get(severity, "yellow")
