"""Writing by sObject Collections: per item, idempotent, never sure of what was not said (sheet 5, 8.1, 9)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from dncsync.connector import Change, Failure, FailureKind
from dncsync.model import Channel, Flag

Make = Callable[..., Any]
SET = {Channel.VOICE: Flag.SET}
CLEAR = {Channel.VOICE: Flag.CLEAR}
NUMBERS = [f"+1202555{n:04d}" for n in range(100, 140)]


def write(o: Any, keys: list[str], wants: Mapping[Channel, Flag] = SET) -> dict[str, Failure | None]:
    written = list(o.connector.write([Change(key, wants) for key in keys]))
    assert [w.key for w in written] == keys
    return {w.key: w.failure for w in written}


def ticked(o: Any, key: str) -> bool:
    return bool(o.sandbox.record(key)["DoNotCall"])


def kinds(results: Mapping[str, Failure | None]) -> dict[str, FailureKind | None]:
    return {key: None if failure is None else failure.kind for key, failure in results.items()}


def test_two_hundred_records_are_one_call(org: Make) -> None:
    o = org(contacts=250)
    keys = [f"Contact/0035g000{i:07d}AAA" for i in range(250) if i % 10 != 9][:180]
    keys += [f"Lead/00Q5g000{i:07d}EAA" for i in range(9, 209, 10)]
    assert len(keys) == 200
    assert set(write(o, keys).values()) == {None}
    assert all(ticked(o, key) for key in keys)
    assert o.calls("PATCH") == 1


def test_objects_are_sorted_because_a_call_has_at_most_ten_runs(org: Make) -> None:
    o = org()
    keys = [o.sandbox.add_contact([n], object=("Contact", "Lead")[i % 2]) for i, n in enumerate(NUMBERS)]
    assert set(write(o, keys).values()) == {None}
    assert all(ticked(o, key) for key in keys)


def test_writing_twice_is_a_success(org: Make) -> None:
    o = org()
    key = o.sandbox.add_contact(NUMBERS[:1])
    assert write(o, [key]) == write(o, [key]) == {key: None}
    assert write(o, [key], CLEAR) == {key: None}
    assert not ticked(o, key)


def test_a_key_given_twice_is_sent_once(org: Make) -> None:
    """The same record twice in one request fails both (sheet 8.1)."""
    o = org()
    key = o.sandbox.add_contact(NUMBERS[:1])
    written = list(o.connector.write([Change(key, SET), Change(key, SET)]))
    assert [w.failure for w in written] == [None, None]
    assert ticked(o, key)


@pytest.mark.parametrize("failed_ids", ["absent", "null", "given"])
def test_results_are_matched_by_index_because_failed_ones_have_no_id(org: Make, failed_ids: str) -> None:
    o = org(failed_ids=failed_ids)
    keys = [o.sandbox.add_contact([n]) for n in NUMBERS[:5]]
    o.sandbox.locked[keys[1]] = 1
    o.sandbox.validation_rule.add(keys[3])
    results = write(o, keys)
    assert kinds(results) == {
        keys[0]: None,
        keys[1]: FailureKind.TRANSIENT,
        keys[2]: None,
        keys[3]: FailureKind.REJECTED,
        keys[4]: None,
    }
    assert [ticked(o, key) for key in keys] == [True, False, True, False, True]


def test_a_row_lock_is_transient_and_passes(org: Make) -> None:
    o = org()
    key = o.sandbox.add_contact(NUMBERS[:1])
    o.sandbox.locked[key] = 1
    assert kinds(write(o, [key])) == {key: FailureKind.TRANSIENT}
    assert write(o, [key]) == {key: None}


def test_a_validation_rule_is_final_and_its_words_show_no_number(org: Make) -> None:
    o = org()
    key = o.sandbox.add_contact(NUMBERS[:1])
    o.sandbox.validation_rule.add(key)
    failure = write(o, [key])[key]
    assert failure is not None
    assert failure.kind is FailureKind.REJECTED
    assert "privacy team" in failure.message
    assert "9999" not in failure.message


def test_a_trigger_that_throws_is_transient(org: Make) -> None:
    o = org()
    key = o.sandbox.add_contact(NUMBERS[:1])
    o.sandbox.trigger_throws.add(key)
    assert kinds(write(o, [key])) == {key: FailureKind.TRANSIENT}


@pytest.mark.parametrize("told", [True, False])
def test_a_duplicate_rule_that_only_warns_is_saved_anyway(org: Make, told: bool) -> None:
    o = org(duplicate_result=told)
    keys = [o.sandbox.add_contact([n]) for n in NUMBERS[:3]]
    o.sandbox.duplicate_rule[keys[1]] = True
    assert set(write(o, keys).values()) == {None}
    assert all(ticked(o, key) for key in keys)


@pytest.mark.parametrize("told", [True, False])
def test_a_duplicate_rule_that_blocks_is_final(org: Make, told: bool) -> None:
    o = org(duplicate_result=told)
    key = o.sandbox.add_contact(NUMBERS[:1])
    o.sandbox.duplicate_rule[key] = False
    assert kinds(write(o, [key])) == {key: FailureKind.REJECTED}
    assert o.calls("PATCH") == (1 if told else 2)


def test_a_converted_lead_is_final_and_reading_tells_what_it_became(org: Make) -> None:
    o = org()
    lead = o.sandbox.add_contact(NUMBERS[:1], object="Lead")
    contact = o.sandbox.convert_lead(lead)
    failure = write(o, [lead])[lead]
    assert failure is not None
    assert (failure.kind, failure.code) == (FailureKind.REJECTED, "CANNOT_UPDATE_CONVERTED_LEAD")
    assert o.look(lead).became == contact


@pytest.mark.parametrize("how", ["delete", "merge"])
def test_a_record_that_is_gone_is_final(org: Make, how: str) -> None:
    o = org()
    key, other = (o.sandbox.add_contact([n]) for n in NUMBERS[:2])
    if how == "delete":
        o.sandbox.delete(key)
    else:
        o.sandbox.merge(other, key)
    failure = write(o, [key])[key]
    assert failure is not None
    assert failure.code == "ENTITY_IS_DELETED"
    assert o.look(key).gone
    assert o.look(key).became == (other if how == "merge" else None)


@pytest.mark.parametrize("fails", ["request", "record"])
def test_a_field_hidden_on_one_object_does_not_stop_the_other(org: Make, fails: str) -> None:
    """Whether an unknown field fails its record or the whole request is not known (sheet 8.1)."""
    o = org(unknown_field_fails=fails)
    contacts = [o.sandbox.add_contact([n]) for n in NUMBERS[:3]]
    leads = [o.sandbox.add_contact([n], object="Lead") for n in NUMBERS[3:6]]
    o.sandbox.schema.hidden.add(("Lead", "DoNotCall"))
    results = write(o, contacts + leads)
    assert kinds(results) == {
        **dict.fromkeys(contacts),
        **dict.fromkeys(leads, FailureKind.UNAUTHORISED),
    }
    assert all(ticked(o, key) for key in contacts)
    failure = results[leads[0]]
    assert failure is not None
    assert "dncsync doctor" in failure.message


def test_a_read_only_field_asks_for_a_permission(org: Make) -> None:
    o = org()
    key = o.sandbox.add_contact(NUMBERS[:1])
    o.sandbox.schema.read_only.add(("Contact", "DoNotCall"))
    failure = write(o, [key])[key]
    assert failure is not None
    assert failure.kind is FailureKind.UNAUTHORISED
    assert "permission set" in failure.message


def test_one_bad_record_that_fails_a_request_does_not_fail_the_others(org: Make) -> None:
    o = org()
    keys = [o.sandbox.add_contact([n]) for n in NUMBERS[:9]]
    honest = o.sandbox.writing.patch

    def strict(request: Any, version: str) -> Any:
        from dncsync_salesforce.sandbox_answers import error

        if keys[4].partition("/")[2] in request.get_data(as_text=True):
            return error(400, "MALFORMED_ID", "Contact ID: id value of incorrect type", ["Id"])
        return honest(request, version)

    endpoint = next(e for e, h in o.sandbox._handlers.items() if h == honest)
    o.sandbox._handlers[endpoint] = strict
    results = write(o, keys)
    assert [key for key, failure in results.items() if failure] == [keys[4]]
    assert [ticked(o, key) for key in keys] == [True] * 4 + [False] + [True] * 4


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "reset-before"},
        {"kind": "reset-after"},
        {"kind": "status", "status": 500},
        {"kind": "status-after", "status": 502},
        {"kind": "html", "status": 503},
        {"kind": "html", "status": 200},
        {"kind": "truncated"},
        {"kind": "status", "status": 200, "body": "{}"},
        {"kind": "status", "status": 200, "body": "null"},
        {"kind": "status", "status": 200, "body": "[]"},
        {"kind": "status", "status": 200, "body": '[{"success":true}]'},
        {"kind": "status", "status": 200, "body": '["yes", null, 7]'},
        {"kind": "status", "status": 200, "body": '[{"id":"0035gNew0000099ABA","success":true}]'},
        {"kind": "status", "status": 200, "body": '[{"success":false,"errors":[]}]'},
        {
            "kind": "status",
            "status": 200,
            "body": '[{"id":"0035gNew0000099ABA","success":false,"errors":[{"statusCode":"NOT_FOUND"}]}]',
        },
    ],
)
def test_what_was_not_said_of_an_item_is_unknown_and_not_tried_again(
    org: Make, fault: dict[str, Any]
) -> None:
    o = org()
    keys = [o.sandbox.add_contact([n]) for n in NUMBERS[:2]]
    o.look(keys[0])
    o.sandbox.faults.add(**fault, method="PATCH")
    assert set(kinds(write(o, keys)).values()) == {FailureKind.UNKNOWN}
    assert o.calls("PATCH") == 1
    o.sandbox.faults.clear()
    done = [ticked(o, key) for key in keys]
    looked = {x.key: x.holding for x in o.connector.read(keys)}
    assert [looked[key].flags[Channel.VOICE] is Flag.SET for key in keys] == done, "settled by reading"


def test_answers_fewer_than_records_leave_the_rest_unknown(org: Make) -> None:
    o = org()
    keys = [o.sandbox.add_contact([n]) for n in NUMBERS[:3]]
    o.look(keys[0])
    first = sorted(keys)[0].partition("/")[2]
    body = json.dumps([{"id": first, "success": True, "errors": []}])
    o.sandbox.faults.add("status", method="PATCH", status=200, body=body, times=1)
    results = write(o, keys)
    assert [f and f.kind for _, f in sorted(results.items())] == [
        None,
        FailureKind.UNKNOWN,
        FailureKind.UNKNOWN,
    ]


def test_a_dropped_write_shows_in_the_read_back_only(org: Make) -> None:
    o = org()
    key = o.sandbox.add_contact(NUMBERS[:1])
    o.sandbox.faults.add("dropped-write")
    assert write(o, [key]) == {key: None}
    assert o.look(key).flags == {Channel.VOICE: Flag.CLEAR}


def test_a_trigger_that_resets_the_box_shows_in_the_read_back(org: Make) -> None:
    """A 200, and the box is clear again (sheet 5)."""
    o = org()
    key = o.sandbox.add_contact(NUMBERS[:1])
    o.sandbox.resetting_trigger = True
    assert write(o, [key]) == {key: None}
    assert o.look(key).flags == {Channel.VOICE: Flag.CLEAR}


def test_each_channel_is_written_alone_and_voice_first(org: Make) -> None:
    """One bad column fails a record's whole update (sheet 5)."""
    o = org(sms_field="smagicinteract__SMSOptOut__c")
    key = o.sandbox.add_contact(NUMBERS[:1])
    o.sandbox.schema.hidden.add(("Contact", "smagicinteract__SMSOptOut__c"))
    both = {Channel.SMS: Flag.SET, Channel.VOICE: Flag.SET}
    assert kinds(write(o, [key], both)) == {key: FailureKind.UNAUTHORISED}
    assert ticked(o, key)
    o.sandbox.schema.hidden.clear()
    assert write(o, [key], both) == {key: None}
    assert o.sandbox.record(key)["smagicinteract__SMSOptOut__c"] == 1


