"""The sandbox's webhooks against the connector's own checks (vendor sheet section 8)."""

from __future__ import annotations

from typing import Any

import pytest

from dncsync.connector import Look, WebhookRequest
from dncsync.testing.faults import FaultKind
from dncsync_hubspot.sandbox_portal import Source
from dncsync_hubspot.sandbox_schema import REASON
from integration.hubspot.world import SET, World, key

URL = "https://dnc.example.com/webhooks/hub"


def received(world: World) -> list[list[str]]:
    """Takes what the sandbox sent; the keys to look at, delivery by delivery."""
    looks = []
    while world.sandbox.outbox:
        hook = world.sandbox.outbox.popleft()
        headers = {name.lower(): value for name, value in hook.headers.items()}
        request = WebhookRequest(hook.method, hook.url, headers, hook.body, world.clock.now())
        signals = world.connector.parse_webhook(request).signals
        looks.append([signal.key for signal in signals if isinstance(signal, Look)])
    return looks


@pytest.fixture(params=["both", "v3", "v1"])
def world(request: pytest.FixtureRequest) -> World:
    made = World(signatures=request.param)
    made.sandbox.webhook_url = URL
    return made


def test_a_tick_a_new_contact_and_a_write_of_ours_are_hints(world: World) -> None:
    ticked = world.sandbox.opt_out(world.sandbox.numbers(1)[0])
    assert received(world) == [[ticked]]
    born = world.sandbox.opt_out("+15005550006")
    assert received(world) == [[born], [born]]
    world.write({key(3): SET, key(4): SET})
    assert received(world) == [[key(3)], [key(4)]]


@pytest.mark.parametrize(("config", "keys"), [({}, [key(0)]), ({"companions": {}}, [])])
def test_a_reason_alone_is_a_hint_where_it_is_read(config: dict[str, Any], keys: list[str]) -> None:
    world = World(companions=True, config=config)
    world.sandbox.webhook_url = URL
    contact = world.sandbox.living(int(key(0)))
    world.sandbox.change(contact, {REASON: "Asked for a call"}, Source.by("userId:123"))
    assert received(world) == [keys]


def test_merges_deletions_and_restores_are_hints(world: World) -> None:
    world.sandbox.merge(key(7), key(6))
    world.sandbox.archive(key(5))
    world.sandbox.restore(key(5))
    world.sandbox.gdpr_delete(key(4))
    assert received(world) == [[key(7), key(6)], [key(5)], [key(5)], [key(4)], [key(4)]]


def test_a_bulk_job_sends_no_webhooks(world: World) -> None:
    world.sandbox.touch(50)
    assert received(world) == []


def test_silent_and_doubled_webhooks(world: World) -> None:
    world.sandbox.faults.add(FaultKind.SILENT_WEBHOOKS, times=1)
    world.sandbox.opt_out(world.sandbox.numbers(1)[0])
    assert received(world) == []
    world.sandbox.faults.add(FaultKind.DOUBLED_WEBHOOKS, times=1)
    world.sandbox.undo(world.sandbox.numbers(1)[0])
    assert received(world) == [[key(0)], [key(0)]]
