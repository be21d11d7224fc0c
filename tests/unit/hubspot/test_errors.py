"""HubSpot's error answers, as the vendor sheet recorded them (sections 1.4, 4, 5 and 7)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from dncsync.connector import FailureKind
from dncsync_hubspot.errors import named_ids, plain, property_faults, refused

OFFICIAL_400 = {
    "status": "error",
    "message": 'Property values were not valid: [{"isValid":false,"message":"no such property",'
    '"error":"PROPERTY_DOESNT_EXIST","name":"testproperty","portalId":891936587}]',
    "correlationId": "8a3f6c3a-8296-4002-b0a6-2a06fecf7c0c",
    "errors": [
        {
            "message": 'Property "testproperty" does not exist',
            "code": "PROPERTY_DOESNT_EXIST",
            "context": {"propertyName": ["testproperty"]},
        }
    ],
    "category": "VALIDATION_ERROR",
}
DAILY = {"status": "error", "message": "You have reached your daily limit.", "policyName": "DAILY"}
SECONDLY = {"message": "You have reached your secondly limit.", "category": "RATE_LIMITS"}
ROLLING = {"errorType": "RATE_LIMIT", "policyName": "TEN_SECONDLY_ROLLING"}


def failure(status: int, body: Any = None, reads: bool = False, **headers: str) -> Any:
    data = body if isinstance(body, bytes) else orjson.dumps(body or {})
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return refused(status, named, data, reads=reads).failure


@pytest.mark.parametrize(
    ("status", "reads", "kind"),
    [
        (400, False, FailureKind.REJECTED),
        (401, True, FailureKind.UNAUTHORISED),
        (403, False, FailureKind.UNAUTHORISED),
        (404, True, FailureKind.REJECTED),
        (409, False, FailureKind.REJECTED),
        (414, True, FailureKind.REJECTED),
        (423, False, FailureKind.TRANSIENT),
        (429, False, FailureKind.RATE_LIMITED),
        (477, False, FailureKind.RATE_LIMITED),
        (500, False, FailureKind.UNKNOWN),
        (500, True, FailureKind.TRANSIENT),
        (502, False, FailureKind.UNKNOWN),
        (524, False, FailureKind.UNKNOWN),
        (524, True, FailureKind.TRANSIENT),
        (301, True, FailureKind.REJECTED),
    ],
)
def test_a_status_has_a_kind(status: int, reads: bool, kind: FailureKind) -> None:
    assert failure(status, reads=reads).kind is kind


@pytest.mark.parametrize(("body", "seconds"), [(DAILY, 900.0), (SECONDLY, 1.0), (ROLLING, 10.0), ({}, 1.0)])
def test_all_three_shapes_of_429_say_how_long(body: dict[str, str], seconds: float) -> None:
    assert failure(429, body).retry_after == seconds


def test_retry_after_is_used_where_it_is_present() -> None:
    assert failure(429, ROLLING, retry_after="3").retry_after == 3.0
    assert failure(477, {}, retry_after="86400").retry_after == 86400.0
    assert failure(429, SECONDLY, retry_after="soon").retry_after == 1.0


def test_a_missing_scope_is_named() -> None:
    body = {"errors": [{"context": {"requiredGranularScopes": ["crm.objects.contacts.write"]}}]}
    assert "crm.objects.contacts.write" in failure(403, body).message


def test_property_faults_are_found_in_every_shape() -> None:
    assert [(f.code, f.name) for f in property_faults(OFFICIAL_400)] == [
        ("PROPERTY_DOESNT_EXIST", "testproperty")
    ]
    embedded = {"message": OFFICIAL_400["message"]}
    assert property_faults(embedded) == property_faults(OFFICIAL_400)
    bare = {"message": 'Property "dnc" does not exist'}
    assert [f.name for f in property_faults(bare)] == ["dnc"]
    assert property_faults({"message": "Property values were not valid: [{broken"}) == ()
    assert failure(400, OFFICIAL_400).code == "PROPERTY_DOESNT_EXIST"


def test_ids_are_found_by_id_and_by_trace_id() -> None:
    assert named_ids({"context": {"ids": ["1", 2], "objectWriteTraceId": ["3"]}}) == {"1", "2", "3"}
    assert named_ids({"context": None}) == frozenset()
    assert named_ids({}) == frozenset()


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b"", b"[1]", b'{"message": ', b"\xff\xfe"])
def test_a_body_that_is_no_envelope_is_no_trouble(body: bytes) -> None:
    assert failure(502, body).kind is FailureKind.UNKNOWN


def test_words_are_shown_without_numbers_addresses_and_tokens() -> None:
    words = "312-555-0199 was not valid for jo@example.com\n with pat-na1-1111-2222-3333"
    assert plain(words) == "[number] was not valid for [address] with [redacted]"
    assert len(plain("x" * 999)) <= 240
