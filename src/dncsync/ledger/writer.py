"""One writer: callers hand over what to do, and hear of it when it is on disk.

    writer = GroupWriter(path)
    seqs = writer.call(lambda tx: tx.append([NewEvent(...)]))   # returns after the commit, or raises

Whoever is waiting commits together: one BEGIN IMMEDIATE, a savepoint per caller, one COMMIT, then the
answers. `DirectWriter` has the same meaning without a thread, for a world under a virtual clock.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from dncsync.ledger import events
from dncsync.ledger.events import Event, Head, NewEvent
from dncsync.ledger.sqlite import Connection, Cursor, Error, LedgerError, LedgerLock, connect_writer

T = TypeVar("T")

log = logging.getLogger(__name__)

_GROUP = 256
"""The most callers that share a commit: bounds how long the first of them waits for the last."""


class NotCommitted(LedgerError):
    """The transaction could not be committed: nothing of it is in the ledger, and it may be tried again."""


class WriterClosed(LedgerError):
    """The writer is closed; nothing was written."""


class Tx:
    """One caller's part of a transaction; good only inside the function it was given to."""

    __slots__ = ("after", "conn", "failure", "head")

    def __init__(self, conn: Connection, head: Head) -> None:
        self.conn = conn
        self.head = head  # the end of the chain as this transaction sees it
        self.after: list[Callable[[], object]] = []
        self.failure: BaseException | None = None  # half of an append may stand, so nothing may

    def execute(self, sql: str, params: Sequence[Any] | dict[str, Any] = ()) -> Cursor:
        """Runs one statement, which must not begin or end a transaction."""
        return self.conn.execute(sql, params)

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> Cursor:
        """Runs one statement for each of `rows`, which are consumed one by one."""
        return self.conn.executemany(sql, rows)

    def append(self, new: Iterable[NewEvent]) -> list[int]:
        """Appends events to the chain and returns their sequence numbers.

        Raises `TypeError` or `ValueError` for an event that has no canonical form.
        """
        first = self.head.seq + 1
        with self._whole():
            self.head = events.append(self.conn, self.head, new)
        return list(range(first, self.head.seq + 1))

    def record(self, new: Sequence[NewEvent]) -> list[Event]:
        """Appends events and returns them as stored: a projection sees now what a rebuild will see later."""
        with self._whole():
            recorded = events.record(self.conn, self.head, new)
        if recorded:
            self.head = Head(recorded[-1].seq, recorded[-1].hash)
        return recorded

    def purge(self, digest: bytes, *, at: int, reason: str, actor: str | None = None) -> None:
        """Erases personal data (see `events.purge`); `at` is in microseconds. Raises `KeyError`."""
        with self._whole():
            self.head = events.purge(self.conn, self.head, digest, at=at, reason=reason, actor=actor)
        self.after.append(partial(_empty_wal, self.conn))

    def after_commit(self, callback: Callable[[], object]) -> None:
        """Calls `callback` once this transaction is on disk, and never if it does not get there."""
        self.after.append(callback)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """What fails half way fails the caller's whole part, even if the caller swallows the exception."""
        try:
            yield
        except BaseException as error:
            self.failure = error
            raise


class Writer(ABC):
    """What may change a ledger. Closing it (or leaving its `with` block) waits for work in hand."""

    @abstractmethod
    def submit(self, fn: Callable[[Tx], T]) -> Future[T]:
        """Has `fn` run in a transaction; the future resolves after the commit.

        The future carries the exception of `fn`, whose own changes are then rolled back, or `NotCommitted`.
        What `fn` returns must be complete: a cursor is of no use outside. Raises `WriterClosed`.
        """

    def call(self, fn: Callable[[Tx], T]) -> T:
        """`submit`, and wait. Raises what the future carries."""
        return self.submit(fn).result()

    @abstractmethod
    def close(self) -> None:
        """Finishes what was submitted, then lets go of the ledger. Harmless when done twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class GroupWriter(Writer):
    """The writer of a running program: a thread that owns the only write connection."""

    def __init__(
        self, path: Path, *, create: bool = False, durable: bool = True, now: int | None = None
    ) -> None:
        """Opens the ledger as `connect_writer` does. Raises `LedgerInUse`, `LedgerUnreadable`."""
        self._queue: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._gate = threading.Lock()  # nothing is queued behind the sentinel
        self._closed = False
        opened: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(opened, path, create, durable, now), name="ledger-writer", daemon=True
        )
        self._thread.start()
        opened.result()

    def submit(self, fn: Callable[[Tx], T]) -> Future[T]:
        job = _Job(fn, Future())
        with self._gate:
            if self._closed:
                raise WriterClosed("the ledger is closed")
            self._queue.put(job)
        return job.future

    def call(self, fn: Callable[[Tx], T]) -> T:
        if threading.current_thread() is self._thread:
            raise RuntimeError("the writer's own thread would wait for itself; use submit")
        return super().call(fn)

    def close(self) -> None:
        with self._gate:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _run(self, opened: Future[None], path: Path, create: bool, durable: bool, now: int | None) -> None:
        try:
            transactions = _Transactions(path, create=create, durable=durable, now=now)
        except BaseException as error:
            opened.set_exception(error)
            return
        opened.set_result(None)
        try:
            while jobs := self._waiting():
                transactions.commit(jobs)
        finally:
            transactions.close()

    def _waiting(self) -> list[_Job[Any]]:
        """Everyone who waits now, or the next one to come; nobody, when the writer is closed and drained."""
        job = self._queue.get()
        jobs: list[_Job[Any]] = []
        while job is not None:
            jobs.append(job)
            if len(jobs) == _GROUP:
                return jobs
            try:
                job = self._queue.get_nowait()
            except Empty:
                return jobs
        if jobs:
            self._queue.put(None)  # the sentinel came with work: see it again after that
        return jobs


class DirectWriter(Writer):
    """The same transactions in the caller's own thread, committed before `submit` returns."""

    def __init__(
        self, path: Path, *, create: bool = False, durable: bool = True, now: int | None = None
    ) -> None:
        """Opens the ledger as `connect_writer` does. Raises `LedgerInUse`, `LedgerUnreadable`."""
        self._transactions: _Transactions | None = _Transactions(
            path, create=create, durable=durable, now=now
        )

    def submit(self, fn: Callable[[Tx], T]) -> Future[T]:
        if self._transactions is None:
            raise WriterClosed("the ledger is closed")
        job = _Job(fn, Future())
        self._transactions.commit([job])
        return job.future

    def close(self) -> None:
        if self._transactions is not None:
            self._transactions.close()
            self._transactions = None


