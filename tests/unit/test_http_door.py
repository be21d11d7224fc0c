"""The one HTTP door, against exact answers (respx): what a failure means, where calls may go, what is told.

How long it waits is in `test_http_patience.py`; SDKs are in `test_http_sdks.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import respx

from dncsync.clock import VirtualClock
from dncsync.connector import FailureKind, VendorError
from dncsync.http import HttpDoor, WireCall, failure_of, path_shape

API = "https://api.acme.example"
NUMBER = "+12015550123"


@pytest.fixture
def wire() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as router:
        yield router


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def seen() -> list[WireCall]:
    return []


@pytest.fixture
def door(clock: VirtualClock, seen: list[WireCall]) -> Iterator[HttpDoor]:
    door = HttpDoor("acme", allowed=("api.acme.example",), clock=clock, observe=seen.append)
    yield door
    door.close()


def failure(door: HttpDoor, method: str = "GET", url: str = API + "/x", **options: Any) -> Any:
    with pytest.raises(VendorError) as caught:
        door.request(method, url, **options)
    return caught.value.failure


# --- no answer: what kind of failure ------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout])
def test_what_was_never_sent_is_transient_and_not_tried_again(
    door: HttpDoor, wire: respx.MockRouter, method: str, error: type[httpx.TransportError]
) -> None:
    route = wire.route(url=API + "/x").mock(side_effect=error("no"))
    assert failure(door, method).kind is FailureKind.TRANSIENT
    assert route.call_count == 1


BROKEN = [
    httpx.ReadTimeout,
    httpx.WriteTimeout,
    httpx.ReadError,
    httpx.WriteError,
    httpx.RemoteProtocolError,
    httpx.DecodingError,
]


@pytest.mark.parametrize("error", BROKEN)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_write_without_an_answer_is_unknown_and_never_tried_again(
    door: HttpDoor, wire: respx.MockRouter, method: str, error: type[httpx.RequestError]
) -> None:
    route = wire.route(url=API + "/x").mock(side_effect=error("no"))
    assert failure(door, method).kind is FailureKind.UNKNOWN
    assert route.call_count == 1


def test_a_broken_gzip_is_a_failure_and_no_surprise(door: HttpDoor, wire: respx.MockRouter) -> None:
    stream = _Stream(iter([b"\x1f\x8b not really"]))
    wire.post(API + "/x").respond(200, headers={"content-encoding": "gzip"}, stream=stream)
    assert failure(door, "POST").kind is FailureKind.UNKNOWN


# --- statuses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "status", "kind"),
    [
        ("GET", 401, FailureKind.UNAUTHORISED),
        ("POST", 403, FailureKind.UNAUTHORISED),
        ("GET", 404, FailureKind.REJECTED),
        ("POST", 400, FailureKind.REJECTED),
        ("POST", 302, FailureKind.REJECTED),
        ("POST", 408, FailureKind.UNKNOWN),
        ("POST", 423, FailureKind.TRANSIENT),
        ("POST", 429, FailureKind.RATE_LIMITED),
        ("GET", 500, FailureKind.TRANSIENT),
        ("POST", 500, FailureKind.UNKNOWN),
        ("PATCH", 503, FailureKind.UNKNOWN),
        ("GET", 599, FailureKind.TRANSIENT),
    ],
)
def test_what_a_status_means(
    door: HttpDoor, wire: respx.MockRouter, method: str, status: int, kind: FailureKind
) -> None:
    wire.route(url=API + "/x").respond(status)
    with pytest.raises(VendorError) as caught:
        door.call(method, API + "/x")
    assert caught.value.failure.kind is kind
    assert caught.value.failure.code == str(status)


def test_the_vendors_code_and_words_come_first() -> None:
    answer = httpx.Response(400, request=httpx.Request("POST", API))
    assert failure_of(answer, "unsubscribed recipient", "21610").message == "unsubscribed recipient"
    assert failure_of(answer, "unsubscribed recipient", "21610").code == "21610"


# --- where calls may go -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/x",
        "https://api.acme.example@evil.example/x",
        "https://api.acme.example.evil.example/x",
        "https://evil.example/?https://api.acme.example",
        "https://evil.example#@api.acme.example/",
        "https://notmy.sales.example/x",
        "//evil.example/x",
        "/x",
        "https://[::1",
        "https://api.acme.example/\x00",
        "ftp://api.acme.example/x",
    ],
)
def test_hosts_that_are_not_allowed_and_urls_that_are_none(
    wire: respx.MockRouter, clock: VirtualClock, url: str
) -> None:
    everything = wire.route().respond(200)
    door = HttpDoor("acme", allowed=("api.acme.example", ".my.sales.example"), clock=clock)
    said = failure(door, "POST", url, content=b"+12015550123")
    assert said.kind is FailureKind.REJECTED
    assert everything.call_count == 0


def test_a_leading_dot_allows_what_is_below(wire: respx.MockRouter, clock: VirtualClock) -> None:
    wire.get("https://org.my.sales.example/x").respond(200)
    door = HttpDoor("acme", allowed=(".my.sales.example",), clock=clock)
    assert door.request("GET", "https://org.my.sales.example/x").is_success
    assert failure(door, url="https://my.sales.example/x").kind is FailureKind.REJECTED


def test_a_redirect_is_an_answer_and_is_not_followed(door: HttpDoor, wire: respx.MockRouter) -> None:
    wire.get(API + "/x").respond(302, headers={"Location": "https://evil.example/"})
    assert door.request("GET", API + "/x").status_code == 302


def test_a_redirect_of_an_sdk_stays_on_the_list(door: HttpDoor, wire: respx.MockRouter) -> None:
    """`requests` follows redirects itself, but each step passes the door."""
    wire.get(API + "/x").respond(302, headers={"Location": "https://evil.example/"})
    with pytest.raises(VendorError, match=r"evil\.example"):
        door.requests_session().get(API + "/x")


def test_reroute_moves_an_origin_and_keeps_path_and_query(
    wire: respx.MockRouter, clock: VirtualClock
) -> None:
    route = wire.get("http://127.0.0.1:8123/base/v3/x", params={"a": "1 2"}).respond(200)
    door = HttpDoor("acme", allowed=(), clock=clock, reroute={API: "http://127.0.0.1:8123/base/"})
    assert door.request("GET", API + "/v3/x?a=1%202").is_success
    assert route.call_count == 1


def test_a_rerouted_vendor_is_not_called_by_other_names(clock: VirtualClock) -> None:
    door = HttpDoor("acme", allowed=(), clock=clock, reroute={API: "http://127.0.0.1:8123"})
    assert failure(door, url="https://other.acme.example/").kind is FailureKind.REJECTED


# --- what is recorded ---------------------------------------------------------------------------------------


def test_what_is_recorded_names_nobody(
    door: HttpDoor, wire: respx.MockRouter, seen: list[WireCall], caplog: pytest.LogCaptureFixture
) -> None:
    wire.post(url__startswith=API).respond(200, headers={"Sunset": "soon", "X-New": "1"})
    with caplog.at_level(logging.DEBUG):
        door.request(
            "POST",
            f"{API}/v1/contacts/{NUMBER}/0035g00000AbCdE?phone={NUMBER}&token=secret",
            json={"phone": NUMBER},
            auth=("me", "secret"),
        )
    (call,) = seen
    assert (call.system, call.method, call.status) == ("acme", "POST", 200)
    assert call.route == "api.acme.example/v1/contacts/*/*"
    assert call.notices == {"sunset": "soon"}
    assert {"sunset", "x-new"} <= call.headers
    everything = f"{call} {caplog.text}"
    assert "2015550123" not in everything
    assert "secret" not in everything


def test_a_call_is_logged_by_its_shape_and_nobody_logs_its_url(
    door: HttpDoor, wire: respx.MockRouter, caplog: pytest.LogCaptureFixture
) -> None:
    """httpx and httpcore log URLs and headers: VICIdial's URL has the password in it."""
    wire.get(url__startswith=API).respond(200)
    with caplog.at_level(logging.DEBUG):
        door.request("GET", f"{API}/x/{NUMBER}?pass=secret&phone={NUMBER}")
    (record,) = caplog.records
    assert record.name == "dncsync.http"
    assert record.getMessage() == "GET api.acme.example/x/*: 200 in 0.000 s"


