"""The verifier: reads a ledger with code of its own and says what does not fit.

It shares the words of the ledger with the writer, and no code. What it can prove from the file alone: no
event was changed, dropped, inserted, swapped or moved, every index of numbers is exact, and no personal data
was changed or taken away without a trace. A chain that was cut off at its end, or hashed anew from some row
on, is consistent in itself; only a checkpoint shows that, and only one kept elsewhere is beyond whoever can
write the file.
"""

from __future__ import annotations

import hmac
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from dncsync.ledger import chain, migrations
from dncsync.ledger.checkpoint import Checkpoint, stored
from dncsync.ledger.events import NUMBERS, PRIVATE, PURGED, Head
from dncsync.ledger.sqlite import Connection, Error, ledger_id, reading, sqlite3

Progress = Callable[[int, int], object]
"""Called with (events done, events in all) now and then."""

_EVERY = 20_000  # events between two calls of the progress callback
_NONSENSE = (ValueError, TypeError, AttributeError)  # what reading a value of the wrong type or form raises
_MOST = 1_000  # problems reported in full; a rewritten ledger of millions needs no list of millions


class Kind(StrEnum):
    """What can be wrong with a ledger."""

    DAMAGED = "damaged"  # SQLite itself cannot read it
    SCHEMA = "schema"  # a table, index or trigger is missing, changed or foreign
    CHANGED = "changed"  # an event's content does not match its hash
    MISSING = "missing"  # a sequence number has no event
    BAD_LINK = "bad link"  # an event does not follow the one before it
    TRUNCATED = "truncated"  # a checkpoint saw events that are not there
    REWRITTEN = "rewritten"  # a checkpoint saw another event in this place
    BAD_SIGNATURE = "bad signature"  # a checkpoint was not signed by the key it names
    UNKNOWN_KEY = "unknown key"  # a checkpoint was signed by a key that is not trusted
    OTHER_LEDGER = "other ledger"  # a checkpoint is about another ledger
    NUMBER_INDEX = "number index"  # the index of numbers differs from the events
    PRIVATE = "private"  # personal data was changed, is missing, or belongs to nothing


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that does not fit; as text, one clear line."""

    kind: Kind
    seq: int | None  # the event it is about, where it is about one
    detail: str

    def __str__(self) -> str:
        return (
            f"{self.kind}: {self.detail}" if self.seq is None else f"{self.kind} at {self.seq}: {self.detail}"
        )


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What verification found."""

    events: int  # read
    head: Head  # of the chain as it stands in the file
    checkpoints: int  # compared, those in the ledger and those given
    problems: tuple[Problem, ...]  # in the order found
    omitted: int  # further problems that are not listed

    @property
    def ok(self) -> bool:
        return not self.problems


def verify(
    path: Path,
    checkpoints: Sequence[Checkpoint] = (),
    *,
    trusted_keys: Collection[bytes] = (),
    progress: Progress | None = None,
) -> VerifyReport:
    """Reads the whole ledger at `path`, as it is at this moment, and reports what does not fit.

    `checkpoints` are copies that were kept elsewhere (`checkpoint.read_file`). With `trusted_keys` (public
    keys, 32 bytes each) a checkpoint by any other key is a problem; without, a checkpoint proves only that
    its signature fits the key it names. Memory stays flat. Raises `LedgerUnreadable` where there is no
    ledger to read; damage found while reading is a problem in the report.
    """
    with reading(path, any_schema=True) as conn:
        # Bytes that are no UTF-8 must become a problem of their row, not an exception that ends the reading.
        conn.text_factory = lambda raw: str(raw, "utf-8", "surrogateescape")
        return _Verification(conn, checkpoints, trusted_keys, progress).run()


