"""Opt-outs written to the sandbox; every test looks at the sandbox's own store afterwards."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest

from dncsync.connector import Change, FailureKind, Unit, VendorError
from dncsync.model import Channel, Flag
from dncsync.testing.faults import FaultKind
from dncsync_twilio import consents
from integration.twilio.world import CONSENTS, Build

ANN, BOB, CAT = "+13125550101", "+13125550102", "+13125550103"


def kinds(written: list[Any]) -> list[str | None]:
    return [None if w.failure is None else w.failure.kind.value for w in written]


def test_an_opt_out_is_written_for_every_scope(world: Build) -> None:
    w = world(services=2, numbers=1, toll_free=1)
    assert w.held(ANN) == ["clear"] * 4
    written = w.write(ANN, source="website", requested_at=w.clock.now() - timedelta(hours=2))
    assert [x.key for x in written] == [f"{scope}/{ANN}" for scope in w.sandbox.senders.scopes()]
    assert kinds(written) == [None] * 4
    assert len({x.ref for x in written}) == 4
    assert w.held(ANN) == ["set"] * 4
    assert w.held(BOB) == ["clear"] * 4
    held = w.sandbox.store.consent(w.sandbox.senders.scopes()[0], ANN)
    assert held == {
        "status": "opt-out",
        "source": "website",
        "date": "2026-11-23T13:00:00Z",
        "origin": "api",
    }
    assert w.calls(CONSENTS) == 1


def test_writing_twice_is_a_success(world: Build) -> None:
    w = world()
    first, second = w.write(ANN), w.write(ANN)
    assert kinds(first) == kinds(second) == [None]
    assert first[0].ref != second[0].ref
    assert w.held(ANN) == ["set"]


def test_nothing_can_be_read_and_nothing_pretends_to(world: Build) -> None:
    w = world(contacts=50, opted_out_share=0.5)
    able = w.connector.capabilities
    assert (able.unit, able.can_read, able.can_list, able.can_clear) == (Unit.NUMBER, False, False, False)
    (key,) = w.connector.keys_for(ANN)
    (looked,) = w.connector.read([key])
    assert looked.holding is None
    assert looked.failure is not None
    assert looked.failure.code == "no-read"
    with pytest.raises(Exception, match="no way to read or list"):
        next(iter(w.connector.snapshot(None)))
    assert list(w.connector.find(ANN)) == []
    assert w.wire == []


def test_201_with_every_item_in_error(world: Build) -> None:
    w = world(services=2)
    del w.sandbox.senders.services[w.sandbox.senders.scopes()[0]]
    del w.sandbox.senders.services[w.sandbox.senders.scopes()[0]]
    written = w.write(ANN)
    assert w.calls("status 201") == 1
    assert kinds(written) == ["rejected", "rejected"]
    assert written[0].failure is not None
    assert written[0].failure.code == "30646 INVALID_SENDER_ID"


def test_an_item_that_the_reply_leaves_out_is_unknown(world: Build) -> None:
    w = world()
    w.sandbox.faults.add(FaultKind.DROPPED_WRITE, times=1, how="omit-item")
    written = w.write(ANN, BOB, CAT)
    assert kinds(written) == ["unknown", None, None]
    assert [w.held(n) for n in (ANN, BOB, CAT)] == [["clear"], ["set"], ["set"]]
    assert kinds(w.write(ANN)) == [None]
    assert w.held(ANN) == ["set"]


def test_an_id_given_twice_is_suspicious(world: Build) -> None:
    w = world()
    w.sandbox.faults.add(FaultKind.DROPPED_WRITE, times=1, how="duplicate-id")
    assert kinds(w.write(ANN, BOB)) == ["unknown", None]
    assert "answers: consents reply: an id given twice" in [c.name for c in w.connector.describe()]


def test_an_internal_error_of_one_item_is_transient(world: Build) -> None:
    w = world()
    w.sandbox.faults.add(FaultKind.DROPPED_WRITE, times=1, after=1, how="internal-error")
    assert kinds(w.write(ANN, BOB, CAT)) == [None, "transient", None]
    assert [w.held(n) for n in (ANN, BOB, CAT)] == [["set"], ["clear"], ["set"]]


def test_a_yes_that_was_not_kept_cannot_be_seen_and_stays_accepted(world: Build) -> None:
    """Why `can_read` is False: the engine may never call this verified."""
    w = world()
    w.sandbox.faults.add(FaultKind.DROPPED_WRITE, times=1)
    assert kinds(w.write(ANN)) == [None]
    assert w.held(ANN) == ["clear"]
    assert not w.connector.capabilities.can_read


@pytest.mark.parametrize("kind", [FaultKind.RENAMED_FIELD, FaultKind.HIDDEN_FIELD, FaultKind.RETYPED_FIELD])
@pytest.mark.parametrize("field", ["error_code", "correlation_id", "error_messages"])
def test_a_reply_that_changed_its_meaning_is_unknown_never_done(
    world: Build, kind: FaultKind, field: str
) -> None:
    w = world()
    w.sandbox.faults.add(kind, field=field)
    assert kinds(w.write(ANN, BOB)) == ["unknown", "unknown"]
    assert any(c.name.startswith("answers: consents reply") for c in w.connector.describe())


@pytest.mark.parametrize(
    ("kind", "params", "happened"),
    [
        (FaultKind.RESET_BEFORE, {}, False),
        (FaultKind.RESET_AFTER, {}, True),
        (FaultKind.STATUS, {"status": 500}, False),
        (FaultKind.STATUS, {"status": 408}, False),
        (FaultKind.STATUS_AFTER, {"status": 503}, True),
        (FaultKind.HTML, {"status": 200}, False),
        (FaultKind.HTML, {"status": 502}, False),
        (FaultKind.HTML, {"status": 400}, False),
        (FaultKind.TRUNCATED, {}, True),
    ],
)
def test_an_unclear_outcome_is_unknown_for_each_item_and_not_sent_again(
    world: Build, kind: FaultKind, params: dict[str, Any], happened: bool
) -> None:
    w = world()
    w.sandbox.faults.add(kind, path="/v1/Consents", times=1, **params)
    assert kinds(w.write(ANN)) == ["unknown"]
    assert w.calls(CONSENTS) == 1
    assert w.held(ANN) == (["set"] if happened else ["clear"])
    assert kinds(w.write(ANN)) == [None]
    assert w.held(ANN) == ["set"]


def test_a_short_429_is_waited_out_with_fresh_correlation_ids(
    world: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    w = world()
    sent: list[str] = []
    post = w.connector._client.post_consents

    def spy(items: Any) -> Any:
        sent.extend(item["correlation_id"] for item in items)
        return post(items)

    monkeypatch.setattr(w.connector._client, "post_consents", spy)
    w.sandbox.faults.add(FaultKind.STATUS, path="/v1/Consents", times=2, status=429, retry_after=1)
    written = w.write(ANN)
    assert kinds(written) == [None]
    assert len(sent) == len(set(sent)) == 3
    assert written[0].ref == sent[-1]
    assert all(len(ref) == 32 and "-" not in ref for ref in sent)
    assert w.clock.monotonic() == pytest.approx(2.0)
    assert w.held(ANN) == ["set"]


def test_a_long_429_is_handed_back_with_its_time(world: Build) -> None:
    w = world()
    w.sandbox.faults.add(FaultKind.STATUS, path="/v1/Consents", times=1, status=429, retry_after=60)
    (written,) = w.write(ANN)
    assert written.failure is not None
    assert written.failure.kind is FailureKind.RATE_LIMITED
    assert written.failure.retry_after == 60
    assert w.calls(CONSENTS) == 1


def test_a_429_without_retry_after_gives_up_after_three(world: Build) -> None:
    w = world()
    w.sandbox.faults.add(FaultKind.STATUS, path="/v1/Consents", status=429)
    assert kinds(w.write(ANN)) == ["rate-limited"]
    assert w.calls(CONSENTS) == consents.ATTEMPTS


def test_our_budget_keeps_below_twilios_hundred_a_minute(world: Build) -> None:
    w = world()
    results = [w.write(f"+1312555{i:04d}")[0].failure for i in range(120)]
    refused = [failure for failure in results if failure is not None]
    assert refused
    assert all(f.kind is FailureKind.RATE_LIMITED and f.retry_after for f in refused)
    assert w.sandbox.limited_429() == 0
    assert w.calls(CONSENTS) <= 80


def test_the_sandbox_counts_to_a_hundred_a_minute(world: Build) -> None:
    w = world()
    for _ in range(100):
        w.sandbox._consent_calls.append(w.clock.monotonic())
    assert kinds(w.write(ANN)) == ["rate-limited"]
    w.clock.advance(60)
    assert kinds(w.write(ANN)) == [None]


@pytest.mark.parametrize("status", [403, 404])
def test_a_consent_api_that_is_not_enabled_leaves_the_delivery_open(world: Build, status: int) -> None:
    w = world({"consent_api": "enabled"}, consent_api="disabled", disabled_status=status)
    (written,) = w.write(ANN)
    assert written.failure is not None
    assert written.failure.kind is FailureKind.UNAUTHORISED
    assert written.failure.code == consents.NOT_ENABLED
    assert "ask Twilio Support" in written.failure.message


def test_consent_api_disabled_by_configuration_makes_no_call(world: Build) -> None:
    w = world(consent_api="disabled")
    assert w.connector.keys_for(ANN)
    (written,) = w.write(ANN)
    assert written.failure is not None
    assert written.failure.kind is FailureKind.UNAUTHORISED
    assert "Consent API not enabled" in written.failure.message
    assert w.wire == []


def test_a_lost_token_needs_a_person(world: Build) -> None:
    w = world()
    w.sandbox.faults.add(FaultKind.EXPIRED_TOKEN, times=1)
    (written,) = w.write(ANN)
    assert written.failure is not None
    assert written.failure.kind is FailureKind.UNAUTHORISED
    assert written.failure.code == "20003"
    w.sandbox.faults.add(FaultKind.LOST_PERMISSION, times=1)
    assert kinds(w.write(ANN)) == ["unauthorised"]


def test_api_keys_on_consents_are_switchable(world: Build) -> None:
    """UNCONFIRMED whether API keys open the Consent API: by default the Auth Token does."""
    keyed: dict[str, Any] = {}
    for auth, written in (("auth_token", None), ("api_key", "unauthorised")):
        w = world(api_key_on_consents=False)
        sid, secret = w.sandbox.api_key
        keyed = {"api_key_sid": sid, "api_key_secret": secret, "consent_auth": auth}
        w = world(keyed, api_key_on_consents=False)
        assert kinds(w.write(ANN)) == [written]
        assert w.poll(None)[0] == []
    w = world(keyed, api_key_on_consents=True)
    assert kinds(w.write(ANN)) == [None]


def test_one_item_that_spoils_a_call_does_not_hold_up_the_others(world: Build) -> None:
    w = world()
    spoilt = "+13125550104"
    body = json.dumps({"code": 20001, "message": "Invalid parameter", "status": 400})
    upsert = w.sandbox._book.upsert

    def picky(texts: list[str], dropped: Any) -> Any:
        from dncsync_twilio.sandbox_consents import BadForm

        if any(spoilt in text for text in texts):
            raise BadForm(body)
        return upsert(texts, dropped)

    w.sandbox._book.upsert = picky  # type: ignore[method-assign]
    written = w.write(ANN, BOB, CAT, spoilt)
    assert kinds(written) == [None, None, None, "rejected"]
    assert [w.held(n) for n in (ANN, BOB, CAT, spoilt)] == [["set"], ["set"], ["set"], ["clear"]]
    assert w.calls(CONSENTS) == 5


def test_a_clock_ahead_of_twilios_never_costs_an_opt_out(world: Build) -> None:
    w = world(skew=120.0)
    written = w.write(ANN, BOB, requested_at=w.ours.now())
    assert kinds(written) == [None, None]
    assert w.calls(CONSENTS) == 2
    held = w.sandbox.store.consent(w.sandbox.senders.scopes()[0], ANN)
    assert held is not None
    assert (held["status"], held["date"]) == ("opt-out", None)


def test_a_large_batch_goes_out_in_twenty_fives(world: Build) -> None:
    w = world()
    numbers = [f"+1312555{i:04d}" for i in range(60)]
    assert kinds(w.write(*numbers)) == [None] * 60
    assert w.calls(CONSENTS) == 3
    assert all(w.held(n) == ["set"] for n in numbers)


def test_a_foreign_or_malformed_key_is_rejected_and_the_rest_is_written(world: Build) -> None:
    w = world()
    scope = w.sandbox.senders.scopes()[0]
    keys = [f"MG{'9' * 32}/{ANN}", f"{scope}/{BOB}", f"{scope}/313", ""]
    written = list(w.connector.write([Change(k, {Channel.SMS: Flag.SET}) for k in keys]))
    assert [x.key for x in written] == keys
    assert kinds(written) == ["rejected", None, "rejected", "rejected"]
    assert w.held(BOB) == ["set"]
    assert list(w.connector.write([])) == []
    assert w.calls(CONSENTS) == 1


def test_an_opt_in_is_never_written_unless_allowed(world: Build) -> None:
    w = world()
    w.sandbox.opt_out(ANN)
    assert kinds(w.write(ANN, flag=Flag.CLEAR)) == ["rejected"]
    assert w.held(ANN) == ["set"]
    assert w.wire == []


def test_an_allowed_opt_in_overrides_a_stop_but_for_toll_free(world: Build) -> None:
    w = world({"allow_opt_in": True}, toll_free=1)
    service, toll_free = w.sandbox.senders.scopes()
    w.sandbox.opt_out(ANN, scope=service)
    w.sandbox.opt_out(ANN, scope=toll_free)
    assert w.connector.capabilities.can_clear
    assert kinds(w.write(ANN, flag=Flag.CLEAR)) == [None, "rejected"]
    assert w.held(ANN) == ["clear", "set"]
    w.sandbox.store.lose(toll_free, ANN)
    assert w.held(ANN) == ["clear", "set"], "the network keeps its own block"
    w.sandbox.undo(ANN, scope=toll_free)
    assert w.held(ANN) == ["clear", "clear"]


def test_what_goes_over_the_wire_is_one_form_field_repeated(
    world: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    w = world(services=2)
    bodies: list[bytes] = []
    request = w.connector._client.door.request

    def spy(method: str, url: str, **options: Any) -> Any:
        bodies.append(options["content"].encode())
        assert url == "https://accounts.twilio.com/v1/Consents/Bulk"
        return request(method, url, **options)

    monkeypatch.setattr(w.connector._client.door, "request", spy)
    w.write(ANN)
    form = parse_qs(bodies[0].decode())
    assert set(form) == {"Items"}
    items = [json.loads(text) for text in form["Items"]]
    assert [i["sender_id"] for i in items] == list(w.sandbox.senders.scopes())
    assert {i["contact_id"] for i in items} == {ANN}
    assert {tuple(sorted(i)) for i in items} == {
        ("contact_id", "correlation_id", "sender_id", "source", "status")
    }


def test_messages_hold_no_numbers_and_no_secrets(world: Build) -> None:
    w = world()
    body = json.dumps({"code": 21211, "message": f"The number {ANN} is not valid", "status": 400})
    w.sandbox.faults.add(FaultKind.STATUS, path="/v1/Consents", status=400, body=body)
    (written,) = w.write(ANN)
    assert written.failure is not None
    assert written.failure.kind is FailureKind.REJECTED
    assert "[number]" in written.failure.message
    shown = f"{written.failure} {w.wire} {w.settings!r}"
    assert ANN not in shown
    assert w.sandbox.auth_token not in shown
    assert w.sandbox.account_sid not in str(w.wire)


def test_every_call_goes_through_the_door(world: Build) -> None:
    w = world()
    w.write(ANN)
    w.poll(None)
    w.connector.describe()
    w.connector.probe()
    answered = sum(count for name, count in w.sandbox.calls.items() if name.startswith("status "))
    assert len(w.wire) == answered > 8
    assert all(call.status in (200, 201) for call in w.wire)


def test_another_host_is_never_called(world: Build) -> None:
    w = world()
    with pytest.raises(VendorError, match="may call"):
        w.connector._client.get("https://evil.example/2010-04-01/x")
    assert w.wire == []
