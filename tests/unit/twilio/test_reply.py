"""The reply to a bulk call: only an id that is answered exactly once, with 0, is done."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dncsync.connector import FailureKind
from dncsync_twilio.consents import read_reply

IDS = [f"{i:032x}" for i in range(4)]


def item(ref: object, code: object = 0, words: object = ()) -> dict[str, Any]:
    return {"correlation_id": ref, "error_code": code, "error_messages": list(words)}  # type: ignore[call-overload]


def test_matched_by_correlation_id_never_by_position() -> None:
    items = [item(IDS[2]), item(IDS[0], 30646, ["INVALID_CONTACT_ID"]), item(IDS[3]), item(IDS[1])]
    verdicts = read_reply({"items": items}, IDS, Counter())
    assert [ref for ref, verdict in verdicts.items() if verdict is None] == [IDS[1], IDS[2], IDS[3]]
    refused = verdicts[IDS[0]]
    assert refused is not None
    assert refused.kind is FailureKind.REJECTED
    assert refused.code == "30646 INVALID_CONTACT_ID"


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["INTERNAL_SERVER_ERROR"], FailureKind.TRANSIENT),
        (["INVALID_CORRELATION_ID"], FailureKind.TRANSIENT),
        (["INVALID_CONTACT_ID", "INTERNAL_SERVER_ERROR"], FailureKind.REJECTED),
        (["INVALID_SENDER_ID"], FailureKind.REJECTED),
        (["NOT_ON_TUESDAYS"], FailureKind.REJECTED),
        ([], FailureKind.REJECTED),
    ],
)
def test_kinds_of_item_errors(words: list[str], kind: FailureKind) -> None:
    verdict = read_reply({"items": [item(IDS[0], 30646, words)]}, IDS[:1], Counter())[IDS[0]]
    assert verdict is not None
    assert verdict.kind is kind


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {},
        {"items": None},
        {"items": {}},
        {"items": []},
        {"items": [None, 7, "x"]},
        {"items": [item(IDS[0]), item(IDS[0])]},
        {"items": [item(IDS[0]), item(IDS[0], 30646, ["INVALID_CONTACT_ID"])]},
        {"items": [item(IDS[0].upper() + " ")]},
        {"items": [item(IDS[0], "0")]},
        {"items": [item(IDS[0], False)]},
        {"items": [item(IDS[0], None)]},
        {"items": [{"correlation_id": IDS[0], "error_code": 0}]},
        {"items": [item(IDS[0], 0, ["INVALID_STATUS"])]},
    ],
)
def test_what_cannot_be_accounted_for_is_unknown(answer: dict[str, Any] | None) -> None:
    verdict = read_reply(answer, IDS[:1], Counter())[IDS[0]]
    assert verdict is not None
    assert verdict.kind is FailureKind.UNKNOWN


def test_drift_is_noted() -> None:
    drift: Counter[str] = Counter()
    odd = {**item(IDS[0]), "consent_sid": "CN1"}
    words = item(IDS[1], 30646, ["NOT_ON_TUESDAYS"])
    read_reply({"items": [odd, words, item("f" * 32), item(IDS[2]), item(IDS[2])]}, IDS, drift)
    assert set(drift) == {
        "consents reply: unknown key 'consent_sid'",
        "consents reply: unknown error message 'NOT_ON_TUESDAYS'",
        "consents reply: an item that was not asked for",
        "consents reply: an id given twice",
    }


ENTRIES = st.lists(
    st.one_of(
        st.builds(
            item,
            st.one_of(st.sampled_from(IDS), st.none(), st.just("f" * 32)),
            st.one_of(st.just(0), st.just(30646), st.none(), st.booleans(), st.text(max_size=3)),
            st.lists(st.sampled_from(["INVALID_CONTACT_ID", "INTERNAL_SERVER_ERROR", "?"]), max_size=2),
        ),
        st.none(),
        st.integers(),
    ),
    max_size=8,
)


@given(ENTRIES)
def test_only_one_clean_zero_means_done(entries: list[Any]) -> None:
    verdicts = read_reply({"items": entries}, IDS, Counter())
    assert list(verdicts) == IDS
    for ref, verdict in verdicts.items():
        mine = [e for e in entries if isinstance(e, dict) and e["correlation_id"] == ref]
        clean = len(mine) == 1 and type(mine[0]["error_code"]) is int and mine[0]["error_code"] == 0
        assert (verdict is None) == (clean and mine[0]["error_messages"] == [])
