"""The auditors' export: one self-contained SQLite file that needs nothing of ours to be read.

It holds the ledger's tables (`ledger_*`) as they were at one moment, readable views, full-text search, a
table of column comments and a table about itself. What it holds is data: `auditors/tables.toml` and one SQL
file a view.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dncsync
from dncsync.clock import from_micros
from dncsync.ledger import events
from dncsync.ledger.events import Head
from dncsync.ledger.sqlite import Connection, LedgerError, ledger_id, reading, sqlite3

if TYPE_CHECKING:
    from sqlite_utils import Database

Progress = Callable[[int, int], object]
"""Called with (rows copied, rows in all) now and then."""

_BATCH = 2_000  # rows held in memory

_PREFIX = "ledger_"  # the views have the plain names

_TYPES = {"TEXT": str, "INTEGER": int, "REAL": float, "BLOB": bytes}


class ExportRefused(LedgerError):
    """No file was written: why, and what to do, in one line."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written."""

    path: Path
    head: Head  # the last event in the file
    rows: Mapping[str, int]  # by table of the ledger
    complete: bool  # whether every event up to the head is in the file


@dataclass(frozen=True, slots=True)
class _Table:
    """One table of the ledger, as `tables.toml` has it."""

    name: str
    comment: str
    columns: Mapping[str, str]
    hex: tuple[str, ...] = ()
    personal: tuple[str, ...] = ()
    indexes: tuple[tuple[str, ...], ...] = ()
    search: tuple[str, ...] = ()

    @property
    def exported(self) -> str:
        return _PREFIX + self.name


@dataclass(frozen=True, slots=True)
class _View:
    """One readable view: a SQL file, and the comments of its columns."""

    name: str
    comment: str  # the file's first line
    sql: str
    columns: Mapping[str, str]


def export(
    path: Path,
    target: Path,
    *,
    at: int,
    overwrite: bool = False,
    include_personal: bool = False,
    progress: Progress | None = None,
) -> ExportReport:
    """Writes the ledger at `path`, as it is now, to the new SQLite file `target`.

    `at` is the time of export in microseconds. Consumers' words are left out unless `include_personal`: an
    export outlives a purge. The file appears under its name when it is whole, or not at all. Memory stays
    flat. Raises `ExportRefused`, `LedgerUnreadable`.
    """
    _refuse_target(path, target, overwrite)
    tables, views = _contents()
    with reading(path) as ledger, _written_whole(target, overwrite) as db:
        rows = _copy(ledger, db, tables, include_personal, progress)
        report = ExportReport(target, events.head(ledger), rows, rows["events"] == events.head(ledger).seq)
        _describe_itself(db, ledger, report, at, include_personal)
        for table in tables:
            if table.search and (include_personal or not set(table.search) & set(table.personal)):
                db.table(table.exported).enable_fts(table.search, fts_version="FTS5")
        for view in views:
            db.create_view(view.name, view.sql)
        _comment(db, tables, views)
        db.analyze()
    return report


@cache
def _contents() -> tuple[tuple[_Table, ...], tuple[_View, ...]]:
    folder = files("dncsync.ledger") / "auditors"
    spec = tomllib.loads((folder / "tables.toml").read_text(encoding="utf-8"))
    views = spec.pop("views")
    return (
        tuple(
            _Table(name=name, **{key: _frozen(value) for key, value in table.items()})
            for name, table in spec.items()
        ),
        tuple(
            _view(name, (folder / f"{name}.sql").read_text(encoding="utf-8"), columns)
            for name, columns in views.items()
        ),
    )


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _view(name: str, text: str, columns: Mapping[str, str]) -> _View:
    comment, _, sql = text.partition("\n")
    # A view must stand on what every SQLite has; written out, this would be most of each file.
    iso = r"strftime('%Y-%m-%dT%H:%M:%S', \1 / 1000000, 'unixepoch') || printf('.%06dZ', \1 % 1000000)"
    return _View(name, comment.removeprefix("-- "), re.sub(r"ISO\(([\w.]+)\)", iso, sql).strip(), columns)


def _refuse_target(path: Path, target: Path, overwrite: bool) -> None:
    if not target.parent.is_dir():
        raise ExportRefused(f"{target.parent} is not a folder; create it, or choose another path")
    if target.exists() and path.exists() and target.samefile(path):
        raise ExportRefused(f"{target} is the ledger itself; choose another path")
    if target.exists() and not (overwrite and target.is_file()):
        raise ExportRefused(f"{target} exists already; choose another path, or ask to overwrite it")


