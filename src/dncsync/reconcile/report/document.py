"""The report as a document: sections of prose, figures, tables, charts and forms, before any layout.

The page, the paper and the CSV files are three readings of this one value, so they cannot disagree. Cells
hold plain values; `wording` turns them into words, and only there. A `note` names the query that gives a
figure; notes are numbered in the order of the appendix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Cell = str | int | float | bool | None
Row = tuple[Cell, ...]


class Kind(StrEnum):
    """What a column holds, and so how it is worded and aligned."""

    TEXT = "text"
    CODE = "code"
    """An id, key or hash."""
    COUNT = "count"
    SHARE = "share"
    """0 to 1."""
    SPAN = "span"
    """A duration in seconds."""
    HOURS = "hours"
    """Hours of exposure, summed over numbers."""
    INSTANT = "instant"
    """Microseconds UTC; in the CSV, ISO 8601."""
    YES = "yes"
    """A boolean."""

    @property
    def right(self) -> bool:
        """Whether its figures are set flush right."""
        return self in (Kind.COUNT, Kind.SHARE, Kind.SPAN, Kind.HOURS)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    title: str
    kind: Kind = Kind.TEXT


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under named columns; one CSV file of the folder."""

    name: str
    """The CSV's name without its ending; lower case, hyphens. Unique in the document."""
    caption: str
    columns: tuple[Column, ...]
    count: int
    """How many rows there are."""
    rows: Callable[[], Iterable[Row]]
    """Gives the rows from the first on, each time it is called; a long table is never held whole."""
    note: str = ""
    empty: str = "None."
    """What stands where there are no rows."""
    shown: int = 60
    """The most rows that the page and the paper print; the CSV has all. 0: only the CSV has it."""
    csv_only: int = 0
    """How many of the last columns only the CSV has."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One key figure, large."""

    label: str
    value: str
    detail: str = ""
    note: str = ""
    tone: str = "plain"
    """`plain`, `good` or `bad`; said in words too, the tone is only weight and rule."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Key figures beside each other."""

    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class Prose:
    """A paragraph."""

    text: str
    note: str = ""
    small: bool = False


@dataclass(frozen=True, slots=True)
class Warned:
    """A paragraph that nobody should miss."""

    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing with the words that say the same (WCAG 1.1.1)."""

    name: str
    caption: str
    described: str
    svg: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One item of the quarterly checklist (regulation 9.2)."""

    number: int
    item: str
    state: str
    """`in order`, `not in order`; empty: nothing can be concluded without a person."""
    filled: str
    """`automatically`, `in part`, `needs a person`."""
    result: str
    """What the ledger answers; may be empty."""
    ask: str
    """What a person must state or attach; empty: nothing."""
    fields: tuple[str, ...]
    """The lines to fill in under `ask`."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Checklist:
    """The checklist, each item with a line for the answer of a person where one is due."""

    caption: str
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Signatures:
    """Lines to sign: name, date, signature under each role."""

    statement: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """Pairs of a word and what is said of it."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Queries:
    """Where the numbered queries stand."""


Block = Figures | Prose | Warned | Chart | Table | Checklist | Signatures | Terms | Queries


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it."""

    name: str
    title: str
    blocks: tuple[Block, ...]
    lead: str = ""
    """One sentence that says what the section shows."""
    new_page: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report."""

    title: str
    period: str
    verdict: str
    sound: bool
    """Whether the verdict is without reservations."""
    headline: tuple[str, ...]
    """What to know first, each one sentence."""
    banners: tuple[str, ...]
    """What nobody may overlook, e.g. that no counsel has reviewed the policy."""
    figures: Figures
    """The key figures, on the cover."""
    cover: tuple[tuple[str, str], ...]
    """What identifies the report: period, ledger head, policy."""
    head: str
    """The ledger head's hash, hexadecimal."""
    as_of: int
    """When the facts were gathered (microseconds UTC): the document has no other clock."""
    sections: tuple[Section, ...]
    queries: Mapping[str, str] = field(default_factory=dict)
    """Note to query, in the order of their numbers."""

    def tables(self) -> tuple[Table, ...]:
        """Every table, in order."""
        return tuple(b for s in self.sections for b in s.blocks if isinstance(b, Table))
