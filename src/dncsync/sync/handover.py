"""From a commit straight to an idle loop: an opt-out that finds its loop waiting is recorded as being sent in
the transaction that makes it known, and waits for no second commit."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Handover(Generic[T]):
    """Between the writer, which claims and gives, and one loop, which offers and takes.

    What was given is marked as being sent, so the loop must send it, whatever it is doing by then. What was
    claimed by a transaction that was rolled back is never given; the loop offers again after its next turn.
    """

    def __init__(self) -> None:
        self._offered = False
        self._given: deque[T] = deque()

    def offer(self) -> None:
        """The loop has nothing to do and may make calls."""
        self._offered = True

    def take(self) -> T | None:
        """What was given, if anything; the offer ends."""
        self._offered = False
        return self._given.popleft() if self._given else None

    def claim(self) -> bool:
        """Whether the loop waits and nobody else claimed it. Called by the one writer."""
        offered, self._offered = self._offered, False
        return offered

    def give(self, work: T) -> None:
        """After the commit."""
        self._given.append(work)
