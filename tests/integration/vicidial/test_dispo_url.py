"""From an agent's disposition to a look, by the Dispo Call URL as the sandbox fills and calls it."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from dncsync.connector import Look, Webhook, WebhookRefused, WebhookRequest
from dncsync.testing.faults import FaultKind
from integration.vicidial.world import World, is_set

Make = Callable[..., World]
HOOK = "https://sync.example.test/hooks/dialer"


def deliver(world: World) -> list[Webhook]:
    """Webhooks that reach our listener and are taken."""
    taken: list[Webhook] = []

    def listener(request: httpx.Request) -> httpx.Response:
        call = WebhookRequest(
            method=request.method,
            url=str(request.url),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=request.read(),
            received_at=world.clock.now(),
        )
        try:
            taken.append(world.connector.parse_webhook(call))
        except WebhookRefused as refused:
            return httpx.Response(refused.status)
        return httpx.Response(200)

    with httpx.Client(transport=httpx.MockTransport(listener)) as client:
        world.sandbox.deliver_webhooks(client)
    return taken


@pytest.fixture
def hooked(make_world: Make) -> World:
    world = make_world(lists=("SYSTEM_INTERNAL", "SALES"))
    world.sandbox.webhook_url = HOOK
    return world


def test_a_disposition_is_a_look_on_each_configured_list_and_reads_as_set(hooked: World) -> None:
    hooked.sandbox.opt_out(hooked.number())

    (webhook,) = deliver(hooked)

    assert webhook.signals == (Look("SYSTEM_INTERNAL/3125551000"), Look("SALES/3125551000"))
    assert hooked.calls() == 0
    keys = [signal.key for signal in webhook.signals if isinstance(signal, Look)]
    assert [is_set(looked) for looked in hooked.connector.read(keys)] == [True, True]


def test_a_hint_is_not_believed(hooked: World) -> None:
    """Unsigned: a made-up hint leads to a reading, which shows that nothing is listed."""
    url = f"{HOOK}/{hooked.sandbox.site.webhook_token}?phone=3125551000&dispo=DNC"
    webhook = hooked.connector.parse_webhook(WebhookRequest("GET", url, {}, b"", hooked.clock.now()))

    keys = [signal.key for signal in webhook.signals if isinstance(signal, Look)]
    assert [is_set(looked) for looked in hooked.connector.read(keys)] == [False, False]


@pytest.mark.parametrize("dispo", ["SALE", "NI", "CALLBK", "A"])
def test_other_dispositions_are_answered_200_and_ignored(hooked: World, dispo: str) -> None:
    hooked.sandbox.opt_out(hooked.number(), dispo=dispo)

    (webhook,) = deliver(hooked)

    assert webhook.signals == ()
    assert not hooked.listed(hooked.number())


def test_a_site_s_own_status_counts_where_it_is_configured(make_world: Make) -> None:
    world = make_world(settings={"dispo_statuses": ["STOP"]})
    world.sandbox.webhook_url = HOOK
    world.sandbox.opt_out(world.number(), dispo="STOP")
    world.sandbox.opt_out(world.number(), dispo="DNC")

    assert [len(webhook.signals) for webhook in deliver(world)] == [1, 0]


def test_a_doubled_hint_has_one_nonce_and_a_new_call_another(hooked: World) -> None:
    hooked.sandbox.faults.add(FaultKind.DOUBLED_WEBHOOKS, times=1)
    hooked.sandbox.opt_out(hooked.number())
    hooked.sandbox.opt_out(hooked.number())

    first, again, other = (webhook.nonce for webhook in deliver(hooked))

    assert first == again != other
    assert first
    assert other


@pytest.mark.parametrize("by", ["admin", "menu", "lead-page", "sql"])
def test_other_writers_fire_no_url_and_only_the_listing_shows_them(hooked: World, by: str) -> None:
    hooked.sandbox.opt_out(hooked.number(), by=by)

    assert deliver(hooked) == []
    assert "SYSTEM_INTERNAL/3125551000" in {holding.key for holding in hooked.snapshot()}
    logged = hooked.sandbox.store.logged("3125551000")
    assert bool(logged) == (by in ("admin", "menu"))


def test_a_missing_dispo_url_loses_no_opt_out(hooked: World) -> None:
    hooked.sandbox.faults.add(FaultKind.SILENT_WEBHOOKS)
    hooked.sandbox.opt_out(hooked.number())

    assert deliver(hooked) == []
    assert "SYSTEM_INTERNAL/3125551000" in {holding.key for holding in hooked.snapshot()}


def test_a_url_that_fails_is_not_called_again(hooked: World) -> None:
    hooked.sandbox.opt_out(hooked.number())
    down = httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(503)))
    with down:
        hooked.sandbox.deliver_webhooks(down)

    assert deliver(hooked) == []


def test_the_alt_form_calls_for_some_statuses_only(make_world: Make) -> None:
    world = make_world(dispo_url_statuses=("DNC",))
    world.sandbox.webhook_url = HOOK
    world.sandbox.opt_out(world.number(), dispo="SALE")
    world.sandbox.opt_out(world.number())

    assert len(deliver(world)) == 1


def test_without_a_token_there_are_no_webhooks(make_world: Make) -> None:
    world = make_world(settings={"webhook_token": None})
    world.sandbox.webhook_url = HOOK
    world.sandbox.opt_out(world.number())

    assert not world.connector.capabilities.has_webhooks
    assert deliver(world) == []
