"""The sandbox keeps HubSpot's limits, bodies and quirks (vendor sheet section 11)."""

from __future__ import annotations

import tracemalloc
from typing import Any

import httpx
import orjson
import pytest

from dncsync.clock import VirtualClock
from dncsync.model import Flag
from dncsync.testing.faults import FaultKind
from dncsync.testing.sandbox import seeded_number
from dncsync_hubspot.sandbox import HubSpotSandbox
from dncsync_hubspot.sandbox_portal import FIRST_ID, notation, numbers_of, seeded_index

CONTACTS = "/crm/v3/objects/contacts"


class Caller:
    """Speaks to a sandbox with its token."""

    def __init__(self, contacts: int = 50, **options: Any) -> None:
        self.clock = VirtualClock()
        self.sandbox = HubSpotSandbox(seed=1, contacts=contacts, clock=self.clock, **options)
        headers = {"Authorization": f"Bearer {self.sandbox.token}"}
        self.client = httpx.Client(
            transport=self.sandbox.transport(), base_url="http://sandbox.invalid", headers=headers
        )

    def get(self, path: str, **params: Any) -> httpx.Response:
        return self.client.get(path, params=params)

    def post(self, path: str, body: Any = None) -> httpx.Response:
        return self.client.post(path, json=body)

    def search(self, **body: Any) -> httpx.Response:
        return self.post(f"{CONTACTS}/search", body)


def window(low: int, high: int) -> list[dict[str, Any]]:
    value = {"value": str(low), "highValue": str(high)}
    return [{"filters": [{"propertyName": "lastmodifieddate", "operator": "BETWEEN", **value}]}]


def contact(index: int) -> str:
    return str(FIRST_ID + index)


def test_a_million_contacts_start_at_once_and_take_no_room() -> None:
    tracemalloc.start()
    caller = Caller(contacts=1_000_000)
    number = seeded_number(1, 777_777)
    assert caller.sandbox.opt_out(number) == contact(777_777)
    assert {(t.key, t.flag) for t in caller.sandbox.truth(number)} == {(contact(777_777), Flag.SET)}
    page = caller.get(CONTACTS, limit=100, after=contact(999_950)).json()
    assert len(page["results"]) == 50
    assert "paging" not in page
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


def test_the_same_seed_gives_the_same_portal() -> None:
    first, second = Caller(), Caller()
    assert first.get(CONTACTS, limit=50).text == second.get(CONTACTS, limit=50).text
    assert HubSpotSandbox(seed=2, contacts=5).portal.seeded(3) != HubSpotSandbox(seed=1).portal.seeded(3)


def test_seeded_contacts_have_mixed_notations_shared_numbers_junk_and_opt_outs() -> None:
    portal = HubSpotSandbox(seed=1, contacts=2_000, opted_out_share=0.1).portal
    seeded = [portal.seeded(i) for i in range(2_000)]
    phones = [one.properties["phone"] for one in seeded]
    assert {"(", "+", "1"} <= {phone[0] for phone in phones}
    assert any("." in phone for phone in phones)
    mobiles = [one.properties.get("mobilephone", "") for one in seeded]
    assert any("ext" in one for one in mobiles)
    assert "N/A" in mobiles
    assert 120 < sum(one.properties.get("do_not_call") == "true" for one in seeded) < 280
    assert len(portal.holders(HubSpotSandbox(seed=1).numbers(53)[52])) == 2


def test_every_notation_is_read_back_as_the_same_number() -> None:
    number = "+12125550147"
    assert all(numbers_of({"phone": notation(number, kind)}) == {number} for kind in range(7))


@pytest.mark.parametrize("seed", [0, 1, 99])
def test_numbers_lead_back_to_their_contact(seed: int) -> None:
    numbers = HubSpotSandbox(seed=seed).numbers(300)
    assert [seeded_index(seed, number) for number in numbers] == list(range(300))
    assert seeded_index(seed, "+442079460000") is None


