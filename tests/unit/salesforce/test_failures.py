"""Salesforce's errors as shared kinds of failure, in words that are safe to show."""

from __future__ import annotations

from typing import Any

import pytest

from dncsync.connector import FailureKind
from dncsync_salesforce.failures import failure_of_answer, failure_of_item, safe


def body(code: str, words: str = "words") -> list[dict[str, Any]]:
    return [{"errorCode": code, "message": words}]


@pytest.mark.parametrize(
    ("status", "content", "wrote", "kind"),
    [
        (400, body("INVALID_FIELD"), False, FailureKind.UNAUTHORISED),
        (400, body("MALFORMED_QUERY"), False, FailureKind.REJECTED),
        (400, body("QUERY_TIMEOUT"), False, FailureKind.TRANSIENT),
        (400, body("UNABLE_TO_LOCK_ROW"), True, FailureKind.TRANSIENT),
        (401, body("INVALID_SESSION_ID"), False, FailureKind.UNAUTHORISED),
        (403, body("REQUEST_LIMIT_EXCEEDED"), True, FailureKind.RATE_LIMITED),
        (403, body("API_DISABLED_FOR_ORG"), True, FailureKind.UNAUTHORISED),
        (403, "<html>", False, FailureKind.UNAUTHORISED),
        (404, body("NOT_FOUND"), False, FailureKind.REJECTED),
        (410, "gone", True, FailureKind.REJECTED),
        (414, "too long", False, FailureKind.REJECTED),
        (429, None, True, FailureKind.RATE_LIMITED),
        (500, body("UNKNOWN_EXCEPTION"), False, FailureKind.TRANSIENT),
        (500, body("UNKNOWN_EXCEPTION"), True, FailureKind.UNKNOWN),
        (503, "<html>maintenance</html>", True, FailureKind.UNKNOWN),
        (408, None, True, FailureKind.UNKNOWN),
        (420, None, False, FailureKind.TRANSIENT),
    ],
)
def test_each_answer_has_its_kind(status: int, content: Any, wrote: bool, kind: FailureKind) -> None:
    assert failure_of_answer(status, content, wrote=wrote).kind is kind


@pytest.mark.parametrize("errors", [None, [], {}, "no", [None], [{}], [{"message": "x"}]])
def test_an_item_without_a_reason_is_unknown(errors: Any) -> None:
    assert failure_of_item(errors).kind is FailureKind.UNKNOWN


def test_an_unheard_of_code_is_final_in_the_vendors_words() -> None:
    failure = failure_of_item([{"statusCode": "BRAND_NEW", "message": "oh no"}])
    assert (failure.kind, failure.code, failure.message) == (
        FailureKind.REJECTED,
        "BRAND_NEW",
        "BRAND_NEW: oh no",
    )


@pytest.mark.parametrize(
    "number",
    ["+12025550101", "12025550101", "(202) 555-0101", "202-555-0101", "202.555.0101", "+44 20 7946 0958"],
)
def test_words_that_are_shown_hold_no_number(number: str) -> None:
    shown = safe(f"duplicate of {number}, see 0035g0000000001AAA\nline two")
    assert shown == "duplicate of [number], see 0035g0000000001AAA line two"


def test_words_are_one_line_and_not_endless() -> None:
    assert len(safe("x" * 5_000)) == 300
