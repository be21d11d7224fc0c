"""What every command takes, and where it leads: the configuration, the ledger, and the way to write to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from dncsync.cli.failing import Cannot

if TYPE_CHECKING:
    from dncsync.ledger.sqlite import Connection
    from dncsync.settings import Settings


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """Options of every command."""

    config: Annotated[
        Path | None, Parameter(name=["--config", "-c"], env_var="DNCSYNC_CONFIG", show_env_var=True)
    ] = None
    "Configuration file (TOML)."
    ledger: Annotated[
        Path | None, Parameter(name=["--ledger", "-l"], env_var="DNCSYNC_LEDGER", show_env_var=True)
    ] = None
    "Ledger file; without it the one that the configuration names."
    json: Annotated[bool, Parameter(name="--json")] = False
    "Print JSON, for scripts."

    def settings(self) -> Settings:
        """The configuration. Raises `Cannot` where none is named, `ConfigError` where it is wrong."""
        from dncsync import settings

        if self.config is None:
            raise Cannot("this needs a configuration; give --config FILE or set DNCSYNC_CONFIG")
        return settings.load(self.config, os.environ)

    def ledger_path(self) -> Path:
        """The ledger: named by itself, or by the configuration. Raises `Cannot`."""
        if self.ledger is not None:
            return self.ledger
        if self.config is not None:
            return self.settings().ledger.path
        raise Cannot("which ledger? Give --ledger FILE or --config FILE (DNCSYNC_LEDGER, DNCSYNC_CONFIG)")

    def reader(self) -> Connection:
        """A read-only connection; works beside a running daemon. Raises `LedgerUnreadable`."""
        from dncsync.ledger.sqlite import connect_reader

        return connect_reader(self.ledger_path())

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """The ledger as it is at this moment, however long the look takes. Raises `LedgerUnreadable`."""
        from dncsync.ledger import sqlite

        with sqlite.reading(self.ledger_path()) as conn:
            yield conn

    def reachable(self) -> None:
        """Raises `Cannot` or `LedgerUnreadable` where a command would; for use before long work."""
        path = self.ledger_path()
        if self.config is None or path.exists():
            from dncsync.ledger.sqlite import connect_reader

            connect_reader(path, any_schema=True).close()

    def command(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Has a command carried out: by the daemon that holds the ledger, else here. Durable on return.
        Raises `Refused`, `LedgerError`."""
        with self.commands() as run:
            return run(name, arguments)

    def commands(self) -> Commands:
        """For several commands in a row."""
        return Commands(self)


NOTHING = Common()
"""No option given."""


class Commands:
    """Leads commands to the daemon if one runs, else to the ledger itself; which is decided once."""

    def __init__(self, common: Common) -> None:
        self._common = common
        self._writer: Any = None
        self.by_daemon = False

    def __enter__(self) -> Callable[[str, Mapping[str, Any]], dict[str, Any]]:
        from dncsync.ledger.sqlite import LedgerInUse
        from dncsync.runtime import control

        path = self._common.ledger_path()
        if control.socket_path(path).exists():
            self.by_daemon = True
            try:
                control.send(path, "status", {})
            except control.NoDaemon:
                self.by_daemon = False  # a socket that a dead daemon left behind
        if self.by_daemon:
            return lambda name, arguments: control.send(path, name, arguments)
        try:
            return self._here(path)
        except LedgerInUse as error:
            raise Cannot(str(error)) from None

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def _here(self, path: Path) -> Callable[[str, Mapping[str, Any]], dict[str, Any]]:
        from dncsync.clock import SystemClock, to_micros
        from dncsync.ledger.writer import DirectWriter
        from dncsync.policy import Policies
        from dncsync.runtime import commands
        from dncsync.sync import findings
        from dncsync.sync.requests import Intake
        from dncsync.sync.topology import NO_SYSTEMS

        clock = SystemClock()
        policies = Policies()
        if self._common.config is not None:
            from dncsync.runtime.embedded import load_policies

            policies = load_policies(self._common.settings())
        now = to_micros(clock.now())
        writer = self._writer = DirectWriter(path, create=self._common.config is not None, now=now)
        if self._common.config is not None:
            # Without a configuration the ledger is kept under the policy that it was told last.
            drift = policies.on(clock.now().date()).drift
            writer.call(lambda tx: findings.adopt(tx, now, drift))
        intake = Intake(policies, NO_SYSTEMS)

        def run(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
            at = to_micros(clock.now())
            return writer.call(lambda tx: commands.run(tx, at, intake, name, arguments))

        return run


def print_json(value: Any) -> None:
    """One JSON document on standard output, indented on a terminal."""
    import orjson

    option = orjson.OPT_INDENT_2 if sys.stdout.isatty() else 0
    sys.stdout.write(orjson.dumps(value, option=option).decode() + "\n")
