"""How long to wait after what: there is no last attempt (law 5), only a next one."""

from __future__ import annotations

from collections.abc import Callable

from dncsync.connector import Failure, FailureKind

SECOND = 1_000_000
"""The ledger counts microseconds."""
LONGEST_BACKOFF = 900.0
"""Seconds; there is no last attempt (law 5)."""
REJECTED_BACKOFF = 3600.0
"""Seconds; a person has a finding, and the vendor's mind may change."""
ANSWER_WITHIN = 90.0
"""Seconds after which a call that was begun and never recorded (a crash) is settled by reading."""

Jitter = Callable[[], float]
"""A number in [0, 1)."""


def backoff(attempts: int, jitter: Jitter) -> float:
    """Seconds to wait after so many attempts: exponential, half of it random, at most 15 minutes."""
    full = min(LONGEST_BACKOFF, 2.0 ** min(attempts, 12))
    return full * (0.5 + 0.5 * jitter())


def wait_after(failure: Failure, attempts: int, jitter: Jitter) -> float:
    """Seconds until a write or a reading that failed is tried again; `attempts`: so far."""
    if failure.retry_after is not None:
        return min(max(failure.retry_after, 0.1), 86_400.0)
    if failure.kind is FailureKind.REJECTED:
        return REJECTED_BACKOFF * (0.5 + 0.5 * jitter())
    return backoff(attempts, jitter)