def test_a_call_without_an_answer_is_recorded_too(
    door: HttpDoor, wire: respx.MockRouter, seen: list[WireCall]
) -> None:
    wire.post(API + "/x").mock(side_effect=httpx.ReadTimeout("no"))
    failure(door, "POST")
    assert [call.status for call in seen] == [None]


def test_every_answer_is_shown_to_on_response_before_errors_are_raised(
    wire: respx.MockRouter, clock: VirtualClock
) -> None:
    wire.get(API + "/x").respond(404, headers={"X-Left": "3"})
    shown: list[str] = []
    door = HttpDoor(
        "acme",
        allowed=("api.acme.example",),
        clock=clock,
        on_response=lambda response: shown.append(response.headers["X-Left"]),
    )
    with pytest.raises(VendorError):
        door.call("GET", API + "/x")
    assert shown == ["3"]


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/crm/v3/objects/contacts/batch/read", "/crm/v3/objects/contacts/batch/read"),
        ("/crm/v3/objects/contacts/12345", "/crm/v3/objects/contacts/*"),
        ("/lists/%2B12015550123", "/lists/*"),
        ("/Consents/SMaaaaaaaaaaaaaaaaaaaa", "/Consents/*"),
    ],
)
def test_a_path_shape_names_a_route(path: str, shape: str) -> None:
    assert path_shape(path) == shape


# --- streams ------------------------------------------------------------------------------------------------


def test_a_stream_that_breaks_off_is_transient(door: HttpDoor, wire: respx.MockRouter) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"id,dnc\n"
        raise httpx.ReadError("gone")

    wire.get(API + "/rows").respond(200, stream=_Stream(pieces()))
    got: list[bytes] = []
    with pytest.raises(VendorError) as caught, door.stream("GET", API + "/rows") as answer:
        got.extend(answer.iter_bytes())
    assert caught.value.failure.kind is FailureKind.TRANSIENT
    assert got == [b"id,dnc\n"]


class _Stream(httpx.SyncByteStream):
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces
