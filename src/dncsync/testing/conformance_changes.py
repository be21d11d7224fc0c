"""Checks of the change feed: nothing lost, whatever breaks off, and quiet when nothing happens."""

from __future__ import annotations

from dncsync.connector import Page, VendorError
from dncsync.model import Channel, Flag
from dncsync.testing.conformance_bench import Bench, national
from dncsync.testing.conformance_check import Check, check
from dncsync.testing.conformance_facts import Broken
from dncsync.testing.conformance_wire import BREAKING_OFF


class _Lookout:
    """Opts numbers out at the vendor, and knows which of them a feed has not told of yet."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._places: dict[str, set[tuple[str, Channel]]] = {}

    def opt_out(self, *numbers: str) -> None:
        for number in numbers:
            self._bench.sandbox.opt_out(number)
            self._places[number] = self._bench.set_in_truth(number)
            if not self._places[number]:
                raise Broken("the sandbox's opt_out leaves nothing set in its truth")

    def look(self, page: Page) -> None:
        """Strikes off what a page tells: as a holding that is set, or as a person's statement."""
        stated = {national(statement.number) for statement in page.statements}
        seen = {(h.key, c) for h in page.holdings for c, flag in h.flags.items() if flag is Flag.SET}
        for number in list(self._places):
            self._places[number] -= seen
            if not self._places[number] or national(number) in stated:
                del self._places[number]

    @property
    def missing(self) -> int:
        return len(self._places)


def _caught_up(bench: Bench) -> str:
    """The cursor of a feed that has told all it knows."""
    cursor = bench.every_page("changes")[-1].cursor
    return _quiet(bench, cursor)


def _quiet(bench: Bench, cursor: str) -> str:
    for _ in range(3):
        bench.clock.advance(bench.capabilities.poll_every + 3600)
        cursor = bench.every_page("changes", cursor)[-1].cursor
    return cursor


def _wait(bench: Bench) -> None:
    bench.clock.advance(bench.capabilities.poll_every)


def _must_all_be_seen(bench: Bench, lookout: _Lookout, cursor: str, how: str) -> None:
    for _ in range(bench.facts.polls):
        if not lookout.missing:
            return
        _wait(bench)
        for page in bench.every_page("changes", cursor):
            lookout.look(page)
            cursor = page.cursor
    if lookout.missing:
        raise Broken(f"{how}: {lookout.missing} opt-outs were not told of within {bench.facts.polls} polls")


@check("can_poll")
def a_change_is_seen(bench: Bench) -> None:
    """An opt-out made at the vendor is told of within a few polls, on known records and new ones."""
    cursor = _caught_up(bench)
    for number in (bench.pick(1, opted_out=False)[0], "+16175550123"):
        lookout = _Lookout(bench)
        lookout.opt_out(number)
        _must_all_be_seen(bench, lookout, cursor, "an opt-out")


@check("can_poll")
def a_first_poll_starts_now(bench: Bench) -> None:
    """The first poll of all gives a cursor from which whatever happens next is told of."""
    cursor = bench.every_page("changes")[-1].cursor
    lookout = _Lookout(bench)
    lookout.opt_out(*bench.pick(3, opted_out=False))
    _must_all_be_seen(bench, lookout, cursor, "opt-outs right after the first poll")


@check("can_poll")
def polls_killed_between_pages_lose_nothing(bench: Bench) -> None:
    """The process dies after each single page; the next one goes on from the last cursor kept."""
    cursor = _caught_up(bench)
    numbers = bench.pick(20, opted_out=False)
    lookout = _Lookout(bench)
    for number in numbers:
        lookout.opt_out(number)
        bench.clock.advance(0.3)
    for turn in range(bench.facts.polls * 4):
        if not lookout.missing:
            return
        bench.restart()
        page = next(bench.pages("changes", cursor), None)
        if page is None:
            raise Broken("changes yielded no page at all; an empty one still carries the cursor")
        if turn % 3 == 0 and page.more:
            continue  # killed before the page was committed: it must come again
        lookout.look(page)
        cursor = page.cursor
        if not page.more:
            _wait(bench)
    raise Broken(f"{lookout.missing} of {len(numbers)} opt-outs were lost between pages")


@check("can_poll")
def a_crowd_at_one_instant_is_seen(bench: Bench) -> None:
    """Many changes with the same timestamp: none falls between two pages or two polls."""
    cursor = _caught_up(bench)
    lookout = _Lookout(bench)
    lookout.opt_out(*bench.pick(60, opted_out=False))
    for _ in range(bench.facts.polls):
        _wait(bench)
        bench.restart()
        for page in bench.every_page("changes", cursor):
            lookout.look(page)
            cursor = page.cursor
    if lookout.missing:
        raise Broken(f"{lookout.missing} of 60 changes of one instant were never told of")


@check("can_poll")
def late_rows_are_not_passed_by(bench: Bench) -> None:
    """Polls in the midst of changes that become visible late: the watermark never passes them."""
    cursor = _caught_up(bench)
    lookout = _Lookout(bench)
    for number in bench.pick(15, opted_out=False):
        lookout.opt_out(number)
        for page in bench.every_page("changes", cursor):
            lookout.look(page)
            cursor = page.cursor
    _must_all_be_seen(bench, lookout, cursor, "polls in the midst of changes")


@check("can_poll")
def a_broken_poll_loses_nothing(bench: Bench) -> None:
    """A poll that meets errors, resets, web pages or half an answer fails, and the next one has it all."""
    for kind, params in BREAKING_OFF:
        for position in range(3):
            world = bench.another()
            cursor = _caught_up(world)
            lookout = _Lookout(world)
            lookout.opt_out(*world.pick(5, opted_out=False))
            fault = world.faults.add(kind, after=position, **params)
            for _ in range(3):
                _wait(world)
                try:
                    for page in world.pages("changes", cursor):
                        lookout.look(page)
                        cursor = page.cursor
                except VendorError:
                    continue
            if position == 0 and fault.hits == 0:
                raise Broken("a poll makes no calls")
            world.faults.clear()
            world.clock.advance(60)
            _must_all_be_seen(world, lookout, cursor, f"{kind} from call {position + 1} on")


@check("can_poll")
def a_quiet_world_is_quiet(bench: Bench) -> None:
    """When nothing changes, polls yield nothing in the end, and make a few calls each."""
    cursor = _caught_up(bench)
    for number in bench.pick(3, opted_out=False):
        bench.sandbox.opt_out(number)
    cursor = _quiet(bench, cursor)
    for _ in range(5):
        _wait(bench)
        before = len(bench.transport.sent)
        pages = bench.every_page("changes", cursor)
        cursor = pages[-1].cursor
        if told := sum(len(p.holdings) + len(p.statements) for p in pages):
            raise Broken(f"hours after the last change a poll still tells of {told} holdings or statements")
        if (calls := len(bench.transport.sent) - before) > bench.facts.quiet_calls:
            raise Broken(f"a poll of a quiet world made {calls} calls")


CHECKS: tuple[Check, ...] = (
    a_change_is_seen,
    a_first_poll_starts_now,
    polls_killed_between_pages_lose_nothing,
    a_crowd_at_one_instant_is_seen,
    late_rows_are_not_passed_by,
    a_broken_poll_loses_nothing,
    a_quiet_world_is_quiet,
)
