"""The auditors' export, opened as an auditor would: with SQLite and nothing of ours."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from dncsync.ledger import export as exporter
from dncsync.ledger.checkpoint import Signer
from dncsync.ledger.events import NewEvent
from dncsync.ledger.export import ExportRefused, export
from dncsync.ledger.sqlite import LedgerUnreadable, connect_reader, sqlite3
from dncsync.ledger.writer import DirectWriter
from integration.ledger.making import AT, STOP, event, forging, honest

NOW = AT + 3_600_000_000
SECOND = 1_000_000


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    path = folder / "ledger.db"
    honest(path, Signer.create(folder / "key.pem"))
    with forging(path) as conn:  # the projections' code has its own tests; here only their rows matter
        insert(
            conn,
            "requests",
            {
                "id": "r1",
                "number": "+12125550001",
                "channel": "sms",
                "channels": "sms,voice",
                "scope": "",
                "source": "sms stop",
                "origin_system": "sms",
                "provisional": 0,
                "words": STOP.hash.hex(),
                "occurred_at": AT,
                "received_at": AT + SECOND,
                "recorded_at": AT,
                "event_seq": 4,
                "deadline_strict": AT,
                "deadline_federal": AT,
            },
        )
        done, late = AT + 3 * SECOND // 2, AT + 90 * SECOND
        deliveries: list[tuple[str, str, int, dict[str, int]]] = [
            ("crm", "verified", 0, {"verified_at": done}),
            ("sms", "accepted", 0, {"accepted_at": done}),
            ("crm", "accepted", 1, {"due_at": done}),
            ("dialer", "due", 1, {"due_at": done}),
            ("crm", "verified", 0, {"verified_at": late}),
            ("crm", "superseded", 0, {}),
            ("sms", "accepted", 0, {"accepted_at": late}),
        ]
        for number, (system, state, is_open, stamps) in enumerate(deliveries, 1):
            insert(
                conn,
                "deliveries",
                {
                    "id": number,
                    "system": system,
                    "key": f"k{number}",
                    "state": state,
                    "open": is_open,
                    "channel": "voice",
                    "want": "set",
                    "number": "+12125550001",
                    "request_id": "r1",
                    "backfill": 0,
                    "attempts": 1,
                    "event_seq": 4,
                    "known_at": AT,
                    "deadline": AT + 60 * SECOND,
                    **stamps,
                },
            )
    return path


def insert(conn: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    conn.execute(
        f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", list(row.values())
    )


@pytest.fixture(scope="module")
def exported(original: Path) -> Iterator[sqlite3.Connection]:
    export(original, original.with_name("audit.db"), at=NOW)
    conn = sqlite3.connect(original.with_name("audit.db"))
    yield conn
    conn.close()


def test_the_file_stands_alone(original: Path, exported: sqlite3.Connection) -> None:
    assert exported.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert exported.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert original.with_name("audit.db").stat().st_mode & 0o777 == 0o600
    left = {file.name for file in original.parent.iterdir()}
    assert not [name for name in left if "partial" in name]


def test_every_table_is_there_whole(original: Path, exported: sqlite3.Connection) -> None:
    ledger = connect_reader(original)
    for table in ("events", "event_numbers", "private", "checkpoints", "requests", "deliveries"):
        (there,) = ledger.execute(f"SELECT count(*) FROM {table}").fetchone()
        assert exported.execute(f"SELECT count(*) FROM ledger_{table}").fetchone() == (there,)
        assert there
    ledger.close()


def test_the_chain_can_be_checked_in_the_export(exported: sqlite3.Connection) -> None:
    """With what the column comments say, and nothing of ours."""
    last = "00" * 32
    for *fields, prev, digest in exported.execute(
        "SELECT seq, at, kind, number, system, actor, payload, prev, hash FROM ledger_events ORDER BY seq"
    ):
        encoded = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
        assert prev == last
        assert digest == (last := sha256(bytes.fromhex(prev) + encoded).hexdigest())
    assert last == about(exported)["root"]


def about(conn: sqlite3.Connection) -> dict[str, str]:
    return dict(conn.execute("SELECT key, value FROM about"))


def test_it_says_what_it_is(original: Path, exported: sqlite3.Connection) -> None:
    facts = about(exported)
    assert facts["exported_at"] == "2026-09-21T15:13:20.000000Z"
    assert facts["head"] == "8"
    assert facts["software"].startswith("dncsync ")
    assert facts["completeness"].startswith("complete: every event from 1 to 8")
    assert facts["personal_data"] == "left out"
    assert facts["rows in ledger_deliveries"] == "7"
    assert len(facts["ledger"]) == 36


def test_a_gap_is_admitted(original: Path, tmp_path: Path) -> None:
    ledger = Path(shutil.copy(original, tmp_path / "ledger.db"))
    with forging(ledger) as conn:
        conn.execute("DELETE FROM events WHERE seq = 2")
    report = export(ledger, tmp_path / "audit.db", at=NOW)
    assert not report.complete
    conn = sqlite3.connect(tmp_path / "audit.db")
    assert about(conn)["completeness"].startswith("incomplete: 1 events up to 8 are missing")
    conn.close()


def test_propagation_claims_no_more_than_is_known(exported: sqlite3.Connection) -> None:
    rows = exported.execute(
        "SELECT delivery_id, proof, known, verified, seconds_to_verified FROM propagation ORDER BY 1"
    ).fetchall()
    known = "2026-09-21T14:13:20.000000Z"
    assert rows[:4] == [
        (1, "verified", known, "2026-09-21T14:13:21.500000Z", 1.5),
        (2, "accepted, cannot be read", known, None, None),
        (3, "not confirmed", known, None, None),
        (4, "not confirmed", known, None, None),
    ]


def test_late_is_what_was_or_is_past_its_deadline(exported: sqlite3.Connection) -> None:
    rows = exported.execute("SELECT delivery_id, proof, seconds_late, done FROM late ORDER BY 1").fetchall()
    assert rows == [
        (3, "not confirmed", 3540.0, None),
        (4, "not confirmed", 3540.0, None),
        (5, "verified", 30.0, "2026-09-21T14:14:50.000000Z"),
        (7, "accepted, cannot be read", 30.0, "2026-09-21T14:14:50.000000Z"),
    ]


def test_open_is_what_is_not_finished(exported: sqlite3.Connection) -> None:
    assert exported.execute('SELECT delivery_id, due FROM "open" ORDER BY 1').fetchall() == [
        (3, "2026-09-21T14:13:21.500000Z"),
        (4, "2026-09-21T14:13:21.500000Z"),
    ]


def test_requests_show_what_came_of_them(exported: sqlite3.Connection) -> None:
    (row,) = exported.execute(
        "SELECT id, received, ended, deliveries, verified, words FROM requests"
    ).fetchall()
    assert row == ("r1", "2026-09-21T14:13:21.000000Z", None, 7, 2, None)


def test_words_are_there_only_when_asked_for(
    original: Path, exported: sqlite3.Connection, tmp_path: Path
) -> None:
    assert STOP.body.encode() not in original.with_name("audit.db").read_bytes()
    export(original, tmp_path / "audit.db", at=NOW, include_personal=True)
    conn = sqlite3.connect(tmp_path / "audit.db")
    assert conn.execute("SELECT words FROM requests").fetchone() == ("STOP",)
    assert conn.execute("SELECT count(*) FROM ledger_private_fts WHERE body MATCH 'stop'").fetchone() == (1,)
    assert about(conn)["personal_data"].startswith("included")
    conn.close()


@pytest.mark.parametrize(
    ("table", "words", "rows"),
    [
        ("events", '"kind.5"', 1),
        ("events", '"+12125550099"', 1),
        ("requests", "stop", 1),
        ("requests", "nobody", 0),
    ],
)
def test_full_text_search_finds(exported: sqlite3.Connection, table: str, words: str, rows: int) -> None:
    found = exported.execute(
        f"SELECT count(*) FROM ledger_{table} WHERE rowid IN"
        f" (SELECT rowid FROM ledger_{table}_fts WHERE ledger_{table}_fts MATCH ?)",
        (words,),
    ).fetchone()
    assert found == (rows,)


def test_every_column_is_explained_and_no_other(exported: sqlite3.Connection) -> None:
    explained = set(
        exported.execute("SELECT table_name, column_name FROM column_comments WHERE comment != ''")
    )
    tables = [
        name
        for (name,) in exported.execute("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')")
        if "_fts" not in name and "sqlite_" not in name and name not in ("about", "column_comments")
    ]
    columns = {(table, "") for table in tables}
    for table in tables:
        columns |= {
            (table, name) for (name,) in exported.execute("SELECT name FROM pragma_table_info(?)", (table,))
        }
    assert explained == columns


def test_every_table_of_the_ledger_is_exported_or_left_out_on_purpose(original: Path) -> None:
    left_out = {"meta", "schema_migrations", "bookmarks", "looks", "nonces", "holding_numbers", "doubts"} | {
        "activity",
        "slices",
        "reasons",
    }
    conn = connect_reader(original)
    tables = {name for (name,) in conn.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    conn.close()
    assert {table.name for table in exporter._contents()[0]} == {
        name for name in tables - left_out if "sqlite_" not in name
    }


def test_an_existing_file_is_not_overwritten(original: Path, tmp_path: Path) -> None:
    target = tmp_path / "audit.db"
    target.write_text("precious")
    with pytest.raises(ExportRefused, match="exists already"):
        export(original, target, at=NOW)
    assert target.read_text() == "precious"
    export(original, target, at=NOW, overwrite=True)
    assert target.read_bytes().startswith(b"SQLite format 3")


def test_a_file_that_came_meanwhile_is_not_overwritten(original: Path, tmp_path: Path) -> None:
    target = tmp_path / "audit.db"
    with pytest.raises(ExportRefused, match="exists already"):
        export(original, target, at=NOW, progress=lambda *_: target.write_text("precious"))
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("audit.db", "precious")]


def test_the_ledger_itself_is_no_target(original: Path, tmp_path: Path) -> None:
    before = original.read_bytes()
    (tmp_path / "link.db").symlink_to(original)
    for target in (original, tmp_path / "link.db"):
        with pytest.raises(ExportRefused, match="the ledger itself"):
            export(original, target, at=NOW, overwrite=True)
    assert original.read_bytes() == before


def test_a_bad_target_is_one_clear_line(original: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportRefused, match="is not a folder"):
        export(original, tmp_path / "nowhere" / "audit.db", at=NOW)
    with pytest.raises(ExportRefused, match="exists already"):
        export(original, tmp_path, at=NOW, overwrite=True)
    with pytest.raises(LedgerUnreadable, match="does not exist"):
        export(tmp_path / "nowhere.db", tmp_path / "audit.db", at=NOW)


def test_a_failure_leaves_no_file(original: Path, tmp_path: Path) -> None:
    def fail(*_: int) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        export(original, tmp_path / "audit.db", at=NOW, progress=fail)
    assert list(tmp_path.iterdir()) == []


def test_it_shows_one_moment(original: Path, tmp_path: Path) -> None:
    ledger = Path(shutil.copy(original, tmp_path / "ledger.db"))
    with DirectWriter(ledger) as writer:

        def go_on(*_: int) -> None:
            writer.call(lambda tx: tx.append([event(9), NewEvent("batch", AT, {}, numbers=["+12125550077"])]))

        report = export(ledger, tmp_path / "audit.db", at=NOW, progress=go_on)
    assert (report.rows["events"], report.rows["event_numbers"], report.head.seq) == (8, 2, 8)
    assert report.complete


def test_progress_ends_at_the_whole(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "_BATCH", 5)
    calls: list[tuple[int, int]] = []
    export(original, tmp_path / "audit.db", at=NOW, progress=lambda *call: calls.append(call))
    assert calls[0] == (5, 21)
    assert calls[-1] == (21, 21)
