"""The facts on requests: how many, how fast, how exposed, and a sample. Units: see `facts`."""

from __future__ import annotations

from typing import Literal

from dncsync.reconcile.facts_shape import Fact


class Spread(Fact):
    """A distribution of seconds. All None when `count` is 0."""

    count: int
    mean_seconds: float | None
    median_seconds: float | None
    p95_seconds: float | None
    """Nearest rank."""
    max_seconds: float | None


class Processing(Fact):
    """How long requests took, over all requests received in the period (never a sample; canaries left out).

    A request is done when every holding that was known of within a day of it was read back as blocked, or
    accepted where nothing can be read; its time runs from receipt. Records that came later than a day have a
    clock of their own and are in `Repairs`.
    """

    requests: int
    done: Spread
    open: int
    """Not done at `as_of`."""
    confirmed: int
    """Done, every holding read back (law 4: `verified`)."""
    accepted: int
    """Done, at least one holding `accepted, cannot be read`."""
    nothing_to_write: int
    """Done at once: no system held it, or all said so already. Among `done` and `confirmed`."""
    over_24_hours: int
    """Took longer than 24 h, or are open and older."""
    over_strict: int
    """Not done by the strict deadline (ten business days, no holidays left out; regulation CLK-01)."""
    over_federal: int
    """Not done by the federal deadline: legally late."""
    already_late: int = 0
    """Of those, whose deadline had passed before this ledger knew of them: history that was found in a
    system, or a webhook that came weeks late."""
    provisional: int
    """Ambiguous texts, blocked until a person has read them; among `requests`."""
    ended: int
    """Received in the period and reversed since; among `requests`."""
    query: str


class Bucket(Fact):
    """One bar of a histogram."""

    label: str
    """E.g. `1 to 5 s`."""
    upto_seconds: float | None
    """Upper bound, inclusive; None: no bound."""
    count: int


class Propagation(Fact):
    """From known to read back, over the writes of one system that were begun in the period (blocks only)."""

    system: str
    writes: int
    verified: int
    accepted: int
    """Accepted, cannot be read."""
    unconfirmed: int
    """Neither, at `as_of` (superseded and moot ones left out)."""
    spread: Spread
    """Of verified writes; of accepted ones where the vendor shows nothing (`proof` says which)."""
    proof: str
    """What `spread` and `buckets` measure up to: `verified` or `accepted, cannot be read`."""
    buckets: tuple[Bucket, ...]
    """The same bounds for every system, in order; all of them, also empty ones."""
    over_goal: int
    """Past the system's own goal (policy sla_seconds)."""
    query: str


class RequestsBySource(Fact):
    """Requests received in the period, by where they came from."""

    system: str | None
    """None: made here (command line, import)."""
    source: str
    channel: str
    requests: int
    provisional: int
    ended: int


class Requests(Fact):
    """Requests received in the period (canaries left out)."""

    total: int
    rows: tuple[RequestsBySource, ...]
    """Most first."""
    blocked_at_start: int
    """Numbers blocked on any channel when the period began ..."""
    blocked_at_end: int
    """... and when it ended (or at `as_of`): the internal list's count."""
    reversals: int
    """Documented ends of blocks in the period."""
    query: str
    query_blocked: str


class ExposureDay(Fact):
    """How exposed the blocked numbers of one system (or of all together) were on one day."""

    day: str
    system: str | None
    """None: all systems together; a number open in two systems counts once."""
    opened: int
    """Numbers whose block became known that day and was not yet at this system."""
    open_at_end: int
    """Numbers not yet confirmed there at the day's last instant (or at `as_of`)."""
    hours: float
    """Sum over numbers of the hours of that day during which they were not confirmed."""


class Exposure(Fact):
    """Numbers that were blocked in the ledger and not yet confirmed at a system, day by day.

    Numbers are what is counted; a record whose phone values cannot be read counts as one.
    """

    days: tuple[ExposureDay, ...]
    """Every day of the period up to `as_of`, first all systems together, then each; also days of zeros."""
    worst_day: str | None
    """The day with the most hours, all together; None: there were none."""
    total_hours: float
    query: str


class SampleStamps(Fact):
    """One write that a sampled request caused."""

    system: str
    key: str
    """Masked where it is a number."""
    channel: str
    known_at: int
    sent_at: int | None
    accepted_at: int | None
    verified_at: int | None
    proof: str
    seconds: float | None
    """From receipt of the request to verified (or accepted, where nothing can be read); None: not yet."""


class SampledRequest(Fact):
    """One request of the sample, with everything that followed."""

    id: str
    number: str | None
    """Masked; None: made on a record."""
    system: str | None
    """Where it was made; None: here."""
    source: str
    channel: str
    occurred_at: int
    received_at: int
    recorded_at: int
    deadline_strict: int
    deadline_federal: int
    stamps: tuple[SampleStamps, ...]
    seconds: float | None
    """Receipt to done, by the definition in `Processing`; None: open."""
    verdict: Literal["in time", "over 24 hours", "past the strict deadline", "legally late", "open"]
    proof: str
    """The weakest of the stamps' proofs; `verified` where there was nothing to write."""


class Sample(Fact):
    """Requests picked by a seed, the same for everybody who picks again."""

    seed: int
    size: int
    """Asked for; fewer where there were fewer."""
    population: int
    rule: str
    """How they were picked, in words that suffice to pick them again."""
    requests: tuple[SampledRequest, ...]
    """In the order of the rule."""
    query: str
