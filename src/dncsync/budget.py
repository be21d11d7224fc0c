"""Call budgets: a share of every published limit is kept free for opt-outs (design section 5)."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from enum import StrEnum

from pyrate_limiter import InMemoryBucket, Rate, RateItem

from dncsync.clock import Clock
from dncsync.connector import Limit


class Lane(StrEnum):
    """On whose behalf a call is made."""

    OPT_OUT = "opt-out"
    """Deliveries of blocks and their read-backs: may use the whole allowance."""
    BACKGROUND = "background"
    """Everything else: leaves the kept share alone."""


class _Window:
    """One rolling window, held exactly by pyrate-limiter on timestamps that we give."""

    def __init__(self, calls: int, seconds: float) -> None:
        self._bucket = InMemoryBucket([Rate(max(1, calls), max(1, round(seconds * 1000)))])
        self.calls = max(1, calls)

    def wait(self, now_ms: int) -> int:
        """Milliseconds until one more call fits; 0 when it fits now. Takes nothing."""
        self._bucket.leak(now_ms)
        if len(self._bucket.items) < self.calls:
            return 0
        oldest = self._bucket.items[len(self._bucket.items) - self.calls].timestamp
        return max(1, oldest + int(self._bucket.rates[0].interval) - now_ms + 1)

    def take(self, now_ms: int) -> None:
        self._bucket.put(RateItem("call", now_ms))

    def take_over(self, other: _Window) -> None:
        """The calls of the window that this one replaces: all of them, it may be allowed fewer or more."""
        self._bucket.items.extend(other._bucket.items)

    def used(self, now_ms: int) -> int:
        self._bucket.leak(now_ms)
        return len(self._bucket.items)


class CallBudget:
    """The limits of one system. Thread-safe.

    `use` is the share of each limit that we ever use (other integrations live there too); `reserve` is the
    share of that which only opt-outs may take.
    """

    def __init__(
        self, limits: Sequence[Limit], clock: Clock, *, use: float = 0.8, reserve: float = 0.25
    ) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._share_all = use
        self._share_background = use * (1 - reserve)
        self._limits = {limit.name: limit for limit in limits}
        self._all = {n: _Window(int(x.calls * use), x.seconds) for n, x in self._limits.items()}
        self._background = {
            n: _Window(int(x.calls * self._share_background), x.seconds) for n, x in self._limits.items()
        }
        self._not_before = 0.0

    def acquire(self, names: Iterable[str], lane: Lane) -> float:
        """Takes one call from each named limit, or none. Returns the seconds to wait; 0.0 means taken."""
        with self._lock:
            now = self._clock.monotonic()
            now_ms = int(now * 1000)
            names = tuple(names)
            wait = max(0.0, self._not_before - now)
            for name in names:
                wait = max(wait, self._all[name].wait(now_ms) / 1000)
                if lane is Lane.BACKGROUND:
                    wait = max(wait, self._background[name].wait(now_ms) / 1000)
            if wait > 0:
                return wait
            for name in names:
                self._all[name].take(now_ms)
                if lane is Lane.BACKGROUND:
                    self._background[name].take(now_ms)
            return 0.0

    def hold(self, seconds: float) -> None:
        """The vendor said wait: no call at all for that long."""
        with self._lock:
            self._not_before = max(self._not_before, self._clock.monotonic() + seconds)

    def held(self) -> float:
        """Seconds for which a `hold` still lasts; 0.0 when there is none."""
        with self._lock:
            return max(0.0, self._not_before - self._clock.monotonic())

    def learn(self, name: str, calls: int) -> None:
        """The vendor's headers give another limit than the published one; it holds from the next call on."""
        with self._lock:
            limit = self._limits.get(name)
            if limit is None or calls <= 0 or calls == limit.calls:
                return
            self._limits[name] = Limit(name, calls, limit.seconds)
            for windows, share in ((self._all, self._share_all), (self._background, self._share_background)):
                fresh = _Window(int(calls * share), limit.seconds)
                fresh.take_over(windows[name])
                windows[name] = fresh

    def usage(self) -> dict[str, tuple[int, int]]:
        """Limit name -> (calls made in the present window, calls allowed by the vendor)."""
        with self._lock:
            now_ms = int(self._clock.monotonic() * 1000)
            return {name: (self._all[name].used(now_ms), limit.calls) for name, limit in self._limits.items()}
