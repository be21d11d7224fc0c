"""`dncsync init` and `dncsync doctor`: from nothing to a configuration that is known to work."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from dncsync.cli.failing import EXIT_DONE, EXIT_FOUND, Cannot, printable
from dncsync.cli.options import NOTHING, Common, print_json
from dncsync.cli.progress import bar

if TYPE_CHECKING:
    from dncsync.connector import SystemSettings, VendorError
    from dncsync.settings import Settings

LEAST_DISK = 1 << 30
"""Bytes free beside the ledger."""
CLOCK_SLACK = 30.0
"""Seconds; webhooks' signatures are good for minutes, and evidence is dated by this clock."""


@dataclass(frozen=True)
class Check:
    """One line of the doctor's."""

    about: str
    """A system's name, or a part of the installation."""
    name: str
    ok: bool
    seen: str
    mend: str = ""


def init(
    file: Annotated[Path, Parameter(help="Where to write it.")] = Path("dncsync.toml"),
    *,
    common: Common = NOTHING,
) -> int:
    """Write an annotated configuration. Nothing is connected until you fill it in and enable a system.

    Example: dncsync init /etc/dncsync/dncsync.toml
    """
    from dncsync.connector import plugins
    from dncsync.settings_template import template

    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(template(sorted(plugins())))
    except FileExistsError:
        raise Cannot(f"{file} exists already; edit it, or give another name") from None
    if common.json:
        print_json({"file": str(file)})
    else:
        from dncsync.cli import rendering

        rendering.console().print(
            f"Wrote {file}. Next: fill in a system and enable it, give its secrets in the environment, then\n"
            f"  dncsync doctor --config {file}\n  dncsync run --config {file}",
            soft_wrap=True,
        )
    return EXIT_DONE


def doctor(*systems: Annotated[str, Parameter(help="Only these systems.")], common: Common = NOTHING) -> int:
    """Check the installation and every system, and say how to mend each fault in the vendor's own terms.

    It reads only: credentials, scopes, each field of the field contract, reachability, clock, disk. Exit
    code 0: all is well; 3: something is not.

    Example: dncsync doctor --config dncsync.toml hubspot
    """
    settings = common.settings()
    unknown = [name for name in systems if name not in settings.systems]
    if unknown:
        known = ", ".join(sorted(settings.systems)) or "none"
        raise Cannot(f"no system {unknown[0]!r} in {settings.source}; configured: {known}")
    chosen = {
        name: system
        for name, system in settings.systems.items()
        if (not systems or name in systems) and system.enabled
    }
    checks = sorted(_installation(settings), key=lambda check: check.about)
    with bar("asking the systems", quiet=common.json) as report:
        for done, (name, system) in enumerate(chosen.items()):
            report(done, len(chosen))
            checks += _system(name, system)
    if common.json:
        print_json({"ok": all(check.ok for check in checks), "checks": [asdict(c) for c in checks]})
    else:
        _show(checks, disabled=sorted(n for n, s in settings.systems.items() if not s.enabled))
    return EXIT_DONE if all(check.ok for check in checks) else EXIT_FOUND


