"""Checks of bad weather: answers never claim more or less than is true, and nobody is hammered."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from dncsync.budget import Lane
from dncsync.connector import FailureKind, VendorError, Written
from dncsync.http import READS
from dncsync.model import Flag
from dncsync.testing.conformance_bench import Bench
from dncsync.testing.conformance_check import Check, check
from dncsync.testing.conformance_facts import Broken, NotApplicable
from dncsync.testing.conformance_wire import BREAKING_OFF
from dncsync.testing.conformance_writing import must_be_done, must_hold, must_read
from dncsync.testing.faults import FaultKind

POSITIONS = 8
"""Calls of one write that are hit, one in each world."""
NOTHING_HAPPENED = frozenset({FailureKind.TRANSIENT, FailureKind.RATE_LIMITED, FailureKind.UNAUTHORISED})


# --- a write that meets a fault of the wire ------------------------------------------------------------


def warm(bench: Bench) -> None:
    """Logs in, so that the fault meets the write and not the log-in."""
    bench.connector.probe()
    if bench.capabilities.can_read:
        bench.read(list(bench.keys(bench.pick(1, opted_out=False)[0]))[:1])


def _write_under(kind: FaultKind, params: Mapping[str, Any], also: Callable[[Bench, Written], None]) -> Check:
    name = "-".join(["write", "under", kind.value, *(str(params[k]) for k in ("status",) if k in params)])
    says = f"A write that meets {kind} {dict(params) or ''} at any of its calls: no answer lies."

    def run(bench: Bench) -> None:
        for position in range(POSITIONS):
            world = bench.another()
            warm(world)
            numbers = world.pick(2, opted_out=False)
            number_of = {key: number for number in numbers for key in world.keys(number)}
            keys = list(number_of)[: world.capabilities.write_batch]
            fault = world.faults.add(kind, after=position, times=1, **params)
            answers = world.write([world.change(key) for key in keys])
            if fault.hits == 0:
                if position == 0:
                    raise Broken("a write makes no calls")
                return
            for key, written in answers.items():
                _must_not_lie(world, number_of[key], written, f"{name}, call {position + 1}")
                also(world, written)
            world.faults.clear()
            world.clock.advance(120)
            must_be_done(world.write([world.change(key) for key in keys]).values(), "write after the fault")
            world.settle()
            for number in {number_of[key] for key in keys if set(world.keys(number_of[key])) <= set(keys)}:
                must_hold(world, number, Flag.SET, "written again after the fault")
                if world.capabilities.can_read:
                    must_read(world, number, Flag.SET)

    return Check(name, says, (), run)


def _must_not_lie(bench: Bench, number: str, written: Written, how: str) -> None:
    truth = bench.truth(number)
    flags = {truth.get((written.key, c), Flag.CLEAR) for c in bench.capabilities.channels}
    if written.failure is None and flags != {Flag.SET}:
        raise Broken(f"{how}: {written.key!r} is answered as done, and it is not set at the vendor")
    if written.failure is not None and Flag.SET in flags:
        if written.failure.kind in NOTHING_HAPPENED:
            raise Broken(
                f"{how}: {written.key!r} is answered {written.failure.kind}, 'nothing happened', "
                "yet it is set at the vendor; it should be unknown"
            )
        if written.failure.kind is FailureKind.REJECTED:
            raise Broken(f"{how}: {written.key!r} is answered rejected, yet it is set at the vendor")
    if bench.capabilities.can_read and len(flags) == 1:
        bench.settle()
        must_read_key(bench, written.key, flags.pop(), how)


def must_read_key(bench: Bench, key: str, flag: Flag, how: str) -> None:
    """An unknown outcome is settled by reading: the read must show the truth."""
    holding = bench.read([key])[key].holding
    if holding is None:
        raise Broken(f"{how}: the read that should settle {key!r} fails")
    seen = {Flag.CLEAR} if holding.gone and not bench.is_record else set(holding.flags.values())
    if seen != {flag}:
        raise Broken(f"{how}: the read that should settle {key!r} shows {seen}, not {flag}")


def _anything(bench: Bench, written: Written) -> None:
    """No more to ask than that the answer is no lie."""


def _not_final(bench: Bench, written: Written) -> None:
    if written.failure is not None and written.failure.kind is FailureKind.REJECTED:
        raise Broken("a broken wire is answered as rejected, which is final; the delivery would be abandoned")
    if written.failure is not None and written.failure.kind is FailureKind.UNAUTHORISED:
        raise Broken("a broken wire is answered as unauthorised, which waits for a person")


WIRE: tuple[Check, ...] = (
    _write_under(FaultKind.RESET_BEFORE, {}, _not_final),
    _write_under(FaultKind.RESET_AFTER, {}, _not_final),
    _write_under(FaultKind.STATUS, {"status": 500, "body": ""}, _not_final),
    _write_under(FaultKind.STATUS, {"status": 503, "body": "{}"}, _not_final),
    _write_under(FaultKind.STATUS_AFTER, {"status": 500}, _not_final),
    _write_under(FaultKind.HTML, {"status": 200}, _not_final),
    _write_under(FaultKind.HTML, {"status": 502}, _not_final),
    _write_under(FaultKind.TRUNCATED, {}, _not_final),
    _write_under(FaultKind.DELAY, {"seconds": 900.0}, _not_final),
    _write_under(FaultKind.STATUS, {"status": 400, "body": '{"message": "no"}'}, _anything),
)


@check()
def a_write_that_may_have_landed_is_unknown(bench: Bench) -> None:
    """Every write is done and its answer lost: what is set is answered unknown, or done after a look."""
    warm(bench)
    number = bench.pick(1, opted_out=False)[0]
    keys = bench.keys(number)[: bench.capabilities.write_batch]
    bench.faults.add(FaultKind.RESET_AFTER)
    for written in bench.write([bench.change(key) for key in keys]).values():
        if written.failure is None:
            raise Broken(f"{written.key!r} is answered as done, but no call was ever answered")
        _must_not_lie_without_reading(bench, number, written)


def _must_not_lie_without_reading(bench: Bench, number: str, written: Written) -> None:
    is_set = any(key == written.key for key, _ in bench.set_in_truth(number))
    if is_set and written.failure is not None and written.failure.kind is not FailureKind.UNKNOWN:
        raise Broken(
            f"{written.key!r} is set at the vendor, yet answered {written.failure.kind}, not unknown"
        )


@check()
def no_blind_retry_of_writes(bench: Bench) -> None:
    """After a reset no writing call is made again in the same write; unknown is settled by reading."""
    warm(bench)
    twin = bench.another()
    warm(twin)
    number = bench.pick(1, opted_out=False)[0]
    keys = bench.keys(number)[: bench.capabilities.write_batch]
    healthy = _calls_of_write(twin, list(keys))
    for position in range(POSITIONS):
        world = bench.another()
        warm(world)
        fault = world.faults.add(FaultKind.RESET_AFTER, after=position)
        made = _calls_of_write(world, list(keys))
        for route, count in made.items():
            if route[0] not in READS and count > max(1, healthy[route]):
                raise Broken(
                    f"after a reset the call {route[0]} {route[1]} was made {count} times in one write"
                )
        if fault.hits == 0:
            return


def _calls_of_write(bench: Bench, keys: list[str]) -> Counter[tuple[str, str]]:
    before = len(bench.transport.sent)
    bench.write([bench.change(key) for key in keys])
    return Counter((sent.method, sent.path) for sent in bench.transport.sent[before:])


@check("can_read")
def a_read_in_bad_weather_tells_no_lies(bench: Bench) -> None:
    """A read that meets an error, a reset, a web page or half an answer fails; nobody seems clear or gone."""
    for kind, params in BREAKING_OFF:
        for position in range(3):
            world = bench.another()
            warm(world)
            key = next(iter(world.set_in_truth(world.pick(1, opted_out=True)[0])))[0]
            fault = world.faults.add(kind, after=position, **params)
            holding = world.read([key])[key].holding
            if position == 0 and fault.hits == 0:
                raise Broken("a read makes no calls")
            if holding is not None and (holding.gone or Flag.SET not in holding.flags.values()):
                raise Broken(f"{kind} at call {position + 1}: {key!r} is set, and was read as {holding}")


# --- rate limits ---------------------------------------------------------------------------------------


def _must_wait_as_told(bench: Bench, since: int, how: str) -> None:
    """No call to a path before the time that its own last 429 asked for."""
    free_at: dict[tuple[str, str], float] = {}
    for sent in bench.transport.sent[since:]:
        route = (sent.method, sent.path)
        if sent.at + 0.001 < free_at.get(route, 0.0):
            raise Broken(f"{how}: {sent.method} {sent.path} was called again before its Retry-After was over")
        if sent.status == 429 and sent.retry_after is not None:
            free_at[route] = sent.at + sent.retry_after


def _rate_limited(bench: Bench, retry_after: float | None, kind_needed: bool) -> None:
    how = f"429 with Retry-After {retry_after}"
    warm(bench)
    number = bench.pick(1, opted_out=False)[0]
    keys = list(bench.keys(number))[: bench.capabilities.write_batch]
    params: dict[str, Any] = {"status": 429} | ({} if retry_after is None else {"retry_after": retry_after})
    bench.faults.add(FaultKind.STATUS, times=None if kind_needed else 1, **params)
    for operation in ("write", "read"):
        if operation == "read" and not bench.capabilities.can_read:
            continue
        bench.clock.advance(retry_after or 1)  # so that the door lets the call out to meet its own 429
        since = len(bench.transport.sent)
        answers: Mapping[str, Any] = (
            bench.write([bench.change(key) for key in keys]) if operation == "write" else bench.read(keys[:1])
        )
        _must_wait_as_told(bench, since, f"{operation} under {how}")
        if (calls := len(bench.transport.sent) - since) > 4 * len(keys) + 4:
            raise Broken(f"{operation} under {how} made {calls} calls")
        for key, answer in answers.items():
            if answer.failure is None:
                if operation == "write":
                    _must_not_lie(bench, number, answer, how)
                elif kind_needed:
                    raise Broken(f"{key!r} was read although every call was answered 429")
            elif answer.failure.kind is not FailureKind.RATE_LIMITED:
                raise Broken(f"{operation} under {how} is answered {answer.failure.kind}, not rate-limited")
            elif retry_after is not None and retry_after > 30 and (answer.failure.retry_after or 0) < 30:
                raise Broken(f"{operation} under {how} loses the time that the vendor asked for")
    if bench.set_in_truth(number) and kind_needed:
        raise Broken("the sandbox did a write that it answered with 429")


@check("limits")
def our_budget_comes_before_their_429(bench: Bench) -> None:
    """Far more calls than a limit allows: our own budget holds them back, so that the vendor never does."""
    tightest = min(bench.capabilities.limits, key=lambda limit: limit.calls)
    number = bench.pick(1, opted_out=False)[0]
    changes = [bench.change(key) for key in bench.keys(number)][: bench.capabilities.write_batch]
    warm(bench)
    with contextlib.ExitStack() as lanes:
        for door in bench.opened:
            lanes.enter_context(door.on_behalf_of(Lane.OPT_OUT))
        for _ in range(min(2 * tightest.calls, 500)):
            with contextlib.suppress(VendorError):
                list(bench.connector.write(changes))
            with contextlib.suppress(VendorError):
                list(bench.connector.find(number))
    if refused := bench.sandbox.limited_429():
        raise Broken(f"{refused} calls were answered 429, though limits are declared")


@check()
def short_rate_limit_is_waited_out(bench: Bench) -> None:
    """One 429 with Retry-After 2: waited out on the clock, or handed back as rate-limited."""
    _rate_limited(bench, 2, kind_needed=False)


@check()
def long_rate_limit_is_handed_back(bench: Bench) -> None:
    """429 with Retry-After 60 for ever: rate-limited with that time, after a few calls at most."""
    _rate_limited(bench, 60, kind_needed=True)


@check()
def rate_limit_without_a_time_is_no_invitation(bench: Bench) -> None:
    """429 without Retry-After for ever: rate-limited, after a few calls at most."""
    _rate_limited(bench, None, kind_needed=True)


# --- credentials and permissions -------------------------------------------------------------------------


@check()
def expired_token_is_no_login_storm(bench: Bench) -> None:
    """A token that is refused once or for ever: a new log-in or unauthorised, within a few calls."""
    for times in (1, None):
        world = bench.another()
        warm(world)
        number = world.pick(1, opted_out=False)[0]
        keys = list(world.keys(number))[: world.capabilities.write_batch]
        world.fault(FaultKind.EXPIRED_TOKEN, times=times)
        since = len(world.transport.sent)
        answers = world.write([world.change(key) for key in keys])
        world.must_be_honoured(FaultKind.EXPIRED_TOKEN)
        if (calls := len(world.transport.sent) - since) > 4 * len(keys) + 6:
            raise Broken(f"an expired token led to {calls} calls for one write: a log-in storm")
        for written in answers.values():
            if written.failure is not None and written.failure.kind is not FailureKind.UNAUTHORISED:
                raise Broken(f"an expired token is answered {written.failure.kind}, not unauthorised")
            _must_not_lie_without_reading(world, number, written)
        world.faults.clear()
        world.clock.advance(60)
        world.restart()
        must_be_done(world.write([world.change(key) for key in keys]).values(), "write with a new token")


@check()
def lost_permission_asks_a_person(bench: Bench) -> None:
    """A permission taken away: unauthorised on what needs it, and the probe says so."""
    number = bench.pick(1, opted_out=False)[0]
    keys = list(bench.keys(number))[: bench.capabilities.write_batch]
    warm(bench)
    bench.fault(FaultKind.LOST_PERMISSION)
    failures = [w.failure for w in bench.write([bench.change(key) for key in keys]).values()]
    if bench.capabilities.can_read:
        failures += [looked.failure for looked in bench.read(keys[:1]).values()]
    bench.must_be_honoured(FaultKind.LOST_PERMISSION)
    told = [failure for failure in failures if failure is not None]
    if not told:
        raise Broken("neither a write nor a read noticed that a permission is gone")
    if other := [f for f in told if f.kind is not FailureKind.UNAUTHORISED]:
        raise Broken(f"a lost permission is answered {other[0].kind}, not unauthorised: {other[0].message}")
    try:
        checks = bench.connector.probe().checks
    except VendorError as error:
        if error.failure.kind is not FailureKind.UNAUTHORISED:
            raise Broken(f"the probe answers a lost permission with {error.failure.kind}") from None
    else:
        if all(c.ok or not c.mend for c in checks):
            raise Broken("the probe does not say that a permission is gone and how to mend it")


# --- what a failure may say ------------------------------------------------------------------------------


@check()
def failures_name_nobody(bench: Bench) -> None:
    """The vendor's words hold a number and a secret; no failure and no log line repeats either."""
    number = bench.pick(1, opted_out=False)[0]
    secret = max(bench.secrets.values(), key=len, default="")
    plain = number.removeprefix("+1")
    body = (
        f'{{"status": "error", "category": "VALIDATION_ERROR", "code": 21211, "errorCode": "BAD_REQUEST", '
        f'"message": "{number} or ({plain[:3]}) {plain[3:6]}-{plain[6:]} with {secret} is not valid"}}'
    )
    keys = list(bench.keys(number))[: bench.capabilities.write_batch]
    warm(bench)
    for status in (400, 401, 403, 404, 409, 500):
        bench.faults.add(FaultKind.STATUS, status=status, body=body)
        for operation in (bench.connector.probe, bench.connector.describe):
            try:
                operation()
            except VendorError as error:
                bench.heard(error.failure)
            except Exception as error:
                raise Broken(f"status {status}: {type(error).__name__}: {error}; only VendorError") from error
        bench.write([bench.change(key) for key in keys])
        if bench.capabilities.can_read:
            bench.read(keys[:1])
        bench.faults.clear()
        bench.clock.advance(120)
        bench.restart()
    if not bench.said:
        raise NotApplicable("nothing was said")
    bench.search_what_was_said()


CHECKS: tuple[Check, ...] = (
    *WIRE,
    a_write_that_may_have_landed_is_unknown,
    no_blind_retry_of_writes,
    a_read_in_bad_weather_tells_no_lies,
    our_budget_comes_before_their_429,
    short_rate_limit_is_waited_out,
    long_rate_limit_is_handed_back,
    rate_limit_without_a_time_is_no_invitation,
    expired_token_is_no_login_storm,
    lost_permission_asks_a_person,
    failures_name_nobody,
)