class _Verification:
    """One pass over one ledger."""

    def __init__(
        self,
        conn: Connection,
        kept: Sequence[Checkpoint],
        trusted_keys: Collection[bytes],
        progress: Progress | None,
    ) -> None:
        self.conn = conn
        self.kept = kept
        self.trusted_keys = frozenset(trusted_keys)
        self.progress = progress
        self.events = 0
        self.head = Head()
        self.checkpoints = 0
        self.numbers = 0  # rows that the index of numbers should have
        self.private = 0  # rows that the side table should have
        self.problems: list[Problem] = []
        self.omitted = 0

    def run(self) -> VerifyReport:
        for check in (self._file, self._schema, self._chain, self._number_index, self._private):
            try:
                check()
            except Error as error:
                self._found(Kind.DAMAGED, None, f"SQLite cannot read on: {error}")
            except _NONSENSE as error:  # what no program of ours writes, where its hash was forged too
                self._found(Kind.DAMAGED, None, f"a row holds what cannot be there: {error}")
        return VerifyReport(self.events, self.head, self.checkpoints, tuple(self.problems), self.omitted)

    def _found(self, kind: Kind, seq: int | None, detail: str) -> None:
        if len(self.problems) < _MOST:
            self.problems.append(Problem(kind, seq, detail))
        else:
            self.omitted += 1

    def _file(self) -> None:
        """Pages, b-trees and indexes: what a query returns depends on them as much as on the rows."""
        for (line,) in self.conn.execute("PRAGMA integrity_check"):
            if line != "ok":
                self._found(Kind.DAMAGED, None, " ".join(line.split()))

    def _schema(self) -> None:
        """Every table, index and trigger is what the recorded migrations make, and there are no others."""
        waiting = migrations.pending(self.conn)
        applied = migrations.known()[: len(migrations.known()) - len(waiting)]
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as pristine:
            pristine.execute("BEGIN")
            migrations.migrate(pristine, 0, applied)
            expected = _schema_of(pristine)
        actual = _schema_of(self.conn)
        for name in sorted(expected.keys() | actual.keys()):
            if name not in actual:
                self._found(Kind.SCHEMA, None, f"{name} is missing")
            elif name not in expected:
                self._found(Kind.SCHEMA, None, f"{name} is not ours")
            elif actual[name] != expected[name]:
                self._found(Kind.SCHEMA, None, f"{name} was changed")

    def _chain(self) -> None:
        """Every event against its own hash, the event before it, and the checkpoints."""
        witnesses = self._witnesses()
        (total,) = self.conn.execute("SELECT ifnull(max(seq), 0) FROM events").fetchone()
        seq, last = 0, chain.GENESIS
        dumps, found, batch, sealed = orjson.dumps, self._found, f'"{NUMBERS}":', f'"{PRIVATE}":'
        for row in self.conn.execute(
            "SELECT seq, at, kind, number, system, actor, payload, prev, hash FROM events ORDER BY seq"
        ):
            expected, seq, payload, prev, digest = seq + 1, row[0], row[6], row[7], row[8]
            if seq != expected:
                gap = f"{expected}" if seq == expected + 1 else f"{expected} to {seq - 1}"
                found(
                    Kind.MISSING,
                    expected,
                    f"no event {gap}" if seq > expected else f"event {seq} is before 1",
                )
            if prev != last:
                found(Kind.BAD_LINK, seq, "does not follow the event before it")
            try:
                honest = digest == sha256(prev + dumps(row[:7])).digest()
            except TypeError:  # another storage class, or text that is no UTF-8
                honest = False
            if not honest:
                found(Kind.CHANGED, seq, "its content does not match its hash")
            elif not isinstance(payload, str):
                found(Kind.CHANGED, seq, "its payload is not a text")
            elif batch in payload or sealed in payload:
                self._companions(seq, payload)
            if seq in witnesses:
                self._compare(witnesses.pop(seq), digest)
            last = digest
            self.events += 1
            if self.progress and self.events % _EVERY == 0:
                self.progress(self.events, total)
        self.head = Head(seq, last)
        for checkpoint in (checkpoint for late in witnesses.values() for checkpoint in late):
            if checkpoint.seq > seq:
                found(
                    Kind.TRUNCATED,
                    checkpoint.seq,
                    f"a checkpoint saw event {checkpoint.seq}, the last is {seq}",
                )
            elif checkpoint.seq == 0:
                self._compare([checkpoint], chain.GENESIS)
        if self.progress:
            self.progress(self.events, total)

    def _witnesses(self) -> dict[int, list[Checkpoint]]:
        """The checkpoints that are fit to testify, by sequence number."""
        witnesses = defaultdict(list)
        ledger = ledger_id(self.conn)
        for checkpoint in (*stored(self.conn), *self.kept):
            self.checkpoints += 1
            if not checkpoint.is_signed():
                self._found(
                    Kind.BAD_SIGNATURE, checkpoint.seq, "a checkpoint is not signed by the key it names"
                )
            elif checkpoint.ledger != ledger:
                self._found(Kind.OTHER_LEDGER, checkpoint.seq, f"a checkpoint is about {checkpoint.ledger}")
            elif self.trusted_keys and checkpoint.public_key not in self.trusted_keys:
                self._found(Kind.UNKNOWN_KEY, checkpoint.seq, f"signed by {checkpoint.public_key.hex()}")
            else:
                witnesses[checkpoint.seq].append(checkpoint)
        return witnesses

    def _compare(self, witnesses: Sequence[Checkpoint], digest: bytes) -> None:
        for checkpoint in witnesses:
            if checkpoint.root != digest:
                root = checkpoint.root.hex()[:16]
                self._found(
                    Kind.REWRITTEN, checkpoint.seq, f"a checkpoint saw another event here (root {root}…)"
                )

    def _companions(self, seq: int, text: str) -> None:
        """The rows in other tables that an event with a batch or with personal data must have."""
        try:
            payload = orjson.loads(text)
            numbers, digests = payload.get(NUMBERS, ()), payload.get(PRIVATE, ())
            private = [bytes.fromhex(digest) for digest in digests]
            wanted = len(set(numbers))
        except _NONSENSE:
            self._found(Kind.CHANGED, seq, "its payload is not what any dncsync writes")
            return
        if numbers:
            self.numbers += wanted
            (present,) = self.conn.execute(
                "SELECT count(*) FROM event_numbers"
                " WHERE seq = ? AND number IN (SELECT value FROM json_each(?))",
                (seq, orjson.dumps(numbers).decode()),
            ).fetchone()
            if present != wanted:
                self._found(Kind.NUMBER_INDEX, seq, f"{wanted - present} of its numbers are not in the index")
        for digest in private:
            self.private += 1
            row = self.conn.execute(
                "SELECT 1 FROM private WHERE hash = ? AND seq = ?", (digest, seq)
            ).fetchone()
            if row is None:
                name = digest.hex()[:16]
                self._found(Kind.PRIVATE, seq, f"its personal data {name}… has neither body nor tombstone")

    def _number_index(self) -> None:
        """All that should be there is there (see `_companions`), so a larger count means strangers."""
        (rows,) = self.conn.execute("SELECT count(*) FROM event_numbers").fetchone()
        if rows > self.numbers:
            self._found(Kind.NUMBER_INDEX, None, f"{rows - self.numbers} rows belong to no event")

    def _private(self) -> None:
        """Each body against its hash, each tombstone against the event that purged it, and no strangers."""
        rows = 0
        for digest, seq, salt, body, *tombstone in self._private_rows():
            rows += 1
            if body is None:
                if not self._was_purged(digest, *tombstone):
                    self._found(
                        Kind.PRIVATE,
                        seq,
                        f"{digest.hex()[:16]}… is gone and no event says that it was purged",
                    )
            elif not _fits(digest, salt, body):
                self._found(Kind.PRIVATE, seq, f"the body of {digest.hex()[:16]}… was changed")
        if rows > self.private:
            self._found(Kind.PRIVATE, None, f"{rows - self.private} rows belong to no event")

    def _private_rows(self) -> Iterator[Any]:
        return self.conn.execute(
            "SELECT hash, seq, salt, body, purged_at, purge_reason, purged_seq FROM private ORDER BY hash"
        )

    def _was_purged(self, digest: bytes, at: int, reason: str, seq: int) -> bool:
        row = self.conn.execute(
            "SELECT payload FROM events WHERE seq = ? AND kind = ? AND at = ?", (seq, PURGED, at)
        ).fetchone()
        return row is not None and orjson.loads(row[0]) == {"hash": digest.hex(), "reason": reason}


def _fits(digest: bytes, salt: Any, body: Any) -> bool:
    """Written out here and not taken from `events`: the verifier keeps its own opinion."""
    try:
        return hmac.digest(salt, body.encode(), "sha256") == digest
    except (TypeError, AttributeError, UnicodeEncodeError):
        return False


def _schema_of(conn: Connection) -> dict[str, str]:
    """What stands in the schema, by type and name; SQLite's own tables (statistics) left out."""
    rows = conn.execute(
        "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite#_%' ESCAPE '#'"
    )
    return {f"{kind} {name}": sql for kind, name, sql in rows}
