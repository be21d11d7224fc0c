"""The verifier, shown forged ledgers; any one changed byte is tried in `test_verify_any_byte.py`."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from dncsync.ledger import chain
from dncsync.ledger import verify as verifier
from dncsync.ledger.checkpoint import Checkpoint, Signer, stored, take
from dncsync.ledger.events import NewEvent
from dncsync.ledger.sqlite import LedgerUnreadable, connect_reader, sqlite3
from dncsync.ledger.verify import Kind, verify
from dncsync.ledger.writer import DirectWriter
from integration.ledger.making import AT, GONE, STOP, event, forging, found, honest, rehash


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    honest(folder / "ledger.db", Signer.create(folder / "key.pem"))
    return folder / "ledger.db"


@pytest.fixture(scope="module")
def kept(original: Path) -> Checkpoint:
    """The checkpoint over events 1 to 5, as an outsider keeps it."""
    conn = connect_reader(original)
    (checkpoint,) = stored(conn)
    conn.close()
    return checkpoint


@pytest.fixture
def ledger(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(original, tmp_path / "ledger.db"))


def test_an_honest_ledger_has_no_problem(ledger: Path, kept: Checkpoint) -> None:
    report = verify(ledger, [kept], trusted_keys=[kept.public_key])
    assert report.problems == ()
    assert (report.events, report.head.seq, report.checkpoints) == (8, 8, 2)


def test_an_empty_ledger_has_no_problem(tmp_path: Path) -> None:
    DirectWriter(tmp_path / "new.db", create=True).close()
    assert verify(tmp_path / "new.db").ok


def test_a_checkpoint_of_the_empty_ledger_holds_later(tmp_path: Path) -> None:
    signer = Signer.create(tmp_path / "key.pem")
    with DirectWriter(tmp_path / "new.db", create=True) as writer:
        empty = writer.call(lambda tx: take(tx, signer, AT))
        writer.call(lambda tx: tx.append([event(1)]))
    assert found(tmp_path / "new.db", empty) == set()
    forged = signer.sign(empty.ledger, 0, b"x" * 32, AT)
    assert found(tmp_path / "new.db", forged) == {(Kind.REWRITTEN, 0)}


CHANGES = {
    "at": "at + 1",
    "kind": "'other'",
    "number": "'+12125559999'",
    "number away": "NULL",
    "system": "'dialer'",
    "actor": "''",
    "payload": "'{\"n\": 2}'",
    "payload as bytes": "CAST(payload AS BLOB)",
}


@pytest.mark.parametrize("column", CHANGES)
def test_a_changed_row_is_found(ledger: Path, column: str) -> None:
    with forging(ledger) as conn:
        if "bytes" in column:  # no STRICT table takes bytes for text
            conn.execute("PRAGMA writable_schema = ON")
            conn.execute("UPDATE sqlite_schema SET sql = replace(sql, 'STRICT', '') WHERE name = 'events'")
            conn.execute("PRAGMA writable_schema = RESET")
        conn.execute(f"UPDATE events SET {column.split()[0]} = {CHANGES[column]} WHERE seq = 2")
    assert (Kind.CHANGED, 2) in found(ledger)


def test_a_changed_row_with_its_hash_made_good_breaks_the_next_link(ledger: Path) -> None:
    with forging(ledger) as conn:
        rows = conn.execute("SELECT seq, prev, hash FROM events WHERE seq > 2").fetchall()
        conn.execute("UPDATE events SET actor = 'eve' WHERE seq = 2")
        rehash(conn)
        for seq, prev, digest in rows:
            conn.execute("UPDATE events SET prev = ?, hash = ? WHERE seq = ?", (prev, digest, seq))
    assert found(ledger) == {(Kind.BAD_LINK, 3)}


def test_a_dropped_row_is_found(ledger: Path) -> None:
    with forging(ledger) as conn:
        conn.execute("DELETE FROM events WHERE seq = 2")
    assert found(ledger) == {(Kind.MISSING, 2), (Kind.BAD_LINK, 3)}


def test_a_dropped_row_with_the_gap_closed_is_found(ledger: Path) -> None:
    with forging(ledger) as conn:
        conn.execute("DELETE FROM events WHERE seq = 7")
        conn.execute("UPDATE events SET seq = 7 WHERE seq = 8")
    assert found(ledger) == {(Kind.CHANGED, 7), (Kind.BAD_LINK, 7)}


def test_the_first_row_dropped_is_found(ledger: Path) -> None:
    with forging(ledger) as conn:
        conn.execute("DELETE FROM events WHERE seq = 1")
    assert found(ledger) == {(Kind.MISSING, 1), (Kind.BAD_LINK, 2)}


@pytest.mark.parametrize("place", [0, -1])
def test_a_row_before_the_first_is_found(ledger: Path, place: int) -> None:
    with forging(ledger) as conn:
        conn.execute(
            f"INSERT INTO events SELECT {place}, at, kind, number, system, actor, payload, prev, hash"
            " FROM events WHERE seq = 1"
        )
    assert (Kind.MISSING, 1) in found(ledger)


def test_swapped_rows_are_found(ledger: Path) -> None:
    with forging(ledger) as conn:
        for here, there in ((7, 99), (8, 7), (99, 8)):
            conn.execute("UPDATE events SET seq = ? WHERE seq = ?", (there, here))
    assert {(Kind.CHANGED, 7), (Kind.CHANGED, 8)} <= found(ledger)


def test_an_inserted_row_is_found(ledger: Path) -> None:
    with forging(ledger) as conn:
        conn.execute("UPDATE events SET seq = 9 WHERE seq = 8")
        conn.execute(
            "INSERT INTO events SELECT 8, at, 'forged', number, system, actor, payload, prev, hash"
            " FROM events WHERE seq = 9"
        )
    assert {(Kind.CHANGED, 8), (Kind.CHANGED, 9)} <= found(ledger)


def test_a_row_appended_without_the_chain_is_found(ledger: Path) -> None:
    with forging(ledger) as conn:
        conn.execute("INSERT INTO events VALUES (9, 1, 'forged', NULL, NULL, NULL, '{}', x'00', x'00')")
    assert found(ledger) == {(Kind.BAD_LINK, 9), (Kind.CHANGED, 9)}


def test_rows_cut_off_are_found_by_the_ledgers_own_checkpoint(ledger: Path) -> None:
    with forging(ledger) as conn:
        conn.execute("DELETE FROM events WHERE seq >= 5")
    assert (Kind.TRUNCATED, 5) in found(ledger)


def test_rows_cut_off_together_with_the_checkpoint_are_found_by_a_kept_one(
    ledger: Path, kept: Checkpoint
) -> None:
    with forging(ledger) as conn:
        conn.execute("DELETE FROM events WHERE seq >= 3")
        conn.execute("DELETE FROM event_numbers")
        conn.execute("DELETE FROM private")
        conn.execute("DELETE FROM checkpoints")
    assert found(ledger) == set()  # what is left is a whole ledger: only somebody else can tell
    assert found(ledger, kept) == {(Kind.TRUNCATED, 5)}


def test_a_wholly_rehashed_chain_is_found_by_an_earlier_checkpoint(ledger: Path, kept: Checkpoint) -> None:
    with forging(ledger) as conn:
        conn.execute("UPDATE events SET number = '+12125559999' WHERE seq = 2")
        rehash(conn)
    assert found(ledger) == {(Kind.REWRITTEN, 5)}
    with forging(ledger) as conn:
        conn.execute("DELETE FROM checkpoints")
    assert found(ledger) == set()
    assert found(ledger, kept) == {(Kind.REWRITTEN, 5)}


def test_a_rehashed_end_is_beyond_an_earlier_checkpoint(ledger: Path, kept: Checkpoint) -> None:
    """Not a wish but the limit of checkpoints, kept here so that nobody claims more."""
    with forging(ledger) as conn:
        conn.execute("UPDATE events SET actor = 'eve' WHERE seq = 7")
        rehash(conn)
    assert found(ledger, kept) == set()


def test_nonsense_under_a_good_hash_is_found_and_survived(ledger: Path) -> None:
    for nonsense in (
        '["numbers":',
        '{"numbers":7}',
        '{"private":["xyz"]}',
        '[{"numbers":1}]',
        '{"numbers":[[]]}',
    ):
        with forging(ledger) as conn:
            conn.execute("DELETE FROM checkpoints")
            conn.execute("UPDATE events SET payload = ? WHERE seq = 8", (nonsense,))
            rehash(conn)
        assert found(ledger) == {(Kind.CHANGED, 8)}, nonsense


def test_removed_guards_are_found(ledger: Path) -> None:
    conn = sqlite3.connect(ledger, isolation_level=None)
    conn.execute("DROP TRIGGER events_never_change")
    conn.execute("UPDATE events SET actor = 'eve' WHERE seq = 2")
    conn.close()
    assert found(ledger) == {(Kind.SCHEMA, None), (Kind.CHANGED, 2)}


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TRIGGER events_never_vanish",
        "CREATE TRIGGER quiet AFTER INSERT ON events BEGIN DELETE FROM private; END",
        "CREATE TABLE mine (x)",
        "DROP INDEX events_by_number",
        "ALTER TABLE checkpoints ADD COLUMN note TEXT",
    ],
)
def test_a_changed_schema_is_found(ledger: Path, sql: str) -> None:
    conn = sqlite3.connect(ledger, isolation_level=None)
    conn.execute(sql)
    conn.close()
    assert (Kind.SCHEMA, None) in found(ledger)


def test_an_index_that_hides_an_event_is_found(ledger: Path) -> None:
    """The chain is whole, but who asks for the number would not see the event."""
    with closing(sqlite3.connect(ledger, isolation_level=None)) as conn:
        (last,) = conn.execute("SELECT hash FROM events WHERE seq = 8").fetchone()
        conn.execute("PRAGMA writable_schema = ON")
        index = conn.execute("SELECT * FROM sqlite_schema WHERE name = 'events_by_number'").fetchone()
        conn.execute("DELETE FROM sqlite_schema WHERE name = 'events_by_number'")
        conn.execute("PRAGMA writable_schema = RESET")
        new = (9, AT, "quiet", "+12125550001", None, None, "{}")
        conn.execute(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*new, last, chain.link(last, *new))
        )
        conn.execute("PRAGMA writable_schema = ON")
        conn.execute("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", index)
        conn.execute("PRAGMA writable_schema = RESET")
    assert {kind for kind, _ in found(ledger)} == {Kind.DAMAGED}


def test_statistics_are_no_change_of_the_schema(ledger: Path) -> None:
    conn = sqlite3.connect(ledger, isolation_level=None)
    conn.execute("ANALYZE")
    conn.close()
    assert found(ledger) == set()


def test_a_forged_checkpoint_is_found(ledger: Path, kept: Checkpoint, tmp_path: Path) -> None:
    with forging(ledger) as conn:
        conn.execute("UPDATE checkpoints SET root = ?", (bytes(32),))
    assert found(ledger) == {(Kind.BAD_SIGNATURE, 5)}
    assert found(ledger, replace(kept, at=kept.at + 1)) == {(Kind.BAD_SIGNATURE, 5)}


def test_a_rehashed_chain_signed_anew_is_found_by_the_trusted_key(
    ledger: Path, kept: Checkpoint, tmp_path: Path
) -> None:
    eve = Signer.create(tmp_path / "eve.pem")
    with forging(ledger) as conn:
        conn.execute("UPDATE events SET actor = 'eve' WHERE seq = 2")
        rehash(conn)
        (root,) = conn.execute("SELECT hash FROM events WHERE seq = 5").fetchone()
        forged = eve.sign(kept.ledger, 5, root, kept.at)
        conn.execute(
            "UPDATE checkpoints SET root = ?, public_key = ?, signature = ?",
            (forged.root, forged.public_key, forged.signature),
        )
    assert found(ledger) == set()
    assert found(ledger, trusted_keys=[kept.public_key]) == {(Kind.UNKNOWN_KEY, 5)}


def test_a_checkpoint_of_another_ledger_is_told(ledger: Path, tmp_path: Path) -> None:
    other = Signer.create(tmp_path / "other.pem").sign("another", 5, b"r" * 32, AT)
    assert found(ledger, other) == {(Kind.OTHER_LEDGER, 5)}


def test_a_changed_ledger_id_is_found_by_the_checkpoint(ledger: Path) -> None:
    for sql in ("UPDATE meta SET value = 'x' WHERE key = 'ledger'", "DELETE FROM meta"):
        with forging(ledger) as conn:
            conn.execute(sql)
        assert (Kind.BAD_SIGNATURE, 5) in found(ledger)


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("DELETE FROM event_numbers WHERE number = '+12125550099'", (Kind.NUMBER_INDEX, 3)),
        (
            "UPDATE event_numbers SET number = '+12125550098' WHERE number = '+12125550099'",
            (Kind.NUMBER_INDEX, 3),
        ),
        ("INSERT INTO event_numbers VALUES ('+12125550098', 3)", (Kind.NUMBER_INDEX, None)),
        ("INSERT INTO event_numbers VALUES ('+12125550099', 77)", (Kind.NUMBER_INDEX, None)),
    ],
)
def test_the_index_of_numbers_is_exact(ledger: Path, sql: str, problem: tuple[Kind, int | None]) -> None:
    with forging(ledger) as conn:
        conn.execute(sql)
    assert found(ledger) == {problem}


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE private SET body = 'START' WHERE body IS NOT NULL",
        "UPDATE private SET salt = zeroblob(16) WHERE body IS NOT NULL",
        "UPDATE private SET body = CAST(x'ff' AS TEXT) WHERE body IS NOT NULL",
        "DELETE FROM private WHERE body IS NOT NULL",
        "DELETE FROM private WHERE body IS NULL",
        "UPDATE private SET seq = 5 WHERE body IS NOT NULL",
        "UPDATE private SET body = NULL, salt = NULL, purged_at = 1, purge_reason = 'x', purged_seq = 6",
        "UPDATE private SET body = NULL, salt = NULL",
        "UPDATE private SET purge_reason = 'a better one' WHERE body IS NULL",
        "UPDATE private SET purged_at = 1 WHERE body IS NULL",
        "INSERT INTO private VALUES (zeroblob(32), 4, zeroblob(16), 'x', NULL, NULL, NULL)",
    ],
)
def test_personal_data_is_neither_changed_nor_lost_in_silence(ledger: Path, sql: str) -> None:
    with forging(ledger) as conn:
        conn.execute(sql)
    assert Kind.PRIVATE in {kind for kind, _ in found(ledger)}


def test_a_purged_body_leaves_no_problem(ledger: Path) -> None:
    with DirectWriter(ledger) as writer:
        writer.call(lambda tx: tx.purge(STOP.hash, at=AT + 9, reason="erasure request"))
    assert found(ledger) == set()


def test_the_problems_listed_are_bounded(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier, "_MOST", 3)
    with forging(ledger) as conn:
        conn.execute("UPDATE events SET actor = 'eve'")
    report = verify(ledger)
    assert (len(report.problems), report.omitted) == (3, 7)  # 8 events, and their numbers and private data


def test_progress_ends_at_the_whole(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier, "_EVERY", 3)
    calls: list[tuple[int, int]] = []
    verify(ledger, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(3, 8), (6, 8), (8, 8)]


def test_what_is_appended_meanwhile_does_not_matter(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier, "_EVERY", 3)
    with DirectWriter(ledger) as writer:
        batch = NewEvent("page.imported", AT, {}, numbers=["+12125550042"])
        report = verify(ledger, progress=lambda *_: writer.call(lambda tx: tx.append([batch])))
    assert (report.problems, report.events) == ((), 8)


def test_no_ledger_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnreadable, match="does not exist"):
        verify(tmp_path / "nowhere.db")


def test_the_purged_words_are_not_in_the_ledger(original: Path) -> None:
    assert GONE.body.encode() not in original.read_bytes()
    assert STOP.body.encode() in original.read_bytes()
