"""Shapes of answers: what is kept of them, how they are compared, and which of them are looked at."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from dncsync.clock import VirtualClock
from dncsync.drift.wire import Difference, differences
from dncsync.shapes import (
    EVERY,
    FIRST,
    MOST_PATHS,
    NOTHING_DECLARED,
    SOONER,
    Answers,
    Sampler,
    Shape,
    media_of,
    shape_of,
)


def shape(*bodies: Any, answers: Answers = NOTHING_DECLARED) -> Shape:
    """The shape of these JSON answers together."""
    merged = Shape()
    for body in bodies:
        merged.merge(shape_of(json.dumps(body).encode(), answers))
    return merged


def found(known: Shape, seen: Shape) -> set[tuple[str, str]]:
    return {(one.kind, one.path) for one in differences(known, seen)}


def test_keys_and_types_are_kept_and_no_value() -> None:
    body = {"results": [{"id": "57000000001", "flag": True, "n": 1.5}, {"id": "2", "flag": None}], "more": {}}
    kept = shape(body).to_json()
    assert kept == {
        "media": ["json"],
        "keys": {
            "": "object",
            "more": "object",
            "results": "array",
            "results[]": "object",
            "results[].flag": "boolean|null",
            "results[].id": "string",
            "results[].n?": "number",
        },
    }
    assert "57000000001" not in json.dumps(kept)
    assert Shape.of_json(kept) == shape(body)


def test_keys_that_are_ids_or_numbers_are_no_names() -> None:
    kept = json.dumps(shape({"+13125550142": {"status": "in"}, "a@b.example": {"status": "out"}}).to_json())
    assert "555" not in kept
    assert "example" not in kept
    assert ".status" in kept


def test_a_large_answer_is_walked_no_further_than_a_bound() -> None:
    body = {f"key{chr(97 + i % 26)}{chr(97 + i // 26)}": i for i in range(600)}
    wide, other_way = shape(body), shape(dict(reversed(body.items())))
    assert len(wide.types) == len(other_way.types) == MOST_PATHS
    assert found(wide, other_way) == set(), "where not all keys were seen, none is a stranger or missing"


def test_a_key_that_was_missing_once_is_optional() -> None:
    known = shape({"results": [], "paging": {"next": 1}}, {"results": []})
    assert found(known, shape({"results": []})) == set()
    assert found(shape({"results": [], "paging": 1}), shape({"results": []})) == {("key-missing", "paging")}


def test_only_the_topmost_of_what_came_or_went_is_told() -> None:
    small, large = shape({"a": 1}), shape({"a": 1, "b": {"c": {"d": 1}}})
    assert found(small, large) == {("unknown-key", "b")}
    assert found(large, small) == {("key-missing", "b")}


def test_null_and_empty_lists_say_nothing_of_what_they_may_hold() -> None:
    known = shape({"phone": None, "items": []})
    assert found(known, shape({"phone": "x", "items": [{"id": 1}]})) == set()
    assert found(shape({"phone": "x", "items": [{"id": 1}]}), known) == set()


def test_a_type_that_changed_is_told_with_both() -> None:
    (one,) = differences(shape({"total": 1}), shape({"total": "1"}))
    assert one == Difference("type-changed", "total", "number", "string")


def test_only_words_outside_the_documented_ones_are_kept_and_told() -> None:
    answers = Answers(enums={"messages[].direction": frozenset({"inbound"})})

    def said(word: str) -> Shape:
        return shape({"messages": [{"direction": word, "from": word}]}, answers=answers)

    assert said("inbound").values == {}
    assert said("sideways").values == {"messages[].direction": {"sideways"}}
    assert said("+13125550142").values == {"messages[].direction": {"(no word)"}}
    assert found(said("inbound"), said("sideways")) == {("enum-new", "messages[].direction")}
    assert found(said("sideways"), said("sideways")) == set(), "what was learnt is known"


def test_declared_optional_keys_are_left_out() -> None:
    answers = Answers(optional=frozenset({"results[].errors"}))
    without, with_errors = (
        shape({"results": [{"id": 1}]}),
        shape({"results": [{"id": 1, "errors": [1]}]}, answers=answers),
    )
    assert found(without, with_errors) == set()


@pytest.mark.parametrize(
    ("body", "media"),
    [
        (b' {"a": 1}', "json"),
        (b"[]", "json"),
        (b"\n<!DOCTYPE html>", "html"),
        (b"SUCCESS: add_dnc_phone", "text"),
        (b"", "empty"),
        (b"{ half", "text"),
    ],
)
def test_what_a_body_is_is_read_from_itself(body: bytes, media: str) -> None:
    assert shape_of(body).media == {media}
    if media != "text" or not body.startswith(b"{"):
        assert media_of(body) == media


def test_a_page_among_answers_is_a_hiccup_and_pages_alone_are_drift() -> None:
    known, page = shape({"a": 1}), shape_of(b"<html>")
    mixed = shape({"a": 1})
    mixed.merge(page)
    assert found(known, mixed) == set()
    assert found(known, page) == {("html-answer", "")}


# --- which answers are looked at ----------------------------------------------------------------------------


def answer(body: bytes, status: int = 200) -> httpx.Response:
    return httpx.Response(status, content=body, request=httpx.Request("GET", "https://vendor.test/x"))


def test_the_first_answers_and_then_one_a_minute_are_looked_at() -> None:
    clock = VirtualClock()
    sampler = Sampler(clock)
    looked = 0
    for _ in range(100):
        looked += sampler.look("GET x", answer(b"{}")) is not None
        clock.advance(1.0)
    assert looked == FIRST + 1
    assert sampler.look("GET y", answer(b"{}")) is not None, "each route has its own"


def test_failures_are_never_looked_at() -> None:
    sampler = Sampler(VirtualClock())
    assert sampler.look("GET x", answer(b"{}", 503)) is None


def test_another_kind_of_answer_and_a_much_longer_one_are_looked_at_soon() -> None:
    clock = VirtualClock()
    sampler = Sampler(clock)
    for _ in range(FIRST + 1):
        sampler.look("GET x", answer(b'{"a": []}'))
    page = sampler.look("GET x", answer(b"<html>"))
    assert page is not None
    assert page[1].media == {"html"}
    assert sampler.look("GET x", answer(b'{"a": []}')) is not None
    long = b'{"a": [1, 2, 3, 4, 5, 6, 7, 8, 9]}'
    assert sampler.look("GET x", answer(long)) is None
    clock.advance(SOONER)
    assert SOONER < EVERY
    assert sampler.look("GET x", answer(long)) is not None