def _installation(settings: Settings) -> Iterator[Check]:
    from dncsync.cli.status import sqlite_warning
    from dncsync.clock import SystemClock
    from dncsync.ledger import sqlite
    from dncsync.policy import PolicyError
    from dncsync.runtime.embedded import load_policies

    path = settings.ledger.path
    folder = path.parent
    if not folder.is_dir():
        yield Check("ledger", "folder", False, f"{folder} does not exist", f"mkdir -p {folder}")
    elif not os.access(folder, os.W_OK):
        yield Check("ledger", "folder", False, f"{folder} cannot be written", "give this user write access")
    else:
        free = shutil.disk_usage(folder).free
        yield Check(
            "ledger",
            "disk",
            free >= LEAST_DISK,
            f"{free / (1 << 30):.1f} GiB free at {folder}",
            "free at least 1 GiB: a full disk stops every acknowledgement",
        )
    if path.exists():
        try:
            sqlite.connect_reader(path).close()
            yield Check("ledger", "file", True, str(path))
        except sqlite.LedgerError as error:
            yield Check("ledger", "file", False, str(error))
    else:
        yield Check("ledger", "file", True, f"{path} will be made by the first run")
    warning = sqlite_warning()
    seen = warning or f"SQLite {'.'.join(map(str, sqlite.VERSION))}"
    yield Check("ledger", "SQLite", warning is None, seen, "pip install pysqlite3")
    try:
        policies, today = load_policies(settings), SystemClock().now().date()
        yield Check("policy", "valid", True, str(settings.policy.file or "the shipped defaults"))
        for notice in policies.check(today):
            yield Check("policy", str(notice.kind), True, notice.text)
        for name in policies.on(today).sync.reversal_authorities:
            if name not in settings.systems:
                known = ", ".join(settings.systems) or "none"
                seen = f"names {name}, which is no system here (known: {known})"
                yield Check("policy", "sync.reversal_authorities", False, seen, "name a system by its table")
    except PolicyError as error:
        yield Check("policy", "valid", False, str(error), "edit the policy file")
    key = settings.ledger.checkpoint_key
    if key is None:
        yield Check(
            "ledger", "checkpoints", True, "not signed; [ledger] checkpoint_key would make them proof"
        )
    elif not key.exists():
        mend = f"dncsync ledger checkpoint --new-key --key {key} --ledger {path}"
        yield Check("ledger", "checkpoints", False, f"{key} does not exist", mend)
    if settings.web.public_url is None and any(s.enabled for s in settings.systems.values()):
        yield Check(
            "web",
            "public URL",
            True,
            f"not set; vendors' webhooks would have to call {settings.public_url}",
        )


def _system(name: str, system: SystemSettings) -> Iterator[Check]:
    from dncsync.clock import SystemClock
    from dncsync.connector import FieldStatus, VendorError
    from dncsync.runtime.systems import connect

    clock = SystemClock()
    connected = connect(name, system, clock)
    try:
        try:
            asked = clock.now()
            probe = connected.connector.probe()
        except VendorError as error:
            yield _failed(name, "reachable", error)
            return
        well = all(check.ok for check in probe.checks)
        if probe.account and well:
            yield Check(name, "account", True, f"{system.vendor} {probe.account}")
        for check in probe.checks:
            yield Check(name, check.name, check.ok, check.seen, check.mend)
        if probe.server_time is not None and not any(check.name == "clock" for check in probe.checks):
            off = abs((probe.server_time - asked).total_seconds())
            mend = "set this machine's clock (NTP): evidence and webhook signatures depend on it"
            yield Check(name, "clock", off <= CLOCK_SLACK, f"{off:.0f} s apart", mend)
        if not well:
            return  # without credentials or rights the fields could only say the same again
        try:
            for checked in connected.connector.describe():
                ok = checked.status is FieldStatus.OK
                seen = (
                    checked.seen if ok else f"{checked.status}: {checked.seen} (needed: {checked.expected})"
                )
                yield Check(name, checked.name, ok, seen, checked.mend)
        except VendorError as error:
            yield _failed(name, "fields", error)
    finally:
        connected.close()


def _failed(name: str, what: str, error: VendorError) -> Check:
    from dncsync.connector import FailureKind

    mends = {
        FailureKind.TRANSIENT: "check base_url and the network; if others reach the vendor, try again later",
        FailureKind.UNKNOWN: "the vendor gave no usable answer; try again later",
        FailureKind.RATE_LIMITED: "the vendor asked for a pause; try again later",
        FailureKind.UNAUTHORISED: "check the credentials and what they may do; see the connector's README",
        FailureKind.REJECTED: "see the connector's README",
    }
    failure = error.failure
    return Check(name, what, False, f"{failure.kind}: {failure.message}", mends[failure.kind])


def _show(checks: list[Check], disabled: list[str]) -> None:
    from rich.text import Text

    from dncsync.cli import rendering

    out = rendering.console()
    about = ""
    for check in checks:
        if check.about != about:
            about = check.about
            out.print(Text(about, "bold"))
        mark = Text("  ok    ", "green") if check.ok else Text("  FAULT ", "bold red")
        out.print(mark, Text(printable(f"{check.name}: {check.seen}")), sep="")
        if check.mend:  # also of what is well but more than needed
            out.print(Text("        mend: ", "yellow"), Text(printable(check.mend)), sep="")
    for name in disabled:
        out.print(Text(name, "bold"), "is disabled in the configuration")
    faults = sum(not check.ok for check in checks)
    if faults:
        out.print(Text(f"{faults} of {len(checks)} checks found a fault", "bold red"))
    else:
        out.print(Text(f"All {len(checks)} checks are well", "bold green"))
