"""Events as they are read back, by order and by number."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dncsync.ledger import events
from dncsync.ledger.events import Event, NewEvent, seal
from dncsync.ledger.sqlite import Connection, connect_reader, sqlite3
from dncsync.ledger.writer import DirectWriter
from integration.ledger.making import AT, GONE, SALT, STOP, event

ADA, BOB = "+12125550001", "+12125550002"


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[DirectWriter]:
    with DirectWriter(tmp_path / "ledger.db", create=True, durable=False) as writer:
        yield writer


@pytest.fixture
def conn(writer: DirectWriter, tmp_path: Path) -> Iterator[Connection]:
    conn = connect_reader(tmp_path / "ledger.db")
    yield conn
    conn.close()


def test_an_event_comes_back_as_it_went_in(writer: DirectWriter, conn: Connection) -> None:
    new = NewEvent("k", AT, {"b": [1, None], "a": "é"}, ADA, "crm", "ada", [BOB, ADA, BOB], [STOP])
    writer.call(lambda tx: tx.append([new]))
    (back,) = events.iterate(conn)
    assert (back.seq, back.at, back.kind, back.number, back.system, back.actor) == (
        1,
        AT,
        "k",
        ADA,
        "crm",
        "ada",
    )
    assert back.payload == {
        "a": "é", "b": [1, None], "numbers": [BOB, ADA, BOB], "private": [STOP.hash.hex()]
    }  # fmt: skip
    assert back.numbers == [BOB, ADA, BOB]
    assert back.private == [STOP.hash]


def test_reading_starts_after_what_is_known(writer: DirectWriter, conn: Connection) -> None:
    writer.call(lambda tx: tx.append(event(n) for n in range(1, 2_504)))
    assert [e.seq for e in events.iterate(conn, after=2_500)] == [2_501, 2_502, 2_503]
    assert events.head(conn) == (2_503, next(events.iterate(conn, 2_502)).hash)
    assert sum(1 for _ in events.iterate(conn)) == 2_503


def test_a_number_finds_its_events_alone_and_in_batches(writer: DirectWriter, conn: Connection) -> None:
    writer.call(
        lambda tx: tx.append(
            [
                NewEvent("1", AT, {}, number=ADA),
                NewEvent("2", AT, {}, numbers=[BOB, ADA]),
                NewEvent("3", AT, {}, number=BOB),
                NewEvent("4", AT, {}, number=ADA, numbers=[ADA]),
                NewEvent("5", AT, {}),
            ]
        )
    )
    assert [e.kind for e in events.of_number(conn, ADA)] == ["1", "2", "4"]
    assert [e.kind for e in events.of_number(conn, BOB)] == ["2", "3"]
    assert list(events.of_number(conn, "+12125550003")) == []


def test_finding_a_number_reads_no_other_events(conn: Connection) -> None:
    statements: list[str] = []
    conn.set_trace_callback(statements.append)
    list(events.of_number(conn, ADA))
    conn.set_trace_callback(None)
    plan = " ".join(row[3] for row in conn.execute(f"EXPLAIN QUERY PLAN {statements[0]}"))
    assert "SEARCH events" in plan
    assert "SCAN" not in plan


@pytest.mark.parametrize("key", ["numbers", "private"])
def test_reserved_keys_are_refused(writer: DirectWriter, key: str) -> None:
    with pytest.raises(ValueError, match="reserved"):
        writer.call(lambda tx: tx.append([NewEvent("k", AT, {key: []})]))


def test_a_short_message_cannot_be_guessed_from_its_hash() -> None:
    assert seal("STOP", bytes(16)).hash != seal("STOP", bytes(15) + b"1").hash
    with pytest.raises(ValueError, match="16 bytes"):
        seal("STOP", bytes(15))


def test_a_purge_keeps_the_tombstone_and_says_so(writer: DirectWriter, conn: Connection) -> None:
    writer.call(lambda tx: tx.append([NewEvent("said", AT, {}, private=[STOP, GONE])]))
    assert events.private_body(conn, STOP.hash) == "STOP"
    for _ in range(2):  # again changes nothing
        writer.call(lambda tx: tx.purge(STOP.hash, at=AT + 1, reason="asked for", actor="ada"))
    assert events.private_body(conn, STOP.hash) is None
    assert events.private_body(conn, GONE.hash) == GONE.body
    _, purged = events.iterate(conn)
    assert (purged.kind, purged.actor) == (events.PURGED, "ada")
    assert purged.payload == {"hash": STOP.hash.hex(), "reason": "asked for"}


def test_unknown_personal_data_is_an_error(writer: DirectWriter, conn: Connection) -> None:
    with pytest.raises(KeyError):
        events.private_body(conn, bytes(32))
    with pytest.raises(KeyError):
        writer.call(lambda tx: tx.purge(bytes(32), at=AT, reason="x"))


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE events SET actor = 'eve'",
        "DELETE FROM events",
        "REPLACE INTO events SELECT seq, 0, kind, number, system, actor, payload, prev, hash FROM events",
        "DELETE FROM event_numbers",
        "UPDATE event_numbers SET seq = 9",
        "DELETE FROM private",
        "UPDATE private SET body = 'START'",
        "UPDATE private SET seq = 9",
        "INSERT INTO private (hash, seq) VALUES (zeroblob(32), 1)",
        "UPDATE checkpoints SET at = 0",
        "DELETE FROM checkpoints",
    ],
)
def test_the_schema_refuses_what_is_no_append(writer: DirectWriter, sql: str) -> None:
    writer.call(lambda tx: tx.append([NewEvent("k", AT, {}, numbers=[ADA], private=[seal("x", SALT)])]))
    writer.call(lambda tx: tx.execute("INSERT INTO checkpoints VALUES (1, 1, x'00', x'00', x'00')") and None)
    with pytest.raises(sqlite3.IntegrityError):
        writer.call(lambda tx: tx.execute(sql) and None)


def test_values_of_the_wrong_type_are_refused(writer: DirectWriter) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        writer.call(lambda tx: tx.append([NewEvent("k", "yesterday", {})]))  # type: ignore[arg-type]


def test_events_are_values() -> None:
    made = Event(1, AT, "k", None, None, None, {}, bytes(32), bytes(32))
    assert (made.numbers, made.private) == ([], [])
    with pytest.raises(AttributeError):
        made.seq = 2  # type: ignore[misc]
