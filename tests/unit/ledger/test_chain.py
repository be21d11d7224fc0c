"""The hash of an event: the same for everybody, and different for every difference."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dncsync.ledger import chain

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
maybe = st.none() | texts
fields = st.tuples(st.integers(1, 2**63 - 1), st.integers(0, 2**63 - 1), texts, maybe, maybe, maybe, texts)


@given(fields, fields)
def test_two_different_events_never_encode_equally(
    one: tuple[object, ...], other: tuple[object, ...]
) -> None:
    assert (chain.encode(*one) == chain.encode(*other)) == (one == other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1, 1, "ab", "c", None, None, "{}"), (1, 1, "a", "bc", None, None, "{}")),
        ((1, 1, "a", None, "b", None, "{}"), (1, 1, "a", "b", None, None, "{}")),
        ((1, 1, "a", "", None, None, "{}"), (1, 1, "a", None, None, None, "{}")),
        ((1, 1, "a", "null", None, None, "{}"), (1, 1, "a", None, None, None, "{}")),
        ((1, 1, 'a","b', None, None, None, "{}"), (1, 1, "a", "b", None, None, "{}")),
        ((11, 1, "a", None, None, None, "{}"), (1, 11, "a", None, None, None, "{}")),
    ],
)
def test_neighbouring_fields_do_not_run_together(one: tuple[object, ...], other: tuple[object, ...]) -> None:
    assert chain.encode(*one) != chain.encode(*other)  # type: ignore[arg-type]


@given(fields)
def test_the_standard_library_gives_the_same_bytes(event: tuple[object, ...]) -> None:
    expected = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()
    assert chain.encode(*event) == expected  # type: ignore[arg-type]


def test_the_hash_is_what_the_documentation_says() -> None:
    encoded = b'[1,1700000000000000,"opt-out","+12125550100",null,"Ada","{\\"x\\":1}"]'
    digest = chain.link(chain.GENESIS, 1, 1700000000000000, "opt-out", "+12125550100", None, "Ada", '{"x":1}')
    assert digest == sha256(bytes(32) + encoded).digest()


def test_a_payload_has_one_text() -> None:
    assert chain.canonical({"b": [1, None], "a": "é"}) == chain.canonical({"a": "é", "b": [1, None]})
    assert chain.canonical({"b": 1, "a": "é"}) == '{"a":"é","b":1}'


@pytest.mark.parametrize("value", [datetime(2026, 1, 1, tzinfo=UTC), b"x", {1: 2}, 2**64, {1, 2}])
def test_what_json_does_not_know_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        chain.canonical({"value": value})
