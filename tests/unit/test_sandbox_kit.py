"""The sandbox kit: faults on real sockets, webhooks sent at least once, seeded numbers all different."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.wrappers import Request, Response

from dncsync.clock import VirtualClock
from dncsync.model import Channel, Flag
from dncsync.testing.faults import FaultKind, Faults
from dncsync.testing.sandbox import (
    OutgoingWebhook,
    Sandbox,
    Truth,
    json_response,
    seeded_number,
)

HOOKS = "http://listener.test/hooks"


class Shelf(Sandbox):
    """The smallest vendor: a shelf that counts what was put on it."""

    vendor = "shelf"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.put: list[str] = []
        self.route("/items", self._items, ("GET", "POST"))
        self.route("/items/<name>", self._item)

    def _items(self, request: Request) -> Response:
        if request.method == "POST":
            self.put.append(request.get_data(as_text=True))
        return json_response({"items": self.put})

    def _item(self, request: Request, name: str) -> Response:
        return json_response({"there": name in self.put})

    def settings(self, url: str) -> tuple[dict[str, Any], dict[str, str]]:
        return {"vendor": "shelf", "base_url": url}, {}

    def truth(self, number: str) -> list[Truth]:
        return [Truth(number, Channel.SMS, Flag.SET)] if number in self.put else []

    def opt_out(self, number: str, **how: Any) -> str:
        self.put.append(number)
        self.hook(number)
        return number

    def undo(self, number: str, **how: Any) -> str:
        self.put.remove(number)
        return number

    def add_contact(self, numbers: Iterable[str], **fields: Any) -> str:
        return next(iter(numbers))

    def hook(self, words: str) -> None:
        self.send_webhook(OutgoingWebhook("POST", self.webhook_url, {"x-words": words}, words.encode()))


@pytest.fixture
def shelf() -> Shelf:
    return Shelf(clock=VirtualClock())


@pytest.fixture
def client(shelf: Shelf) -> Iterator[httpx.Client]:
    """In process, without a socket."""
    with httpx.Client(transport=shelf.transport(), base_url="http://shelf.test") as client:
        yield client


@pytest.fixture
def socket_client(shelf: Shelf) -> Iterator[httpx.Client]:
    """Over a real socket."""
    with shelf.serve() as url, httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
        yield client


@pytest.fixture(params=["client", "socket_client"])
def either(request: pytest.FixtureRequest) -> httpx.Client:
    client: httpx.Client = request.getfixturevalue(request.param)
    return client


# --- faults of the wire, in process and on a socket ---------------------------------------------------------


def test_reset_before_breaks_the_connection_and_does_nothing(shelf: Shelf, either: httpx.Client) -> None:
    shelf.faults.add(FaultKind.RESET_BEFORE, times=1)
    with pytest.raises(httpx.TransportError):
        either.post("/items", content="a")
    assert shelf.put == []
    assert either.post("/items", content="b").json() == {"items": ["b"]}


def test_reset_after_does_it_and_breaks_the_connection(shelf: Shelf, either: httpx.Client) -> None:
    shelf.faults.add(FaultKind.RESET_AFTER, times=1)
    with pytest.raises(httpx.TransportError):
        either.post("/items", content="a")
    assert shelf.put == ["a"]


@pytest.mark.parametrize("kind", [FaultKind.RESET_BEFORE, FaultKind.RESET_AFTER])
def test_on_a_socket_the_client_sees_a_reset_and_no_polite_close(
    shelf: Shelf, socket_client: httpx.Client, kind: FaultKind
) -> None:
    """A call with a body may see the reset while it is still writing, and then reads a plain end."""
    shelf.faults.add(kind, times=1)
    with pytest.raises(httpx.ReadError, match="reset"):
        socket_client.get("/items")


def test_one_connection_serves_many_calls(shelf: Shelf) -> None:
    """Vendors keep connections; werkzeug's own handler closes after each answer."""
    with shelf.serve() as url, socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as line:
        line.settimeout(10)
        for count in range(1, 4):
            line.sendall(b"POST /items HTTP/1.1\r\nHost: shelf\r\nContent-Length: 1\r\n\r\na")
            answer = b""
            while not answer.endswith(b"]}"):
                answer += line.recv(4096)
            assert answer.count(b'"a"') == count
        line.sendall(b"GET /items HTTP/1.1\r\nHost: shelf\r\nConnection: close\r\n\r\n")
        while line.recv(4096):
            pass


