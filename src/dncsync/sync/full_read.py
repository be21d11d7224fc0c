"""Reading a system for a plan: every holding, or some keys afresh, with patience for a vendor's bad moments.

It works beside the system's loop, or without one, and takes calls in the background lane only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from dncsync.budget import Lane
from dncsync.clock import Clock
from dncsync.connector import Connector, Failure, FailureKind, Looked, Page, VendorError
from dncsync.ledger.sqlite import Connection
from dncsync.sync.plan import Blocks
from dncsync.sync.plan_draft import Draft
from dncsync.sync.topology import SystemFacts

TRIES = 4
"""Of one call; a transient failure is waited out so often before the reading breaks off."""
LONGEST_WAIT = 60.0
"""Seconds between two tries."""

T = TypeVar("T")


class Reachable(Protocol):
    """A connected system."""

    @property
    def facts(self) -> SystemFacts: ...

    @property
    def connector(self) -> Connector: ...

    def lanes(self, lane: Lane) -> AbstractContextManager[None]:
        """Calls inside the block count against that lane."""


def read_system(
    draft: Draft,
    ledger: Connection,
    source: Reachable,
    clock: Clock,
    blocks: Blocks,
    report: Callable[[int, int | None], None],
) -> None:
    """Compares every holding of one system, from where the draft stands; `report(holdings, total or None)`.
    Raises `VendorError`; what was read by then is kept."""
    name = source.facts.name
    pages: Iterator[Page] | None = None
    may_begin_again = draft.place(name)[0] is not None

    def next_page() -> Page | None:
        nonlocal pages
        if pages is None:
            pages = iter(source.connector.snapshot(draft.place(name)[0]))
        try:
            with source.lanes(Lane.BACKGROUND):
                return next(pages, None)
        except VendorError:
            pages = None
            raise

    while not draft.place(name)[2]:
        try:
            page = patiently(next_page, clock)
        except VendorError as error:
            if error.failure.kind is not FailureKind.REJECTED or not may_begin_again:
                raise
            may_begin_again = False
            draft.begin_again(name)  # an old cursor is not taken any more
            continue
        if page is None:
            words = "its listing ended without saying that everything was read"
            raise VendorError(Failure(FailureKind.TRANSIENT, words, "unfinished"))
        draft.take(ledger, source.facts, page.holdings, page.cursor, last=not page.more, blocks=blocks)
        report(draft.place(name)[1], page.total)


def read_keys(source: Reachable, keys: Sequence[str], clock: Clock) -> dict[str, Looked]:
    """What the system holds now under these keys (at most `read_batch`). Raises `VendorError`."""

    def call() -> dict[str, Looked]:
        with source.lanes(Lane.BACKGROUND):
            return {looked.key: looked for looked in source.connector.read(keys)}

    return patiently(call, clock)


def patiently(call: Callable[[], T], clock: Clock) -> T:
    """`call()`, again after a while where the vendor may change its mind. Raises the last `VendorError`."""
    tries = 0
    while True:
        try:
            return call()
        except VendorError as error:
            tries += 1
            final = error.failure.kind in (FailureKind.UNAUTHORISED, FailureKind.REJECTED)
            if final or tries == TRIES:
                raise
            clock.sleep(min(error.failure.retry_after or 2.0**tries, LONGEST_WAIT))
