"""Checks of writes in good weather: idempotent, per item, and touching only what was asked."""

from __future__ import annotations

from collections.abc import Iterable

from dncsync.connector import Change, Written
from dncsync.model import Flag
from dncsync.testing.conformance_bench import Bench
from dncsync.testing.conformance_check import Check, check
from dncsync.testing.conformance_facts import Broken, NotApplicable
from dncsync.testing.faults import FaultKind


def must_hold(bench: Bench, number: str, flag: Flag, how: str) -> None:
    """Raises `Broken` unless the sandbox holds `flag` under every key and channel of a number."""
    truth = bench.truth(number)
    for key in bench.keys(number):
        for channel in bench.capabilities.channels:
            if (true := truth.get((key, channel), Flag.CLEAR)) is not flag:
                raise Broken(f"{how}: {key!r} should be {flag} on {channel}, the vendor holds {true}")


def must_be_done(answers: Iterable[Written], how: str) -> None:
    """Raises `Broken` for the first answer that is a failure."""
    for written in answers:
        if written.failure is not None:
            raise Broken(f"{how}: {written.key!r} failed: {written.failure}")


def _set(bench: Bench, number: str) -> None:
    must_be_done(bench.write([bench.change(key) for key in bench.keys(number)]).values(), "write of set")


@check()
def write_sets(bench: Bench) -> None:
    """A write of SET is answered as done, is in the vendor's truth, and is read back as SET."""
    numbers = bench.pick(3, opted_out=False)
    changes = [bench.change(key) for number in numbers for key in bench.keys(number)]
    for start in range(0, len(changes), bench.capabilities.write_batch):
        batch = changes[start : start + bench.capabilities.write_batch]
        must_be_done(bench.write(batch).values(), "write of set")
    bench.settle()
    for number in numbers:
        must_hold(bench, number, Flag.SET, "after a write of set")
        if bench.capabilities.can_read:
            must_read(bench, number, Flag.SET)


def must_read(bench: Bench, number: str, flag: Flag) -> None:
    """Raises `Broken` unless a read of a number's keys shows `flag` on every channel."""
    for key in bench.keys(number):
        looked = bench.read([key])[key]
        if looked.holding is None:
            raise Broken(f"the read-back of {key!r} failed: {looked.failure}")
        if looked.holding.gone and flag is Flag.CLEAR and not bench.is_record:
            continue
        if any(looked.holding.flags.get(c) is not flag for c in bench.capabilities.channels):
            raise Broken(f"{key!r} should be read back as {flag}, it reads {dict(looked.holding.flags)}")


@check()
def write_twice_is_success(bench: Bench) -> None:
    """Writing what is already there is done, not 'already exists'; also on what the vendor had set itself."""
    number = bench.pick(1, opted_out=False)[0]
    _set(bench, number)
    _set(bench, number)
    must_hold(bench, number, Flag.SET, "after writing set twice")
    already = bench.pick(1, opted_out=True)[0]
    _set(bench, already)
    must_hold(bench, already, Flag.SET, "after writing set on a set one")


@check("can_clear")
def write_clears(bench: Bench) -> None:
    """After a reversal a write of CLEAR clears, once and twice, and can be set again."""
    number = bench.pick(1, opted_out=False)[0]
    _set(bench, number)
    keys = bench.keys(number)
    for how in ("write of clear", "second write of clear"):
        must_be_done(bench.write([bench.change(k, Flag.CLEAR) for k in keys]).values(), how)
        must_hold(bench, number, Flag.CLEAR, f"after a {how}")
    if bench.capabilities.can_read:
        bench.settle()
        must_read(bench, number, Flag.CLEAR)
    _set(bench, number)
    must_hold(bench, number, Flag.SET, "set again after a clear")


@check()
def write_leaves_others_alone(bench: Bench) -> None:
    """A write changes the truth of its own keys and channels, and of nothing else."""
    number = bench.pick(1, opted_out=False)[0]
    keys = bench.keys(number)
    channel = min(bench.capabilities.channels)
    before = {n: bench.truth(n) for n in bench.numbers()}
    must_be_done(bench.write([Change(key, {channel: Flag.SET}) for key in keys]).values(), "write of set")
    for other, was in before.items():
        for place, flag in bench.truth(other).items():
            if place in {(key, channel) for key in keys}:
                continue
            if flag is not was.get(place, Flag.CLEAR):
                raise Broken(f"a write to {keys} on {channel} also changed {place[0]!r} on {place[1]}")


@check()
def bad_key_spoils_only_itself(bench: Bench) -> None:
    """In a batch with an unknown and a malformed key the good ones are done and only the bad ones fail."""
    numbers = bench.pick(2, opted_out=False)
    good = [key for number in numbers for key in bench.keys(number)]
    unknown, malformed = bench.unknown_key(), "no such / key'?"
    if bench.capabilities.write_batch < 3:
        raise NotApplicable("the connector writes one or two items at a time")
    for bad in (unknown, malformed) if bench.is_record else (malformed,):
        batch = [good[0], bad, *good[1:]][: bench.capabilities.write_batch]
        answers = bench.write([bench.change(key) for key in batch])
        if answers[bad].failure is None:
            raise Broken("a write to a key that does not exist is answered as done")
        must_be_done((answers[key] for key in batch if key != bad), "batch with a bad key")
    for number in numbers:
        must_hold(bench, number, Flag.SET, "beside a bad key")


@check()
def write_batch_is_not_cut(bench: Bench) -> None:
    """More changes than write_batch are refused or split; none is dropped in silence."""
    size = bench.capabilities.write_batch + 1
    number_of = {key: n for n in bench.numbers() for key in bench.keys(n)}
    keys = list(number_of)[:size]
    if len(keys) < size:
        raise NotApplicable(f"needs {size} seeded keys, the sandbox has {len(keys)}; see Facts.contacts")
    try:
        answers = bench.write([bench.change(key) for key in keys])
    except Broken as broken:
        if isinstance(broken.__cause__, ValueError):
            return
        raise
    for key, written in answers.items():
        places = bench.truth(number_of[key])
        if written.failure is None and any(
            places.get((key, c)) is not Flag.SET for c in bench.capabilities.channels
        ):
            raise Broken(f"{key!r} was beyond write_batch, answered as done, and is not set")


@check("can_read")
def a_dropped_write_is_seen(bench: Bench) -> None:
    """The vendor says yes and keeps nothing: the read-back shows CLEAR, whatever the write said."""
    bench.fault(FaultKind.DROPPED_WRITE)
    number = bench.pick(1, opted_out=False)[0]
    bench.write([bench.change(key) for key in bench.keys(number)])
    bench.must_be_honoured(FaultKind.DROPPED_WRITE)
    must_hold(bench, number, Flag.CLEAR, "the sandbox was told to drop the write")
    bench.settle()
    must_read(bench, number, Flag.CLEAR)


CHECKS: tuple[Check, ...] = (
    write_sets,
    write_twice_is_success,
    write_clears,
    write_leaves_others_alone,
    bad_key_spoils_only_itself,
    write_batch_is_not_cut,
    a_dropped_write_is_seen,
)
