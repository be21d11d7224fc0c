"""Everything that a reconciliation report says, as plain frozen values; the report is a rendering of these.

`canonical(facts)` is the one JSON text of a report: `report.json` holds exactly these bytes, their SHA-256
goes into the ledger, and `reconcile --verify` gathers the facts again and compares them figure by figure. So
nothing here depends on when, where or by whom it is rendered.

Units, throughout: instants are integer microseconds since 1970-01-01 UTC (`at`, `..._at`); durations are
seconds (float, `..._seconds`, to the millisecond); days are ISO dates in the zone of the period. No text has
a whole phone number: keys of list entries and numbers are masked. `None` means "not known" or "does not
apply", and each field says which. A section's `query` is a name in `Facts.queries`, where the SQL stands that
gives its figures (`dncsync ledger query SQL` runs it).
"""

from __future__ import annotations

from typing import Literal

import orjson

from dncsync.reconcile.facts_found import (
    Canary,
    CanaryPair,
    Finding,
    FindingMoment,
    Findings,
    FindingsWeek,
    Fuses,
    Gap,
    Gaps,
    Override,
    Overrides,
    TrippedFuse,
)
from dncsync.reconcile.facts_requests import (
    Bucket,
    Exposure,
    ExposureDay,
    Processing,
    Propagation,
    Requests,
    RequestsBySource,
    Sample,
    SampledRequest,
    SampleStamps,
    Spread,
)
from dncsync.reconcile.facts_shape import Fact
from dncsync.reconcile.facts_systems import (
    CAUSES,
    Cause,
    Comparison,
    Coverage,
    Platform,
    Repair,
    Repairs,
    RepairsBySystem,
)

SCHEMA = 1
"""Rises when a field changes its meaning; `verify` refuses a report of a later one."""

NOT_ASKED = ""
"""The `query` of a section that no SQL gives: its text says what it rests on."""


class Period(Fact):
    """Which time the report is about."""

    name: str
    """`2026Q3`, or `2026-07-01 to 2026-07-31` for any other period."""
    first_day: str
    last_day: str
    """Inclusive."""
    starts_at: int
    ends_at: int
    """The first instant after the period."""
    zone: str
    """IANA name; days and weeks begin at its midnights."""
    as_of: int
    """When the facts were gathered: what came later is not in them."""
    over: bool
    """False: the period had not ended at `as_of`, so the report is of a part of it."""


class Policy(Fact):
    """The machine policy in force on the last day of the period (or at `as_of`, if that is earlier)."""

    source: str
    """The file's name, or `the shipped defaults`."""
    sha256: str
    """Of the policy's canonical JSON."""
    effective_from: str | None
    """ISO date from which these values hold; None: since ever."""
    reviewed_by: str | None
    """The counsel who reviewed it; None: nobody did."""
    banner: str
    """The sentence that every report carries while no counsel has reviewed the policy; empty otherwise."""
    values: dict[str, str]
    """The settings that matter to a reader, name -> value as text (deadline days, coverage, goals, fuses)."""


class Checkpoint(Fact):
    """The latest signed statement of the chain's head; a copy kept elsewhere proves what existed when."""

    seq: int
    at: int
    root: str
    """Hexadecimal."""
    public_key: str
    """Ed25519, hexadecimal."""


class Integrity(Fact):
    """Whether the record itself is whole."""

    ledger: str
    """The ledger's id (UUID)."""
    software: str
    """E.g. `dncsync 0.3.0`."""
    events: int
    """How many events the chain has up to the head."""
    head_seq: int
    head_hash: str
    """SHA-256, hexadecimal: the hash of the last event that the facts take in."""
    verified: bool
    """Every byte of the chain was checked when the facts were gathered."""
    problems: tuple[str, ...]
    """What did not fit, if it does not verify (the first 20)."""
    checkpoints: int
    """Signed checkpoints in the ledger up to the head."""
    latest_checkpoint: Checkpoint | None
    query: str


class FormLine(Fact):
    """Something that only a person can state: rendered as a line to fill in and sign."""

    ask: str
    """What to state or attach."""
    fields: tuple[str, ...] = ("name", "date", "signature")


class ChecklistRow(Fact):
    """One item of the quarterly audit checklist (regulation 9.2)."""

    number: int
    item: str
    filled: Literal["automatically", "in part", "needs a person"]
    result: str
    """What the ledger says of it, one or two sentences; empty where it says nothing."""
    good: bool | None
    """None: nothing can be concluded without the person."""
    form: FormLine | None
    """None: nothing is left to a person."""
    queries: tuple[str, ...]
    """Names in `Facts.queries` that `result` rests on."""


class Facts(Fact):
    """A whole report."""

    schema_version: int = SCHEMA
    run: str
    """The reconciliation's id."""
    period: Period
    policy: Policy
    integrity: Integrity
    headline: tuple[str, ...]
    """Two to five sentences that a reader in a hurry should see first; bad news comes first."""
    platforms: tuple[Platform, ...]
    """By name."""
    requests: Requests
    processing: Processing
    propagation: tuple[Propagation, ...]
    """By system's name."""
    exposure: Exposure
    sample: Sample
    repairs: Repairs
    canary: Canary
    gaps: Gaps
    findings: Findings
    fuses: Fuses
    overrides: Overrides
    checklist: tuple[ChecklistRow, ...]
    queries: dict[str, str]
    """Name -> one read-only SELECT, with every literal in it; the names are short and stable
    (`processing`, `propagation`, ...)."""


def canonical(facts: Facts) -> bytes:
    """The one JSON text (UTF-8, sorted keys, two blanks of indent, one newline at the end)."""
    options = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(facts.model_dump(mode="json"), option=options)


def read(text: bytes) -> Facts:
    """The facts of a `report.json`. Raises `ValueError` (pydantic's) for what is none."""
    return Facts.model_validate_json(text)


__all__ = [
    "CAUSES",
    "NOT_ASKED",
    "SCHEMA",
    "Bucket",
    "Canary",
    "CanaryPair",
    "Cause",
    "ChecklistRow",
    "Checkpoint",
    "Comparison",
    "Coverage",
    "Exposure",
    "ExposureDay",
    "Fact",
    "Facts",
    "Finding",
    "FindingMoment",
    "Findings",
    "FindingsWeek",
    "FormLine",
    "Fuses",
    "Gap",
    "Gaps",
    "Integrity",
    "Override",
    "Overrides",
    "Period",
    "Platform",
    "Policy",
    "Processing",
    "Propagation",
    "Repair",
    "Repairs",
    "RepairsBySystem",
    "Requests",
    "RequestsBySource",
    "Sample",
    "SampleStamps",
    "SampledRequest",
    "Spread",
    "TrippedFuse",
    "canonical",
    "read",
]
