"""The facts on systems: what they hold against the ledger, and what was repaired. Units: see `facts`."""

from __future__ import annotations

from dncsync.reconcile.facts_shape import Fact


class Cause(Fact):
    """Why holdings of one system do not agree with the ledger."""

    tag: str
    """One of `CAUSES`."""
    holdings: int
    samples: tuple[str, ...]
    """A few keys; those of list entries are masked. At most 5, the first by key."""


CAUSES: dict[str, str] = {
    "cleared there": "it said so when last verified, and somebody or something cleared it there since",
    "not kept": "the vendor accepted the write and did not keep it",
    "delivery open": "the write is due or under way",
    "never delivered": "no write was ever begun",
    "record added later": "the record came after the request, and its first write is not verified yet",
    "field absent": "the field is not there, or may not be seen",
    "not read yet": "nothing has been read of it since it became known",
    "nothing can be read": "the vendor shows nothing of what it holds",
    "unreadable number": "its phone values are no usable numbers, so nothing can be concluded for it",
    "block nobody asked for": "it is blocked there, and the ledger knows no request",
    "held by a fuse": "the block stands here, and a tripped fuse holds its spread until people approve it",
    "reversed here": "the ledger ended the block, and the vendor still holds it",
    "programme restored": "the consumer took this text programme back with START",
}
"""Every tag with its explanation."""


class Comparison(Fact):
    """One system's holdings against the ledger, holding by holding (all channels of one together).

    `present + missing + different + cannot_be_read` are the holdings that the ledger wants blocked;
    `extra` are blocked there and not wanted; `quiet` are neither. Ended (deleted, merged) records are in
    `ended` only. `holdings` is the sum of all of them.
    """

    at: int
    """When it was compared."""
    holdings: int
    present: int
    """Blocked there, as last read, on every channel that the ledger wants."""
    missing: int
    """Wanted, and last read as clear on every channel that is wanted."""
    extra: int
    different: int
    """Wanted, and blocked there on some of the channels only, or a field is absent."""
    cannot_be_read: int
    """Wanted, and nothing was ever read of it: `accepted` of these were accepted by the vendor."""
    quiet: int
    ended: int
    verified: int
    """Law 4, over the holdings that are wanted: `verified` (= present) ..."""
    accepted: int
    """... `accepted, cannot be read` ..."""
    unconfirmed: int
    """... and `not confirmed` (all others)."""
    unreadable_numbers: int
    """Phone values on this system that are no usable number."""
    causes: tuple[Cause, ...]
    """In the order of `CAUSES`; the holdings of all tags sum to missing + extra + different +
    cannot_be_read (`unreadable number` stands beside that sum: such holdings are counted as they agree)."""
    samples: dict[str, tuple[str, ...]]
    """`missing`, `extra`, `different`, `cannot_be_read` -> the first keys (masked where they are numbers)."""
    event_seq: int
    """The event that recorded this comparison in the chain (the vendor's side is no projection of ours)."""
    query: str


class Coverage(Fact):
    """How recently each holding of one system was compared with the vendor."""

    within_days: int
    """The promise ([reconcile] full_within_days)."""
    holdings: int
    compared: int
    """Holdings compared within that many days before `at`."""
    oldest_at: int | None
    """When the holding that waited longest was last compared; None: there is none, or one never was."""
    never: int
    """Holdings never compared since they became known."""
    snapshot_at: int | None
    """When the latest complete reading of the whole system began; None: there was none."""
    at: int
    """When this was stated."""
    kept: bool
    """Whether the promise holds."""
    statement: str
    """E.g. `every holding compared within the last 3 days`, or which was not and why."""
    query: str


class Platform(Fact):
    """One connected system, with what was found there. Every configured system has its line, read or not."""

    system: str
    vendor: str
    account: str
    """The vendor's id of the account as far as it is known; empty: not known."""
    role: str
    """`crm`, `dialer`, `sms`; empty: not configured any more."""
    unit: str
    """`record` or `number`."""
    channels: tuple[str, ...]
    state: str
    """`up`, `down`, `unauthorised`, or `never connected`."""
    state_since: int | None
    can_read: bool
    """False: the vendor shows nothing, so nothing here is ever `verified`."""
    can_list: bool
    configured: bool
    """False: it is in the ledger and not in the present configuration."""
    comparison: Comparison | None
    """None: it was not compared; `could_not_be_read` says why."""
    coverage: Coverage | None
    could_not_be_read: str | None
    """Why there is no reading, or no fresh one; None: it was read."""
    last_full_comparison_at: int | None


class Repair(Fact):
    """A write that put right what had been right, or should have been, before."""

    system: str
    key: str
    """Masked where it is a number."""
    channel: str
    cause: str
    """`cleared there`, `not kept`, `record added later`, or `written again`."""
    request_id: str | None
    known_at: int
    verified_at: int | None
    """When it was read back; None: not, or not yet (see `proof`)."""
    proof: str
    """`verified`, `accepted, cannot be read`, `not confirmed`."""


class RepairsBySystem(Fact):
    """Repairs begun in the period in one system, by cause."""

    system: str
    cause: str
    count: int
    verified: int
    accepted: int
    open: int
    mean_seconds: float | None
    """From known to verified, over those verified; None: none was."""
    max_seconds: float | None


class Repairs(Fact):
    """Repairs begun in the period."""

    count: int
    verified: int
    by_system: tuple[RepairsBySystem, ...]
    listed: tuple[Repair, ...]
    """The first 200 by time; the query gives all."""
    query: str
    query_by_system: str
