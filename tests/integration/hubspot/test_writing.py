"""Writing in batches: one honest result per contact (vendor sheet section 4)."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest

from dncsync.connector import Change, FailureKind, Written
from dncsync.model import Channel
from dncsync.testing.faults import FaultKind
from dncsync_hubspot.sandbox_schema import REASON
from integration.hubspot.world import CLEAR, SET, UPDATE, VOICE, World, key

SMS = Channel.SMS


def kinds(written: list[Written]) -> dict[str, FailureKind | None]:
    return {one.key: one.failure.kind if one.failure else None for one in written}


def test_a_write_is_kept_and_traced() -> None:
    world = World()
    (done,) = world.write({key(1): SET})
    assert done.failure is None
    assert done.ref
    assert world.flag(key(1)) is SET
    world.write({key(1): CLEAR})
    assert world.flag(key(1)) is CLEAR


def test_writing_twice_changes_nothing_the_second_time() -> None:
    world = World()
    world.write({key(1): SET})
    first = world.sandbox.portal.get(int(key(1)))
    assert first is not None
    before = (list(first.history["do_not_call"]), first.modified)
    world.clock.advance(60)
    assert kinds(world.write({key(1): SET})) == {key(1): None}
    assert (first.history["do_not_call"], first.modified) == before


def test_companions_are_written_beside_the_flag() -> None:
    world = World(companions=True)
    world.write({key(1): SET}, request_id="req-9", source="twilio", requested_at=world.clock.now())
    contact = world.sandbox.portal.get(int(key(1)))
    assert contact is not None
    said = {name: contact.properties[name] for name in ("dnc_source", "dnc_request_id", "dnc_date")}
    assert said == {"dnc_source": "twilio", "dnc_request_id": "req-9", "dnc_date": "2026-11-23"}


def test_a_reason_is_left_as_people_wrote_it() -> None:
    world = World(companions=True)
    world.sandbox.undo(world.sandbox.numbers(2)[1], reason="Asked for a call")
    for flag in (SET, CLEAR):
        world.write({key(1): flag}, request_id="req-9", source="twilio", requested_at=world.clock.now())
    contact = world.sandbox.living(int(key(1)))
    assert contact.properties[REASON] == "Asked for a call"
    assert [entry["sourceType"] for entry in contact.history[REASON]] == ["CRM_UI"]
    assert len(contact.history["dnc_date"]) == 2  # both were written


def test_duplicate_ids_never_go_into_one_request() -> None:
    """They would make HubSpot refuse the whole batch, even with trace ids."""
    world = World()
    wishes = [Change(key(1), {VOICE: SET}), Change(key(2), {VOICE: SET}), Change(key(1), {VOICE: CLEAR})]
    done = list(world.connector.write(wishes))
    assert [(one.key, one.failure) for one in done] == [(key(1), None), (key(2), None), (key(1), None)]
    assert (world.flag(key(1)), world.flag(key(2))) == (CLEAR, SET)
    assert world.sandbox.calls["status 400"] == 0


def test_a_merged_away_id_that_the_answer_leaves_out_is_unknown() -> None:
    world = World()
    world.sandbox.merge(key(7), key(6))
    done = kinds(world.write({key(6): SET, key(5): SET}))
    assert done == {key(6): FailureKind.UNKNOWN, key(5): None}
    looked = world.read(key(6))[key(6)].holding
    assert looked is not None
    assert looked.became == key(7)


def test_contacts_that_are_not_there_fail_alone() -> None:
    world = World()
    world.sandbox.archive(key(6))
    done = kinds(world.write({key(6): SET, "999": SET, "x": SET, key(5): SET}))
    assert done.pop(key(5)) is None
    assert done == {key(6): FailureKind.UNKNOWN, "999": FailureKind.UNKNOWN, "x": FailureKind.REJECTED}
    assert world.flag(key(5)) is SET


@pytest.mark.parametrize("partial", [True, False])
def test_one_bad_value_is_singled_out_of_a_batch(partial: bool) -> None:
    """Without multi-status one bad value fails the whole batch with 400 and nothing is applied."""
    config = {"flags": {"voice": {"property": "do_not_call"}}, "companions": {"source": "role"}}
    world = World(config=config, partial_update=partial)
    from dncsync_hubspot.sandbox_schema import definition

    world.sandbox.schema.add(definition("role", "enumeration", "select", options=[("a", "A")]))
    wishes = [Change(key(i), {VOICE: SET}, source="bad" if i == 13 else "a") for i in range(40)]
    done = kinds(list(world.connector.write(wishes)))
    assert done.pop(key(13)) is FailureKind.REJECTED
    assert set(done.values()) == {None}
    assert [i for i in range(40) if world.flag(key(i)) is not SET] == [13]
    assert world.sandbox.calls[UPDATE] <= 3


def test_a_400_that_names_nothing_is_split_until_the_bad_one_is_found() -> None:
    world = World()
    inner = world.sandbox.transport()

    def picky(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("batch/update") and key(13).encode() in request.content:
            return httpx.Response(400, json={"status": "error", "message": "There was a problem."})
        return inner.handle_request(request)

    connector = world.connect(transport=httpx.MockTransport(picky))
    done = kinds(list(connector.write([Change(key(i), {VOICE: SET}) for i in range(32)])))
    assert done.pop(key(13)) is FailureKind.REJECTED
    assert set(done.values()) == {None}
    assert world.sandbox.calls[UPDATE] <= 6


@pytest.mark.parametrize("partial", [True, False])
def test_a_property_that_is_gone_fails_all_in_one_call(partial: bool) -> None:
    world = World(partial_update=partial)
    world.sandbox.faults.add(FaultKind.RENAMED_FIELD)
    done = world.write({key(i): SET for i in range(30)})
    assert {one.failure.code for one in done if one.failure} == {"PROPERTY_DOESNT_EXIST"}
    assert len(done) == 30
    assert world.sandbox.calls[UPDATE] == 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [(FaultKind.READ_ONLY_FIELD, "READ_ONLY_VALUE"), (FaultKind.RETYPED_FIELD, "INVALID_OPTION")],
)
def test_a_property_that_cannot_take_the_value_is_rejected_with_hubspots_code(
    fault: FaultKind, code: str
) -> None:
    world = World()
    world.sandbox.faults.add(fault)
    (done,) = world.write({key(1): SET})
    assert done.failure is not None
    assert (done.failure.kind, done.failure.code) == (FailureKind.REJECTED, code)


@pytest.mark.parametrize("kind", [FaultKind.RESET_AFTER, FaultKind.TRUNCATED])
def test_a_lost_answer_to_a_write_is_unknown_and_not_sent_again(kind: FaultKind) -> None:
    world = World()
    world.sandbox.faults.add(kind, path="batch/update", times=1)
    assert set(kinds(world.write({key(1): SET, key(2): SET})).values()) == {FailureKind.UNKNOWN}
    assert world.sandbox.calls[UPDATE] == 1
    looked = world.read(key(1))[key(1)].holding
    assert looked is not None
    assert looked.flags[VOICE] is SET


def test_a_200_with_an_error_page_is_unknown() -> None:
    world = World()
    world.sandbox.faults.add(FaultKind.HTML, path="batch/update", status=200)
    assert set(kinds(world.write({key(1): SET})).values()) == {FailureKind.UNKNOWN}


@pytest.mark.parametrize(
    "answer", [{}, {"results": []}, {"results": [{}]}, {"results": ["x"]}, {"results": {}}]
)
def test_a_200_that_mentions_nobody_is_unknown(answer: object) -> None:
    world = World()
    fault = orjson.dumps(answer).decode()
    world.sandbox.faults.add(FaultKind.STATUS, path="batch/update", status=200, body=fault)
    assert set(kinds(world.write({key(1): SET})).values()) == {FailureKind.UNKNOWN}


def test_an_answer_that_shows_another_value_is_not_believed() -> None:
    world = World()
    body = orjson.dumps({"results": [{"id": key(1), "properties": {"do_not_call": "false"}}]}).decode()
    world.sandbox.faults.add(FaultKind.STATUS, path="batch/update", status=200, body=body)
    (done,) = world.write({key(1): SET})
    assert done.failure is not None
    assert (done.failure.kind, done.failure.code) == (FailureKind.UNKNOWN, "not-kept")


def test_an_answer_without_the_written_property_is_accepted_and_read_back() -> None:
    world = World(echo_written=False)
    assert kinds(world.write({key(1): SET})) == {key(1): None}
    assert world.flag(key(1)) is SET


@pytest.mark.parametrize(
    "params",
    [{"status": 423}, {"status": 429, "body": '{"message":"You have reached your secondly limit."}'}],
)
def test_a_write_that_was_surely_not_done_is_tried_again(params: dict[str, Any]) -> None:
    """423: a lock of two seconds after parallel writes."""
    world = World()
    world.sandbox.faults.add(FaultKind.STATUS, path="batch/update", times=1, **params)
    assert kinds(world.write({key(1): SET})) == {key(1): None}
    assert world.sandbox.calls[UPDATE] == 2


def test_a_full_ten_second_window_holds_all_calls() -> None:
    world = World()
    body = '{"policyName":"TEN_SECONDLY_ROLLING"}'
    world.sandbox.faults.add(FaultKind.STATUS, path="batch/update", times=1, status=429, body=body)
    (done,) = world.write({key(1): SET})
    assert done.failure is not None
    assert (done.failure.kind, done.failure.retry_after) == (FailureKind.RATE_LIMITED, 10.0)
    (again,) = world.write({key(1): SET})
    assert again.failure is not None
    assert again.failure.kind is FailureKind.RATE_LIMITED
    assert world.sandbox.calls[UPDATE] == 1
    world.clock.advance(10)
    assert kinds(world.write({key(1): SET})) == {key(1): None}


def test_more_than_a_batch_goes_out_in_batches() -> None:
    world = World()
    done = world.write({key(i): SET for i in range(250)})
    assert {one.failure for one in done} == {None}
    assert len(done) == 250
    assert world.sandbox.calls[UPDATE] == 3


def test_a_multi_checkbox_is_changed_and_not_replaced() -> None:
    from dncsync_hubspot.sandbox_schema import definition

    options = [("call", "Call"), ("sms", "Text"), ("mail", "Mail")]
    flags = {
        "voice": {"property": "stop", "shape": "multi-checkbox", "true_values": ["call"]},
        "sms": {"property": "stop", "shape": "multi-checkbox", "true_values": ["sms"]},
    }
    world = World(config={"flags": flags})
    world.sandbox.schema.add(definition("stop", "enumeration", "checkbox", options=options))
    contact = world.sandbox.add_contact(["+15005550006"], stop="mail")
    list(world.connector.write([Change(contact, {VOICE: SET, SMS: SET})]))
    list(world.connector.write([Change(contact, {VOICE: CLEAR})]))
    (looked,) = world.connector.read([contact])
    assert looked.holding is not None
    assert looked.holding.flags == {VOICE: CLEAR, SMS: SET}
    stored = world.sandbox.portal.get(int(contact))
    assert stored is not None
    assert stored.properties["stop"] == "mail;sms"


def test_two_channels_have_two_properties() -> None:
    world = World(sms_property="do_not_text")
    assert world.connector.capabilities.channels == {VOICE, SMS}
    list(world.connector.write([Change(key(1), {SMS: SET})]))
    looked = world.read(key(1))[key(1)].holding
    assert looked is not None
    assert (looked.flags[SMS], looked.flags[VOICE]) == (SET, world.flag(key(1)))


def test_requests_have_their_size_and_their_headers() -> None:
    """Bearer token, the SDK's user agent, bodies below 3,000 characters for search (sheet 3.3 and 10.1)."""
    world = World()
    sent: list[httpx.Request] = []
    inner = world.sandbox.transport()

    def spy(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return inner.handle_request(request)

    connector = world.connect(transport=httpx.MockTransport(spy))
    list(connector.changes(None))
    list(connector.snapshot(None))
    list(connector.write([Change(key(1), {VOICE: SET})]))
    assert {request.headers["authorization"] for request in sent} == {f"Bearer {world.sandbox.token}"}
    assert all(r.headers["user-agent"].startswith("hubspot-api-client-python; 12") for r in sent)
    assert max(len(r.content) for r in sent if r.url.path.endswith("/search")) < 3000
    assert not any("firstname" in r.url.query.decode() + r.content.decode() for r in sent)
