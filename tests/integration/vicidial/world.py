"""A VICIdial sandbox and the real connector over it, in one process under a virtual clock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dncsync.clock import Clock, VirtualClock
from dncsync.connector import Change, Context, Failure, Looked, Written
from dncsync.http import HttpDoor, WireCall
from dncsync.model import Channel, Flag, Holding
from dncsync_vicidial import PLUGIN
from dncsync_vicidial.connector import VicidialConnector
from dncsync_vicidial.sandbox import VicidialSandbox

API = "POST /vicidial/non_agent_api.php"
PAGE = "GET /vicidial/list_download.php"
STOP = {Channel.VOICE: Flag.SET}
RELEASE = {Channel.VOICE: Flag.CLEAR}


class World:
    """`settings` override what the sandbox would configure, `options` are the sandbox's."""

    def __init__(
        self,
        *,
        contacts: int = 0,
        settings: dict[str, Any] | None = None,
        url: str = "http://dialer.test",
        clock: Clock | None = None,
        seed: int = 7,
        **options: Any,
    ) -> None:
        self.clock = clock or VirtualClock()
        self.sandbox = VicidialSandbox(seed=seed, contacts=contacts, clock=self.clock, **options)
        self.overrides = settings or {}
        self.url = url
        self.in_process = True
        self.wire: list[WireCall] = []
        self.connector = self.connect()

    def connect(self, **more: Any) -> VicidialConnector:
        """A connector as after a restart."""
        config, secrets = self.sandbox.settings(self.url)
        settings = PLUGIN.settings(**(config | secrets | self.overrides | more))
        context = Context(system="dialer", clock=self.clock, open_door=self._door)
        connector = PLUGIN.connect(settings, context)
        assert isinstance(connector, VicidialConnector)
        return connector

    def _door(self, **options: Any) -> HttpDoor:
        transport = self.sandbox.transport() if self.in_process else None
        return HttpDoor("dialer", clock=self.clock, transport=transport, observe=self.wire.append, **options)

    def number(self, index: int = 0) -> str:
        """A number that is on no list."""
        return f"+1312555{1000 + index:04d}"

    def write(self, wants: dict[Channel, Flag], *numbers: str) -> list[Written]:
        keys = [key for number in numbers for key in self.connector.keys_for(number)]
        return list(self.connector.write([Change(key, wants) for key in keys]))

    def stop(self, *numbers: str) -> list[Written]:
        return self.write(STOP, *numbers)

    def release(self, *numbers: str) -> list[Written]:
        return self.write(RELEASE, *numbers)

    def read(self, *numbers: str) -> list[Looked]:
        return list(self.connector.read([k for n in numbers for k in self.connector.keys_for(n)]))

    def flags(self, number: str) -> dict[str, Flag]:
        """What the sandbox really holds, by key."""
        return {truth.key: truth.flag for truth in self.sandbox.truth(number)}

    def listed(self, number: str) -> bool:
        """Whether every configured list really holds it."""
        flags = self.flags(number)
        return all(flags[key] is Flag.SET for key in self.connector.keys_for(number))

    def snapshot(self, cursor: str | None = None) -> list[Holding]:
        return [holding for page in self.connector.snapshot(cursor) for holding in page.holdings]

    def calls(self, *functions: str) -> int:
        """Calls of these functions; without a name, all calls."""
        if functions:
            return sum(self.sandbox.calls[f"function {name}"] for name in functions)
        return self.sandbox.calls[API] + self.sandbox.calls[PAGE]


def failures(results: Iterable[Written | Looked]) -> list[Failure]:
    return [result.failure for result in results if result.failure is not None]


def is_set(looked: Looked) -> bool:
    assert looked.failure is None, looked.failure
    assert looked.holding is not None
    assert looked.holding.gone == (looked.holding.flags.get(Channel.VOICE) is None)
    return looked.holding.flags.get(Channel.VOICE) is Flag.SET
