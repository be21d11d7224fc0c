"""Webhooks: the vendor's test vectors, and what is refused (vendor sheet section 8)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import orjson
import pytest

from dncsync.connector import Look, WebhookRefused, WebhookRequest
from dncsync_hubspot.settings import HubSpotSettings
from dncsync_hubspot.webhooks import decoded_uri, parse_webhook, signature_v1, signature_v3

SECRET = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
URL = "https://www.example.com/webhook_uri"
CREATION = (
    b'[{"eventId":1,"subscriptionId":12345,"portalId":62515,"occurredAt":1564113600000,"subscriptionType":'
    b'"contact.creation","attemptNumber":0,"objectId":123,"changeSource":"CRM","changeFlag":"NEW","appId":54321}]'
)
NOW = datetime(2026, 11, 23, 15, tzinfo=UTC)
WATCHED = {"do_not_call", "phone"}


def settings(**more: Any) -> HubSpotSettings:
    return HubSpotSettings.model_validate({"access_token": "t", "client_secret": SECRET, **more})


def event(what: str = "contact.propertyChange", **more: Any) -> dict[str, Any]:
    made = {"subscriptionType": what, "objectId": 57156923994, "portalId": 33, "occurredAt": ms(NOW)}
    return made | ({"propertyName": "do_not_call"} if "propertyChange" in what else {}) | more


def ms(when: datetime) -> int:
    return round(when.timestamp() * 1000)


def request(
    body: Any, headers: Mapping[str, str] = MappingProxyType({}), *, at: datetime = NOW, **how: str
) -> WebhookRequest:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    stamp, url, version = str(ms(at)), how.get("url", URL), how.get("version", "v3")
    signed = {
        "v3": {
            "x-hubspot-request-timestamp": stamp,
            "x-hubspot-signature-v3": signature_v3(SECRET, "POST", url, data, stamp),
        },
        "v1": {"x-hubspot-signature": signature_v1(SECRET, data), "x-hubspot-signature-version": "v1"},
        "none": {},
    }[version]
    return WebhookRequest("POST", url, {**signed, **headers}, data, NOW)


def keys(body: Any, **config: Any) -> list[str]:
    return [
        s.key
        for s in parse_webhook(request(body), settings(**config), WATCHED).signals
        if isinstance(s, Look)
    ]


def refusal(one: WebhookRequest, **config: Any) -> WebhookRefused:
    with pytest.raises(WebhookRefused) as caught:
        parse_webhook(one, settings(**config), WATCHED)
    assert "\n" not in caught.value.reason
    return caught.value


def test_the_vendors_vector_of_v1() -> None:
    digest = "232db2615f3d666fe21a8ec971ac7b5402d33b9a925784df3ca654d05f4817de"
    assert signature_v1(SECRET, CREATION) == digest


def test_the_vendors_vector_of_v3() -> None:
    body = b'{"example_field":"example_value"}'
    expected = "oaA3M5dEtt6kFsseJD/Hv/x+JNl1vsoxFj4oxmwP6Go="
    assert signature_v3(SECRET, "POST", URL, body, "1693657560000") == expected


def test_v3_agrees_with_the_sdks_own_check() -> None:
    from hubspot.utils.signature import Signature

    expected = Signature.get_signature(SECRET, "x", "v3", http_uri=URL, http_method="POST", timestamp="1")
    assert signature_v3(SECRET, "POST", URL, b"x", "1") == expected


def test_v3_decodes_only_the_listed_characters_of_the_uri() -> None:
    assert decoded_uri("https://h/a%2Fb%3a?x=%20%26%3D%40") == "https://h/a/b:?x=%20%26%3D@"


def test_events_become_looks_once_each() -> None:
    events = [
        event(),
        event(),
        event("contact.creation", objectId=5),
        event("contact.privacyDeletion", objectId="6"),
    ]
    assert keys(events) == ["57156923994", "5", "6"]


def test_event_type_is_taken_for_subscription_type() -> None:
    old = event()
    old["eventType"] = old.pop("subscriptionType")
    assert keys([old]) == ["57156923994"]


def test_a_merge_looks_at_everybody_who_took_part() -> None:
    merge = event("contact.merge", objectId=9, primaryObjectId=1, mergedObjectIds=[2, 3], newObjectId=9)
    assert keys([merge]) == ["9", "1", "2", "3"]


def test_generic_events_of_other_objects_and_unwatched_properties_are_left_alone() -> None:
    events = [
        event("object.propertyChange", objectTypeId="0-2"),
        event("object.creation", objectTypeId="0-1", objectId=4),
        event(propertyName="lifecyclestage", objectId=8),
        event("company.creation", objectId=7),
    ]
    assert keys(events) == ["4"]


def test_a_replay_has_the_same_nonce_and_another_delivery_another() -> None:
    first = parse_webhook(request([event()]), settings(), WATCHED).nonce
    assert parse_webhook(request([event()]), settings(), WATCHED).nonce == first
    again = request([event(attemptNumber=1)])
    assert parse_webhook(again, settings(), WATCHED).nonce != first


@pytest.mark.parametrize("seconds", [-301, 301])
def test_v3_is_refused_five_minutes_either_way(seconds: int) -> None:
    assert refusal(request([event()], at=NOW + timedelta(seconds=seconds))).status == 401


@pytest.mark.parametrize("seconds", [-299, 299])
def test_v3_is_taken_within_five_minutes(seconds: int) -> None:
    assert parse_webhook(request([event()], at=NOW + timedelta(seconds=seconds)), settings(), WATCHED).signals


def test_a_wrong_v3_does_not_fall_back_to_v1() -> None:
    one = request([event()], {"x-hubspot-signature-v3": "AAAA"}, version="v1")
    assert refusal(one).status == 401


def test_v1_is_taken_where_there_is_no_v3() -> None:
    assert parse_webhook(request([event()], version="v1"), settings(), WATCHED).signals


def test_v1_can_be_switched_off() -> None:
    assert refusal(request([event()], version="v1"), accept_v1=False).status == 401


def test_v1_events_older_than_hubspot_retries_are_refused() -> None:
    old = event(occurredAt=ms(NOW - timedelta(hours=26)))
    assert refusal(request([old], version="v1")).status == 401
    assert refusal(request([event(occurredAt=None)], version="v1")).status == 401


@pytest.mark.parametrize(
    ("one", "status"),
    [
        (request([event()], version="none"), 401),
        (request([event()], {"x-hubspot-signature-v3": "é"}), 401),
        (request([event()], {"x-hubspot-request-timestamp": "now"}), 401),
        (request([event()], {"x-hubspot-request-timestamp": "9" * 40}), 401),
        (request([event()], {"x-hubspot-request-timestamp": str(ms(NOW) + 1)}), 401),
        (request(b"{"), 400),
        (request(b"\xff"), 400),
        (request(b"[" * 5000), 400),
        (request({"objectId": 1}), 400),
        (request([]), 400),
        (request([event()] * 1001), 400),
        (request(["x"]), 400),
        (request([{"objectId": 1}]), 400),
        (request([event(objectId=None)]), 400),
        (request([event(objectId=True)]), 400),
        (request([event(objectId="1; DROP")]), 400),
        (request([event(objectId=1.5)]), 400),
        (request([event("contact.merge", mergedObjectIds=[{"a": 1}])]), 400),
        (request(b"[" + b" " * 1_000_001 + b"]"), 413),
    ],
)
def test_hostile_webhooks_are_refused_with_one_line(one: WebhookRequest, status: int) -> None:
    assert refusal(one).status == status


def test_other_methods_portals_and_missing_secrets_are_refused() -> None:
    got = request([event()])
    assert refusal(WebhookRequest("GET", got.url, got.headers, got.body, NOW)).status == 405
    assert refusal(got, portal_id="34").status == 403
    assert refusal(got, client_secret=None).status == 403


def test_signed_for_another_url_is_refused() -> None:
    got = request([event()], url=URL + "?x=1")
    assert refusal(WebhookRequest("POST", URL, got.headers, got.body, NOW)).status == 401
