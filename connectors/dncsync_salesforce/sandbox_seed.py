"""The sandbox's first records: a pure function of seed and index, so a number leads back to its record."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from dncsync.testing.sandbox import seeded_number

NUMBERS = 4_000_000
"""`seeded_number` is a permutation below this."""
SECOND = 2_000_000
"""Second numbers of record i are numbers of index i + SECOND."""
GOLDEN = 0.6180339887498949
"""Multiples of it spread evenly, without falling on every tenth record as the leads do."""
BLOCK = 200
"""Records loaded together: they share one SystemModstamp, as after an import."""
LOADER = "0055g00000LoadUsEAI"[:18]


@dataclass(frozen=True, slots=True)
class Shares:
    """How many records are special, as shares; spread evenly, and none among the very first ones."""

    lead: float = 0.1
    person: float = 0.0
    opted_out: float = 0.02
    shared: float = 0.01
    junk: float = 0.005
    extension: float = 0.005


class Seeded(NamedTuple):
    """One record to begin with; phone values by slot: mobile, phone, home, other."""

    number: int
    sobject: str
    record_id: str
    phones: tuple[str | None, str | None, str | None, str | None]
    opted_out: bool
    stamp: str


class Seeding:
    """All records to begin with."""

    def __init__(self, seed: int, count: int, shares: Shares, now: datetime) -> None:
        self.count = count
        self._seed = seed
        self._leads = _spread(count, shares.lead)
        self._persons = _spread(count, shares.person, phase=5)
        self._opted_out = {i for i in range(count) if (i * GOLDEN + 0.5) % 1 < shares.opted_out}
        self._shared = _spread(count, shares.shared, phase=43)
        self._junk = _spread(count, shares.junk, phase=3)
        self._extension = _spread(count, shares.extension, phase=53)
        start = now - timedelta(days=40)
        self._stamps = [
            (start + timedelta(seconds=block)).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
            for block in range(count // BLOCK + 1)
        ]
        self._areas = {seeded_number(0, self._index(a * 100_000, 0))[2:5]: a for a in range(40)}

    def records(self) -> Iterator[Seeded]:
        """In order of index."""
        return map(self.record, range(self.count))

    def record(self, index: int) -> Seeded:
        """The record of that index."""
        if index in self._leads:
            sobject, record_id = "Lead", f"00Q5g000{index:07d}EAA"
        elif index in self._persons:
            sobject, record_id = "Account", f"0015g000{index:07d}AAA"
        else:
            sobject, record_id = "Contact", f"0035g000{index:07d}AAA"
        mobile: str | None = notation(seeded_number(self._seed, index), index % 5)
        phone = home = other = None
        if index % 5 == 0 and sobject != "Lead":
            home = notation(seeded_number(self._seed, index + SECOND), (index + 2) % 5)
        if index in self._shared:
            other = seeded_number(self._seed, index - 1)
        elif index in self._junk:
            other = ("N/A", "0000000000", "see notes")[index % 3]
        elif index in self._extension:
            other = f"{notation(seeded_number(self._seed, index + SECOND), 2)} x12"
        if sobject == "Lead" and other is not None:  # a lead has two slots only
            phone, other = other, None
        elif index % 4 == 3:
            mobile, phone = None, mobile
        return Seeded(
            index,
            sobject,
            record_id,
            (mobile, phone, home, other),
            index in self._opted_out,
            self._stamps[index // BLOCK],
        )

    def carriers(self, number: str) -> list[tuple[str, str]]:
        """(object, id) of records that held this E.164 number to begin with, and perhaps others."""
        index = self._index_of(number)
        if index is None:
            return []
        near = (index - SECOND,) if index >= SECOND else (index, index + 1)
        records = [self.record(i) for i in near if 0 <= i < self.count]
        return [(r.sobject, r.record_id) for r in records]

    def _index_of(self, number: str) -> int | None:
        if len(number) != 12 or number[2:5] not in self._areas or not number[5:].isdigit():
            return None
        line = (int(number[5]) - 2) * 12_500 + int(number[6:11])
        index = self._index(self._areas[number[2:5]] * 100_000 + line, self._seed)
        return index if seeded_number(self._seed, index) == number else None

    @staticmethod
    def _index(spread: int, seed: int) -> int:
        """The inverse of the permutation in `seeded_number`."""
        return (spread - seed * 40_503) * pow(2_654_435_761, -1, NUMBERS) % NUMBERS


def notation(number: str, style: int) -> str:
    """An American E.164 number as people type it."""
    if style == 0:
        return number
    if style == 4:
        return number[1:]
    area, exchange, line = number[2:5], number[5:8], number[8:]
    if style == 1:
        return f"({area}) {exchange}-{line}"
    mark = "-" if style == 2 else "."
    return f"{area}{mark}{exchange}{mark}{line}"


def _spread(count: int, share: float, phase: int = 0) -> set[int]:
    """Indexes below `count` that have that share, evenly apart; the first one late."""
    if share <= 0:
        return set()
    most = int((count + phase) * share + 1e-9)
    return {math.ceil(nth / share - 1e-9) - 1 - phase for nth in range(1, most + 1)} - set(range(-phase, 0))
