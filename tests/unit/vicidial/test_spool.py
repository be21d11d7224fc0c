"""A download is spooled in constant memory and checked as a whole."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dncsync.connector import VendorError
from dncsync_vicidial.listing import _spool


def all_rows(chunks: Iterator[bytes], size: int) -> list[str]:
    listing = _spool("SALES", chunks)
    rows: list[str] = []
    position = 0
    while position < listing.end:
        some, position = listing.read(position, size)
        assert 0 < len(some) <= size
        rows += some
    assert len(rows) == listing.rows
    listing.close()
    return rows


ROWS = st.lists(st.from_regex(r"[0-9XN/A, ]{0,18}", fullmatch=True), max_size=40)


@given(ROWS, st.integers(1, 7), st.integers(1, 60), st.sampled_from(["\r\n", "\n"]))
def test_any_chunking_gives_the_same_rows(rows: list[str], size: int, chunk: int, end: str) -> None:
    body = end.join(["phone_number", *rows, ""]).encode()

    assert all_rows((body[i : i + chunk] for i in range(0, len(body), chunk)), size) == rows


@given(ROWS.filter(bool), st.data())
def test_a_cut_is_noticed_unless_it_falls_between_rows(rows: list[str], data: st.DataObject) -> None:
    body = "\r\n".join(["phone_number", *rows, ""]).encode()
    cut = body[: data.draw(st.integers(0, len(body) - 1))]

    if cut.endswith(b"\n"):
        assert all_rows(iter((cut,)), 10) == rows[: cut.count(b"\n") - 1]
    else:
        with pytest.raises(VendorError):
            _spool("SALES", iter((cut,)))


@pytest.mark.parametrize(
    "body",
    [b"", b"phone_number", b"phone\r\n312\r\n", b"<br />\nphone_number\r\n312\r\n", b"\r\nphone_number\r\n"],
)
def test_what_is_no_list(body: bytes) -> None:
    with pytest.raises(VendorError):
        _spool("SALES", iter((body,)))


def test_a_long_list_takes_no_memory() -> None:
    block = b"3125550100\r\n" * 5000

    def chunks() -> Iterator[bytes]:
        yield b"phone_number\r\n"
        for _ in range(60):
            yield block

    tracemalloc.start()
    try:
        listing = _spool("SALES", chunks())
        position = 0
        while position < listing.end:
            _, position = listing.read(position, 2000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert listing.rows == 300_000
    assert peak < 2_500_000  # the body has 3,600,000 bytes
    listing.close()
