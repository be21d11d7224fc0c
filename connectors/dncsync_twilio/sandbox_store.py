"""What the sandbox remembers: consents by (sender, contact), network blocks, and the message log.

SQLite in memory, used under the sandbox's lock only.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dncsync.testing.sandbox import seeded_number
from dncsync_twilio.sandbox_senders import seeded_hex

EVERYWHERE = 0.2
"""Share of the seeded opt-outs that were texted to every sender; the others to one."""
_SCHEMA = """
CREATE TABLE consents (
  sender TEXT, contact TEXT, status TEXT, source TEXT, date TEXT, origin TEXT,
  PRIMARY KEY (sender, contact)) WITHOUT ROWID;
CREATE TABLE network_blocks (sender TEXT, contact TEXT, PRIMARY KEY (sender, contact)) WITHOUT ROWID;
CREATE TABLE messages (
  id INTEGER PRIMARY KEY, sid TEXT UNIQUE, direction TEXT, sender TEXT, recipient TEXT, body TEXT,
  service TEXT, media INTEGER, status TEXT, error INTEGER, created REAL, dated INTEGER,
  final_at REAL, final_status TEXT, final_error INTEGER);
CREATE INDEX by_time ON messages (created, id);
"""
_ADD_MESSAGE = "INSERT INTO messages VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"


@dataclass(frozen=True)
class Message:
    """One row of the message log. Times are seconds since the epoch."""

    id: int
    sid: str
    direction: str
    sender: str
    recipient: str
    body: str
    service: str
    media: int
    status: str
    error: int | None
    created: float
    dated: int
    """0: `date_sent` stays null, also in the filter."""
    final_at: float | None = None
    """From then on the last two columns hold."""
    final_status: str | None = None
    final_error: int | None = None

    def now(self, at: float) -> tuple[str, int | None]:
        """(status, error code) as seen at that time."""
        if self.final_at is not None and at >= self.final_at:
            return str(self.final_status), self.final_error
        return self.status, self.error


class Store:
    """The account's state."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._db = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._db.executescript(_SCHEMA)
        self._last_id = 0

    def seed_opt_outs(
        self, contacts: int, share: float, scopes: Sequence[tuple[str, str]], now: float
    ) -> None:
        """A share of the contacts has texted STOP in the last 30 days, none in the last hour.

        `scopes`: (scope, number texted) pairs.
        """
        dice = random.Random(f"twilio {self._seed}")  # noqa: S311 (simulation)
        consents, rows = [], []
        for index in range(contacts if scopes else 0):
            if dice.random() >= share:
                continue
            number = seeded_number(self._seed, index)
            for scope, texted in scopes if dice.random() < EVERYWHERE else [dice.choice(scopes)]:
                consents.append((scope, number, "opt-out", "opt-out-message", None, "keyword"))
                self._last_id += 1
                created = now - dice.uniform(3600, 30 * 86_400)
                service = scope if scope.startswith("MG") else ""
                row = (self._last_id, self._sid(), "inbound", number, texted, "STOP", service, 0, "received")
                rows.append((*row, None, created, 1, None, None, None))
        self._db.execute("BEGIN")
        self._db.executemany("INSERT INTO consents VALUES (?,?,?,?,?,?)", consents)
        self._db.executemany(_ADD_MESSAGE, rows)
        self._db.execute("COMMIT")

    # --- consents -------------------------------------------------------------------------------------

    def set_consent(
        self, sender: str, contact: str, status: str, source: str, date: str | None, origin: str
    ) -> None:
        """An upsert: what was there is overwritten."""
        row = (sender, contact, status, source, date, origin)
        self._db.execute("INSERT OR REPLACE INTO consents VALUES (?,?,?,?,?,?)", row)

    def consent(self, sender: str, contact: str) -> dict[str, Any] | None:
        """The consent held for this pair: status, source, date, origin."""
        names = ("status", "source", "date", "origin")
        row = self._db.execute(
            "SELECT status, source, date, origin FROM consents WHERE sender = ? AND contact = ?",
            (sender, contact),
        ).fetchone()
        return dict(zip(names, row, strict=True)) if row else None

    def lose(self, sender: str, contact: str) -> None:
        """The consent is gone, without a trace."""
        self._db.execute("DELETE FROM consents WHERE sender = ? AND contact = ?", (sender, contact))

    def consents(self) -> int:
        """How many are held."""
        return int(self._db.execute("SELECT count(*) FROM consents").fetchone()[0])

    # --- the toll-free network's own layer ------------------------------------------------------------

    def network_block(self, sender: str, contact: str, *, blocked: bool) -> None:
        if blocked:
            self._db.execute("INSERT OR IGNORE INTO network_blocks VALUES (?,?)", (sender, contact))
        else:
            self._db.execute("DELETE FROM network_blocks WHERE sender = ? AND contact = ?", (sender, contact))

    def network_blocked(self, sender: str, contact: str) -> bool:
        query = "SELECT 1 FROM network_blocks WHERE sender = ? AND contact = ?"
        return self._db.execute(query, (sender, contact)).fetchone() is not None

    # --- messages -------------------------------------------------------------------------------------

    def add_message(
        self,
        *,
        direction: str,
        sender: str,
        recipient: str,
        body: str,
        service: str,
        status: str,
        created: float,
        media: int = 0,
        error: int | None = None,
        dated: bool = True,
        final: tuple[float, str, int | None] | None = None,
    ) -> Message:
        """Appends to the log. `final`: (when, status, error code) it ends with."""
        self._last_id += 1
        columns = (self._last_id, self._sid(), direction, sender, recipient, body, service, media, status)
        row = (*columns, error, created, int(dated), *(final or (None, None, None)))
        self._db.execute(_ADD_MESSAGE, row)
        return Message(*row)

    def message(self, sid: str) -> Message | None:
        row = self._db.execute("SELECT * FROM messages WHERE sid = ?", (sid,)).fetchone()
        return Message(*row) if row else None

    def messages(
        self,
        *,
        since: float,
        before: float,
        sender: str | None,
        recipient: str | None,
        undated: bool,
        after_sid: str | None,
        limit: int,
    ) -> Iterator[Message]:
        """Newest first, from below the message with `after_sid`; times are inclusive."""
        where, values = ["created >= ?", "created <= ?"], [since, before]
        arguments: list[Any] = list(values)
        if not undated:
            where.append("dated = 1")
        for column, value in (("sender", sender), ("recipient", recipient)):
            if value is not None:
                where.append(f"{column} = ?")
                arguments.append(value)
        if after_sid is not None and (last := self.message(after_sid)) is not None:
            where.append("(created, id) < (?, ?)")
            arguments += [last.created, last.id]
        query = f"SELECT * FROM messages WHERE {' AND '.join(where)} ORDER BY created DESC, id DESC LIMIT ?"  # noqa: S608 (our own words)
        for row in self._db.execute(query, (*arguments, limit)).fetchall():
            yield Message(*row)

    def _sid(self) -> str:
        return "SM" + seeded_hex(self._seed, f"message {self._last_id}")
