"""Where each feed of each system was read to; moved only in the transaction that took the page in."""

from __future__ import annotations

from dataclasses import dataclass

from dncsync.ledger.writer import Tx

CHANGES = "changes"
SNAPSHOT = "snapshot"


@dataclass(frozen=True, slots=True)
class Begun:
    """Whether a feed may be read now, and from where."""

    cursor: str | None
    wait: int
    """Microseconds until it is due; 0: now."""


def cursor(tx: Tx, system: str, feed: str) -> str | None:
    """Where to go on; None: never read."""
    row = tx.execute("SELECT cursor FROM bookmarks WHERE system = ? AND feed = ?", (system, feed)).fetchone()
    return row[0] if row else None


def advance(tx: Tx, at: int, system: str, feed: str, to: str, holdings: int) -> None:
    """The page that ends at `to` was taken in."""
    tx.execute(
        "INSERT INTO bookmarks VALUES (?,?,?,?,?,1,?,0) ON CONFLICT (system, feed) DO UPDATE SET "
        "cursor = excluded.cursor, updated_at = excluded.updated_at, pages = pages + 1, "
        "holdings = holdings + excluded.holdings",
        (system, feed, to, at, at, holdings),
    )


def begin(tx: Tx, at: int, system: str, feed: str, every: int) -> Begun:
    """Goes on with an unfinished feed, begins one that is due (`every` microseconds after the last began), or
    says how long to wait."""
    row = tx.execute(
        "SELECT cursor, started_at, done FROM bookmarks WHERE system = ? AND feed = ?", (system, feed)
    ).fetchone()
    if row is not None and not row[2]:
        return Begun(row[0], 0)
    if row is not None and row[1] + every > at:
        return Begun(None, row[1] + every - at)
    tx.execute("INSERT OR REPLACE INTO bookmarks VALUES (?,?,NULL,?,?,0,0,0)", (system, feed, at, at))
    return Begun(None, 0)


def finish(tx: Tx, at: int, system: str, feed: str) -> int:
    """Everything was read. Returns when it was begun (microseconds)."""
    tx.execute(
        "UPDATE bookmarks SET done = 1, cursor = NULL, updated_at = ? WHERE system = ? AND feed = ?",
        (at, system, feed),
    )
    row = tx.execute(
        "SELECT started_at FROM bookmarks WHERE system = ? AND feed = ?", (system, feed)
    ).fetchone()
    return int(row[0])


def forget(tx: Tx, system: str, feed: str) -> None:
    """The next reading begins at the beginning."""
    tx.execute("DELETE FROM bookmarks WHERE system = ? AND feed = ?", (system, feed))
