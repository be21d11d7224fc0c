"""Webhooks: authenticity first, then what they say. Hostile bodies get one clear line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dncsync.connector import Says, Statement, Webhook, WebhookRefused, WebhookRequest
from dncsync.model import Channel
from dncsync_twilio import inbound, signature
from dncsync_twilio.settings import TwilioSettings

TOKEN, SHARED = "12345", "shared-secret"
ACCOUNT, SERVICE = "AC" + "a" * 32, "MG" + "0" * 32
URL = "https://hooks.example.com/twilio/inbound"
NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
SETTINGS = TwilioSettings.model_validate(
    {
        "vendor": "twilio",
        "account_sid": ACCOUNT,
        "auth_token": TOKEN,
        "scopes": [SERVICE, "+15005550001"],
        "shared_key_id": "k1",
        "shared_key_secret": SHARED,
    }
)
STOP = {
    "MessageSid": "SM" + "1" * 32,
    "AccountSid": ACCOUNT,
    "MessagingServiceSid": SERVICE,
    "From": "+15005550006",
    "To": "+15005550001",
    "Body": "STOP",
    "NumMedia": "0",
    "OptOutType": "STOP",
}


def call(
    form: Mapping[str, str],
    *,
    url: str = URL,
    key: str = TOKEN,
    signed_url: str | None = None,
    headers: Mapping[str, str] | None = None,
    algorithm: str = signature.SHA1,
    body: bytes | None = None,
) -> WebhookRequest:
    """A form call, signed unless `headers` says otherwise."""
    made = signature.sign(key, signed_url or url, form.items(), algorithm)
    sent = {"content-type": "application/x-www-form-urlencoded", "x-twilio-signature": made}
    content = urlencode(form).encode() if body is None else body
    return WebhookRequest("POST", url, {**sent, **(headers or {})}, content, NOW)


def parse(request: WebhookRequest, **changed: Any) -> Webhook:
    return inbound.parse_webhook(SETTINGS.model_copy(update=changed), request)


def only(webhook: Webhook) -> Statement:
    (signal,) = webhook.signals
    assert isinstance(signal, Statement)
    return signal


def refusal(request: WebhookRequest, **changed: Any) -> WebhookRefused:
    with pytest.raises(WebhookRefused) as refused:
        parse(request, **changed)
    assert "\n" not in refused.value.reason
    assert TOKEN not in refused.value.reason
    assert "5005550006" not in refused.value.reason
    return refused.value


def test_a_stop_with_advanced_opt_out() -> None:
    webhook = parse(call(STOP))
    assert only(webhook) == Statement(
        ref=STOP["MessageSid"],
        number="+15005550006",
        channel=Channel.SMS,
        at=NOW,
        text="STOP",
        says=Says.STOP,
        scope=SERVICE,
        source="sms-inbound",
    )
    assert webhook.answer_type == "text/xml"
    assert webhook.answer == b'<?xml version="1.0" encoding="UTF-8"?><Response/>'
    assert webhook.nonce.endswith(STOP["MessageSid"])


def test_the_signature_of_the_vendor_sheet_is_taken() -> None:
    request = call(STOP, headers={"x-twilio-signature": "xNg0ktmDBCbWU5RSGdnsA9KE6Uo="})
    assert only(parse(request)).says is Says.STOP


def test_without_opt_out_type_the_words_are_passed_on_unjudged() -> None:
    form = {k: v for k, v in STOP.items() if k not in ("OptOutType", "MessagingServiceSid")}
    statement = only(parse(call({**form, "Body": "Stop texting me, please"})))
    assert statement.says is None
    assert statement.text == "Stop texting me, please"
    assert statement.scope == "+15005550001"


@pytest.mark.parametrize(("word", "says"), [("START", Says.START), ("HELP", Says.HELP), ("NEW", None)])
def test_twilios_own_reading(word: str, says: Says | None) -> None:
    assert only(parse(call({**STOP, "OptOutType": word}))).says is says


@pytest.mark.parametrize("body", ["", None])
def test_a_media_only_message_is_a_statement_with_empty_text(body: str | None) -> None:
    form = {k: v for k, v in STOP.items() if k not in ("Body", "OptOutType")}
    form |= {"NumMedia": "1", "MediaUrl0": "https://api.twilio.com/x"} | (
        {} if body is None else {"Body": body}
    )
    assert only(parse(call(form))).text == ""


def test_new_fields_without_notice_are_signed_over_and_left_alone() -> None:
    assert only(parse(call({**STOP, "ReplyToChatId": "7", "Émoji": "🛑"}))).says is Says.STOP


def test_a_status_callback_is_never_taken_for_words_of_our_own_number() -> None:
    form = {"MessageSid": "SM9", "AccountSid": ACCOUNT, "From": "+15005550001", "To": "+15005550006"}
    delivered = parse(call({**form, "MessageStatus": "delivered"}))
    assert delivered.signals == ()
    blocked = only(parse(call({**form, "MessageStatus": "failed", "ErrorCode": "21610"})))
    assert blocked.evidence_only
    assert (blocked.number, blocked.source, blocked.scope) == ("+15005550006", "21610", "+15005550001")


def test_a_get_webhook_is_signed_over_its_query() -> None:
    url = f"{URL}?{urlencode(STOP)}"
    made = signature.sign(TOKEN, url)
    request = WebhookRequest("GET", url, {"x-twilio-signature": made}, b"", NOW)
    assert only(parse(request)).says is Says.STOP
    other = url.replace("Body=STOP", "Body=GO")
    assert refusal(WebhookRequest("GET", other, {"x-twilio-signature": made}, b"", NOW)).status == 403


# --- authenticity -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(STOP))
def test_a_changed_field_is_refused(name: str) -> None:
    made = call(STOP).headers["x-twilio-signature"]
    changed = {**STOP, name: STOP[name] + "0"}
    assert refusal(call(changed, headers={"x-twilio-signature": made})).status == 403


def test_a_missing_empty_or_odd_signature_is_refused() -> None:
    for value in ("", "  ", "x", "é", "RSOYDt4T1cUTdK1PDd93/VVr8B8="):
        assert refusal(call(STOP, headers={"x-twilio-signature": value})).status == 403


def test_another_url_is_refused() -> None:
    assert refusal(call(STOP, signed_url="https://hooks.example.com/other")).status == 403


def test_another_account_is_refused_though_its_signature_fits() -> None:
    assert refusal(call({**STOP, "AccountSid": "AC" + "b" * 32})).status == 403
    assert refusal(call({k: v for k, v in STOP.items() if k != "AccountSid"})).status == 403


def test_behind_a_tls_proxy_the_configured_url_counts() -> None:
    request = call(STOP, url="http://10.0.0.7:8080/twilio/inbound", signed_url=URL)
    assert refusal(request).status == 403
    assert only(parse(request, webhook_url=URL)).says is Says.STOP


def test_a_shared_key_signs_with_sha256() -> None:
    header = {"x-twilio-webhooks-signature-settings": "key=k1,algorithm=HMAC_SHA256"}
    request = call(STOP, key=SHARED, algorithm=signature.SHA256, headers=header)
    assert only(parse(request)).says is Says.STOP
    assert refusal(call(STOP, key=TOKEN, algorithm=signature.SHA256, headers=header)).status == 403
    assert refusal(call(STOP, key=SHARED, headers=header)).status == 403
    assert refusal(request, shared_key_id="k2").status == 403
    assert refusal(request, shared_key_id=None, shared_key_secret=None).status == 403


@pytest.mark.parametrize(
    "header", ["key=k1,algorithm=HMAC_SHA512", "algorithm=none", "algorithm=HMAC_SHA256"]
)
def test_an_algorithm_that_cannot_be_checked_is_refused(header: str) -> None:
    for key in (TOKEN, SHARED):
        for algorithm in (signature.SHA1, signature.SHA256):
            settings = {"x-twilio-webhooks-signature-settings": header}
            assert refusal(call(STOP, key=key, algorithm=algorithm, headers=settings)).status == 403


def test_a_replay_has_the_same_nonce_and_another_message_has_not() -> None:
    nonces = [parse(call(form)).nonce for form in (STOP, STOP, {**STOP, "MessageSid": "SM2"})]
    assert nonces[0] == nonces[1] != nonces[2]


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded; charset=UTF-8"])
def test_a_content_type_that_a_proxy_spoilt_costs_no_opt_out(kind: str) -> None:
    assert only(parse(call(STOP, headers={"content-type": kind}))).says is Says.STOP
    assert refusal(call(STOP, key="54321", headers={"content-type": kind})).status == 403


# --- hostile and malformed -------------------------------------------------------------------------------


def test_malformed_calls_get_one_clear_line() -> None:
    big = b"Body=" + b"x" * inbound.LARGEST
    assert refusal(call(STOP, body=big)).status == 413
    assert refusal(call(STOP, body=b"\xff\xfe=%FF")).status == 400
    assert refusal(call(STOP, body=b"a=%ff%fe")).status == 400
    assert refusal(call(STOP, body=b"a=1&" * 600)).status == 400
    put = call(STOP)
    assert refusal(WebhookRequest("PUT", put.url, put.headers, put.body, NOW)).status == 405


def test_signed_and_yet_no_message() -> None:
    assert refusal(call({})).status == 403
    assert refusal(call({"AccountSid": ACCOUNT, "CallSid": "CA1"})).status == 400
    assert refusal(call({k: v for k, v in STOP.items() if k != "From"})).status == 400


def test_a_field_that_we_use_given_twice_is_refused() -> None:
    params = [*STOP.items(), ("From", "+15005550007")]
    made = signature.sign(TOKEN, URL, params)
    request = call(STOP, body=urlencode(params).encode(), headers={"x-twilio-signature": made})
    assert refusal(request).status == 400


@given(st.binary(max_size=300), st.text(max_size=40), st.text(max_size=40))
def test_no_bytes_pass_without_the_key(body: bytes, made: str, settings: str) -> None:
    for kind in ("application/x-www-form-urlencoded", "application/json"):
        headers = {"content-type": kind, "x-twilio-signature": made}
        headers["x-twilio-webhooks-signature-settings"] = settings
        digest = hashlib.sha256(body).hexdigest()
        request = WebhookRequest("POST", f"{URL}?bodySHA256={digest}", headers, body, NOW)
        with pytest.raises(WebhookRefused) as refused:
            inbound.parse_webhook(SETTINGS, request)
        assert 400 <= refused.value.status < 500


ANYTHING = st.text(st.characters(exclude_categories=()), max_size=40)
"""Also control characters, and halves of surrogate pairs."""
ODD = st.one_of(
    ANYTHING,
    st.sampled_from(["", "\x00", "+", "whatsapp:", "rcs:+", "client:x", "21610", "٢١٦١٠", "received"]),
)


def storable(webhook: Webhook) -> None:
    """What a ledger and a log can take."""
    for signal in webhook.signals:
        assert isinstance(signal, Statement)
        assert signal.ref
        assert signal.at.tzinfo is not None
        for text in (signal.ref, signal.number, signal.text, signal.scope, signal.source):
            text.encode()
    webhook.nonce.encode()


@given(st.dictionaries(st.sampled_from(sorted(inbound.USED - {"AccountSid"})), ODD, max_size=9))
def test_hostile_forms_with_a_good_signature(changed: dict[str, str]) -> None:
    form = {name: value.encode("utf-8", "replace").decode() for name, value in {**STOP, **changed}.items()}
    try:
        storable(parse(call(form)))
    except WebhookRefused as refused:
        assert refused.status == 400  # noqa: PT017
        assert "\n" not in refused.reason  # noqa: PT017


# --- Event Streams ---------------------------------------------------------------------------------------


def event(**data: Any) -> dict[str, Any]:
    base = {"messageSid": "SM5", "accountSid": ACCOUNT, "from": "+15005550006", "to": "+15005550001"}
    base |= {"body": "STOP", "messagingServiceSid": SERVICE, "timestamp": "2026-11-23T14:59:00Z"}
    return {"specversion": "1.0", "type": inbound.INBOUND_EVENT, "data": {**base, **data}}


def json_call(content: Any, *, key: str = TOKEN, body: bytes | None = None) -> WebhookRequest:
    body = json.dumps(content).encode() if body is None else body
    url = f"{URL}?bodySHA256={hashlib.sha256(body).hexdigest()}"
    headers = {"content-type": "application/json", "x-twilio-signature": signature.sign(key, url)}
    return WebhookRequest("POST", url, headers, body, NOW)


@pytest.mark.parametrize("spelling", ["optOutType", "OptOutType", "optouttype"])
def test_an_event_streams_batch_whatever_the_spelling_of_the_opt_out_type(spelling: str) -> None:
    other = {"type": "com.twilio.messaging.message.delivered", "data": {}}
    webhook = parse(json_call([event(**{spelling: "STOP"}), other, event(messageSid="SM6")]))
    first, second = webhook.signals
    assert isinstance(first, Statement)
    assert isinstance(second, Statement)
    assert (first.ref, first.says, first.scope) == ("SM5", Says.STOP, SERVICE)
    assert first.at == datetime(2026, 11, 23, 14, 59, tzinfo=UTC)
    assert (second.ref, second.says, second.text) == ("SM6", None, "STOP")
    assert only(parse(json_call(event()))).ref == "SM5"


def test_a_changed_json_body_is_refused() -> None:
    request = json_call([event()])
    changed = request.body.replace(b"STOP", b"GOOD")
    assert refusal(WebhookRequest("POST", request.url, request.headers, changed, NOW)).status == 403
    bare = signature.sign(TOKEN, URL)
    unhashed = {"content-type": "application/json", "x-twilio-signature": bare}
    assert refusal(WebhookRequest("POST", URL, unhashed, b"[]", NOW)).status == 403
    assert refusal(json_call([event()], key="54321")).status == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"7", 400),
        (b"[7]", 400),
        (b"[" * 100_000, 400),
        (b"\xff", 400),
        (json.dumps([event(accountSid="AC" + "b" * 32)]).encode(), 403),
        (json.dumps([{"type": inbound.INBOUND_EVENT}]).encode(), 400),
        (json.dumps([event(messageSid=None)]).encode(), 400),
    ],
)
def test_hostile_json(body: bytes, status: int) -> None:
    assert refusal(json_call(None, body=body)).status == status


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANYTHING,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANYTHING, inner, max_size=3),
    max_leaves=5,
)
INSTANTS = st.sampled_from(["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-11-23", "NaN"])


@given(st.dictionaries(st.sampled_from(sorted(event()["data"])), JSON | INSTANTS, max_size=8))
def test_hostile_events_with_a_good_signature(changed: dict[str, Any]) -> None:
    changed.pop("accountSid", None)
    try:
        storable(parse(json_call([event(**changed)])))
    except WebhookRefused as refused:
        assert refused.status == 400  # noqa: PT017
        assert "\n" not in refused.reason  # noqa: PT017


def test_half_a_surrogate_pair_costs_no_opt_out() -> None:
    """A text of 70 characters may be cut in the middle of an emoji; JSON carries the half as it is."""
    half, whole = event(body="STOP \ud83d"), event(messageSid="SM6", body="STOP \ud83d\uded1")
    statements = parse(json_call([half, whole])).signals
    assert [s.text for s in statements if isinstance(s, Statement)] == ["STOP \ufffd", "STOP \U0001f6d1"]
