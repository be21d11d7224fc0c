"""One Twilio account in one process: the real connector over the sandbox, on a virtual clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx

from dncsync.clock import VirtualClock
from dncsync.connector import Change, Context, Page, Statement, VendorError, WebhookRequest, Written
from dncsync.http import HttpDoor, WireCall
from dncsync.model import Channel, Flag
from dncsync_twilio import PLUGIN
from dncsync_twilio.connector import TwilioConnector
from dncsync_twilio.sandbox import TwilioSandbox

HOOK = "https://dnc.example.com/webhooks/sms"
CONSENTS = "POST /v1/Consents/Bulk"


class World:
    """A sandbox, and a connector that uses it."""

    def __init__(
        self, config: dict[str, Any] | None = None, *, skew: float = 0.0, contacts: int = 0, **options: Any
    ) -> None:
        """`config` is laid over the sandbox's own settings; `skew`: seconds that our clock is ahead."""
        self.clock = VirtualClock()
        self.ours = VirtualClock(self.clock.now()) if skew else self.clock
        self.ours.advance(skew)
        self.sandbox = TwilioSandbox(seed=3, contacts=contacts, clock=self.clock, **options)
        self.wire: list[WireCall] = []
        table, secrets = self.sandbox.settings("http://sandbox.invalid")
        self.settings = PLUGIN.settings(**{**table, **secrets, **(config or {})})
        self.connector = self.restart()

    def restart(self) -> TwilioConnector:
        """A connector that remembers nothing."""

        def open_door(**door: Any) -> HttpDoor:
            return HttpDoor(
                "sms",
                clock=self.ours,
                transport=self.sandbox.transport(),
                observe=self.wire.append,
                **door,
            )

        connector = PLUGIN.connect(self.settings, Context("sms", self.ours, open_door))
        assert isinstance(connector, TwilioConnector)
        return connector

    def write(self, *numbers: str, flag: Flag = Flag.SET, **more: Any) -> list[Written]:
        """One call of `write` for these numbers in every scope."""
        keys = [key for number in numbers for key in self.connector.keys_for(number)]
        return list(self.connector.write([Change(key, {Channel.SMS: flag}, **more) for key in keys]))

    def held(self, number: str) -> list[str]:
        """Flags by scope, from the sandbox's own store."""
        return [truth.flag.value for truth in self.sandbox.truth(number)]

    def calls(self, name: str) -> int:
        return self.sandbox.calls[name]

    def poll(self, cursor: str | None) -> tuple[list[Statement], str]:
        """All statements of one sweep, and the cursor after it."""
        pages = list(self.connector.changes(cursor))
        assert pages
        assert [page.more for page in pages] == [True] * (len(pages) - 1) + [False]
        return [s for page in pages for s in page.statements], pages[-1].cursor

    def webhooks(self) -> list[WebhookRequest]:
        """What the sandbox sends now, taken with 200."""
        taken: list[WebhookRequest] = []

        def take(request: httpx.Request) -> httpx.Response:
            headers = {name.lower(): value for name, value in request.headers.items()}
            taken.append(
                WebhookRequest(request.method, str(request.url), headers, request.read(), self.ours.now())
            )
            return httpx.Response(200)

        with httpx.Client(transport=httpx.MockTransport(take)) as client:
            self.sandbox.deliver_webhooks(client)
        return taken


Build = Callable[..., World]
"""`world(config, **options)`, the fixture."""


def failing(pages: Iterator[Page]) -> tuple[list[Page], VendorError]:
    """The pages before a failure, and the failure."""
    taken: list[Page] = []
    try:
        taken.extend(pages)
    except VendorError as error:
        return taken, error
    raise AssertionError("nothing failed")
