"""What the sandboxed VICIdial holds: leads, hopper, DNC lists and their log, in SQLite in memory.

Not thread-safe by itself; the sandbox holds its lock around every use.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dncsync.clock import Clock
from dncsync.testing.sandbox import seeded_number

PHONE_COLUMN = 18
CAMPAIGN_COLUMN = 8
FIRST_LEAD = 1001

_SCHEMA = """
CREATE TABLE dnc (
    list TEXT NOT NULL, phone TEXT NOT NULL, added REAL NOT NULL, removed REAL,
    PRIMARY KEY (list, phone)
) WITHOUT ROWID;
CREATE TABLE dnc_log (phone TEXT, campaign TEXT, action TEXT, at REAL, user TEXT);
CREATE TABLE leads (
    lead_id INTEGER PRIMARY KEY, phone TEXT NOT NULL, alt_phone TEXT NOT NULL, status TEXT NOT NULL,
    campaign TEXT NOT NULL
);
CREATE TABLE hopper (lead_id INTEGER PRIMARY KEY, status TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Lead:
    """A row of `vicidial_list`, as far as it matters here."""

    lead_id: int
    phone: str
    status: str
    campaign: str


class Store:
    """The database."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._db = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._db.executescript(_SCHEMA)

    # --- seeding --------------------------------------------------

    def seed(
        self,
        seed: int,
        contacts: int,
        *,
        lists: Iterable[str],
        campaign: str,
        opted_out_share: float,
        shared_share: float,
        country_code_share: float,
        wildcards: Iterable[str],
        prefix: str,
    ) -> None:
        """Leads, the share of them that is listed, and what real lists hold besides numbers."""
        phones = [prefix + seeded_number(seed, index)[2:] for index in range(contacts)]
        shared = every(contacts, shared_share)
        self._db.execute("BEGIN")
        self._db.executemany(
            "INSERT INTO leads VALUES (?, ?, '', 'NEW', ?)",
            (
                (FIRST_LEAD + i, phone, campaign)
                for i, phone in enumerate([*phones, *(phones[i] for i in shared)])
            ),
        )
        listed = every(contacts, opted_out_share)
        rows = [phones[i] for i in listed]
        rows += ["1" + rows[i] for i in every(len(rows), country_code_share)]
        if contacts:
            rows += wildcards
        for name in lists:
            self._db.executemany(
                "INSERT OR IGNORE INTO dnc VALUES (?, ?, 0.0, NULL)", ((name, row) for row in rows)
            )
        self._db.execute("COMMIT")
        self._db.execute("CREATE INDEX lead_phone ON leads (phone)")

    # --- lists --------------------------------------------------

    def add(self, name: str, phone: str) -> bool:
        """False: it was there already. Values are cut to their columns."""
        name, phone = name[: _width(name)], phone[:PHONE_COLUMN]
        if self.has(name, phone):
            return False
        self._db.execute("INSERT OR REPLACE INTO dnc VALUES (?, ?, ?, NULL)", (name, phone, self._now()))
        return True

    def remove(self, name: str, phone: str) -> bool:
        """False: it was not there."""
        changed = self._db.execute(
            "UPDATE dnc SET removed = ? WHERE list = ? AND phone = ? AND removed IS NULL",
            (self._now(), name, phone),
        )
        return changed.rowcount > 0

    def has(self, name: str, phone: str) -> bool:
        return bool(
            self._db.execute(
                "SELECT 1 FROM dnc WHERE list = ? AND phone = ? AND removed IS NULL", (name, phone)
            ).fetchone()
        )

    def lists_with(self, phone: str) -> list[str]:
        """Every list, also of campaigns that do not exist, that holds this value."""
        rows = self._db.execute("SELECT DISTINCT list FROM dnc WHERE phone = ? AND removed IS NULL", (phone,))
        return [row[0] for row in rows]

    def rows(self, name: str, *, lag: float = 0.0) -> list[str]:
        """The list as it was `lag` seconds ago, in no order that means anything."""
        then = self._now() - lag
        found = self._db.execute(
            "SELECT phone FROM dnc WHERE list = ? AND added <= ? AND (removed IS NULL OR removed > ?)",
            (name, then, then),
        )
        return [row[0] for row in found]

    def log(self, phone: str, campaign: str, action: str, user: str) -> None:
        """A row of `vicidial_dnc_log`."""
        self._db.execute(
            "INSERT INTO dnc_log VALUES (?, ?, ?, ?, ?)", (phone, campaign, action, self._now(), user)
        )

    def logged(self, phone: str) -> list[tuple[str, str, str]]:
        """(campaign, action, user) of a number, oldest first."""
        found = self._db.execute(
            "SELECT campaign, action, user FROM dnc_log WHERE phone = ? ORDER BY rowid", (phone,)
        )
        return list(found)

    # --- leads --------------------------------------------------

    def add_lead(self, phone: str, alt_phone: str, status: str, campaign: str) -> int:
        """Its lead id."""
        made = self._db.execute(
            "INSERT INTO leads (phone, alt_phone, status, campaign) VALUES (?, ?, ?, ?)",
            (phone, alt_phone, status, campaign),
        )
        return int(made.lastrowid or 0)

    def leads(self, phone: str) -> list[Lead]:
        """Newest first, as `lead_search` lists them."""
        found = self._db.execute(
            "SELECT lead_id, phone, status, campaign FROM leads WHERE phone = ? ORDER BY lead_id DESC",
            (phone,),
        )
        return [Lead(*row) for row in found]

    def lead(self, lead_id: int) -> Lead | None:
        found = self._db.execute(
            "SELECT lead_id, phone, status, campaign FROM leads WHERE lead_id = ?", (lead_id,)
        ).fetchone()
        return Lead(*found) if found else None

    def set_status(self, lead_id: int, status: str) -> None:
        self._db.execute("UPDATE leads SET status = ? WHERE lead_id = ?", (status, lead_id))

    def load(self, lead_id: int, status: str = "READY") -> None:
        """Puts a lead into the hopper."""
        self._db.execute("INSERT OR REPLACE INTO hopper VALUES (?, ?)", (lead_id, status))

    def hopper_status(self, lead_id: int) -> str | None:
        found = self._db.execute("SELECT status FROM hopper WHERE lead_id = ?", (lead_id,)).fetchone()
        return str(found[0]) if found else None

    def unload(self, lead_id: int) -> None:
        self._db.execute("DELETE FROM hopper WHERE lead_id = ?", (lead_id,))

    def _now(self) -> float:
        return self._clock.now().timestamp()


def every(count: int, share: float) -> Iterator[int]:
    """The indices below `count` that make up a share of it: each n-th, never the first."""
    if share > 0:
        step = max(1, round(1 / share))
        yield from range(step - 1, count, step)


def _width(name: str) -> int:
    return len(name) if name == "SYSTEM_INTERNAL" else CAMPAIGN_COLUMN
