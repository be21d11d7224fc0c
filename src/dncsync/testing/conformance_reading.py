"""Checks of what a connector says before it is used, of its full listings, and of reads by key."""

from __future__ import annotations

import subprocess
import sys
from os import pathsep

from pydantic import SecretStr, ValidationError

from dncsync.connector import FieldStatus, VendorError
from dncsync.model import Channel, Flag, Holding
from dncsync.testing.conformance_bench import URL, Bench, e164, holdings_by_key
from dncsync.testing.conformance_check import Check, check
from dncsync.testing.conformance_facts import Broken, NotApplicable
from dncsync.testing.conformance_wire import BREAKING_OFF
from dncsync.testing.faults import FaultKind

HEAVY = ("hubspot", "simple_salesforce", "twilio", "requests", "httpx", "urllib3", "werkzeug", "zeep")
"""What importing a connector package must not import; `dncsync --help` answers in 0.2 s."""


# --- before use ------------------------------------------------------------------------------------------


@check()
def importing_is_cheap(bench: Bench) -> None:
    """Importing the connector's package imports neither its SDK nor an HTTP library."""
    modules = sorted({bench.plugin.connect.__module__, bench.plugin.settings.__module__})
    package = " and ".join(modules)
    program = f"import sys, {', '.join(modules)}; print(*(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": pathsep.join(sys.path)},
        check=False,
        timeout=60,
    )
    if done.returncode != 0:
        raise Broken(f"importing {package} fails: {done.stderr.strip().splitlines()[-1]}")
    if done.stdout.strip():
        raise Broken(f"importing {package} also imports {done.stdout.strip()}")


@check()
def settings_keep_secrets(bench: Bench) -> None:
    """What the sandbox calls secrets are SecretStr fields, shown by no repr, and unknown keys are refused."""
    settings = bench.settings()
    if settings.vendor != bench.plugin.vendor or settings.base_url != URL:
        raise Broken("the sandbox's configuration does not name its vendor and base_url")
    declared = {n for n, f in bench.plugin.settings.model_fields.items() if SecretStr in _types(f.annotation)}
    if plain := set(bench.secrets) - declared:
        raise Broken(f"secrets that are not SecretStr fields: {', '.join(sorted(plain))}")
    if loose := declared & set(bench.config):
        raise Broken(f"secret fields in the plain configuration table: {', '.join(sorted(loose))}")
    bench.said.append(repr(settings))
    try:
        bench.settings(no_such_key=1)
    except ValidationError as error:
        bench.said.append(str(error.errors(include_input=False)))
    else:
        raise Broken("a configuration with an unknown key is taken")


def _types(annotation: object) -> set[object]:
    inner = getattr(annotation, "__args__", ())
    return {annotation}.union(*(_types(a) for a in inner)) if inner else {annotation}


@check()
def connecting_calls_nobody(bench: Bench) -> None:
    """`connect` makes no vendor call; `close` may be called twice."""
    if bench.transport.sent:
        raise Broken(f"connect called the vendor: {bench.transport.sent[0]}")
    bench.connector.close()
    bench.connector.close()


@check()
def budget_is_declared(bench: Bench) -> None:
    """Declared limits reach the door's budget, and the door lets through named hosts only."""
    bench.connector.probe()
    if not bench.doors:
        raise Broken("the connector called the vendor without context.open_door")
    for door in bench.doors:
        if not all(host.strip(".") for host in door.get("allowed", ("",))):
            raise Broken("a door opened for every host; name the vendor's hosts in `allowed`")
    held = {limit for door in bench.doors for limit in door.get("limits", ())}
    if missing := set(bench.capabilities.limits) - held:
        raise Broken(f"declared limits that no door holds: {', '.join(sorted(x.name for x in missing))}")


@check()
def capabilities_are_sane(bench: Bench) -> None:
    """Sizes are positive, and keys_for fits the unit: nothing for records, stable keys for numbers."""
    declared = bench.capabilities
    sizes = (declared.write_batch, declared.read_batch, declared.poll_every)
    if min(sizes) <= 0 or declared.read_after < 0 or not declared.channels:
        raise Broken(f"capabilities without meaning: {declared}")
    if any(limit.calls < 1 or limit.seconds <= 0 for limit in declared.limits):
        raise Broken(f"a limit without meaning: {declared.limits}")
    one, other = bench.numbers()[:2]
    keys = bench.connector.keys_for(one)
    if bench.is_record and keys:
        raise Broken("keys_for gives keys, but records are found by the engine, not made up")
    if not bench.is_record:
        if not keys or len(set(keys)) != len(keys) or keys != bench.connector.keys_for(one):
            raise Broken(f"keys_for gives no stable, distinct keys: {keys}")
        if set(keys) & set(bench.connector.keys_for(other)):
            raise Broken("keys_for gives two numbers the same key")
    if bench.transport.sent:
        raise Broken("keys_for called the vendor")


