"""The facts on what went wrong or was tried: canary, gaps, findings, fuses. Units: see `facts`."""

from __future__ import annotations

from dncsync.reconcile.facts_shape import Fact


class CanaryPair(Fact):
    """A number the tenant owns, added in one system and awaited in another."""

    origin: str
    system: str
    runs: int
    arrived: int
    missed: int
    pending: int
    median_seconds: float | None
    max_seconds: float | None
    last_at: int | None


class Canary(Fact):
    """What the canary found in the period."""

    configured: bool
    statement: str
    """E.g. `no canary is configured`, or `12 runs, each arrived in every system`."""
    runs: int
    pairs: tuple[CanaryPair, ...]
    query: str


class Gap(Fact):
    """A time in which a system could not be followed or compared."""

    system: str
    kind: str
    """`down`, `unauthorised`, `not compared`, `never compared`."""
    since: int
    until: int | None
    """None: it lasts."""
    seconds: float
    """Up to `until`, the period's end or `as_of`, whichever is first."""
    reason: str


class Gaps(Fact):
    """Every gap that touches the period."""

    listed: tuple[Gap, ...]
    query: str


class FindingMoment(Fact):
    """One line of a finding's history."""

    at: int
    what: str
    """`opened`, `seen again`, `closed`, `acknowledged`, ..."""
    by: str
    """Who or what; empty: not said."""
    note: str


class Finding(Fact):
    """Something a person must know, that was open at some time in the period."""

    id: str
    kind: str
    system: str | None
    subject: str
    """Masked where it holds a number."""
    severity: str
    owner: str
    summary: str
    opened_at: int
    """The first time, ever."""
    last_at: int
    count: int
    closed_at: int | None
    closed_by: str | None
    history: tuple[FindingMoment, ...]
    """The latest 20 moments up to `as_of`, oldest first."""
    moments: int
    """How many there were in all."""


class FindingsWeek(Fact):
    """Findings of one kind opened (or seen again) in one week."""

    week: str
    """ISO date of its Monday, in the period's zone."""
    kind: str
    opened: int


class Findings(Fact):
    """Findings with their history, and by week for a chart."""

    total: int
    """Open at some time in the period."""
    open: int
    """Open at `as_of`."""
    opened: int
    """Opened or reopened in the period."""
    closed: int
    """Closed in the period."""
    listed: tuple[Finding, ...]
    """The gravest first, at most 500; the query gives all."""
    weeks: tuple[FindingsWeek, ...]
    """Only weeks and kinds with at least one; in order of week, then kind."""
    query: str
    query_weeks: str


class TrippedFuse(Fact):
    """A limit that stopped a mass change."""

    id: str
    system: str | None
    """None: the whole ledger."""
    direction: str
    """`clears` or `blocks`."""
    tripped_at: int
    changes: int
    limit: str
    state: str
    """`waiting`, `approved`, `rejected`, `applied`."""
    decided_by: tuple[str, ...]
    decided_at: int | None
    reason: str


class Fuses(Fact):
    """Fuses that tripped in the period, or still hold something."""

    available: bool
    """False: this ledger keeps no fuses (an older schema)."""
    statement: str
    tripped: tuple[TrippedFuse, ...]
    query: str


class Override(Fact):
    """Permission for one record to be contacted in spite of a block."""

    id: str
    system: str
    key: str
    attested_by: str
    document: str
    granted_at: int
    ends_at: int


class Overrides(Fact):
    """Overrides in force in the period."""

    statement: str
    listed: tuple[Override, ...]
    query: str
