"""SDKs through the HTTP door: what they send and what they get is what the originals send and get."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
import requests
import respx
import urllib3

from dncsync.clock import VirtualClock
from dncsync.connector import FailureKind, VendorError
from dncsync.http import DEFAULT_TIMEOUT, HttpDoor

API = "https://api.acme.example"


@pytest.fixture
def wire() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as router:
        yield router


@pytest.fixture
def door() -> Iterator[HttpDoor]:
    door = HttpDoor("acme", allowed=("api.acme.example",), clock=VirtualClock())
    yield door
    door.close()


# --- requests: simple-salesforce speaks through it ----------------------------------------------------------


def test_requests_params_bodies_and_headers_arrive_as_they_are(
    door: HttpDoor, wire: respx.MockRouter
) -> None:
    route = wire.route(method="PATCH", host="api.acme.example").respond(204)
    session = door.requests_session()
    answer = session.request(
        "PATCH",
        API + "/sobjects/Contact",
        params={"q": "SELECT Id FROM Contact WHERE Name = 'Zoë & Co'"},
        data=json.dumps({"Description": "Ü"}, ensure_ascii=False),
        headers={"Authorization": "Bearer t", "Content-Type": "application/json", "Sforce-Call-Options": "x"},
    )
    assert (answer.status_code, answer.content, answer.reason) == (204, b"", "No Content")
    sent = route.calls.last.request
    assert sent.url.params["q"] == "SELECT Id FROM Contact WHERE Name = 'Zoë & Co'"
    assert sent.headers["authorization"] == "Bearer t"
    assert sent.headers["sforce-call-options"] == "x"
    assert json.loads(sent.content) == {"Description": "Ü"}
    assert sent.headers["content-length"] == str(len(sent.content))


@pytest.mark.parametrize(
    ("given", "content", "kind"),
    [
        ({"data": {"a": "1", "b": "ü"}}, b"a=1&b=%C3%BC", "application/x-www-form-urlencoded"),
        ({"json": {"a": "ü"}}, b'{"a": "\\u00fc"}', "application/json"),
        ({"data": b"\x00\xff"}, b"\x00\xff", None),
        ({"data": iter([b"id\n", b"003\n"])}, b"id\n003\n", None),
    ],
)
def test_requests_bodies(
    door: HttpDoor, wire: respx.MockRouter, given: dict[str, Any], content: bytes, kind: str | None
) -> None:
    route = wire.post(API + "/x").respond(200)
    door.requests_session().post(API + "/x", **given)
    sent = route.calls.last.request
    assert sent.content == content
    assert sent.headers.get("content-type") == kind
    assert sent.headers["content-length"] == str(len(content))
    assert "transfer-encoding" not in sent.headers


def test_requests_answers_are_whole(door: HttpDoor, wire: respx.MockRouter) -> None:
    body = gzip.compress('{"Name": "Zoë"}'.encode())
    wire.get(API + "/x").respond(
        200, content=body, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"}
    )
    answer = door.requests_session().get(API + "/x")
    assert answer.json() == {"Name": "Zoë"}
    assert answer.headers["CONTENT-TYPE"] == "application/json"
    assert answer.ok
    assert answer.url == API + "/x"
    assert list(answer.iter_lines()) == ['{"Name": "Zoë"}'.encode()]


def test_requests_text_follows_the_charset(door: HttpDoor, wire: respx.MockRouter) -> None:
    wire.get(API + "/x").respond(
        200, content="Zoë".encode("latin-1"), headers={"Content-Type": "text/html; charset=ISO-8859-1"}
    )
    assert door.requests_session().get(API + "/x").text == "Zoë"


def test_requests_errors_are_answers_and_broken_wires_are_vendor_errors(
    door: HttpDoor, wire: respx.MockRouter
) -> None:
    session = door.requests_session()
    wire.post(API + "/x").respond(500, json=[{"errorCode": "UNKNOWN"}])
    with pytest.raises(requests.HTTPError, match="500"):
        session.post(API + "/x").raise_for_status()
    wire.post(API + "/y").mock(side_effect=httpx.ReadTimeout("no"))
    with pytest.raises(VendorError) as caught:
        session.post(API + "/y")
    assert caught.value.failure.kind is FailureKind.UNKNOWN


@pytest.mark.parametrize(
    ("given", "connect", "read"),
    [
        (None, DEFAULT_TIMEOUT.connect, DEFAULT_TIMEOUT.read),
        (60, 5.0, 60.0),
        (2, 2.0, 2.0),
        ((3, 70), 3.0, 70.0),
        ((3, None), 3.0, DEFAULT_TIMEOUT.read),
        (urllib3.Timeout(total=7), 7.0, 7.0),
        (urllib3.Timeout(connect=3, read=11), 3.0, 11.0),
        (urllib3.Timeout(total=9, read=4), 9.0, 4.0),
        (urllib3.Timeout(connect=3), 3.0, DEFAULT_TIMEOUT.read),
    ],
)
def test_timeouts_of_sdks_are_kept_and_never_endless(
    door: HttpDoor, wire: respx.MockRouter, given: Any, connect: float, read: float
) -> None:
    route = wire.get(API + "/x").respond(200)
    if isinstance(given, urllib3.Timeout):
        door.urllib3_pool().request("GET", API + "/x", timeout=given)
    else:
        door.requests_session().get(API + "/x", timeout=given)
    sent = route.calls.last.request.extensions["timeout"]
    assert (sent["connect"], sent["read"]) == (connect, read)


# --- urllib3: hubspot-api-client speaks through it ----------------------------------------------------------


def test_urllib3_json_calls_arrive_as_they_are(door: HttpDoor, wire: respx.MockRouter) -> None:
    route = wire.post(API + "/crm/v3/objects/contacts/search?archived=false").respond(
        207, json={"status": "COMPLETE", "name": "Zoë"}, headers={"X-HubSpot-RateLimit-Max": "190"}
    )
    answer = door.urllib3_pool().request(
        "POST",
        API + "/crm/v3/objects/contacts/search?archived=false",
        body=json.dumps({"query": "Zoë"}),
        headers={"Content-Type": "application/json", "authorization": "Bearer t"},
        preload_content=True,
        timeout=None,
    )
    sent = route.calls.last.request
    assert json.loads(sent.content) == {"query": "Zoë"}
    assert sent.headers["authorization"] == "Bearer t"
    assert (answer.status, answer.reason) == (207, "Multi-Status")
    assert json.loads(answer.data) == {"status": "COMPLETE", "name": "Zoë"}
    assert answer.headers["x-hubspot-ratelimit-max"] == "190"


def test_urllib3_fields_go_into_the_url_of_a_read_and_the_body_of_a_write(
    door: HttpDoor, wire: respx.MockRouter
) -> None:
    route = wire.route(host="api.acme.example").respond(200)
    pool = door.urllib3_pool()
    pool.request("GET", API + "/x", fields=[("after", "a b"), ("limit", 100)])
    assert str(route.calls.last.request.url) == API + "/x?after=a+b&limit=100"
    pool.request("POST", API + "/token", fields=[("code", "ü")], encode_multipart=False)
    assert route.calls.last.request.content == b"code=%C3%BC"
    assert route.calls.last.request.headers["content-type"] == "application/x-www-form-urlencoded"
    pool.request("POST", API + "/token", fields={"a": "1"}, headers={"content-type": "text/x"})
    assert route.calls.last.request.headers.get_list("content-type") == ["text/x"]
    pool.request("POST", API + "/files", fields={"file": ("a.csv", "003")})
    assert route.calls.last.request.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'filename="a.csv"' in route.calls.last.request.content


@pytest.mark.parametrize("preload", [True, False])
def test_urllib3_gzip_is_undone_once(door: HttpDoor, wire: respx.MockRouter, preload: bool) -> None:
    wire.get(API + "/x").respond(200, content=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"})
    answer = door.urllib3_pool().request("GET", API + "/x", preload_content=preload)
    assert answer.data == b"{}"


def test_urllib3_errors_are_answers(door: HttpDoor, wire: respx.MockRouter) -> None:
    wire.delete(API + "/x").respond(404, json={"category": "OBJECT_NOT_FOUND"})
    answer = door.urllib3_pool().request("DELETE", API + "/x")
    assert (answer.status, json.loads(answer.data)["category"]) == (404, "OBJECT_NOT_FOUND")


def test_the_stand_in_and_the_original_say_the_same() -> None:
    """Over a real socket: what urllib3 itself would send and give, the stand-in sends and gives."""
    from werkzeug.wrappers import Request, Response

    from dncsync.testing.sandbox import Sandbox, Truth, json_response

    class Echo(Sandbox):
        def __init__(self) -> None:
            super().__init__()
            self.route("/echo", self._echo, ("GET", "POST", "DELETE"))

        def _echo(self, request: Request) -> Response:
            kind = request.headers.get("content-type", "").partition(";")[0]
            body = request.get_data().decode()
            args = request.args.to_dict(flat=False)
            return json_response({"args": args, "body": body, "kind": kind, "x": request.headers.get("x-a")})

        def settings(self, url: str) -> tuple[dict[str, Any], dict[str, str]]:
            return {}, {}

        def truth(self, number: str) -> list[Truth]:
            return []

        def opt_out(self, number: str, **how: Any) -> str:
            return ""

        def undo(self, number: str, **how: Any) -> str:
            return ""

        def add_contact(self, numbers: Any, **fields: Any) -> str:
            return ""

    calls: list[tuple[str, dict[str, Any]]] = [
        ("GET", {"fields": [("a", "ü b"), ("a", "2")], "headers": {"X-A": "1"}}),
        ("POST", {"body": '{"a": "b"}', "headers": {"Content-Type": "application/json"}}),
        ("POST", {"fields": [("a", "1&2")], "encode_multipart": False}),
        ("DELETE", {"fields": {"a": "1"}}),
    ]
    with (
        Echo().serve() as url,
        urllib3.PoolManager() as original,
        closing(HttpDoor("acme", allowed=("127.0.0.1",))) as door,
    ):
        ours = door.urllib3_pool()
        for method, options in calls:
            theirs = original.request(method, url + "/echo", **options)
            mine = ours.request(method, url + "/echo", **options)
            assert (mine.status, mine.json(), mine.reason) == (theirs.status, theirs.json(), theirs.reason)