@check()
def probe_is_well(bench: Bench) -> None:
    """A healthy account passes every line of the probe, and says who it is."""
    probe = bench.connector.probe()
    bench.said.extend(f"{c.name} {c.seen} {c.mend}" for c in probe.checks)
    if not probe.account:
        raise Broken("the probe does not say which account answered")
    if not probe.checks:
        raise Broken("the probe checked nothing")
    if ill := [c for c in probe.checks if not c.ok]:
        raise Broken(f"a healthy sandbox fails the probe: {ill}")


@check()
def describe_is_well(bench: Bench) -> None:
    """A healthy account keeps every field of the contract, each named once with what is expected."""
    fields = bench.connector.describe()
    bench.said.extend(f"{c.name} {c.expected} {c.seen} {c.mend}" for c in fields)
    if not fields:
        raise Broken("the field contract is empty; name at least the list or resource that is written")
    if len({c.name for c in fields}) != len(fields):
        raise Broken("a field is described twice")
    if ill := [c for c in fields if c.status is not FieldStatus.OK or not c.expected]:
        raise Broken(f"a healthy sandbox fails its field contract: {ill}")


# --- snapshot --------------------------------------------------------------------------------------------


def _truth_of_all(bench: Bench) -> dict[tuple[str, Channel], Flag]:
    return {place: flag for number in bench.numbers() for place, flag in bench.truth(number).items()}


def _must_match(bench: Bench, listed: dict[str, Holding], truth: dict[tuple[str, Channel], Flag]) -> None:
    for (key, channel), flag in truth.items():
        if key not in listed:
            if flag is Flag.SET or bench.is_record:
                raise Broken(f"the listing lacks {key!r}, which the vendor holds as {flag}")
        elif listed[key].flags.get(channel) is not flag:
            raise Broken(f"{key!r} is {flag} on {channel}, but listed as {listed[key].flags.get(channel)}")
    for key, holding in listed.items():
        if set(holding.flags) != bench.capabilities.channels:
            raise Broken(f"{key!r} has flags for {sorted(holding.flags)}, not one per declared channel")
        for number in filter(None, map(e164, holding.numbers)):
            if (holding_truth := bench.truth(number)) and not any(k == key for k, _ in holding_truth):
                raise Broken(f"{key!r} is listed with a number that the vendor holds under other keys")
        if not bench.is_record and not any(k == key for k, _ in truth) and Flag.SET in holding.flags.values():
            raise Broken(f"the listing has an entry {key!r} that the vendor does not hold")


@check("can_list")
def snapshot_is_complete(bench: Bench) -> None:
    """A snapshot yields every holding with its true flags, and more=False on its last page only."""
    truth = _truth_of_all(bench)
    listed = holdings_by_key(bench.every_page("snapshot"))
    _must_match(bench, listed, truth)


@check("can_list")
def snapshot_resumes_from_every_cursor(bench: Bench) -> None:
    """Killed after any page, a new connector goes on from its cursor and misses nothing."""
    whole = bench.every_page("snapshot")
    if len(whole) < 2:
        raise Broken("the listing had one page; raise Facts.contacts or set a smaller page in Facts.config")
    for cut in range(len(whole) - 1):
        bench.restart()
        rest = bench.every_page("snapshot", whole[cut].cursor)
        got = set(holdings_by_key([*whole[: cut + 1], *rest]))
        if missed := set(holdings_by_key(whole)) - got:
            raise Broken(f"resumed after page {cut + 1}, {len(missed)} holdings are missed: {min(missed)!r}")
        if len(rest) > len(whole) - cut + 1:
            raise Broken(f"resumed after page {cut + 1}, the listing starts over")


