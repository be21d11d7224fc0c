"""Checks of silent drift: a field that changed never reads as clear, and is described with its remedy."""

from __future__ import annotations

from dncsync.connector import FieldStatus, VendorError
from dncsync.model import Channel, Flag
from dncsync.testing.conformance_bench import Bench
from dncsync.testing.conformance_check import Check, check
from dncsync.testing.conformance_facts import Broken
from dncsync.testing.conformance_faults import warm
from dncsync.testing.faults import FaultKind


def _absent(bench: Bench, key: str) -> set[Channel] | None:
    """The channels that a read shows as absent; None when it fails or finds no such key (both well)."""
    looked = bench.read([key])[key]
    if looked.holding is None or looked.holding.gone:
        return None
    return {c for c in bench.capabilities.channels if looked.holding.flags.get(c) is Flag.ABSENT}


def _lost_field(bench: Bench, kind: FaultKind) -> None:
    set_one, clear_one = bench.pick(1, opted_out=True)[0], bench.pick(1, opted_out=False)[0]
    set_key, clear_key = next(iter(bench.set_in_truth(set_one)))[0], bench.keys(clear_one)[0]
    warm(bench)
    bench.fault(kind)
    absent = _absent(bench, set_key)
    bench.must_be_honoured(kind)
    if absent is not None:
        if not absent:
            raise Broken(f"under {kind} a read shows nothing absent; an unseen field is not a clear one")
        if _absent(bench, clear_key) not in (absent, None):
            raise Broken(f"under {kind} a record that was clear is not read as absent")
    if bench.capabilities.can_list:
        try:
            listed = {h.key: h for page in bench.every_page("snapshot") for h in page.holdings}
        except VendorError:
            listed = {}
        for key in (set_key, clear_key):
            if key in listed and not any(f is Flag.ABSENT for f in listed[key].flags.values()):
                raise Broken(f"under {kind} the listing gives {key!r} as {dict(listed[key].flags)}")
    _must_be_described(bench, kind)


def _must_be_described(bench: Bench, kind: FaultKind) -> None:
    bench.restart()
    try:
        fields = bench.connector.describe()
    except VendorError as error:
        bench.heard(error.failure)
        return
    bench.must_be_honoured(kind)
    ill = [f for f in fields if f.status is not FieldStatus.OK]
    if not ill:
        raise Broken(f"under {kind} describe finds every field in order")
    if any(not f.mend for f in ill):
        raise Broken(f"under {kind} describe does not say how to mend {ill[0].name}")


@check("can_read")
def a_hidden_field_is_not_clear(bench: Bench) -> None:
    """A field hidden by permission reads as absent or fails, never as clear, and describe says so."""
    _lost_field(bench, FaultKind.HIDDEN_FIELD)


@check("can_read")
def a_renamed_field_is_not_clear(bench: Bench) -> None:
    """A field that was renamed reads as absent or fails, never as clear, and describe says so."""
    _lost_field(bench, FaultKind.RENAMED_FIELD)


@check()
def a_retyped_field_is_described(bench: Bench) -> None:
    """A field whose type or options changed is found by describe, with how to mend it."""
    bench.fault(FaultKind.RETYPED_FIELD)
    _must_be_described(bench, FaultKind.RETYPED_FIELD)


@check()
def a_read_only_field_is_described(bench: Bench) -> None:
    """A field made read-only: describe finds it, and a write to it is not answered as done."""
    number = bench.pick(1, opted_out=False)[0]
    warm(bench)
    bench.fault(FaultKind.READ_ONLY_FIELD)
    keys = list(bench.keys(number))[: bench.capabilities.write_batch]
    answers = bench.write([bench.change(key) for key in keys])
    bench.must_be_honoured(FaultKind.READ_ONLY_FIELD)
    if not bench.set_in_truth(number):
        for written in answers.values():
            if written.failure is None:
                raise Broken("a write to a read-only field is answered as done")
    _must_be_described(bench, FaultKind.READ_ONLY_FIELD)


CHECKS: tuple[Check, ...] = (
    a_hidden_field_is_not_clear,
    a_renamed_field_is_not_clear,
    a_retyped_field_is_described,
    a_read_only_field_is_described,
)
