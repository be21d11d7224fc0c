"""Events: what is appended, what is read back, and the personal data that can be taken out again."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import orjson

from dncsync.ledger import chain
from dncsync.ledger.sqlite import Connection

NUMBERS = "numbers"
"""Payload key of the numbers that a batch event carries; `event_numbers` is an index over it."""

PRIVATE = "private"
"""Payload key of the hashes (hex) of the personal data that belongs to the event."""

PURGED = "private.purged"
"""Kind of the event that a purge leaves: payload `{"hash": hex, "reason": text}`."""

_COLUMNS = "seq, at, kind, number, system, actor, payload, prev, hash"
_CHUNK = 1_000  # rows built before they are handed to SQLite: memory stays flat in an import of millions


class Head(NamedTuple):
    """The end of the chain."""

    seq: int = 0
    hash: bytes = chain.GENESIS


@dataclass(frozen=True, slots=True)
class Sealed:
    """Personal data that can be purged while the chain, which has only its hash, still verifies."""

    hash: bytes  # HMAC-SHA-256 of the body under the salt
    salt: bytes
    body: str


def seal(body: str, salt: bytes) -> Sealed:
    """Hashes `body` under `salt`: at least 16 random bytes, or "STOP" could be guessed from its hash."""
    if len(salt) < 16:
        raise ValueError("a salt has at least 16 bytes")
    return Sealed(hmac.digest(salt, body.encode(), "sha256"), salt, body)


@dataclass(frozen=True, slots=True)
class NewEvent:
    """What happened, before it has its place in the chain."""

    kind: str
    at: int  # microseconds since the epoch, UTC
    payload: Mapping[str, Any]  # JSON values only; the keys "numbers" and "private" are reserved
    number: str | None = None  # E.164, when the event is about one number
    system: str | None = None
    actor: str | None = None
    numbers: Sequence[str] = ()  # E.164, when the event carries a batch of numbers
    private: Sequence[Sealed] = ()

    def canonical_payload(self) -> str:
        """The text that is stored and hashed. Raises `TypeError` for what is no JSON."""
        payload = self.payload
        if NUMBERS in payload or PRIVATE in payload:
            raise ValueError(f"payload keys {NUMBERS!r} and {PRIVATE!r} are reserved")
        if self.numbers:
            payload = {**payload, NUMBERS: list(self.numbers)}
        if self.private:
            payload = {**payload, PRIVATE: [sealed.hash.hex() for sealed in self.private]}
        return chain.canonical(payload)


@dataclass(frozen=True, slots=True)
class Event:
    """An event as the ledger holds it."""

    seq: int  # 1, 2, 3, ...
    at: int
    kind: str
    number: str | None
    system: str | None
    actor: str | None
    payload: dict[str, Any]  # with "numbers" and "private" where the event has them
    prev: bytes
    hash: bytes

    @property
    def numbers(self) -> list[str]:
        """The batch of numbers it carries, in the order given."""
        return list(self.payload.get(NUMBERS, ()))

    @property
    def private(self) -> list[bytes]:
        """The hashes of its personal data, in the order given; `private_body` reads them."""
        return [bytes.fromhex(digest) for digest in self.payload.get(PRIVATE, ())]


def head(conn: Connection) -> Head:
    """The last event's sequence number and hash; `Head()` for an empty ledger."""
    row = conn.execute("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1").fetchone()
    return Head(*row) if row else Head()


def append(conn: Connection, after: Head, events: Iterable[NewEvent]) -> Head:
    """Chains `events` to `after`, in the transaction that is open; returns the new head.

    `events` is consumed a chunk at a time. Raises `TypeError` or `ValueError` for an event that cannot be
    written; the caller then rolls back.
    """
    stream = iter(events)
    while batch := list(islice(stream, _CHUNK)):
        rows = _append_chunk(conn, after, batch)
        after = Head(rows[-1][0], rows[-1][-1])
    return after


def record(conn: Connection, after: Head, events: Sequence[NewEvent]) -> list[Event]:
    """`append`, and the events as anybody will read them: made of the very rows that were stored."""
    return [_event(row) for row in _append_chunk(conn, after, events)]


def _append_chunk(conn: Connection, after: Head, events: Sequence[NewEvent]) -> list[tuple[Any, ...]]:
    link = chain.link
    seq, prev = after
    rows: list[tuple[Any, ...]] = []
    for event in events:
        seq += 1
        payload = event.canonical_payload()
        digest = link(prev, seq, event.at, event.kind, event.number, event.system, event.actor, payload)
        rows.append(
            (seq, event.at, event.kind, event.number, event.system, event.actor, payload, prev, digest)
        )
        prev = digest
        if event.numbers:
            conn.executemany(
                "INSERT OR IGNORE INTO event_numbers (number, seq) VALUES (?, ?)",
                ((number, seq) for number in event.numbers),
            )
        if event.private:
            conn.executemany(
                "INSERT INTO private (hash, seq, salt, body) VALUES (?, ?, ?, ?)",
                [(sealed.hash, seq, sealed.salt, sealed.body) for sealed in event.private],
            )
    conn.executemany(f"INSERT INTO events ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)  # noqa: S608
    return rows


def iterate(conn: Connection, after: int = 0) -> Iterator[Event]:
    """Every event past the sequence number `after`, in order, streaming."""
    query = f"SELECT {_COLUMNS} FROM events WHERE seq > ? ORDER BY seq"  # noqa: S608
    return map(_event, conn.execute(query, (after,)))


def of_number(conn: Connection, number: str) -> Iterator[Event]:
    """Every event about `number`, alone or in a batch, in order, streaming."""
    query = f"""
        SELECT {_COLUMNS} FROM events
        WHERE seq IN (SELECT seq FROM events WHERE number = :number
                      UNION SELECT seq FROM event_numbers WHERE number = :number)
        ORDER BY seq
    """  # noqa: S608
    return map(_event, conn.execute(query, {"number": number}))


def _event(row: tuple[Any, ...]) -> Event:
    seq, at, kind, number, system, actor, payload, prev, digest = row
    return Event(seq, at, kind, number, system, actor, orjson.loads(payload), prev, digest)


def private_body(conn: Connection, digest: bytes) -> str | None:
    """The personal data behind a hash; None once it is purged. Raises `KeyError` for an unknown hash."""
    row = conn.execute("SELECT body FROM private WHERE hash = ?", (digest,)).fetchone()
    if row is None:
        raise KeyError(digest.hex())
    return None if row[0] is None else str(row[0])


def purge(
    conn: Connection, after: Head, digest: bytes, *, at: int, reason: str, actor: str | None = None
) -> Head:
    """Erases the body and salt behind `digest`, leaves a tombstone, and chains an event that says so.

    Returns the new head. Raises `KeyError` for an unknown hash; purging twice changes nothing.
    """
    if private_body(conn, digest) is None:
        return after
    event = NewEvent(PURGED, at, {"hash": digest.hex(), "reason": reason}, actor=actor)
    after = append(conn, after, [event])
    conn.execute(
        "UPDATE private SET body = NULL, salt = NULL, purged_at = ?, purge_reason = ?, purged_seq = ?"
        " WHERE hash = ?",
        (at, reason, after.seq, digest),
    )
    return after