@check("can_list")
def snapshot_is_taken_page_by_page(bench: Bench) -> None:
    """The first page costs a few calls, not the whole listing: memory and opt-outs depend on it."""
    pages = bench.pages("snapshot", None)
    next(pages)
    first = len(bench.transport.sent)
    rest = sum(1 for _ in pages)
    if rest >= 2 and first >= len(bench.transport.sent):
        raise Broken(f"all {first} calls of the listing were made before its first page was handed over")


def _listing_may_not_complete(bench: Bench, how: str, longest: int = 500) -> str | None:
    """Takes a listing under a fault; the cursor it came to. `Broken` when it ends as if complete."""
    cursor: str | None = None
    seen: set[str] = set()
    everything = {
        key for (key, _), flag in _truth_of_all(bench).items() if bench.is_record or flag is Flag.SET
    }
    try:
        for count, page in enumerate(bench.pages("snapshot", None)):
            seen |= {holding.key for holding in page.holdings}
            if not page.more:
                if everything - seen:
                    raise Broken(f"{how}: {len(everything - seen)} holdings are missing, yet more=False")
                return page.cursor
            cursor = page.cursor
            if count > longest:
                raise Broken(f"{how}: the listing goes round in circles")
    except VendorError:
        return cursor
    raise Broken(f"{how}: the listing just stops, without an error")


@check("can_list")
def broken_off_listing_is_not_complete(bench: Bench) -> None:
    """An error, a reset, a web page or half an answer in mid-listing never reads as its end."""
    for kind, params in BREAKING_OFF:
        hit = False
        for position in range(4):
            world = bench.another()
            world.connector.probe()
            fault = world.faults.add(kind, after=position, **params)
            cursor = _listing_may_not_complete(world, f"{kind} from call {position + 1} on")
            hit = hit or fault.hits > 0
            world.faults.clear()
            world.restart()
            world.clock.advance(60)
            world.every_page("snapshot", cursor)
        if not hit:
            raise Broken("a listing makes no calls")


@check("can_list")
def short_list_is_not_complete(bench: Bench) -> None:
    """A listing that ends early without an error is noticed (law 9: a short list is no mass removal)."""
    bench.fault(
        FaultKind.SHORT_LIST, **{"share": 0.5, **bench.facts.fault_params.get(FaultKind.SHORT_LIST, {})}
    )
    _listing_may_not_complete(bench, "short list")
    bench.must_be_honoured(FaultKind.SHORT_LIST)


@check("can_list")
def repeated_page_is_not_complete(bench: Bench) -> None:
    """A page that comes again and again neither loops for ever nor reads as the end."""
    usual = len(bench.another().every_page("snapshot"))
    bench.fault(FaultKind.REPEATED_PAGE)
    _listing_may_not_complete(bench, "repeated page", longest=2 * usual + 5)
    bench.must_be_honoured(FaultKind.REPEATED_PAGE)


# --- read ------------------------------------------------------------------------------------------------


@check("can_read")
def read_tells_the_truth(bench: Bench) -> None:
    """Read by key gives the true flags on every channel, and a record's numbers as typed."""
    numbers = bench.pick(5, opted_out=True) + bench.pick(5, opted_out=False)
    truth = {n: bench.truth(n) for n in numbers}
    keys = {key: n for n in numbers for key in (bench.keys(n) if not truth[n] else {k for k, _ in truth[n]})}
    size = bench.capabilities.read_batch
    order = list(keys)
    for start in range(0, len(order), size):
        for key, looked in bench.read(order[start : start + size]).items():
            holding = looked.holding
            if looked.failure is not None or holding is None:
                raise Broken(f"read of {key!r} failed: {looked.failure}")
            for channel in bench.capabilities.channels:
                true = truth[keys[key]].get((key, channel), Flag.CLEAR)
                said = Flag.CLEAR if holding.gone and not bench.is_record else holding.flags.get(channel)
                if said is not true:
                    raise Broken(f"{key!r} is {true} on {channel}, but read as {said}")
            if bench.is_record and keys[key] not in {e164(raw) for raw in holding.numbers}:
                raise Broken(f"{key!r} was read without a number that it holds")