def test_a_permission_field_is_written_upside_down(org: Make) -> None:
    flags = {"Contact": {"sms": {"field": "HasSMSPermission__c", "opted_out_when": False}}}
    o = org(sms_field="HasSMSPermission__c", settings={"flags": flags, "objects": ("Contact",)})
    key = o.sandbox.add_contact(NUMBERS[:1], HasSMSPermission__c=True)
    assert o.look(key).flags[Channel.SMS] is Flag.CLEAR
    assert write(o, [key], {Channel.SMS: Flag.SET}) == {key: None}
    assert o.sandbox.record(key)["HasSMSPermission__c"] == 0
    assert o.look(key).flags[Channel.SMS] is Flag.SET


def test_a_person_is_written_through_the_account(org: Make) -> None:
    """Whether the hidden contact takes an update is not known; it is never tried (sheet 3.1)."""
    o = org(person_accounts=True)
    key = o.sandbox.add_contact(NUMBERS[:1], object="Account")
    assert write(o, [key]) == {key: None}
    assert o.sandbox.record(key)["PersonDoNotCall"] == 1
    assert o.sandbox.record(f"Contact/{o.sandbox.record(key)['PersonContactId']}")["DoNotCall"] == 1


@pytest.mark.parametrize(
    "key",
    ["", "Contact", "Contact/", "Contact/12", "Lead/0035g0000000001AAA", "Contact/0035g0000000001AAB", "\0"],
)
def test_a_key_that_is_none_of_ours_is_rejected_alone(org: Make, key: str) -> None:
    o = org()
    good = o.sandbox.add_contact(NUMBERS[:1])
    results = write(o, [key, good])
    assert kinds(results) == {key: FailureKind.REJECTED, good: None}


@pytest.mark.parametrize(
    ("words", "least", "most"),
    [
        ("TotalRequests Limit exceeded.", 60, 3_600),
        ("ConcurrentRequests (Concurrent API Requests) Limit exceeded.", 1, 30),
    ],
)
def test_a_limit_that_is_exceeded_says_when_to_come_again(
    org: Make, words: str, least: float, most: float
) -> None:
    o = org()
    key = o.sandbox.add_contact(NUMBERS[:1])
    o.look(key)
    body = json.dumps([{"message": words, "errorCode": "REQUEST_LIMIT_EXCEEDED"}])
    o.sandbox.faults.add("status", method="PATCH", status=403, body=body, times=1)
    failure = write(o, [key])[key]
    assert failure is not None
    assert failure.kind is FailureKind.RATE_LIMITED
    assert failure.retry_after is not None
    assert least <= failure.retry_after <= most


def test_a_retired_api_version_says_so(org: Make) -> None:
    o = org()
    key = o.sandbox.add_contact(NUMBERS[:1])
    o.look(key)
    o.sandbox.faults.add("status", status=410, body="[]")
    failure = write(o, [key])[key]
    assert failure is not None
    assert "api_version" in failure.message
