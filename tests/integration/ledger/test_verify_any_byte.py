"""The verifier against chance: any one byte of a ledger changed is found, or is no evidence."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dncsync.ledger.checkpoint import Signer
from dncsync.ledger.sqlite import LedgerUnreadable, connect_reader
from integration.ledger.making import forging, found, honest


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    honest(folder / "ledger.db", Signer.create(folder / "key.pem"))
    return folder / "ledger.db"


TABLES = {
    "events": ("seq", "at", "kind", "number", "system", "actor", "payload", "prev", "hash"),
    "event_numbers": ("number", "seq"),
    "private": ("hash", "seq", "salt", "body", "purged_at", "purge_reason", "purged_seq"),
    "checkpoints": ("seq", "at", "root", "public_key", "signature"),
}


@dataclass(frozen=True)
class Cell:
    """One value in a ledger, and how to find it."""

    table: str
    column: str
    key: tuple[tuple[str, Any], ...]
    value: int | str | bytes


@cache
def cells(path: Path) -> list[Cell]:
    conn = connect_reader(path)
    found = []
    for table, columns in TABLES.items():
        keys = [name for (name,) in conn.execute("SELECT name FROM pragma_table_info(?) WHERE pk", (table,))]
        for row in conn.execute(f"SELECT {', '.join([*keys, *columns])} FROM {table}"):
            key = tuple(zip(keys, row, strict=False))
            values = zip(columns, row[len(keys) :], strict=True)
            found += [Cell(table, column, key, value) for column, value in values if value is not None]
    conn.close()
    return found


def flipped(value: int | str | bytes, place: int, mask: int) -> int | bytes:
    """`value` with one byte changed; `place` counts from its start, round and round."""
    raw = (
        value.to_bytes(8, "big")
        if isinstance(value, int)
        else value
        if isinstance(value, bytes)
        else value.encode()
    )
    place %= len(raw)
    raw = raw[:place] + bytes([raw[place] ^ mask]) + raw[place + 1 :]
    return int.from_bytes(raw, "big", signed=True) if isinstance(value, int) else raw


@settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_one_changed_byte_is_found(original: Path, tmp_path: Path, data: st.DataObject) -> None:
    cell = data.draw(st.sampled_from(cells(original)).filter(lambda cell: cell.value != ""))
    value = flipped(cell.value, data.draw(st.integers(0, 255)), data.draw(st.integers(1, 255)))
    ledger = Path(shutil.copy(original, tmp_path / "forged.db"))
    with forging(ledger) as conn:
        where = " AND ".join(f"{name} = ?" for name, _ in cell.key)
        new = "CAST(? AS TEXT)" if isinstance(cell.value, str) else "?"
        conn.execute(
            f"UPDATE OR REPLACE {cell.table} SET {cell.column} = {new} WHERE {where}",
            (value, *(part for _, part in cell.key)),
        )
    assert found(ledger), f"{cell} -> {value!r}"


@settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_one_changed_byte_of_the_file_is_found_or_means_nothing(
    original: Path, tmp_path: Path, data: st.DataObject
) -> None:
    raw = bytearray(original.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    ledger = tmp_path / "flipped.db"
    ledger.write_bytes(raw)
    try:
        if found(ledger):
            return
    except LedgerUnreadable:
        return
    assert evidence(ledger) == evidence(original)


def evidence(path: Path) -> list[object]:
    conn = connect_reader(path)
    rows = [conn.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in TABLES]
    conn.close()
    return list(rows)