@dataclass(slots=True, eq=False)
class _Job(Generic[T]):
    """One caller's wish, and what became of it."""

    fn: Callable[[Tx], T]
    future: Future[T]
    result: T | None = None
    error: BaseException | None = None
    after: Sequence[Callable[[], object]] = ()

    def answer(self) -> None:
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)  # type: ignore[arg-type]  # T may itself be None


class _Transactions:
    """The write connection with its lock and the chain's head; used by one thread."""

    def __init__(self, path: Path, *, create: bool, durable: bool, now: int | None) -> None:
        self._lock = LedgerLock(path)
        try:
            self._conn = connect_writer(path, create=create, durable=durable, now=now)
            self._head = events.head(self._conn)  # holds until we append: nobody else may write
        except BaseException:
            self._lock.release()
            raise

    def close(self) -> None:
        self._conn.close()
        self._lock.release()

    def commit(self, jobs: Sequence[_Job[Any]]) -> None:
        """Runs `jobs` in one transaction and answers every one of them, whatever happens."""
        jobs = [job for job in jobs if job.future.set_running_or_notify_cancel()]
        try:
            self._conn.execute("BEGIN IMMEDIATE")
            head = self._head
            for job in jobs:
                head = self._run(job, head)
            self._conn.execute("COMMIT")
            self._head = head
        except BaseException as error:  # whatever it was, every caller gets an answer and the thread goes on
            self._abandon(jobs, error)
        # Before the answers: what is handed over here goes out to vendors, and callers compete with it.
        for callback in (callback for job in jobs for callback in job.after):
            try:
                callback()
            except Exception:
                log.exception("a callback failed after its commit; the commit stands")
        for job in jobs:
            job.answer()

    def _run(self, job: _Job[Any], head: Head) -> Head:
        """One caller in its savepoint; returns the head it leaves."""
        conn = self._conn
        conn.execute("SAVEPOINT caller")
        tx = Tx(conn, head)
        try:
            job.result = job.fn(tx)
            if tx.failure is not None:
                raise tx.failure
        except BaseException as error:
            job.error = error
            conn.execute("ROLLBACK TO caller")  # fails where a full disk has rolled everything back at once
            conn.execute("RELEASE caller")
            return head
        conn.execute("RELEASE caller")  # fails where the caller has ended the common transaction
        job.after = tx.after
        return tx.head

    def _abandon(self, jobs: Sequence[_Job[Any]], cause: BaseException) -> None:
        """Nothing of the group stays; who has no error of its own gets the common one."""
        for job in jobs:
            job.after = ()
            if job.error is None:
                job.error = NotCommitted(f"the ledger did not take the change ({cause})")
                job.error.__cause__ = cause
        try:
            if self._conn.in_transaction:
                self._conn.execute("ROLLBACK")
            self._head = events.head(self._conn)  # the truth, should a caller have committed by itself
        except Error:
            log.exception("the ledger's disk fails; writing is refused until it answers again")


def _empty_wal(conn: Connection) -> None:
    """Takes purged text out of the log file too, now if no reader is looking, else when the log is reused."""
    (patience,) = conn.execute("PRAGMA busy_timeout").fetchone()
    conn.execute("PRAGMA busy_timeout = 0")
    try:
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        conn.execute(f"PRAGMA busy_timeout = {patience}")
