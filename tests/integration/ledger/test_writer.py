"""The writer: group commit, who is rolled back with whom, and when callers hear of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from pathlib import Path

import pytest

from dncsync.ledger import events
from dncsync.ledger.events import NewEvent, seal
from dncsync.ledger.sqlite import Error, LedgerInUse, LedgerUnreadable, connect_reader, sqlite3
from dncsync.ledger.verify import verify
from dncsync.ledger.writer import DirectWriter, GroupWriter, NotCommitted, Tx, Writer, WriterClosed
from integration.ledger.making import AT, SALT, event


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture(params=[GroupWriter, DirectWriter])
def writer(request: pytest.FixtureRequest, path: Path) -> Iterator[Writer]:
    with request.param(path, create=True) as writer:
        yield writer


@pytest.fixture
def grouped(path: Path) -> Iterator[GroupWriter]:
    with GroupWriter(path, create=True) as writer:
        yield writer


def kinds(path: Path) -> list[str]:
    conn = connect_reader(path)
    found = [row[0] for row in conn.execute("SELECT kind FROM events ORDER BY seq")]
    conn.close()
    return found


def together(writer: GroupWriter, *fns: Callable[[Tx], object]) -> list[Future[object]]:
    """Has `fns` commit as one group: they queue up behind a caller that waits for them."""
    queued, busy = threading.Event(), threading.Event()

    def hold(_: Tx) -> None:
        busy.set()
        queued.wait()

    writer.submit(hold)
    busy.wait()
    futures = [writer.submit(fn) for fn in fns]
    queued.set()
    wait(futures)
    return futures


def fail(tx: Tx) -> None:
    tx.append([event(99)])
    raise LookupError("mine alone")


def append(n: int) -> Callable[[Tx], list[int]]:
    return lambda tx: tx.append([event(n)])


def test_events_get_their_place_in_order(writer: Writer, path: Path) -> None:
    assert writer.call(append(1)) == [1]
    assert writer.call(lambda tx: tx.append([event(2), event(3)])) == [2, 3]
    assert writer.call(lambda tx: tx.append([])) == []
    assert verify(path).events == 3
    assert verify(path).ok


def test_what_is_answered_is_committed(writer: Writer, path: Path) -> None:
    writer.submit(append(1)).result()
    assert kinds(path) == ["kind.1"]


def test_a_failing_caller_leaves_nothing(writer: Writer, path: Path) -> None:
    with pytest.raises(LookupError, match="mine alone"):
        writer.call(fail)
    assert writer.call(append(2)) == [1]
    assert kinds(path) == ["kind.2"]
    assert verify(path).ok


def test_a_failing_caller_takes_nobody_with_it(grouped: GroupWriter, path: Path) -> None:
    first, second, third = together(grouped, append(1), fail, append(3))
    assert (first.result(), third.result()) == ([1], [2])
    assert isinstance(second.exception(), LookupError)
    assert kinds(path) == ["kind.1", "kind.3"]
    assert verify(path).ok


def test_those_who_wait_share_one_commit(grouped: GroupWriter, path: Path) -> None:
    seen: list[int] = []

    def append_and_look(tx: Tx) -> None:
        tx.append([event(1)])
        seen.append(len(kinds(path)))  # by a reader of its own

    together(grouped, append_and_look, append_and_look)
    assert seen == [0, 0]
    assert len(kinds(path)) == 2


def test_an_append_that_failed_half_way_cannot_be_swallowed(writer: Writer, path: Path) -> None:
    def swallow(tx: Tx) -> None:
        bad = NewEvent("bad", AT, {"x": object()})
        try:
            tx.append([NewEvent("good", AT, {}, numbers=["+12125550001"]), bad])
        except TypeError:
            tx.append([event(2)])

    with pytest.raises(TypeError):
        writer.call(swallow)
    assert kinds(path) == []
    assert verify(path).ok


def test_a_failed_statement_may_be_handled_and_the_rest_stands(writer: Writer, path: Path) -> None:
    def careful(tx: Tx) -> list[int]:
        with pytest.raises(Error):
            tx.execute("INSERT INTO nowhere VALUES (1)")
        return tx.append([event(1)])

    assert writer.call(careful) == [1]


@pytest.mark.parametrize("sql", ["COMMIT", "ROLLBACK"])
def test_a_caller_that_ends_the_transaction_is_told_and_the_writer_goes_on(
    grouped: GroupWriter, path: Path, sql: str
) -> None:
    first, second, third = together(grouped, append(1), lambda tx: tx.execute(sql) and None, append(3))
    for future in (first, second, third):
        assert isinstance(future.exception(), NotCommitted)
    grouped.call(append(4))
    assert verify(path).ok
    assert kinds(path)[-1] == "kind.4"


def test_callbacks_run_after_the_commit_and_only_then(writer: Writer, path: Path) -> None:
    seen: list[list[str]] = []
    ran = threading.Event()

    def with_callback(tx: Tx) -> None:
        tx.append([event(1)])
        tx.after_commit(lambda: seen.append(kinds(path)))
        tx.after_commit(ran.set)
        assert seen == []

    def fail_with_callback(tx: Tx) -> None:
        tx.after_commit(lambda: seen.append(["never"]))
        raise LookupError

    with pytest.raises(LookupError):
        writer.call(fail_with_callback)
    writer.call(with_callback)
    ran.wait()
    assert seen == [["kind.1"]]


def test_a_failing_callback_changes_nothing(
    writer: Writer, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise LookupError("in a callback")

    writer.call(lambda tx: tx.after_commit(broken))
    writer.call(append(1))
    writer.close()
    assert kinds(path) == ["kind.1"]
    assert "a callback failed after its commit" in caplog.text


def fill_the_disk(tx: Tx) -> None:
    """No page may be added to the file from here on: what a full disk looks like to SQLite."""
    (pages,) = tx.execute("PRAGMA page_count").fetchone()
    tx.execute(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk_fails_those_concerned_and_the_writer_goes_on(grouped: GroupWriter, path: Path) -> None:
    big = NewEvent("big", AT, {"x": "x" * 100_000})
    grouped.call(append(1))
    grouped.call(fill_the_disk)
    callbacks: list[int] = []

    def small(tx: Tx) -> list[int]:
        tx.after_commit(lambda: callbacks.append(1))
        return tx.append([event(2)])

    first, second, third = together(grouped, small, lambda tx: tx.append([big]), small)
    assert isinstance(first.exception(), NotCommitted)
    assert "full" in str(second.exception())
    assert isinstance(third.exception(), NotCommitted)
    assert callbacks == []
    assert kinds(path) == ["kind.1"]
    grouped.call(lambda tx: tx.execute("PRAGMA max_page_count = 1000000") and None)
    assert grouped.call(append(4)) == [2]
    assert verify(path).ok


def test_a_commit_that_fails_fails_everyone(grouped: GroupWriter, path: Path) -> None:
    def owe(tx: Tx) -> None:
        # A debt that only the COMMIT itself looks at: the nearest to a disk that fails in that moment.
        tx.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
        tx.execute("CREATE TABLE child (id REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)")
        tx.execute("INSERT INTO child VALUES (1)")

    for future in together(grouped, append(1), owe, append(3)):
        assert isinstance(future.exception(), NotCommitted)
    assert grouped.call(append(4)) == [1]
    assert kinds(path) == ["kind.4"]
    assert verify(path).ok


def test_a_ledger_locked_by_a_foreign_program_fails_callers_and_recovers(writer: Writer, path: Path) -> None:
    writer.call(lambda tx: tx.execute("PRAGMA busy_timeout = 0") and None)
    foreign = sqlite3.connect(path, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    with pytest.raises(NotCommitted, match="locked"):
        writer.call(append(1))
    foreign.execute("ROLLBACK")
    foreign.close()
    assert writer.call(append(1)) == [1]


def test_close_finishes_what_was_submitted(path: Path) -> None:
    writer = GroupWriter(path, create=True)
    futures = [writer.submit(append(n)) for n in range(600)]
    writer.close()
    writer.close()
    assert [future.result() for future in futures] == [[n + 1] for n in range(600)]
    with pytest.raises(WriterClosed):
        writer.submit(append(1))


def test_a_closed_direct_writer_says_so(path: Path) -> None:
    writer = DirectWriter(path, create=True)
    writer.close()
    writer.close()
    with pytest.raises(WriterClosed):
        writer.submit(append(1))


def test_a_cancelled_caller_is_left_out(grouped: GroupWriter, path: Path) -> None:
    queued, busy = threading.Event(), threading.Event()

    def hold(_: Tx) -> None:
        busy.set()
        queued.wait()

    grouped.submit(hold)
    busy.wait()
    cancelled = grouped.submit(append(1))
    assert cancelled.cancel()
    queued.set()
    assert grouped.call(append(2)) == [1]
    assert kinds(path) == ["kind.2"]


def test_the_writers_own_thread_does_not_wait_for_itself(grouped: GroupWriter) -> None:
    with pytest.raises(RuntimeError, match="wait for itself"):
        grouped.call(lambda _: grouped.call(append(1)))


def test_many_callers_keep_one_chain(grouped: GroupWriter, path: Path) -> None:
    seqs: list[int] = []

    def work(n: int) -> None:
        for i in range(20):
            if i % 7 == 3:
                with pytest.raises(LookupError):
                    grouped.call(fail)
            seqs.extend(grouped.call(append(n * 100 + i)))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seqs) == list(range(1, 321))
    assert verify(path).ok


def test_one_writer_at_a_time(writer: Writer, path: Path) -> None:
    for kind in (GroupWriter, DirectWriter):
        with pytest.raises(LedgerInUse, match=r"in use by process \d+ on "):
            kind(path)
    writer.close()
    DirectWriter(path).close()


def test_an_unreadable_ledger_is_told_to_who_opens_it(path: Path) -> None:
    for kind in (GroupWriter, DirectWriter):
        with pytest.raises(LedgerUnreadable, match="does not exist"):
            kind(path)
    DirectWriter(path, create=True).close()  # and nothing was left locked


def test_the_chain_goes_on_after_reopening(path: Path) -> None:
    for n in range(1, 4):
        with GroupWriter(path, create=True) as writer:
            assert writer.call(append(n)) == [n]
    assert verify(path).ok


def test_recorded_events_are_what_a_reader_will_see(writer: Writer, path: Path) -> None:
    new = NewEvent("k", AT, {"t": (1, 2)}, numbers=["+12125550001"], private=[seal("x", SALT)])
    (recorded,) = writer.call(lambda tx: tx.record([new]))
    conn = connect_reader(path)
    assert list(events.iterate(conn)) == [recorded]
    conn.close()
    assert recorded.payload["t"] == [1, 2]


def test_purged_words_leave_the_files(writer: Writer, path: Path) -> None:
    secret = seal("call my sister Ada instead", SALT)
    writer.call(lambda tx: tx.append([NewEvent("said", AT, {}, private=[secret])]))
    files = [path, path.with_name(path.name + "-wal")]
    assert any(b"sister Ada" in file.read_bytes() for file in files)
    purged = threading.Event()

    def purge(tx: Tx) -> None:
        tx.purge(secret.hash, at=AT, reason="erasure request")
        tx.after_commit(purged.set)

    writer.call(purge)
    purged.wait()
    assert not any(b"sister Ada" in file.read_bytes() for file in files)
    assert verify(path).ok