def test_values_are_strings_or_null_and_undefined_ones_left_out() -> None:
    caller = Caller(opted_out_share=0.0)
    caller.sandbox.change(caller.sandbox.living(FIRST_ID), {"do_not_call": ""}, caller.sandbox.api_source)
    got = caller.get(f"{CONTACTS}/{contact(0)}", properties="do_not_call,no_such_thing").json()
    assert got["id"] == contact(0)
    assert set(got["properties"]) == {"do_not_call", "hs_object_id", "createdate", "lastmodifieddate"}
    assert got["properties"]["hs_object_id"] == contact(0)


def test_booleans_become_strings_and_blank_clears() -> None:
    caller = Caller()
    one = f"{CONTACTS}/{contact(1)}"
    caller.client.patch(one, json={"properties": {"do_not_call": True}})
    assert caller.get(one, properties="do_not_call").json()["properties"]["do_not_call"] == "true"
    caller.client.patch(one, json={"properties": {"do_not_call": ""}})
    assert caller.get(one, properties="do_not_call").json()["properties"]["do_not_call"] is None


@pytest.mark.parametrize(
    ("properties", "code"),
    [
        ({"nope": "1"}, "PROPERTY_DOESNT_EXIST"),
        ({"do_not_call": "Yes"}, "INVALID_OPTION"),
        ({"createdate": "1"}, "READ_ONLY_VALUE"),
    ],
)
def test_a_bad_write_names_its_property(properties: dict[str, str], code: str) -> None:
    answer = Caller().client.patch(f"{CONTACTS}/{contact(1)}", json={"properties": properties})
    assert answer.status_code == 400
    body = answer.json()
    assert body["errors"][0]["code"] == code
    assert body["message"].startswith("Property values were not valid: [{")


def test_duplicate_ids_refuse_the_whole_batch_with_the_recorded_words() -> None:
    caller = Caller()
    inputs = [{"id": contact(1), "properties": {"do_not_call": "true"}}] * 2
    answer = caller.post(f"{CONTACTS}/batch/update", {"inputs": inputs})
    assert answer.status_code == 400
    expected = f"Duplicate IDs found in batch input: [{contact(1)}]. IDs must be unique"
    assert answer.json()["message"] == expected


def test_a_non_numeric_id_has_two_spaces_in_its_404() -> None:
    body = Caller().get(f"{CONTACTS}/abc").json()
    assert body["message"] == "Object not found.  objectId are usually numeric."


@pytest.mark.parametrize(
    ("path", "params"),
    [(CONTACTS, {"limit": 101}), (CONTACTS, {"limit": 51, "propertiesWithHistory": "do_not_call"})],
)
def test_page_caps_are_kept(path: str, params: dict[str, Any]) -> None:
    assert Caller().get(path, **params).status_code == 400


def test_batch_read_takes_fifty_with_history() -> None:
    caller = Caller(contacts=60)
    inputs = [{"id": contact(i)} for i in range(51)]
    body = {"inputs": inputs, "properties": [], "propertiesWithHistory": ["do_not_call"]}
    assert caller.post(f"{CONTACTS}/batch/read", body).status_code == 400


def test_search_stops_at_ten_thousand_at_200_a_page_and_3000_characters() -> None:
    caller = Caller()
    assert caller.search(limit=201).status_code == 400
    assert caller.search(limit=100, after="9901").status_code == 400
    caller.clock.advance(1)
    assert caller.search(limit=1, query="x" * 3000).status_code == 400


def test_a_mistyped_filter_key_finds_everything_and_a_bad_filter_is_refused() -> None:
    caller = Caller()
    assert caller.search(filterGroup=[{"filters": []}]).json()["total"] == 50
    bad = [{"filters": [{"property_name": "phone", "operator": "EQ", "value": "1"}]}]
    answer = caller.search(filterGroups=bad)
    assert answer.status_code == 400
    assert "[propertyName, operator]" in answer.json()["message"]


