"""Read-only SQL, and SQL that would like to be more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dncsync.ledger.checkpoint import Signer
from dncsync.ledger.query import QueryRefused, query
from dncsync.ledger.sqlite import LedgerUnreadable, connect_reader
from integration.ledger.making import honest


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("query")
    honest(folder / "ledger.db", Signer.create(folder / "key.pem"))
    return folder / "ledger.db"


def ask(ledger: Path, sql: str, *params: Any, **options: Any) -> list[tuple[Any, ...]]:
    with query(ledger, sql, params, **options) as answer:
        return list(answer)


def test_a_query_has_columns_and_rows(ledger: Path) -> None:
    with query(ledger, "SELECT seq, kind AS what FROM events WHERE seq < ?", (3,)) as answer:
        assert answer.columns == ("seq", "what")
        assert list(answer) == [(1, "kind.1"), (2, "kind.2")]
        assert not answer.truncated


def test_names_may_stand_for_values(ledger: Path) -> None:
    with query(ledger, "SELECT kind FROM events WHERE seq = :seq", {"seq": 5}) as answer:
        assert list(answer) == [("kind.5",)]


@pytest.mark.parametrize(
    ("limit", "rows", "truncated"), [(7, 7, True), (8, 8, False), (9, 8, False), (0, 0, True)]
)
def test_a_limit_says_whether_there_was_more(ledger: Path, limit: int, rows: int, truncated: bool) -> None:
    with query(ledger, "SELECT * FROM events", limit=limit) as answer:
        assert len(list(answer)) == rows
        assert answer.truncated is truncated


def test_reading_in_every_way_is_allowed(ledger: Path) -> None:
    assert ask(
        ledger, "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 5) SELECT max(x) FROM n"
    )
    assert ask(ledger, "SELECT j.value FROM events, json_each(payload, '$.numbers') j") == [
        ("+12125550001",), ("+12125550099",), ("+12125550001",)
    ]  # fmt: skip
    assert ask(ledger, "SELECT name FROM pragma_table_info('event_numbers')") == [("number",), ("seq",)]
    assert ask(ledger, "PRAGMA table_info(event_numbers)")
    assert ask(ledger, "SELECT count(*) OVER (), kind, strftime('%Y', at / 1000000, 'unixepoch') FROM events")
    assert ask(ledger, "EXPLAIN QUERY PLAN SELECT * FROM events")
    assert ask(ledger, "SELECT sql FROM sqlite_schema")
    assert ask(ledger, "VALUES (1); -- and a comment") == [(1,)]


HOSTILE = [
    "UPDATE events SET actor = 'eve'",
    "DELETE FROM events",
    "INSERT INTO meta VALUES ('a', 'b')",
    "REPLACE INTO meta VALUES ('ledger', 'b')",
    "WITH x AS (SELECT 1) DELETE FROM events",
    "DELETE FROM events RETURNING *",
    "DROP TRIGGER events_never_change",
    "DROP TABLE events",
    "CREATE TABLE x (y)",
    "CREATE TEMP TABLE x (y)",
    "CREATE TEMP VIEW x AS SELECT 1",
    "CREATE VIRTUAL TABLE x USING fts5(y)",
    "ALTER TABLE events RENAME TO gone",
    "ATTACH '{folder}/other.db' AS other",
    "ATTACH ':memory:' AS other",
    "DETACH main",
    "VACUUM",
    "VACUUM INTO '{folder}/copy.db'",
    "PRAGMA query_only = OFF",
    "PRAGMA writable_schema = ON",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA user_version = 7",
    "PRAGMA wal_checkpoint(TRUNCATE)",
    "PRAGMA hard_heap_limit = 1",
    "PRAGMA temp_store_directory = '{folder}'",
    "SELECT * FROM pragma_optimize",
    "SELECT load_extension('{folder}/evil.so')",
    "SELECT LOAD_EXTENSION('{folder}/evil.so')",
    "SELECT writefile('{folder}/out', 'x')",
    "SELECT readfile('/etc/passwd')",
    "SELECT edit('x')",
    "SELECT fts3_tokenizer('simple', x'00')",
    "BEGIN",
    "BEGIN IMMEDIATE",
    "COMMIT",
    "SAVEPOINT x",
    "ANALYZE",
    "REINDEX",
    "EXPLAIN DELETE FROM events",
    "SELECT 1; DELETE FROM events",
    "SELECT 1; SELECT 2",
    "SELECT 1;\x00 DELETE FROM events",
    "",
    "-- nothing",
    "SELEC 1",
    "SELECT",
    "SELECT ?",
    "SELECT * FROM nowhere",
    "SELECT 'unfinished",
    "SELECT json('{{')",
    "\ud800",
]


@pytest.mark.parametrize("sql", HOSTILE)
def test_whatever_the_sql_says_nothing_changes(ledger: Path, sql: str) -> None:
    def state() -> object:
        conn = connect_reader(ledger)
        dump = list(conn.iterdump()) if hasattr(conn, "iterdump") else []
        dump += (
            conn.execute("SELECT * FROM events").fetchall() + conn.execute("PRAGMA user_version").fetchall()
        )
        conn.close()
        return dump, {
            file.name for file in ledger.parent.iterdir() if file.suffix not in (".db-wal", ".db-shm")
        }

    before = state()
    with pytest.raises(QueryRefused) as caught:
        ask(ledger, sql.format(folder=ledger.parent))
    assert "\n" not in str(caught.value)
    assert state() == before


def test_forbidden_is_told_from_mistaken(ledger: Path) -> None:
    with pytest.raises(QueryRefused, match="only reading is allowed here; give one SELECT"):
        ask(ledger, "DELETE FROM events")
    with pytest.raises(QueryRefused, match="only one statement is allowed"):
        ask(ledger, "SELECT 1; SELECT 2")
    with pytest.raises(QueryRefused, match="no such table: nowhere"):
        ask(ledger, "SELECT * FROM nowhere")


ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT {} FROM n"


@pytest.mark.parametrize("what", ["count(*)", "x"])
def test_a_query_that_takes_too_long_is_stopped(ledger: Path, what: str) -> None:
    with pytest.raises(QueryRefused, match=r"longer than 0\.05 s"):
        for _ in ask(ledger, ENDLESS.format(what), timeout=0.05):
            pass


def test_what_is_no_ledger_is_told(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnreadable, match="does not exist"):
        ask(tmp_path / "nowhere.db", "SELECT 1")
