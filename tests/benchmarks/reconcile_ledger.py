"""A ledger of a million blocked numbers, made of recorded events in batches, for benchmarks and big tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from dncsync.ledger.events import NewEvent
from dncsync.ledger.projections import record
from dncsync.ledger.writer import DirectWriter, Tx

SECOND = 1_000_000
DAY = 86_400 * SECOND
BATCH = 1_000
"""Requests in one event."""


def build(path: Path, *, numbers: int, requests: int, starts_at: int, days: int) -> None:
    """`requests` on CRM records, each of which has `numbers / requests` numbers; every number has an entry on
    the dialer's list, where the block was written and read back, all within `days` days from `starts_at`."""
    each = numbers // requests
    with DirectWriter(path, create=True, durable=False, now=starts_at) as writer:
        writer.call(lambda tx: _systems(tx, starts_at))
        for first in range(0, requests, BATCH):
            batch = range(first, min(first + BATCH, requests))
            at = starts_at + first * days * DAY // requests
            writer.call(lambda tx, batch=batch, at=at: _day(tx, at, batch, each))


def key_of(number: int) -> str:
    return f"SYSTEM_INTERNAL/{number_of(number)}"


def number_of(number: int) -> str:
    # A multiplication by an odd constant mixes the order: neighbours on a record are no neighbours on a list.
    return f"+1{2_000_000_000 + number * 2_654_435_761 % 7_000_000_000}"


def _systems(tx: Tx, at: int) -> None:
    for system, vendor in (("crm", "hubspot"), ("dialer", "vicidial")):
        up = {"vendor": vendor, "state": "up", "reason": ""}
        record(tx, NewEvent("system.changed", at, up, system=system))


def _day(tx: Tx, at: int, batch: range, each: int) -> None:
    rows = []
    every: list[tuple[str, str]] = []
    for i in batch:
        own = [number_of(n) for n in range(i * each, (i + 1) * each)]
        every += [(f"R{i:08d}", number) for number in own]
        rows.append(
            {
                "id": f"R{i:08d}",
                "record": ["crm", f"contacts/{i:08d}"],
                "channel": "voice",
                "channels": ["voice"],
                "numbers": own,
                "source": ("CRM_UI", "IMPORT", "API")[i % 3],
                "occurred_at": at - SECOND,
                "received_at": at,
                "deadline_strict": at + 12 * DAY,
                "deadline_federal": at + 14 * DAY,
            }
        )
    numbers = [number for _, number in every]
    record(tx, NewEvent("requests.recorded", at, {"requests": rows}, system="crm", numbers=numbers))
    first = int(tx.execute("SELECT ifnull(max(id), 0) + 1 FROM deliveries").fetchone()[0])
    ids = list(range(first, first + len(every)))
    _deliver(tx, at, ids, every)
    tx.executemany(
        "INSERT INTO holdings (system, key, numbers, base_voice, told_voice, revision, gone, seen_at) "
        "VALUES ('dialer', ?, ?, 'set', 'set', '', 0, ?)",
        [(f"SYSTEM_INTERNAL/{n}", json.dumps([n]), at + 9 * SECOND) for n in numbers],
    )
    tx.executemany(
        "INSERT INTO holding_numbers VALUES (?, 'dialer', ?)", [(n, f"SYSTEM_INTERNAL/{n}") for n in numbers]
    )
    tx.executemany(
        "INSERT INTO holdings (system, key, numbers, base_voice, revision, gone, seen_at) "
        "VALUES ('crm', ?, '[]', 'set', '', 0, ?)",
        [(f"contacts/{i:08d}", at) for i in batch],
    )
    tx.executemany(
        "INSERT INTO holding_numbers VALUES (?, 'crm', ?)",
        [(number, f"contacts/{int(request[1:]):08d}") for request, number in every],
    )


def _deliver(tx: Tx, at: int, ids: Sequence[int], every: Sequence[tuple[str, str]]) -> None:
    opened = [
        {
            "id": i,
            "system": "dialer",
            "key": f"SYSTEM_INTERNAL/{number}",
            "channel": "voice",
            "want": "set",
            "number": number,
            "request_id": request,
            "known_at": at,
            "due_at": at,
            "deadline": at + 60 * SECOND,
        }
        for i, (request, number) in zip(ids, every, strict=True)
    ]
    record(tx, NewEvent("deliveries.opened", at, {"deliveries": opened}))
    due = {"ids": list(ids), "due_at": at + 90 * SECOND}
    record(tx, NewEvent("deliveries.sent", at + SECOND, due, system="dialer"))
    # Waves of a hundred, each a little later than the one before: a spread that a histogram shows.
    for wave in range(0, len(ids), 100):
        some = list(ids[wave : wave + 100])
        later = at + 2 * SECOND + wave * 7_000
        accepted = {"accepted": [[i, ""] for i in some], "due_at": later + SECOND}
        record(tx, NewEvent("deliveries.accepted", later, accepted, system="dialer"))
        record(tx, NewEvent("deliveries.verified", later + SECOND, {"ids": some}, system="dialer"))