def test_a_sandbox_that_ended_answers_no_open_connection(shelf: Shelf) -> None:
    with shelf.serve() as url:
        client = httpx.Client(base_url=url, trust_env=False, timeout=10)
        client.get("/items")
    with pytest.raises(httpx.TransportError):
        client.get("/items")
    client.close()


def test_one_broken_connection_leaves_the_others_alone(shelf: Shelf) -> None:
    shelf.faults.add(FaultKind.RESET_AFTER, path="/items/bad")
    with shelf.serve() as url, ThreadPoolExecutor(8) as pool:

        def get(index: int) -> int:
            name = "bad" if index % 2 else "good"
            try:
                return httpx.get(f"{url}/items/{name}", trust_env=False, timeout=10).status_code
            except httpx.TransportError:
                return 0

        answers = list(pool.map(get, range(32)))
    assert answers == [200, 0] * 16


def test_first_calls_that_come_together_are_all_answered() -> None:
    """werkzeug binds a rule to one map only; two threads once built two maps, and one call got a 500."""
    for _ in range(5):
        shelf = Shelf(clock=VirtualClock())
        for index in range(500):
            shelf.route(f"/shelves/{index}", shelf._items)
        ready = threading.Barrier(4)

        def first(shelf: Shelf = shelf, ready: threading.Barrier = ready) -> int:
            with httpx.Client(transport=shelf.transport(), base_url="http://shelf.test") as client:
                ready.wait(10)
                return client.get("/items").status_code

        with ThreadPoolExecutor(4) as pool:
            assert [f.result() for f in [pool.submit(first) for _ in range(4)]] == [200] * 4


@pytest.mark.parametrize(("kind", "done"), [(FaultKind.STATUS, []), (FaultKind.STATUS_AFTER, ["a"])])
def test_status_before_and_after(
    shelf: Shelf, either: httpx.Client, kind: FaultKind, done: list[str]
) -> None:
    shelf.faults.add(kind, status=429, retry_after=7, body='{"error": "slow"}')
    answer = either.post("/items", content="a")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.json() == {"error": "slow"}
    assert shelf.put == done
    assert shelf.limited_429() == 1


@pytest.mark.parametrize("status", [200, 502])
def test_html_where_json_was_due(shelf: Shelf, either: httpx.Client, status: int) -> None:
    shelf.faults.add(FaultKind.HTML, status=status)
    answer = either.post("/items", content="a")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert "<html>" in answer.text
    assert shelf.put == []


def test_truncated_is_half_an_answer_with_a_fitting_length(shelf: Shelf, either: httpx.Client) -> None:
    shelf.faults.add(FaultKind.TRUNCATED)
    answer = either.post("/items", content="a")
    assert answer.headers["content-length"] == str(len(answer.content))
    assert '{"items": ["a"]}'.startswith(answer.text)
    assert len(answer.content) < len('{"items": ["a"]}')
    assert shelf.put == ["a"]


def test_delay_takes_the_sandboxs_own_time(shelf: Shelf, either: httpx.Client) -> None:
    shelf.faults.add(FaultKind.DELAY, seconds=40, times=1)
    started = time.monotonic()
    either.get("/items")
    assert shelf.clock.monotonic() == 40
    assert time.monotonic() - started < 10


# --- which calls a fault meets ------------------------------------------------------------------------------


def test_a_fault_meets_calls_of_its_method_and_path_only(shelf: Shelf, client: httpx.Client) -> None:
    shelf.faults.add(FaultKind.STATUS, method="GET", path=r"^/items/\w+$", status=500)
    assert client.get("/items").status_code == 200
    assert client.post("/items").status_code == 200
    assert client.get("/items/a").status_code == 500