def test_filtering_on_the_other_objects_date_finds_nothing_without_an_error() -> None:
    filters = [{"propertyName": "hs_lastmodifieddate", "operator": "GTE", "value": "0"}]
    assert Caller().search(filterGroups=[{"filters": filters}]).json() == {"total": 0, "results": []}


@pytest.mark.parametrize(("mode", "status"), [("400", 400), ("empty", 200)])
def test_an_unknown_filter_property_either_way(mode: str, status: int) -> None:
    filters = [{"propertyName": "no_such", "operator": "EQ", "value": "1"}]
    answer = Caller(unknown_filter=mode).search(filterGroups=[{"filters": filters}])
    assert answer.status_code == status


def test_iso_dates_are_no_filter_values() -> None:
    filters = [{"propertyName": "lastmodifieddate", "operator": "GTE", "value": "2026-01-01T00:00:00Z"}]
    assert Caller().search(filterGroups=[{"filters": filters}]).status_code == 400


def test_the_index_lags_and_the_store_does_not() -> None:
    caller = Caller(index_lag=30.0)
    now = caller.sandbox.portal.now()
    caller.sandbox.opt_out(caller.sandbox.numbers(1)[0])
    groups = window(now - 1000, now + 1000)
    assert caller.search(filterGroups=groups).json()["total"] == 0
    got = caller.get(f"{CONTACTS}/{contact(0)}", properties="do_not_call").json()
    assert got["properties"]["do_not_call"] == "true"
    caller.clock.advance(31)
    assert caller.search(filterGroups=groups).json()["total"] == 1


def test_archived_contacts_leave_lists_and_searches() -> None:
    caller = Caller()
    assert caller.client.delete(f"{CONTACTS}/{contact(0)}").status_code == 204
    assert caller.get(f"{CONTACTS}/{contact(0)}").status_code == 404
    assert caller.get(f"{CONTACTS}/{contact(0)}", archived="True").json()["archived"] is True
    assert [r["id"] for r in caller.get(CONTACTS, archived="True").json()["results"]] == [contact(0)]
    assert caller.search(limit=1).json()["total"] == 49


def test_a_tick_taken_out_and_its_reason_are_one_save() -> None:
    caller = Caller(companions=True)
    caller.sandbox.opt_out(caller.sandbox.numbers(1)[0])
    caller.clock.advance(5)
    caller.sandbox.webhook_url = "https://dnc.example.com/hooks/hub"
    caller.sandbox.undo(caller.sandbox.numbers(1)[0], by="userId:123", reason="Asked for a call")
    said = {"do_not_call": "false", "dnc_reason": "Asked for a call"}
    names = list(said)
    body = {"inputs": [{"id": contact(0)}], "properties": names, "propertiesWithHistory": names}
    (got,) = caller.post(f"{CONTACTS}/batch/read", body).json()["results"]
    assert got["properties"].items() >= said.items()
    newest = [got["propertiesWithHistory"][name][0] for name in names]
    assert {(one["sourceType"], one["sourceId"]) for one in newest} == {("CRM_UI", "userId:123")}
    assert len({one["timestamp"] for one in newest}) == 1
    (hook,) = caller.sandbox.outbox
    events = orjson.loads(hook.body)
    assert {one["subscriptionType"] for one in events} == {"contact.propertyChange"}
    assert {one["propertyName"]: one["propertyValue"] for one in events} == said


def test_a_merge_drops_the_losers_flag_in_silence() -> None:
    caller = Caller(opted_out_share=0.0)
    caller.sandbox.opt_out(caller.sandbox.numbers(7)[6])
    ids = {"primaryObjectId": contact(7), "objectIdToMerge": contact(6)}
    assert caller.post(f"{CONTACTS}/merge", ids).json()["id"] == contact(7)
    got = caller.get(f"{CONTACTS}/{contact(6)}", properties="do_not_call,hs_merged_object_ids").json()
    assert got["id"] == contact(7)
    assert got["properties"]["do_not_call"] != "true"
    assert got["properties"]["hs_merged_object_ids"] == contact(6)


