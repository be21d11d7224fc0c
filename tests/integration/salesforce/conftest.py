"""The real connector and SDK against the sandbox, in process, under a virtual clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from dncsync.clock import VirtualClock
from dncsync.connector import Context, Failure, Page, VendorError
from dncsync.http import HttpDoor
from dncsync.model import Channel, Holding
from dncsync_salesforce import PLUGIN
from dncsync_salesforce.connector import SalesforceConnector
from dncsync_salesforce.sandbox import SalesforceSandbox

URL = "http://salesforce.test"


@dataclass
class Org:
    """A sandbox, and a connector that talks to it."""

    sandbox: SalesforceSandbox
    connector: SalesforceConnector
    clock: VirtualClock
    doors: list[HttpDoor]

    def again(self, **settings: Any) -> SalesforceConnector:
        """Another connector to the same org, as after a restart."""
        return connect(self.sandbox, self.clock, self.doors, settings)

    def calls(self, part: str) -> int:
        """How many calls went to routes with that text in them."""
        return sum(n for route, n in self.sandbox.calls.items() if part in route and "status" not in route)

    def poll(
        self, cursor: str | None, connector: SalesforceConnector | None = None
    ) -> tuple[list[Holding], str]:
        """One whole poll: what it gave, and the last cursor."""
        pages = list((connector or self.connector).changes(cursor))
        assert [page.more for page in pages[:-1]] == [True] * (len(pages) - 1)
        assert pages[-1].more is False
        return [h for page in pages for h in page.holdings], pages[-1].cursor

    def until_it_breaks(self, pages: Iterator[Page]) -> tuple[list[Page], Failure]:
        """The pages of a listing that must break off, and why it did."""
        got: list[Page] = []
        try:
            for page in pages:
                got.append(page)
        except VendorError as error:
            return got, error.failure
        raise AssertionError("the listing ended without an error")

    def look(self, key: str) -> Holding:
        """Reads one key."""
        (looked,) = self.connector.read([key])
        assert looked.holding is not None, looked.failure
        return looked.holding

    def boxes(self, number: str) -> dict[str, str]:
        """What the sandbox holds for voice, by key."""
        return {t.key: t.flag for t in self.sandbox.truth(number) if t.channel is Channel.VOICE}


def connect(
    sandbox: SalesforceSandbox, clock: VirtualClock, doors: list[HttpDoor], settings: dict[str, Any]
) -> SalesforceConnector:
    def open_door(**options: Any) -> HttpDoor:
        doors.append(HttpDoor("sf", clock=clock, transport=sandbox.transport(), **options))
        return doors[-1]

    config, secrets = sandbox.settings(URL)
    given = PLUGIN.settings.model_validate({**config, **settings, **secrets})
    connector = PLUGIN.connect(given, Context("sf", clock, open_door))
    assert isinstance(connector, SalesforceConnector)
    return connector


@pytest.fixture
def org() -> Iterator[Callable[..., Org]]:
    """`org(contacts=…, settings={…}, **sandbox options)`."""
    made: list[Org] = []

    def make(contacts: int = 0, settings: dict[str, Any] | None = None, **options: Any) -> Org:
        clock = VirtualClock()
        sandbox = SalesforceSandbox(seed=11, contacts=contacts, clock=clock, **options)
        doors: list[HttpDoor] = []
        made.append(Org(sandbox, connect(sandbox, clock, doors, settings or {}), clock, doors))
        return made[-1]

    yield make
    for one in made:
        for door in one.doors:
            door.close()
