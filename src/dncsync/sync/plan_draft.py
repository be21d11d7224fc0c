"""A plan in the making: a scratch database beside the plan file, a page a transaction, so that a comparison
that broke off goes on where it stopped, and needs no more memory for a million holdings than for a thousand.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dncsync.ledger import events
from dncsync.ledger.sqlite import Connection, Error, ledger_id, sqlite3
from dncsync.model import Channel, Flag, Holding
from dncsync.sync.plan import Blocks, Compared, Kind, PlannedChange, compare
from dncsync.sync.plan_file import Header
from dncsync.sync.topology import SystemFacts
from dncsync.sync.will import CHUNK, blocked_among, chunks, marks

SUFFIX = ".partial"

_SCHEMA = """
CREATE TABLE draft (what TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE progress (
  system TEXT PRIMARY KEY, cursor TEXT, done INTEGER NOT NULL, holdings INTEGER NOT NULL
) STRICT;
CREATE TABLE tallies (
  system TEXT NOT NULL, what TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (system, what)
) STRICT, WITHOUT ROWID;
CREATE TABLE changes (
  system TEXT NOT NULL, key TEXT NOT NULL, channel TEXT NOT NULL, kind TEXT NOT NULL, observed TEXT NOT NULL,
  numbers TEXT NOT NULL, PRIMARY KEY (system, key, channel, kind)
) STRICT, WITHOUT ROWID;
-- Entries seen on lists: what is blocked and not among them is missing there.
CREATE TABLE listed (
  system TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (system, key)
) STRICT, WITHOUT ROWID;
-- What the imports of this plan would block, and the records that this would reach.
CREATE TABLE blocks (
  number TEXT NOT NULL, channel TEXT NOT NULL, system TEXT NOT NULL, PRIMARY KEY (number, channel, system)
) STRICT, WITHOUT ROWID;
CREATE TABLE clear (
  number TEXT NOT NULL, channel TEXT NOT NULL, system TEXT NOT NULL, key TEXT NOT NULL,
  PRIMARY KEY (number, channel, system, key)
) STRICT, WITHOUT ROWID;
"""


class DraftRefused(ValueError):
    """What lies there is no draft of this comparison; one line says what to do with it."""


class Draft:
    """One comparison of some systems with one ledger, kept on disk until its plan is written."""

    def __init__(self, plan: Path, ledger: Connection, systems: Collection[str], at: datetime) -> None:
        """Goes on with the draft of `plan` where there is one, else begins at `at` (UTC). Raises
        `DraftRefused` for a draft of another ledger or of other systems, `OSError`."""
        self.path = plan.with_name(plan.name + SUFFIX)
        self.resumed = self.path.exists()
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        self._conn = sqlite3.connect(self.path, isolation_level=None, cached_statements=64)
        try:
            self._open(ledger, systems, at)
        except BaseException as error:
            self._conn.close()
            if isinstance(error, Error | KeyError):
                raise self._refused("no unfinished plan") from None
            raise

    def _open(self, ledger: Connection, systems: Collection[str], at: datetime) -> None:
        # Not synced to disk: a crash of ours loses nothing, one of the machine loses a reading.
        self._conn.execute("PRAGMA synchronous = OFF")
        self._conn.execute("PRAGMA journal_mode = WAL")
        head = events.head(ledger)
        made = {
            "ledger": ledger_id(ledger),
            "systems": json.dumps(sorted(systems)),
            "created_at": at.isoformat(),
            "head_seq": str(head.seq),
            "head_hash": head.hash.hex(),
        }
        if not self._conn.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
            self.resumed = False
            with self._whole():
                for statement in _SCHEMA.split(";"):
                    self._conn.execute(statement)
                self._conn.executemany("INSERT INTO draft VALUES (?,?)", made.items())
        self._made: dict[str, str] = dict(self._conn.execute("SELECT what, value FROM draft"))
        for what, words in (("ledger", "of another ledger"), ("systems", "of other systems")):
            if self._made[what] != made[what]:
                raise self._refused(f"an unfinished plan {words}")

    def _refused(self, what: str) -> DraftRefused:
        return DraftRefused(f"{self.path} is {what}; remove it, or give --plan another name")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._conn.close()

    def remove(self) -> None:
        """The plan is written, or nobody wants it any more."""
        self._conn.close()
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    @property
    def created_at(self) -> datetime:
        """When the comparison began (UTC)."""
        return datetime.fromisoformat(self._made["created_at"]).astimezone(UTC)

    # --- reading ------------------------------------------------------------------------------------------

    def place(self, system: str) -> tuple[str | None, int, bool]:
        """Where to go on: cursor (None: at the beginning), holdings read so far, whether all was read."""
        row = self._conn.execute(
            "SELECT cursor, holdings, done FROM progress WHERE system = ?", (system,)
        ).fetchone()
        return (row[0], row[1], bool(row[2])) if row else (None, 0, False)

    def take(
        self,
        ledger: Connection,
        facts: SystemFacts,
        holdings: Sequence[Holding],
        cursor: str,
        *,
        last: bool,
        blocks: Blocks,
    ) -> None:
        """Compares a page and keeps what it comes to, with the place after it."""
        found = compare(ledger, facts, holdings, blocks)
        with self._whole():
            # A holding that a snapshot gives twice counts as it was the last time.
            self._conn.executemany(
                "DELETE FROM changes WHERE system = ? AND key = ?", [(facts.name, h.key) for h in holdings]
            )
            self._keep(facts.name, found)
            if facts.by_number:
                self._conn.executemany(
                    "INSERT OR IGNORE INTO listed VALUES (?,?)",
                    [(facts.name, h.key) for h in holdings if not h.gone],
                )
            self._conn.executemany(
                "INSERT OR IGNORE INTO blocks VALUES (?,?,?)",
                [(number, channel, facts.name) for number, channel in found.blocks],
            )
            self._conn.executemany(
                "INSERT OR IGNORE INTO clear VALUES (?,?,?,?)",
                [(number, channel, facts.name, key) for number, key, channel in found.open],
            )
            self._conn.execute(
                "INSERT INTO progress VALUES (?,?,?,?) ON CONFLICT (system) DO UPDATE SET "
                "cursor = excluded.cursor, done = excluded.done, holdings = holdings + excluded.holdings",
                (facts.name, cursor, int(last), len(holdings)),
            )

    def begin_again(self, system: str) -> None:
        """The cursor is no good any more: the system is read once more from the start."""
        with self._whole():
            for table in ("progress", "tallies", "changes", "listed", "blocks", "clear"):
                self._conn.execute(f"DELETE FROM {table} WHERE system = ?", (system,))  # noqa: S608

    def _keep(self, system: str, found: Compared) -> None:
        self._conn.executemany(
            "INSERT OR REPLACE INTO changes VALUES (?,?,?,?,?,?)",
            [(c.system, c.key, c.channel, c.kind, c.observed, json.dumps(c.numbers)) for c in found.changes],
        )
        counted = [(system, str(what), n) for what, n in found.quiet.items()]
        counted += [(system, f"quarantined: {problem}", n) for problem, n in found.quarantined.items()]
        self._conn.executemany(
            "INSERT INTO tallies VALUES (?,?,?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
            counted,
        )

    # --- ending -------------------------------------------------------------------------------------------

    def conclude(self, ledger: Connection, chosen: Sequence[SystemFacts], blocks: Blocks) -> None:
        """After the last page of every system: what is missing on lists, and where imports would spread."""
        if "concluded" in self._made:
            return  # the plan itself could not be written then
        with self._whole():
            # What an import would block is not cleared any more.
            self._conn.execute(
                "DELETE FROM changes WHERE kind = ? AND EXISTS (SELECT 1 FROM json_each(changes.numbers) n "
                "JOIN blocks b ON b.number = n.value AND b.channel = changes.channel)",
                (Kind.CLEAR,),
            )
            self._conn.execute(
                "INSERT OR IGNORE INTO changes SELECT system, key, channel, ?, 'clear', "
                "json_group_array(number) FROM (SELECT DISTINCT number, channel FROM blocks) "
                "JOIN clear c USING (number, channel) WHERE NOT EXISTS (SELECT 1 FROM changes x "
                "WHERE x.system = c.system AND x.key = c.key AND x.channel = c.channel AND x.kind != ?) "
                "GROUP BY system, key, channel",
                (Kind.SPREAD, Kind.COVER),
            )
            for facts in chosen:
                if facts.by_number:
                    for channel in sorted(facts.capabilities.channels):
                        self._conclude_lists(ledger, facts, channel, blocks)
            self._conn.execute("INSERT INTO draft VALUES ('concluded', '1')")

    def _conclude_lists(
        self, ledger: Connection, facts: SystemFacts, channel: Channel, blocks: Blocks
    ) -> None:
        for numbers in _pages(ledger, channel, "AND ended_seq IS NULL"):
            self._keep(facts.name, compare(ledger, facts, self._missing(facts, numbers), blocks))
        for numbers in _pages(self._conn, channel):
            held = blocked_among(ledger, numbers)
            missing = self._missing(facts, [n for n in numbers if channel not in held.get(n, ())])
            spread = [
                PlannedChange(facts.name, h.key, channel, Kind.SPREAD, Flag.CLEAR, h.numbers) for h in missing
            ]
            self._keep(facts.name, Compared(spread))

    def _missing(self, facts: SystemFacts, numbers: Sequence[str]) -> list[Holding]:
        """The entries that these numbers should have on the lists and that were not seen there."""
        wanted = {key: number for number in numbers for key in facts.keys_for(number)}
        for chunk in chunks(list(wanted)):
            seen = self._conn.execute(
                f"SELECT key FROM listed WHERE system = ? AND key IN ({marks(chunk)})",  # noqa: S608
                (facts.name, *chunk),
            )
            for (key,) in seen.fetchall():
                del wanted[key]
        return [Holding(key, {}, (number,), gone=True) for key, number in wanted.items()]

    def header(self, systems: Mapping[str, Mapping[str, Any]]) -> Header:
        """The plan's first line. `systems`: what is known of each beside what was counted here."""
        found: dict[str, dict[str, Any]] = {name: dict(facts) for name, facts in systems.items()}
        for system, cursor, holdings in self._conn.execute("SELECT system, cursor, holdings FROM progress"):
            found[system] |= {"holdings": holdings, "cursor": cursor, "counts": {}}
        for system, what, count in self._conn.execute("SELECT * FROM tallies ORDER BY system, what"):
            found[system]["counts"][what] = count
        made = self._made
        return Header(self.created_at, made["ledger"], int(made["head_seq"]), made["head_hash"], found)

    def changes(self) -> Iterator[PlannedChange]:
        """All of them: by system and key, spreads last. Streaming."""
        of = "SELECT system, key, channel, kind, observed, numbers FROM changes WHERE kind"
        for which in ("!=", "="):
            rows = self._conn.execute(f"{of} {which} ? ORDER BY system, key, channel, kind", (Kind.SPREAD,))
            for system, key, channel, kind, observed, numbers in rows:
                named = tuple(sorted(json.loads(numbers)))
                yield PlannedChange(system, key, Channel(channel), Kind(kind), Flag(observed), named)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """All of it or nothing, whatever interrupts."""
        self._conn.execute("BEGIN")
        try:
            yield
            self._conn.execute("COMMIT")
        finally:
            if self._conn.in_transaction:
                self._conn.execute("ROLLBACK")


def _pages(conn: Connection, channel: Channel, which: str = "") -> Iterator[Sequence[str]]:
    """Numbers of a table `blocks` on a channel, in order, some at a time; no statement stays open between."""
    after = ""
    while True:
        rows = conn.execute(
            f"SELECT DISTINCT number FROM blocks WHERE number > ? AND channel = ? {which} "  # noqa: S608
            "ORDER BY number LIMIT ?",
            (after, channel, CHUNK),
        ).fetchall()
        if not rows:
            return
        yield [row[0] for row in rows]
        after = rows[-1][0]
