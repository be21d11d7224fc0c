"""The webhook listener as vendors and strangers meet it: over a real socket, on a port the system chose."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from dncsync.connector import Look, Statement, Webhook, WebhookRefused, WebhookRequest
from dncsync.model import Channel
from dncsync.web import webhooks
from dncsync.web.server import ListenError, Server
from dncsync.web.webhooks import LARGEST_BODY, UnknownSystem, create_app
from log_capture import captured_logs

PUBLIC = "https://dnc.example.com/in"
DONE = Webhook((), answer_type="text/xml", answer=b"<Response/>")
TOKEN = "s3cret-token-of-the-dialer"


class Listener:
    """A server whose ledger is the test: each call is kept, and answered as `behaviour` says."""

    def __init__(self, **options: Any) -> None:
        self.calls: list[tuple[str, WebhookRequest]] = []
        self.called = threading.Semaphore(0)
        self.behaviour: Callable[[], Future[Webhook]] = lambda: resolved(DONE)
        self.ready: Callable[[], bool] = lambda: True
        header_timeout = options.pop("header_timeout", 10.0)
        app = create_app(self._handle, lambda: self.ready(), CollectorRegistry(), PUBLIC, **options)
        self.server = Server(app, ("127.0.0.1", 0), header_timeout=header_timeout)
        self.server.start()
        self.http = httpx.Client(base_url=self.server.url, timeout=20, trust_env=False)

    def _handle(self, system: str, request: WebhookRequest) -> Future[Webhook]:
        if system == "nobody":
            raise UnknownSystem(system)
        self.calls.append((system, request))
        self.called.release()
        return self.behaviour()

    def metrics(self) -> dict[tuple[str, str], float]:
        families = text_string_to_metric_families(self.http.get("/metrics").text)
        return {
            (sample.labels["system"], sample.labels["status"]): sample.value
            for family in families
            for sample in family.samples
            if sample.name == "dncsync_webhook_calls_total"
        }

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=20)

    def close(self) -> None:
        self.http.close()
        self.server.stop()


def resolved(webhook: Webhook) -> Future[Webhook]:
    future: Future[Webhook] = Future()
    future.set_result(webhook)
    return future


def failed(error: BaseException) -> Future[Webhook]:
    future: Future[Webhook] = Future()
    future.set_exception(error)
    return future


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    opened: list[Listener] = []

    def open_one(**options: Any) -> Listener:
        opened.append(Listener(**options))
        return opened[-1]

    yield open_one
    for listener in opened:
        listener.close()


@pytest.fixture
def listener(listen: Callable[..., Listener]) -> Listener:
    return listen()


# --- law 1 -----------------------------------------------------------------------------------------------


def test_nothing_is_acknowledged_before_the_ledger_has_committed(listener: Listener) -> None:
    committed: Future[Webhook] = Future()
    listener.behaviour = lambda: committed
    with ThreadPoolExecutor(1) as vendor, listener.connect() as line:
        line.sendall(b"POST /hooks/sms HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nSTOP")
        assert listener.called.acquire(timeout=20)
        answer = vendor.submit(line.recv, 100)
        with pytest.raises(TimeoutError):
            answer.result(timeout=0.3)  # not one byte, not even a status line
        committed.set_result(DONE)
        assert answer.result(timeout=20).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("how", ["the future fails", "handle raises", "the future is given up"])
def test_what_was_not_recorded_is_asked_for_again(listener: Listener, how: str) -> None:
    def raising() -> Future[Webhook]:
        raise OSError("disk full")

    def given_up() -> Future[Webhook]:
        future: Future[Webhook] = Future()
        future.cancel()
        return future

    listener.behaviour = {
        "the future fails": lambda: failed(OSError("disk full")),
        "handle raises": raising,
        "the future is given up": given_up,
    }[how]
    answer = listener.http.post("/hooks/sms", content=b"STOP")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "disk" not in answer.text


def test_a_slow_commit_gets_503_and_is_not_cancelled(listen: Callable[..., Listener]) -> None:
    listener = listen(answer_timeout=0.1)
    slow: Future[Webhook] = Future()
    listener.behaviour = lambda: slow
    assert listener.http.post("/hooks/sms", content=b"STOP").status_code == 503
    assert not slow.cancelled()
    slow.set_result(DONE)  # as the writer does; a cancelled future would raise here
    listener.behaviour = lambda: resolved(DONE)
    assert listener.http.post("/hooks/sms", content=b"STOP").status_code == 200


def test_stopping_lets_the_call_in_hand_finish(listener: Listener) -> None:
    committed: Future[Webhook] = Future()
    listener.behaviour = lambda: committed
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(listener.http.post, "/hooks/sms", content=b"STOP")
        assert listener.called.acquire(timeout=20)
        stopped = pool.submit(listener.server.stop)
        with pytest.raises(TimeoutError):
            stopped.result(timeout=0.3)
        committed.set_result(DONE)
        assert answer.result(timeout=20).status_code == 200
        stopped.result(timeout=20)
    assert not listener.server.alive
    with pytest.raises(OSError, match="refused"):
        listener.connect()


# --- what arrives ----------------------------------------------------------------------------------------


def test_the_call_arrives_byte_for_byte_under_the_public_url(listener: Listener) -> None:
    body = bytes(range(256)) * 3
    path = "/hooks/dialer-2/a%2Fb//c%20d/?x=%2B1&y=a+b&x=2"
    headers = {
        "X-Twilio-Signature": "abc=",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "gopher",
    }
    with listener.connect() as line:
        headers |= {"Host": "evil.example", "Content-Length": str(len(body))}
        head = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        line.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        assert line.recv(4096).startswith(b"HTTP/1.1 200")
    ((system, call),) = listener.calls
    assert system == "dialer-2"
    assert call.method == "POST"
    assert call.url == PUBLIC + path
    assert call.body == body
    assert call.headers["x-twilio-signature"] == "abc="
    assert call.received_at.tzinfo is not None


def test_the_connectors_answer_is_sent_as_it_is(listener: Listener) -> None:
    answer = listener.http.get("/hooks/sms?phone=1")
    assert answer.content == b"<Response/>"
    assert answer.headers["content-type"] == "text/xml"
    assert listener.calls[0][1].method == "GET"
    assert listener.calls[0][1].body == b""


def test_the_answer_to_what_a_person_said_gives_way_to_the_calls_that_carry_it_on(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "GIVE_WAY", 1.0)
    listener.behaviour = lambda: resolved(Webhook((Look("7"),)))
    assert listener.http.post("/hooks/crm", content=b"{}").status_code == 200
    said = Statement("SM1", "+13125550142", Channel.SMS, datetime(2026, 9, 1, tzinfo=UTC), "STOP")
    listener.behaviour = lambda: resolved(Webhook((said,)))
    with pytest.raises(httpx.ReadTimeout):
        listener.http.post("/hooks/sms", content=b"STOP", timeout=0.3)


def test_a_repeated_header_matches_no_single_one(listener: Listener) -> None:
    listener.http.post("/hooks/sms", headers=[("X-Signature", "good"), ("x-signature", "bad")])
    assert listener.calls[0][1].headers["x-signature"] == "good, bad"


# --- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refused", "status", "text"),
    [
        (WebhookRefused(401, "the signature does not match"), 401, "the signature does not match\n"),
        (WebhookRefused(403, "stale:\r\nx-evil: 1\n"), 403, "stale: x-evil: 1\n"),
        (WebhookRefused(200, "said yes by mistake"), 400, "said yes by mistake\n"),
        (WebhookRefused(500, ""), 400, "refused\n"),
        (
            WebhookRefused(400, "no reading of +13125550199"),
            400,
            "no reading of +1312\u2022\u2022\u2022\u2022\u202299\n",
        ),
    ],
)
def test_a_refusal_is_a_4xx_with_one_line(
    listener: Listener, refused: WebhookRefused, status: int, text: str
) -> None:
    listener.behaviour = lambda: failed(refused)
    answer = listener.http.post("/hooks/sms", content=b"x")
    assert (answer.status_code, answer.text) == (status, text)
    assert "x-evil" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/hooks/nobody", "/hooks/Sms", "/hooks/" + "a" * 32, "/hooks/", "/hooks/a%00b", "/"]
)
def test_an_unknown_system_is_404(listener: Listener, path: str) -> None:
    answer = listener.http.post(path, content=b"STOP")
    assert answer.status_code == 404
    assert listener.calls == []


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_record_nothing(listener: Listener, method: str) -> None:
    assert listener.http.request(method, "/hooks/sms").status_code == 405
    assert listener.calls == []


def test_a_body_declared_too_long_is_refused_before_it_is_sent(listener: Listener) -> None:
    with listener.connect() as line:
        line.sendall(
            b"POST /hooks/sms HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (LARGEST_BODY + 1)
        )
        assert line.recv(100).startswith(b"HTTP/1.1 413 ")
    assert listener.calls == []


def test_a_body_that_never_ends_is_cut_off(listener: Listener) -> None:
    with listener.connect() as line:
        line.sendall(b"POST /hooks/sms HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        for _ in range(LARGEST_BODY // 0x10000 + 1):
            line.sendall(chunk)
        assert line.recv(100).startswith(b"HTTP/1.1 413 ")
    assert listener.calls == []


def test_a_body_of_the_largest_size_is_taken(listener: Listener) -> None:
    assert listener.http.post("/hooks/sms", content=b"x" * LARGEST_BODY).status_code == 200
    assert len(listener.calls[0][1].body) == LARGEST_BODY


def test_slow_loris_body_is_cut_off(listen: Callable[..., Listener]) -> None:
    listener = listen(body_timeout=0.2)
    with listener.connect() as line:
        line.sendall(b"POST /hooks/sms HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nSTO")
        assert line.recv(100).startswith(b"HTTP/1.1 408 ")
    assert listener.calls == []


def test_slow_loris_headers_are_cut_off(listen: Callable[..., Listener]) -> None:
    listener = listen(header_timeout=0.2)
    with listener.connect() as line:
        line.sendall(b"POST /hooks/sms HTTP/1.1\r\nx-long: ")
        assert line.recv(100) == b""
    with listener.connect() as silent:
        assert silent.recv(100) == b""


def test_slow_loris_headers_on_a_kept_connection_are_cut_off(listen: Callable[..., Listener]) -> None:
    listener = listen(header_timeout=0.2)
    committed: Future[Webhook] = Future()
    listener.behaviour = lambda: committed
    threading.Timer(0.6, committed.set_result, (DONE,)).start()  # outlasts the timer of the first call
    with listener.connect() as line:
        line.sendall(b"POST /hooks/sms HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        answer = b""
        while not answer.endswith(DONE.answer):
            answer += line.recv(1000)
        line.sendall(b"POST /hooks/sms HTTP/1.1\r\nx-long: ")
        assert line.recv(1000) == b""
    assert len(listener.calls) == 1


def test_a_slow_commit_is_not_taken_for_slow_headers(listen: Callable[..., Listener]) -> None:
    listener = listen(header_timeout=0.2)
    committed: Future[Webhook] = Future()
    listener.behaviour = lambda: committed
    threading.Timer(0.6, committed.set_result, (DONE,)).start()
    assert listener.http.post("/hooks/sms", content=b"STOP").status_code == 200


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello",
        b"GET /hooks/sms HTTP/1.1\r\nhost: x\r\n" + b"x: " + b"y" * 1_000_000,
        b"POST /hooks/sms HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /hooks/sms HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"POST /hooks/sms\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"\0" * 5000,
    ],
)
def test_what_is_no_http_is_refused_and_the_listener_lives(listener: Listener, garbage: bytes) -> None:
    received = b""
    with listener.connect() as line, suppress(OSError):  # it may be reset while we still send
        line.sendall(garbage)
        line.shutdown(socket.SHUT_WR)
        while piece := line.recv(1000):
            received += piece
    assert received == b"" or received.startswith(b"HTTP/1.1 4")
    assert listener.calls == []
    assert listener.http.get("/healthz").status_code == 200


def test_a_call_that_breaks_off_records_nothing(listener: Listener) -> None:
    with listener.connect() as line:
        line.sendall(b"POST /hooks/sms HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nSTO")
    assert listener.http.post("/hooks/sms", content=b"whole").status_code == 200
    assert [call.body for _, call in listener.calls] == [b"whole"]


# --- what an operator sees -------------------------------------------------------------------------------


def test_neither_path_nor_query_nor_headers_reach_the_log(listener: Listener) -> None:
    path = f"/hooks/dialer/{TOKEN}?pass={TOKEN}&phone=3125550199"
    with captured_logs() as stream:
        listener.http.get(path, headers={"x-key": TOKEN})
        listener.behaviour = lambda: failed(RuntimeError("no"))
        listener.http.get(path)
        logging.getLogger("uvicorn.access").info("GET %s", path)  # as uvicorn would
    text = stream.getvalue()
    assert TOKEN not in text
    assert "5550199" not in text
    lines = [json.loads(line) for line in text.splitlines()]
    calls = [line for line in lines if line["event"] == "webhook"]
    assert [(c["system"], c["route"], c["status"]) for c in calls] == [
        ("dialer", "/hooks/{system}", 200),
        ("dialer", "/hooks/{system}", 503),
    ]


def test_calls_are_counted_and_strangers_make_no_new_series(listener: Listener) -> None:
    listener.http.post("/hooks/sms")
    listener.http.post("/hooks/sms")
    for i in range(20):
        listener.http.post(f"/hooks/nobody{i}" if i % 2 else "/hooks/nobody")
    counted = listener.metrics()
    assert counted[("sms", "200")] == 2
    assert counted[("unknown", "404")] == 10


def test_healthz_says_that_the_process_lives_and_readyz_that_the_ledger_can_be_written(
    listener: Listener,
) -> None:
    assert listener.http.get("/healthz").status_code == 200
    assert listener.http.get("/readyz").status_code == 200
    listener.ready = lambda: False
    assert listener.http.get("/readyz").status_code == 503

    def broken() -> bool:
        raise OSError("disk")

    listener.ready = broken
    assert listener.http.get("/readyz").status_code == 503
    assert listener.http.get("/healthz").status_code == 200


def test_a_port_in_use_is_one_clear_line(listener: Listener) -> None:
    app = create_app(listener._handle, lambda: True, CollectorRegistry(), PUBLIC)
    second = Server(app, ("127.0.0.1", listener.server.port))
    with pytest.raises(
        ListenError, match=r"cannot listen on 127\.0\.0\.1 port \d+: .*in use.*; choose another"
    ):
        second.start()
