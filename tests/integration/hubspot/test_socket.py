"""The same over real sockets: the SDK, the door, resets and webhooks (no virtual clock)."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import httpx
import pytest
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from dncsync.clock import SystemClock
from dncsync.connector import Change, Connector, Context, FailureKind, Look, WebhookRequest
from dncsync.http import HttpDoor
from dncsync.model import Channel, Flag
from dncsync.testing.faults import FaultKind
from dncsync_hubspot import PLUGIN
from dncsync_hubspot.sandbox import HubSpotSandbox

VOICE = Channel.VOICE


@pytest.fixture
def sandbox() -> HubSpotSandbox:
    return HubSpotSandbox(seed=2, contacts=250)


@pytest.fixture
def url(sandbox: HubSpotSandbox) -> Iterator[str]:
    with sandbox.serve() as at:
        yield at


@pytest.fixture
def connector(sandbox: HubSpotSandbox, url: str) -> Iterator[Connector]:
    clock = SystemClock()
    config, secrets = sandbox.settings(url)

    def door(**options: object) -> HttpDoor:
        return HttpDoor("hub", clock=clock, **options)  # type: ignore[arg-type]

    settings = PLUGIN.settings.model_validate(config | secrets)
    made: Connector = PLUGIN.connect(settings, Context("hub", clock, door))
    yield made
    made.close()


def test_listing_polling_writing_and_reading(sandbox: HubSpotSandbox, connector: Connector) -> None:
    listed = {h.key: h.flags[VOICE] for page in connector.snapshot(None) for h in page.holdings}
    assert len(listed) == 250
    (start,) = connector.changes(None)
    number = sandbox.numbers(3)[2]
    ticked = sandbox.opt_out(number)
    seen = [h for page in connector.changes(start.cursor) for h in page.holdings]
    assert [(h.key, h.flags[VOICE]) for h in seen] == [(ticked, Flag.SET)]
    (done,) = connector.write([Change(ticked, {VOICE: Flag.CLEAR})])
    assert done.failure is None
    (looked,) = connector.read([ticked])
    assert looked.holding is not None
    assert looked.holding.flags[VOICE] is Flag.CLEAR
    assert {one.flag for one in sandbox.truth(number)} == {Flag.CLEAR}
    assert all(check.ok for check in connector.probe().checks)


def test_a_connection_reset_after_the_commit_is_unknown(
    sandbox: HubSpotSandbox, connector: Connector
) -> None:
    key = next(h.key for page in connector.snapshot(None) for h in page.holdings)
    sandbox.faults.add(FaultKind.RESET_AFTER, path="batch/update", times=1)
    (done,) = connector.write([Change(key, {VOICE: Flag.SET})])
    assert done.failure is not None
    assert done.failure.kind is FailureKind.UNKNOWN
    (looked,) = connector.read([key])
    assert looked.holding is not None
    assert looked.holding.flags[VOICE] is Flag.SET


def test_a_webhook_travels_and_is_authentic(sandbox: HubSpotSandbox, connector: Connector) -> None:
    taken: list[WebhookRequest] = []
    arrived = threading.Event()

    @Request.application
    def listener(request: Request) -> Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = request.get_data()
        taken.append(WebhookRequest(request.method, request.url, headers, body, SystemClock().now()))
        arrived.set()
        return Response("ok")

    server = make_server("127.0.0.1", 0, listener)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        sandbox.webhook_url = f"http://127.0.0.1:{server.server_port}/hooks/hub?x=1"
        ticked = sandbox.opt_out(sandbox.numbers(1)[0])
        assert arrived.wait(10)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert connector.parse_webhook(taken[0]).signals == (Look(ticked),)


def test_the_world_can_be_steered_over_http(sandbox: HubSpotSandbox, url: str) -> None:
    ids = [str(one) for one in range(57_000_000_000, 57_000_000_003)]
    with httpx.Client(base_url=url, trust_env=False) as client:

        def act(**how: object) -> str:
            return str(client.post("/_sandbox/act", json=how).raise_for_status().json()["id"])

        assert act(act="opt_out", number=sandbox.numbers(1)[0]) == ids[0]
        assert act(act="merge", primary=ids[1], loser=ids[2]) == ids[1]
        assert act(act="archive", key=ids[1]) == ids[1]
        assert act(act="restore", key=ids[1]) == ids[1]
        assert act(act="touch", count=1)
        assert act(act="rename_property", old="do_not_call", new="dnc2") == "dnc2"
        assert act(act="gdpr_delete", key=ids[0]) == ids[0]
        truth = client.get("/_sandbox/truth", params={"number": sandbox.numbers(1)[0]}).json()
    assert truth == []