def test_rolling_ten_seconds_with_headers_and_five_searches_a_second_without() -> None:
    caller = Caller(burst=20)
    answers = [caller.get(f"{CONTACTS}/{contact(1)}") for _ in range(21)]
    assert [a.status_code for a in answers].count(429) == 1
    assert answers[0].headers["x-hubspot-ratelimit-max"] == "20"
    assert answers[-1].json()["policyName"] == "TEN_SECONDLY_ROLLING"
    searches = [caller.search(limit=1) for _ in range(6)]
    assert [a.status_code for a in searches] == [200] * 5 + [429]
    assert searches[-1].json()["category"] == "RATE_LIMITS"
    assert not any(name.startswith("x-hubspot-ratelimit") for name in searches[0].headers)
    caller.clock.advance(10.1)
    assert caller.get(f"{CONTACTS}/{contact(1)}").status_code == 200


def test_the_day_has_an_end() -> None:
    caller = Caller(daily=3)
    answers = [caller.get(CONTACTS) for _ in range(4)]
    assert answers[-1].json()["message"] == "You have reached your daily limit."
    caller.clock.advance(86_400)
    assert caller.get(CONTACTS).status_code == 200


def test_tokens_and_scopes_are_asked_for() -> None:
    caller = Caller(scopes=["crm.objects.contacts.read"])
    assert caller.get(CONTACTS).status_code == 200
    refused = caller.client.patch(f"{CONTACTS}/{contact(1)}", json={"properties": {}})
    assert refused.status_code == 403
    scopes = refused.json()["errors"][0]["context"]["requiredGranularScopes"]
    assert scopes == ["crm.objects.contacts.write"]
    answer = caller.client.get(CONTACTS, headers={"Authorization": "Bearer no"})
    assert answer.json()["category"] == "INVALID_AUTHENTICATION"


def test_a_dropped_write_says_yes() -> None:
    caller = Caller(opted_out_share=0.0)
    caller.sandbox.faults.add(FaultKind.DROPPED_WRITE, times=1)
    one = {"id": contact(1), "properties": {"do_not_call": "true"}}
    answer = caller.post(f"{CONTACTS}/batch/update", {"inputs": [one]})
    assert answer.json()["results"][0]["properties"]["do_not_call"] == "true"
    assert caller.sandbox.living(FIRST_ID + 1).properties.get("do_not_call") != "true"


def test_properties_can_be_made_and_archived() -> None:
    caller = Caller(scopes=("crm.schemas.contacts.read", "crm.schemas.contacts.write"))
    made = {"name": "dnc2", "label": "DNC 2", "type": "string", "fieldType": "text", "groupName": "x"}
    base = "/crm/properties/2026-03/contacts"
    assert caller.post(base, made).status_code == 201
    assert caller.post(base, made).status_code == 409
    assert caller.client.delete(f"{base}/dnc2").status_code == 204
    assert caller.get(f"{base}/dnc2").status_code == 404
    assert caller.get(f"{base}/dnc2", archived="true").status_code == 200


def test_create_and_batch_create_and_archive() -> None:
    caller = Caller(contacts=0)
    made = caller.post(CONTACTS, {"properties": {"phone": "+12125550147"}})
    assert made.status_code == 201
    more = caller.post(f"{CONTACTS}/batch/create", {"inputs": [{"properties": {"phone": "1"}}]})
    assert more.status_code == 201
    ids = [{"id": made.json()["id"]}]
    assert caller.post(f"{CONTACTS}/batch/archive", {"inputs": ids}).status_code == 204
    assert len(caller.get(CONTACTS).json()["results"]) == 1
    left = caller.get(CONTACTS).json()["results"][0]["id"]
    assert caller.post(f"{CONTACTS}/gdpr-delete", {"objectId": left}).status_code == 204
    assert caller.get(CONTACTS).json()["results"] == []


def test_an_unknown_path_is_a_page_and_not_the_envelope() -> None:
    answer = Caller().get("/crm/v9/objects/contacts")
    assert answer.status_code == 404
    assert answer.text.startswith("<html>")