@given(after=st.integers(0, 5), times=st.one_of(st.none(), st.integers(0, 5)), calls=st.integers(0, 15))
def test_after_and_times(after: int, times: int | None, calls: int) -> None:
    faults = Faults()
    fault = faults.add(FaultKind.STATUS, after=after, times=times)
    met = [faults.take(FaultKind.STATUS, "GET", "/") is not None for _ in range(calls)]
    most = max(0, calls - after) if times is None else min(times, max(0, calls - after))
    assert met == [False] * min(after, calls) + [True] * most + [False] * (calls - min(after, calls) - most)
    assert fault.hits == most


def test_clear_takes_away_one_kind_or_all() -> None:
    faults = Faults()
    faults.add(FaultKind.DELAY)
    faults.add("html")
    faults.clear("delay")
    assert faults.active(FaultKind.DELAY) is None
    assert faults.active(FaultKind.HTML) is not None
    faults.clear()
    assert faults.active(FaultKind.HTML) is None


def test_an_unknown_fault_is_refused() -> None:
    with pytest.raises(ValueError, match="no-such-fault"):
        Faults().add("no-such-fault")


# --- control over HTTP --------------------------------------------------------------------------------------


def test_the_demo_drives_it_over_http(shelf: Shelf, socket_client: httpx.Client) -> None:
    def control(path: str, **body: Any) -> Any:
        return socket_client.post(f"/_sandbox/{path}", json=body).json()

    assert control("act", act="opt_out", number="+12015550123") == {"id": "+12015550123"}
    truth = socket_client.get("/_sandbox/truth", params={"number": "+12015550123"}).json()
    assert truth == [{"key": "+12015550123", "channel": "sms", "flag": "set"}]
    control("act", act="undo", number="+12015550123")
    assert socket_client.get("/_sandbox/truth", params={"number": "+12015550123"}).json() == []
    assert "error" in control("act", act="settings")
    control("faults", kind="status", status=503)
    assert socket_client.get("/items").status_code == 503
    assert socket_client.delete("/_sandbox/faults").json() == {"cleared": True}
    assert socket_client.get("/items").status_code == 200
    assert socket_client.get("/_sandbox/state").json()["calls"] == {
        "GET /items": 2,
        "status 503": 1,
        "status 200": 1,
    }


def test_faults_never_meet_the_control(shelf: Shelf, client: httpx.Client) -> None:
    shelf.faults.add(FaultKind.RESET_BEFORE)
    assert client.get("/_sandbox/state").status_code == 200


def test_unknown_paths_get_the_vendors_own_answer(client: httpx.Client) -> None:
    assert client.get("/nowhere").status_code == 404
    assert client.get("/_sandbox/nowhere").status_code == 404


# --- webhooks -----------------------------------------------------------------------------------------------


