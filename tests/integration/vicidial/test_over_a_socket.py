"""The same connector and sandbox over real TCP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dncsync.clock import SystemClock
from dncsync.connector import FailureKind, VendorError, WebhookRequest
from dncsync.testing.faults import FaultKind
from integration.vicidial.world import World, failures, is_set


@contextmanager
def served(**options: object) -> Iterator[World]:
    """A world whose connector reaches its sandbox over a socket."""
    world = World(clock=SystemClock(), calls_per_second=500, parallel=4, **options)  # type: ignore[arg-type]
    world.in_process = False
    with world.sandbox.serve() as url:
        world.connector.close()
        world.url = url
        world.connector = world.connect()
        try:
            yield world
        finally:
            world.connector.close()


def test_stop_read_release_and_list() -> None:
    with served(contacts=2000) as world:
        numbers = [world.number(i) for i in range(12)]

        assert failures(world.stop(*numbers)) == []
        assert all(is_set(looked) for looked in world.read(*numbers))
        assert all(world.listed(number) for number in numbers)
        assert len(world.snapshot()) == 52
        assert failures(world.release(numbers[0])) == []
        assert not world.listed(numbers[0])
        assert all(check.ok for check in world.connector.probe().checks)


def test_a_connection_reset_after_the_add_is_unknown_and_settled_by_reading() -> None:
    with served() as world:
        world.sandbox.faults.add(FaultKind.RESET_AFTER, times=1)

        (failure,) = failures(world.stop(world.number()))

        assert failure.kind is FailureKind.UNKNOWN
        assert [is_set(looked) for looked in world.read(world.number())] == [True]


def test_a_list_cut_on_the_wire_is_no_list() -> None:
    with served(contacts=2000) as world:
        world.sandbox.faults.add(FaultKind.TRUNCATED, times=1)

        with pytest.raises(VendorError, match="middle of a row"):
            world.snapshot()


def test_a_wrong_password_is_tried_once_over_four_connections() -> None:
    with served(settings={"password": "wrong-but-wellformed_1"}) as world:
        results = world.read(*[world.number(i) for i in range(16)])

        assert {failure.code for failure in failures(results)} == {"BAD"}
        assert world.sandbox.users.by_name["dncsync"].failed == 1


def test_the_dispo_url_arrives_at_a_listener() -> None:
    arrived = threading.Event()
    paths: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()
            arrived.set()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        with served() as world:
            world.sandbox.webhook_url = f"http://127.0.0.1:{server.server_port}/hooks/dialer"
            world.sandbox.opt_out(world.number())
            assert arrived.wait(10)
            call = WebhookRequest("GET", f"https://sync.test{paths[0]}", {}, b"", world.clock.now())
            webhook = world.connector.parse_webhook(call)
            assert [getattr(signal, "key", "") for signal in webhook.signals] == [
                "SYSTEM_INTERNAL/3125551000"
            ]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
