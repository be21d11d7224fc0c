"""The sandbox's records in an in-memory SQLite database."""
# ruff: noqa: S608 (names come from the sandbox's own schema)

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from dncsync_salesforce.sandbox_schema import PHONES, PREFIX, RECORDS, SandboxSchema, shown_as
from dncsync_salesforce.sandbox_seed import LOADER, Seeding

Row = dict[str, Any]
_GUARD = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


def stamp_of(moment: datetime) -> str:
    """A stamp as the API writes it: whole seconds (sheet 6.2)."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def digits_of(value: str) -> str:
    """The ten digits of an American number in any spelling without an extension, else all its digits."""
    digits = re.sub(r"\D", "", re.split(r"(?i)\s*(?:x|ext)", value)[0])
    return digits[1:] if len(digits) == 11 and digits[0] == "1" else digits


class Store:
    """Rows of every object. The caller holds the sandbox's lock."""

    def __init__(self, schema: SandboxSchema, seeding: Seeding, now: Callable[[], datetime]) -> None:
        self._schema = schema
        self._seeding = seeding
        self.now = now
        self._made = 0
        self._changed_phones: dict[str, set[tuple[str, str]]] = {}
        """Ten digits -> records that came to hold them after the beginning."""
        self.visibility_delay: Callable[[], float] = lambda: 0.0
        """Seconds until a change shows up in queries by SystemModstamp."""
        self.index_delay = 0.0
        """Seconds until a change shows up in searches."""
        self.db = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self.db.execute("PRAGMA journal_mode = OFF")
        self._make_tables()
        self._load()

    # --- reading --------------------------------------------------------------------------------------

    def get(self, sobject: str, record_id: str) -> Row | None:
        """A record by its full id, deleted ones included."""
        cursor = self.db.execute(f'SELECT * FROM "{sobject}" WHERE Id = ?', (record_id,))
        rows = rows_of(cursor)
        return rows[0] if rows else None

    def carriers(self, number: str) -> list[tuple[str, Row]]:
        """(object, row) of live records that hold this E.164 number: contacts first, hidden ones left out."""
        digits = digits_of(number)
        places = {*self._seeding.carriers(number), *self._changed_phones.get(digits, set())}
        found = []
        for sobject, record_id in sorted(places, key=lambda p: (RECORDS.index(p[0]), p[1])):
            row = self.get(sobject, record_id)
            if row is None or row["IsDeleted"] or row.get("IsConverted"):
                continue
            if sobject != "Lead" and bool(row.get("IsPersonAccount")) is not (sobject == "Account"):
                continue  # the hidden contact of a person account, or a business account
            if any(row.get(name) and digits_of(row[name]) == digits for name in PHONES[sobject]):
                found.append((sobject, row))
        return found

    # --- writing --------------------------------------------------------------------------------------

    def create(self, sobject: str, values: Mapping[str, Any], by: str) -> str:
        """A new record; its id."""
        self._made += 1
        body = f"{PREFIX[sobject]}5gNew{self._made:07d}"
        record_id = body + guard(body)
        stamp = stamp_of(self.now())
        row = {
            "Id": record_id,
            "IsDeleted": 0,
            "CreatedDate": stamp,
            "CreatedById": by,
            **dict.fromkeys(self._schema.flags(sobject), 0),
            **({"IsConverted": 0} if sobject == "Lead" else {}),
            **({"IsPersonAccount": 0} if self._schema.persons and sobject != "Lead" else {}),
            **values,
        }
        columns = ", ".join(f'"{name}"' for name in row)
        self.db.execute(
            f'INSERT INTO "{sobject}" ({columns}) VALUES ({", ".join("?" * len(row))})', tuple(row.values())
        )
        self.update(sobject, record_id, {}, by)
        self._note_phones(sobject, record_id, values)
        return record_id

    def update(
        self, sobject: str, record_id: str, values: Mapping[str, Any], by: str, *, touch: bool = True
    ) -> None:
        """A change by a user; stamps the record and writes field history, whether a value differs or not."""
        before = self.get(sobject, record_id)
        assert before is not None
        now = self.now()
        stamped: dict[str, Any] = dict(values)
        if touch:
            stamped |= {
                "LastModifiedDate": stamp_of(now),
                "LastModifiedById": by,
                "SystemModstamp": stamp_of(now),
            }
            stamped["_visible"] = now.timestamp() + self.visibility_delay()
        if not before.get("_indexed") or any(name in PHONES[sobject] for name in values):
            stamped["_indexed"] = now.timestamp() + self.index_delay
        places = ", ".join(f'"{name}" = ?' for name in stamped)
        self.db.execute(f'UPDATE "{sobject}" SET {places} WHERE Id = ?', (*stamped.values(), record_id))
        for name in self._schema.flags(sobject):
            if name in values and values[name] != before[name]:
                self._remember(sobject, record_id, name, before[name], values[name], by)
        self._note_phones(sobject, record_id, values)
        if sobject == "Account" and before.get("PersonContactId"):
            self._mirror(before["PersonContactId"], values, by)

    # --- inside ---------------------------------------------------------------------------------------

    def _mirror(self, contact_id: str, values: Mapping[str, Any], by: str) -> None:
        """A person account and its hidden contact are two views of one person (sheet 3.1)."""
        names = {"PersonDoNotCall": "DoNotCall", **{n: n.removeprefix("Person") for n in PHONES["Account"]}}
        custom = (self._schema.sms_field, self._schema.reason_field)
        names |= {shown_as("Account", name): name for name in custom if name}
        mirrored = {names[n]: v for n, v in values.items() if n in names}
        self.update("Contact", contact_id, mirrored, by)

    def _remember(self, sobject: str, record_id: str, name: str, old: Any, new: Any, by: str) -> None:
        if not self._schema.history or f"{sobject}History" not in self._schema.helpers:
            return
        count = self.db.execute(f"SELECT COUNT(*) FROM {sobject}History").fetchone()[0]
        columns = f"Id, {sobject}Id, Field, OldValue, NewValue, CreatedById, CreatedDate"
        self.db.execute(
            f"INSERT INTO {sobject}History ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (f"017{count:012d}AAA", record_id, name, _word(old), _word(new), by, stamp_of(self.now())),
        )

    def _note_phones(self, sobject: str, record_id: str, values: Mapping[str, Any]) -> None:
        for name in PHONES[sobject]:
            if value := values.get(name):
                self._changed_phones.setdefault(digits_of(value), set()).add((sobject, record_id))

    def _make_tables(self) -> None:
        for sobject in RECORDS:
            columns = ", ".join(
                f'"{f.name}" {"INTEGER" if f.type == "boolean" else "TEXT"}'
                for f in self._schema.fields[sobject].values()
                if f.name != "Id"
            )
            extra = "" if self._schema.persons or sobject != "Account" else ', "PersonContactId" TEXT'
            self.db.execute(
                f'CREATE TABLE "{sobject}" (Id TEXT NOT NULL, {columns}{extra}, _visible REAL, _indexed REAL)'
            )
        for name, fields in self._schema.helpers.items():
            kinds = ", ".join(
                f'"{f}" {"INTEGER" if d.type == "boolean" else "TEXT"}' for f, d in fields.items()
            )
            self.db.execute(f'CREATE TABLE "{name}" ({kinds})')

    def _load(self) -> None:
        """One prepared insert per object, indexes afterwards: a million records in a few seconds."""
        slots = {name: PHONES[name][:4] if name != "Lead" else PHONES[name][:2] for name in RECORDS}
        batches: dict[str, list[Sequence[Any]]] = {name: [] for name in RECORDS}

        def flush(sobject: str) -> None:
            person = sobject == "Account"
            names = ["Id", "IsDeleted", "CreatedDate", "LastModifiedDate", "SystemModstamp", "CreatedById"]
            names += ["LastModifiedById", *self._schema.flags(sobject), "_visible", "_indexed"]
            names += ["Name" if person else "LastName"]
            names += [n for n in ("IsPersonAccount",) if n in self._schema.fields[sobject]]
            names += [n for n in ("IsConverted",) if sobject == "Lead"]
            names += ["PersonContactId"] if person else []
            names += [n for n in slots[sobject] if n in self._schema.fields[sobject]]
            columns = ", ".join(f'"{n}"' for n in names)
            sql = f'INSERT INTO "{sobject}" ({columns}) VALUES ({", ".join("?" * len(names))})'
            self.db.executemany(sql, batches[sobject])
            batches[sobject] = []

        self.db.execute("BEGIN")
        flags = {name: len(self._schema.flags(name)) for name in RECORDS}
        persons = self._schema.persons
        for r in self._seeding.records():
            stamps = (r.stamp, r.stamp, r.stamp, LOADER, LOADER)
            ticks = (int(r.opted_out),) * flags[r.sobject]
            name = f"Person{r.number}"
            if r.sobject == "Lead":
                row: tuple[Any, ...] = (r.record_id, 0, *stamps, *ticks, 0.0, 0.0, name, 0, *r.phones[:2])
            elif r.sobject == "Contact":
                row = (r.record_id, 0, *stamps, *ticks, 0.0, 0.0, name, *((0,) if persons else ()), *r.phones)
            else:
                hidden = f"0035g000{r.number:07d}AAA"
                row = (r.record_id, 0, *stamps, *ticks, 0.0, 0.0, name, 1, hidden, *r.phones)
                batches["Contact"].append((hidden, 0, *stamps, *ticks, 0.0, 0.0, name, 1, *r.phones))
            batches[r.sobject].append(row)
            if len(batches[r.sobject]) >= 5_000:
                flush(r.sobject)
        for sobject in RECORDS:
            if batches[sobject]:
                flush(sobject)
        self.db.execute("COMMIT")
        for sobject in RECORDS:
            self.db.execute(f'CREATE UNIQUE INDEX "{sobject}_id" ON "{sobject}" (Id)')
            self.db.execute(f'CREATE INDEX "{sobject}_stamp" ON "{sobject}" (SystemModstamp, Id)')


def guard(body: str) -> str:
    """The last three characters of an 18-character id."""
    return "".join(
        _GUARD[sum(2**bit for bit in range(5) if body[start + bit].isupper())] for start in range(0, 15, 5)
    )


def rows_of(cursor: sqlite3.Cursor) -> list[Row]:
    """What is left of a cursor, by column name."""
    names = [entry[0] for entry in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _word(value: Any) -> str:
    return "true" if value else "false"