@check("can_read")
def unknown_key_is_gone(bench: Bench) -> None:
    """A key that is not there is an answer (gone, or clear on a list), among good keys too."""
    good = bench.pick(1, opted_out=True)[0]
    good_key = next(key for key, _ in bench.truth(good))
    unknown = bench.unknown_key()
    keys = [unknown, good_key][: bench.capabilities.read_batch]
    looked = bench.read(keys)[unknown]
    if looked.failure is not None or looked.holding is None:
        raise Broken(f"read of an unknown key is a failure: {looked.failure}")
    if Flag.SET in looked.holding.flags.values():
        raise Broken("an unknown key was read as set")
    if not looked.holding.gone and (bench.is_record or Flag.CLEAR not in looked.holding.flags.values()):
        raise Broken("an unknown key was not read as gone")
    if len(keys) == 2 and bench.read(keys)[good_key].failure is not None:
        raise Broken("an unknown key spoils the read of a good one")


@check("can_read")
def malformed_key_spoils_nothing(bench: Bench) -> None:
    """Nonsense as a key is gone or rejected, and the good keys of the same read are answered."""
    good_key = next(key for key, _ in bench.truth(bench.pick(1, opted_out=True)[0]))
    bad = "no such / key'?"
    if bench.capabilities.read_batch < 2:
        raise NotApplicable("the connector reads one key at a time")
    answers = bench.read([bad, good_key])
    if (holding := answers[good_key].holding) is None or Flag.SET not in holding.flags.values():
        raise Broken(f"a malformed key spoils the read of a good one: {answers[good_key].failure}")
    if (odd := answers[bad].holding) is not None and not odd.gone and Flag.SET in odd.flags.values():
        raise Broken("a malformed key was read as set")


@check("can_read")
def read_batch_is_not_cut(bench: Bench) -> None:
    """More keys than read_batch are refused or split; none is dropped in silence."""
    size = bench.capabilities.read_batch + 1
    if size > 3000:
        raise NotApplicable("read_batch is above 3,000")
    keys = [key for n in bench.numbers() for key in bench.keys(n)]
    keys = list(dict.fromkeys(keys))[:size]
    if len(keys) < size:
        raise NotApplicable(f"needs {size} seeded keys, the sandbox has {len(keys)}; see Facts.contacts")
    try:
        bench.read(keys)
    except Broken as broken:
        if not isinstance(broken.__cause__, ValueError):
            raise


@check("can_read")
def read_never_trusts_an_index(bench: Bench) -> None:
    """Right after a change at the vendor a read by key shows it, however far the search index lags."""
    bench.fault(
        FaultKind.STALE_INDEX, **{"seconds": 600.0, **bench.facts.fault_params.get(FaultKind.STALE_INDEX, {})}
    )
    number = bench.pick(1, opted_out=False)[0]
    bench.read(list(bench.keys(number))[:1])
    bench.sandbox.opt_out(number)
    for key, channel in bench.set_in_truth(number):
        holding = bench.read([key])[key].holding
        if holding is None or holding.flags.get(channel) is not Flag.SET:
            raise Broken(f"{key!r} was set on {channel} a moment ago; the read does not show it")


@check()
def find_tells_no_tales(bench: Bench) -> None:
    """What `find` yields for a number really holds that number; it may find nothing."""
    for number in bench.pick(2, opted_out=True) + bench.pick(2, opted_out=False):
        places = bench.truth(number)
        for looked in bench.guard("find", lambda number=number: bench.connector.find(number)):  # type: ignore[misc]
            if looked.failure is not None:
                bench.heard(looked.failure)
            elif looked.holding is None or (looked.holding.gone and not looked.holding.flags):
                continue
            elif any(
                looked.holding.flags.get(c) is Flag.SET and places.get((looked.key, c)) is not Flag.SET
                for c in bench.capabilities.channels
            ):
                raise Broken(f"find says {looked.key!r} is set for a number; the vendor does not")
            elif bench.is_record and looked.key not in {key for key, _ in places}:
                raise Broken(f"find yields {looked.key!r}, which does not hold the number")


CHECKS: tuple[Check, ...] = (
    importing_is_cheap,
    settings_keep_secrets,
    connecting_calls_nobody,
    budget_is_declared,
    capabilities_are_sane,
    probe_is_well,
    describe_is_well,
    snapshot_is_complete,
    snapshot_resumes_from_every_cursor,
    snapshot_is_taken_page_by_page,
    broken_off_listing_is_not_complete,
    short_list_is_not_complete,
    repeated_page_is_not_complete,
    read_tells_the_truth,
    unknown_key_is_gone,
    malformed_key_spoils_nothing,
    read_batch_is_not_cut,
    read_never_trusts_an_index,
    find_tells_no_tales,
)