@contextmanager
def _written_whole(target: Path, overwrite: bool) -> Iterator[Database]:
    """A database under a temporary name, which gets its own name when everything in it is on disk."""
    from sqlite_utils import Database  # takes 0.2 s to import, and few commands export

    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(sqlite3.connect(partial, isolation_level=None)) as conn:
            conn.execute("PRAGMA journal_mode = OFF")  # a half-written file is removed, never repaired
            conn.execute("PRAGMA synchronous = OFF")
            yield Database(conn, execute_plugins=False)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        if overwrite:
            partial.replace(target)
        else:
            _link(partial, target)
    except (OSError, sqlite3.Error) as error:
        raise ExportRefused(f"{target} cannot be written ({error}); check the disk and the folder") from error
    finally:
        partial.unlink(missing_ok=True)


def _link(partial: Path, target: Path) -> None:
    try:
        os.link(partial, target)  # unlike a rename, it never takes the place of a file that came meanwhile
    except FileExistsError:
        raise ExportRefused(f"{target} exists already; choose another path, or ask to overwrite it") from None


def _copy(
    ledger: Connection,
    db: Database,
    tables: tuple[_Table, ...],
    include_personal: bool,
    progress: Progress | None,
) -> dict[str, int]:
    total = sum(_count(ledger, table.name) for table in tables) if progress else 0
    done, rows = 0, {}
    for table in tables:
        names = _create(ledger, db, table)
        into = f"INSERT INTO {table.exported} VALUES ({', '.join('?' * len(names))})"  # noqa: S608
        source = ledger.execute(_select(table, names, include_personal))
        rows[table.name] = 0
        with db.atomic():
            while batch := source.fetchmany(_BATCH):
                db.conn.executemany(into, batch)
                rows[table.name] += len(batch)
                done += len(batch)
                if progress:
                    progress(done, total)
    return rows


def _count(ledger: Connection, table: str) -> int:
    (count,) = ledger.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
    return int(count)


def _create(ledger: Connection, db: Database, table: _Table) -> list[str]:
    """Makes the table with the columns that the ledger has at its schema; returns their names."""
    columns = ledger.execute(
        'SELECT name, type, "notnull", pk FROM pragma_table_info(?) ORDER BY cid', (table.name,)
    ).fetchall()
    target = db.table(table.exported)
    target.create(
        {name: str if name in table.hex else _TYPES[kind] for name, kind, _, _ in columns},
        pk=tuple(name for name, _, _, place in sorted(columns, key=lambda c: c[3]) if place),
        not_null={name for name, _, required, place in columns if required and not place},
        strict=True,
    )
    # Before the rows come: sorting them afterwards takes memory by the row where SQLite sorts in memory.
    for index in table.indexes:
        target.create_index(index)
    return [name for name, *_ in columns]


def _select(table: _Table, names: list[str], include_personal: bool) -> str:
    def expression(name: str) -> str:
        if name in table.personal and not include_personal:
            return "NULL"
        return f"lower(nullif(hex({name}), ''))" if name in table.hex else f'"{name}"'

    return f"SELECT {', '.join(map(expression, names))} FROM {table.name}"  # noqa: S608


def _describe_itself(
    db: Database, ledger: Connection, report: ExportReport, at: int, include_personal: bool
) -> None:
    head = report.head.seq
    missing = head - report.rows["events"]
    facts = {
        "ledger": ledger_id(ledger),
        "head": str(head),
        "root": report.head.hash.hex(),
        "exported_at": from_micros(at).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "exported_at_microseconds": str(at),
        "software": f"dncsync {dncsync.__version__}",
        "completeness": (
            f"complete: every event from 1 to {head}, and every table as it was at that moment"
            if report.complete
            else f"incomplete: {missing} events up to {head} are missing; run `dncsync ledger verify`"
        ),
        "personal_data": "included, except what was purged" if include_personal else "left out",
        **{f"rows in {_PREFIX}{name}": str(count) for name, count in report.rows.items()},
    }
    about = db.table("about")
    about.create({"key": str, "value": str}, pk="key", not_null={"value"}, strict=True)
    about.insert_all({"key": key, "value": value} for key, value in facts.items())


def _comment(db: Database, tables: tuple[_Table, ...], views: tuple[_View, ...]) -> None:
    described: list[tuple[str, _Table | _View]] = [(table.exported, table) for table in tables]
    described += [(view.name, view) for view in views]
    comments = db.table("column_comments")
    comments.create(
        {"table_name": str, "column_name": str, "comment": str},
        pk=("table_name", "column_name"),
        not_null={"comment"},
        strict=True,
    )
    comments.insert_all(
        {"table_name": name, "column_name": column, "comment": comment}
        for name, thing in described
        for column, comment in [("", thing.comment), *thing.columns.items()]  # "": the table itself
    )