class Listener:
    """Our side: answers with the statuses given (an exception is no answer), then 200."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers = deque(answers)
        self.heard: list[str] = []
        self.client = httpx.Client(transport=httpx.MockTransport(self._hear))

    def _hear(self, request: httpx.Request) -> httpx.Response:
        self.heard.append(request.read().decode())
        answer = self.answers.popleft() if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer)


def test_without_a_url_no_webhooks_are_sent(shelf: Shelf) -> None:
    shelf.hook("a")
    assert not shelf.outbox


@pytest.mark.parametrize("bad", [500, 503, 429, httpx.ConnectError("no"), httpx.ReadTimeout("no")])
def test_webhooks_are_sent_until_taken(shelf: Shelf, bad: int | Exception) -> None:
    shelf.webhook_url = HOOKS
    listener = Listener(bad, bad)
    shelf.hook("a")
    assert [shelf.deliver_webhooks(listener.client) for _ in range(4)] == [0, 0, 1, 0]
    assert listener.heard == ["a", "a", "a"]


def test_a_refused_webhook_is_not_sent_again(shelf: Shelf) -> None:
    shelf.webhook_url = HOOKS
    listener = Listener(401)
    shelf.hook("a")
    assert [shelf.deliver_webhooks(listener.client) for _ in range(2)] == [0, 0]
    assert listener.heard == ["a"]
    assert shelf.calls["webhook 401"] == 1


def test_one_listener_that_fails_holds_up_no_other_webhook(shelf: Shelf) -> None:
    shelf.webhook_url = HOOKS
    listener = Listener(500)
    for words in "abc":
        shelf.hook(words)
    assert shelf.deliver_webhooks(listener.client) == 2
    assert shelf.deliver_webhooks(listener.client) == 1
    assert listener.heard == ["a", "b", "c", "a"]


@settings(max_examples=60)
@given(st.lists(st.sampled_from([200, 200, 500, 429, 0]), max_size=30), st.integers(1, 8))
def test_every_webhook_arrives_at_least_once(answers: list[int], count: int) -> None:
    shelf = Shelf(clock=VirtualClock())
    shelf.webhook_url = HOOKS
    listener = Listener(*(a or httpx.ReadError("no") for a in answers))
    for index in range(count):
        shelf.hook(str(index))
    for _ in range(len(answers) + 1):
        shelf.deliver_webhooks(listener.client)
    assert set(listener.heard) == {str(index) for index in range(count)}
    assert not shelf.outbox


def test_silent_doubled_late_and_reordered_webhooks(shelf: Shelf) -> None:
    shelf.webhook_url = HOOKS
    listener = Listener()
    shelf.faults.add(FaultKind.SILENT_WEBHOOKS, times=1)
    shelf.hook("lost")
    shelf.faults.add(FaultKind.DOUBLED_WEBHOOKS, times=1)
    shelf.hook("twice")
    shelf.faults.add(FaultKind.REORDERED_WEBHOOKS, times=1)
    shelf.hook("first")
    shelf.faults.add(FaultKind.LATE_WEBHOOKS, times=1, seconds=30)
    shelf.hook("late")
    assert shelf.deliver_webhooks(listener.client) == 3
    assert listener.heard == ["first", "twice", "twice"]
    shelf.clock.sleep(29.9)
    assert shelf.deliver_webhooks(listener.client) == 0
    shelf.clock.sleep(0.1)
    assert shelf.deliver_webhooks(listener.client) == 1
    assert listener.heard[-1] == "late"


def test_a_served_sandbox_sends_its_webhooks_by_itself(shelf: Shelf) -> None:
    """Over sockets, to another sandbox that listens, through a listener that fails at first."""
    listener = Shelf()
    listener.faults.add(FaultKind.STATUS, status=503, times=1)
    listener.faults.add(FaultKind.RESET_BEFORE, times=1)
    with listener.serve() as ours, shelf.serve() as theirs:
        httpx.post(f"{theirs}/_sandbox/webhooks", json={"url": f"{ours}/items"}, trust_env=False)
        body = {"act": "opt_out", "number": "+12015550123"}
        httpx.post(f"{theirs}/_sandbox/act", json=body, trust_env=False)
        until = time.monotonic() + 10
        while not listener.put and time.monotonic() < until:
            time.sleep(0.01)  # the sandbox's own sender thread is at work; only the deadline is ours
    assert listener.put == ["+12015550123"]


# --- seeded numbers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 7, 12345])
def test_seeded_numbers_are_distinct(seed: int) -> None:
    assert len({seeded_number(seed, index) for index in range(200_000)}) == 200_000


@given(st.integers(0, 10**6), st.integers(0, 3_999_999), st.integers(0, 3_999_999))
def test_any_two_seeded_numbers_of_one_seed_differ(seed: int, one: int, other: int) -> None:
    assert (seeded_number(seed, one) == seeded_number(seed, other)) == (one == other)


@given(st.integers(0, 10**6), st.integers(0, 3_999_999))
def test_seeded_numbers_parse_and_stay_the_same(seed: int, index: int) -> None:
    number = seeded_number(seed, index)
    assert phonenumbers.is_possible_number(phonenumbers.parse(number))
    assert len(number) == 12
    assert number == seeded_number(seed, index)


def test_another_seed_gives_another_order() -> None:
    assert [seeded_number(1, i) for i in range(5)] != [seeded_number(2, i) for i in range(5)]


def test_a_sandbox_knows_its_seeded_numbers() -> None:
    assert Shelf(seed=3).numbers(4) == [seeded_number(3, index) for index in range(4)]
