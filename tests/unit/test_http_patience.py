"""How long the HTTP door waits, and for what: retries, Retry-After, the call budget and its lanes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import respx

from dncsync.budget import Lane
from dncsync.clock import VirtualClock
from dncsync.connector import Failure, FailureKind, Limit, VendorError
from dncsync.http import LONGEST_HOLD, LONGEST_RETRY_AFTER, LONGEST_WAIT, HttpDoor, failure_of

API = "https://api.acme.example"


@pytest.fixture
def wire() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as router:
        yield router


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def door(clock: VirtualClock) -> Iterator[HttpDoor]:
    door = HttpDoor("acme", allowed=("api.acme.example",), clock=clock)
    yield door
    door.close()


def failure(door: HttpDoor, method: str = "GET") -> Failure:
    with pytest.raises(VendorError) as caught:
        door.request(method, API + "/x")
    return caught.value.failure


# --- retries ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError, httpx.DecodingError]
)
def test_a_read_that_is_cut_off_is_transient_after_three_tries(
    door: HttpDoor, wire: respx.MockRouter, clock: VirtualClock, error: type[httpx.RequestError]
) -> None:
    route = wire.get(API + "/x").mock(side_effect=error("no"))
    assert failure(door).kind is FailureKind.TRANSIENT
    assert route.call_count == 3
    assert 0 < clock.monotonic() <= LONGEST_WAIT


@pytest.mark.parametrize("error", [httpx.ReadTimeout, httpx.WriteTimeout])
def test_a_read_that_timed_out_is_transient_and_not_tried_again(
    door: HttpDoor, wire: respx.MockRouter, clock: VirtualClock, error: type[httpx.RequestError]
) -> None:
    """Three times 30 s inside one call would hold up an opt-out that waits behind it."""
    route = wire.get(API + "/x").mock(side_effect=error("no"))
    said = failure(door)
    assert (said.kind, said.code) == (FailureKind.TRANSIENT, "timeout")
    assert route.call_count == 1
    assert clock.monotonic() == 0


def slow(clock: VirtualClock, seconds: float, answer: httpx.Response | Exception) -> Callable[..., Any]:
    """An answer that takes its time."""

    def late(request: httpx.Request) -> httpx.Response:
        clock.advance(seconds)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return late


@pytest.mark.parametrize("answer", [httpx.Response(504), httpx.ReadError("gone")])
def test_a_read_that_failed_slowly_is_not_tried_again(
    door: HttpDoor, wire: respx.MockRouter, clock: VirtualClock, answer: httpx.Response | Exception
) -> None:
    """A gateway that says 504 after 29 s is as bad as a timeout."""
    route = wire.get(API + "/x").mock(side_effect=slow(clock, 29, answer))
    with pytest.raises(VendorError) as caught:
        door.call("GET", API + "/x")
    assert caught.value.failure.kind is FailureKind.TRANSIENT
    assert route.call_count == 1


def test_a_read_that_recovers_is_a_success(door: HttpDoor, wire: respx.MockRouter) -> None:
    wire.get(API + "/x").mock(side_effect=[httpx.ReadError("no"), httpx.Response(503), httpx.Response(200)])
    assert door.request("GET", API + "/x").status_code == 200


@pytest.mark.parametrize("status", [400, 401, 404, 500, 501])
def test_statuses_that_no_second_try_mends(door: HttpDoor, wire: respx.MockRouter, status: int) -> None:
    route = wire.get(API + "/x").respond(status)
    assert door.request("GET", API + "/x").status_code == status
    assert route.call_count == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_write_that_was_answered_is_never_tried_again(
    door: HttpDoor, wire: respx.MockRouter, status: int
) -> None:
    route = wire.post(API + "/x").respond(status, headers={"Retry-After": "1"})
    assert door.request("POST", API + "/x").status_code == status
    assert route.call_count == 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_short_retry_after_is_waited_out_by_reads(
    door: HttpDoor, wire: respx.MockRouter, clock: VirtualClock, status: int
) -> None:
    times: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        times.append(clock.monotonic())
        return httpx.Response(status if len(times) < 3 else 200, headers={"Retry-After": "2"})

    wire.get(API + "/x").mock(side_effect=answer)
    assert door.request("GET", API + "/x").status_code == 200
    assert times == [0.0, 2.0, 4.0]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_long_retry_after_is_handed_back_at_once(
    door: HttpDoor, wire: respx.MockRouter, clock: VirtualClock, status: int
) -> None:
    route = wire.get(API + "/x").respond(status, headers={"Retry-After": "60"})
    with pytest.raises(VendorError) as caught:
        door.call("GET", API + "/x")
    assert caught.value.failure.retry_after == 60
    assert route.call_count == 1
    assert clock.monotonic() == 0


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("Mon, 23 Nov 2026 15:00:30 GMT", 30.0),
        ("Mon, 23 Nov 2026 14:00:00 GMT", 0.0),
        ("Mon, 23 Nov 2099 15:00:30 GMT", LONGEST_RETRY_AFTER),
        ("1e999", LONGEST_RETRY_AFTER),
        ("inf", LONGEST_RETRY_AFTER),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("Mon, 99 Nov 2026 15:00:30 GMT", None),
        ("Mon, 23 Nov 2026 15:00:30 +99999999999", None),
    ],
)
def test_retry_after_in_both_forms_and_in_none(said: str, seconds: float | None) -> None:
    headers = {"Retry-After": said, "Date": "Mon, 23 Nov 2026 15:00:00 GMT"}
    answer = httpx.Response(429, headers=headers, request=httpx.Request("POST", API))
    assert failure_of(answer).retry_after == seconds


def test_a_retry_after_date_without_the_vendors_own_clock_says_nothing() -> None:
    headers = {"Retry-After": "Mon, 23 Nov 2026 15:00:30 GMT"}
    answer = httpx.Response(429, headers=headers, request=httpx.Request("POST", API))
    assert failure_of(answer).retry_after is None


# --- a 429 holds the whole system ---------------------------------------------------------------------------


@pytest.mark.parametrize("lane", list(Lane))
@pytest.mark.parametrize(("headers", "seconds"), [({}, 1.0), ({"Retry-After": "3"}, 3.0)])
def test_after_a_429_no_call_of_any_lane_is_made_until_it_has_passed(
    door: HttpDoor,
    wire: respx.MockRouter,
    clock: VirtualClock,
    lane: Lane,
    headers: dict[str, str],
    seconds: float,
) -> None:
    times: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        times.append(clock.monotonic())
        return httpx.Response(429 if len(times) == 1 else 200, headers=headers)

    wire.post(API + "/x").mock(side_effect=answer)
    with door.on_behalf_of(lane):
        assert door.request("POST", API + "/x").status_code == 429
    with door.on_behalf_of(Lane.OPT_OUT):
        assert door.request("POST", API + "/x").status_code == 200
    assert times == [0.0, seconds]


def test_a_long_hold_is_handed_back_as_the_vendors_pause_and_nothing_is_sent(
    door: HttpDoor, wire: respx.MockRouter, clock: VirtualClock
) -> None:
    route = wire.post(API + "/x").respond(429, headers={"Retry-After": "60"})
    door.request("POST", API + "/x")
    said = failure(door, "POST")
    assert (said.kind, said.retry_after) == (FailureKind.RATE_LIMITED, 60)
    assert said.message == "the vendor asked for a pause"
    assert route.call_count == 1
    clock.advance(60)
    assert door.request("POST", API + "/x").status_code == 429


def test_no_retry_after_silences_a_system_for_a_day(door: HttpDoor, wire: respx.MockRouter) -> None:
    wire.post(API + "/x").respond(429, headers={"Retry-After": "86400"})
    door.request("POST", API + "/x")
    assert door.budget.held() == LONGEST_HOLD


def test_a_stream_that_was_answered_429_holds_too(door: HttpDoor, wire: respx.MockRouter) -> None:
    wire.get(API + "/x").respond(429)
    with door.stream("GET", API + "/x") as answer:
        assert answer.status_code == 429
    assert door.budget.held() == 1.0


@pytest.mark.parametrize("status", [200, 403, 503])
def test_other_statuses_hold_nothing(door: HttpDoor, wire: respx.MockRouter, status: int) -> None:
    wire.post(API + "/x").respond(status, headers={"Retry-After": "60"})
    door.request("POST", API + "/x")
    assert door.budget.held() == 0.0


def test_a_connector_may_hold_by_itself(wire: respx.MockRouter, clock: VirtualClock) -> None:
    wire.post(API + "/x").respond(429, headers={"Retry-After": "60"})
    door = HttpDoor("acme", allowed=("api.acme.example",), clock=clock, hold_on_429=False)
    assert [door.request("POST", API + "/x").status_code for _ in range(2)] == [429, 429]
    assert clock.monotonic() == 0


# --- budget and lanes ---------------------------------------------------------------------------------------


def limited(clock: VirtualClock, **options: Any) -> HttpDoor:
    limits = (Limit("all", 10, 60), Limit("search", 5, 60))
    return HttpDoor("acme", allowed=("api.acme.example",), clock=clock, limits=limits, **options)


def test_a_used_up_budget_is_rate_limited_with_the_time_to_wait(
    wire: respx.MockRouter, clock: VirtualClock
) -> None:
    route = wire.get(API + "/x").respond(200)
    door = limited(clock, classify=lambda method, path: ("all",))
    for _ in range(6):
        door.request("GET", API + "/x")
    said = failure(door)
    assert said.kind is FailureKind.RATE_LIMITED
    assert said.retry_after == pytest.approx(60, abs=0.1)
    assert route.call_count == 6


def test_opt_outs_have_a_share_that_background_cannot_touch(
    wire: respx.MockRouter, clock: VirtualClock
) -> None:
    wire.get(API + "/x").respond(200)
    door = limited(clock, classify=lambda method, path: ("all",))
    for _ in range(6):
        door.request("GET", API + "/x")
    with door.on_behalf_of(Lane.OPT_OUT):
        assert [door.request("GET", API + "/x").status_code for _ in range(2)] == [200, 200]
        assert failure(door).kind is FailureKind.RATE_LIMITED
    assert door.lane is Lane.BACKGROUND


def test_the_lane_is_given_back_after_an_error(door: HttpDoor, wire: respx.MockRouter) -> None:
    wire.post(API + "/x").mock(side_effect=httpx.ReadError("no"))
    with pytest.raises(VendorError), door.on_behalf_of(Lane.OPT_OUT):
        door.request("POST", API + "/x")
    assert door.lane is Lane.BACKGROUND


def test_a_short_wait_for_budget_is_slept(wire: respx.MockRouter, clock: VirtualClock) -> None:
    wire.get(API + "/x").respond(200)
    door = HttpDoor("acme", allowed=("api.acme.example",), clock=clock, limits=(Limit("all", 5, 2),))
    for _ in range(4):
        door.request("GET", API + "/x")
    assert clock.monotonic() == pytest.approx(2, abs=0.01)


def test_retries_count_against_the_budget(wire: respx.MockRouter, clock: VirtualClock) -> None:
    wire.get(API + "/x").respond(503)
    door = limited(clock, classify=lambda method, path: ("all",))
    door.request("GET", API + "/x")
    assert door.budget.usage()["all"] == (3, 10)


def test_a_call_counts_against_the_limits_of_its_kind(wire: respx.MockRouter, clock: VirtualClock) -> None:
    wire.route().respond(200)
    door = limited(
        clock, classify=lambda m, path: ("all", "search") if path.endswith("/search") else ("all",)
    )
    door.request("POST", API + "/search")
    door.request("GET", API + "/x")
    assert door.budget.usage() == {"all": (2, 10), "search": (1, 5)}
