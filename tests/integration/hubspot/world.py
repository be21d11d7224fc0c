"""A HubSpot portal and the real connector over it, in one process under a virtual clock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpx

from dncsync.clock import Clock, VirtualClock
from dncsync.connector import Change, Connector, Context, Looked, Page, Written
from dncsync.http import HttpDoor
from dncsync.model import Channel, Flag, Holding
from dncsync.testing.sandbox import Truth
from dncsync_hubspot import PLUGIN
from dncsync_hubspot.sandbox import HubSpotSandbox
from dncsync_hubspot.sandbox_portal import FIRST_ID

SET, CLEAR, ABSENT = Flag.SET, Flag.CLEAR, Flag.ABSENT
VOICE = Channel.VOICE
LIST = "GET /crm/v3/objects/contacts"
SEARCH = f"POST{LIST[3:]}/search"
READ = f"POST{LIST[3:]}/batch/read"
UPDATE = f"POST{LIST[3:]}/batch/update"


class World:
    """One portal of a few hundred contacts, and one or more connectors to it."""

    def __init__(self, contacts: int = 300, config: dict[str, Any] | None = None, **options: Any) -> None:
        self.clock = VirtualClock()
        self.sandbox = HubSpotSandbox(seed=5, contacts=contacts, clock=self.clock, **options)
        self.config = config or {}
        self.connector = self.connect()
        self.cursor: str | None = None

    def connect(self, clock: Clock | None = None, transport: httpx.BaseTransport | None = None) -> Connector:
        """A connector as after a restart: it remembers nothing."""
        config, secrets = self.sandbox.settings("http://sandbox.invalid")
        at = clock or self.clock

        def door(**options: Any) -> HttpDoor:
            return HttpDoor("hub", clock=at, transport=transport or self.sandbox.transport(), **options)

        settings = PLUGIN.settings(**{**config, **self.config, **secrets})
        connector: Connector = PLUGIN.connect(settings, Context("hub", at, door))
        return connector

    def poll(self) -> list[Holding]:
        """One window of the change feed, each page committed."""
        found: list[Holding] = []
        for page in self.connector.changes(self.cursor):
            found.extend(page.holdings)
            self.cursor = page.cursor
        return found

    def listed(self, cursor: str | None = None) -> list[Holding]:
        """A whole listing, begun again from its cursor where the budget ran out."""
        return [holding for page in pages(self.connector.snapshot(cursor)) for holding in page.holdings]

    def write(self, wants: dict[str, Flag], **more: Any) -> list[Written]:
        """Writes the voice flag."""
        return list(self.connector.write([Change(key, {VOICE: flag}, **more) for key, flag in wants.items()]))

    def read(self, *keys: str) -> dict[str, Looked]:
        """Reads by id."""
        return {one.key: one for one in self.connector.read(keys)}

    def flag(self, key: str) -> Flag:
        """What is really stored."""
        contact = self.sandbox.portal.survivor(int(key))
        assert contact is not None
        return SET if contact.properties.get("do_not_call") == "true" else CLEAR

    def truth(self, number: str) -> set[tuple[str, Flag]]:
        """What the sandbox really holds about a number."""
        found: Iterable[Truth] = self.sandbox.truth(number)
        return {(one.key, one.flag) for one in found}


def pages(listing: Iterable[Page]) -> list[Page]:
    """All pages of an iterator."""
    return list(listing)


def key(index: int) -> str:
    """The id of a seeded contact."""
    return str(FIRST_ID + index)
