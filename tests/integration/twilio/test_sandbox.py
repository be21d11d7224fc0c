"""The sandbox by itself: its rules are the vendor sheet's, and it carries a million people."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any
from uuid import uuid4

import httpx
import pytest

from dncsync.testing.sandbox import seeded_number
from dncsync_twilio.sandbox import TwilioSandbox
from integration.twilio.world import Build, World

ANN = "+13125550101"
CONSENTS_URL = "https://accounts.twilio.com/v1/Consents/Bulk"


def item(w: World, **changed: Any) -> dict[str, Any]:
    return {
        "contact_id": ANN,
        "correlation_id": uuid4().hex,
        "sender_id": w.sandbox.senders.scopes()[0],
        "status": "opt-out",
        "source": "website",
        **changed,
    }


def post(w: World, *items: Any, auth: tuple[str, str] | None = None) -> httpx.Response:
    with httpx.Client(transport=w.sandbox.transport()) as client:
        return client.post(
            CONSENTS_URL,
            data={"Items": [i if isinstance(i, str) else json.dumps(i) for i in items]},
            auth=auth or (w.sandbox.account_sid, w.sandbox.auth_token),
        )


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"correlation_id": "short"}, "INVALID_CORRELATION_ID"),
        ({"sender_id": "+15005550006"}, "INVALID_SENDER_ID"),
        ({"sender_id": None}, "INVALID_SENDER_ID"),
        ({"contact_id": "+19"}, "INVALID_CONTACT_ID"),
        ({"contact_id": "3125550101"}, "INVALID_CONTACT_ID"),
        ({"status": "stop"}, "INVALID_STATUS"),
        ({"source": "hearsay"}, "INVALID_SOURCE"),
        ({"date_of_consent": "2025-03-25"}, "INVALID_DATE_OF_CONSENT"),
        ({"date_of_consent": "2031-01-01T00:00:00Z"}, "INVALID_DATE_OF_CONSENT"),
        ({"date_of_consent": "2025-02-30T00:00:00Z"}, "INVALID_DATE_OF_CONSENT"),
    ],
)
def test_each_item_is_judged_by_itself_under_a_201(world: Build, changed: dict[str, Any], word: str) -> None:
    w = world()
    wrong, good = item(w, **changed), item(w, contact_id="+13125550102")
    answer = post(w, wrong, good)
    assert answer.status_code == 201
    assert answer.json()["items"] == [
        {"correlation_id": wrong["correlation_id"], "error_code": 30646, "error_messages": [word]},
        {"correlation_id": good["correlation_id"], "error_code": 0, "error_messages": []},
    ]
    assert w.held("+13125550102") == ["set"]
    assert w.held(ANN) == ["clear"]


def test_both_notations_of_json_are_taken(world: Build) -> None:
    w = world()
    spaced, tight = json.dumps(item(w)), json.dumps(item(w), separators=(",", ":"))
    assert " " in spaced
    assert " " not in tight
    assert [i["error_code"] for i in post(w, spaced, tight).json()["items"]] == [0, 0]


@pytest.mark.parametrize("status", [400, 422])
def test_a_form_that_cannot_be_taken_does_nothing(world: Build, status: int) -> None:
    w = world(bad_form_status=status)
    many = [item(w, contact_id=f"+1312555{i:04d}") for i in range(26)]
    for items in ([], many, ["not json"], [item(w), "[]"]):
        answer = post(w, *items)
        assert answer.status_code == status
        assert answer.json()["code"] == 20001
    assert w.sandbox.store.consents() == 0


def test_a_correlation_id_serves_once(world: Build) -> None:
    w = world()
    one = item(w)
    assert post(w, one).json()["items"][0]["error_code"] == 0
    assert post(w, one).json()["items"][0]["error_messages"] == ["INVALID_CORRELATION_ID"]


def test_strangers_are_turned_away(world: Build) -> None:
    w = world()
    for auth in ((w.sandbox.account_sid, "wrong"), ("AC" + "0" * 32, w.sandbox.auth_token), ("", "")):
        answer = post(w, item(w), auth=auth)
        assert (answer.status_code, answer.json()["code"]) == (401, 20003)
    with httpx.Client(transport=w.sandbox.transport()) as client:
        assert client.get("https://api.twilio.com/2010-04-01/Accounts/x.json").status_code == 401
    assert w.sandbox.store.consents() == 0


@pytest.mark.parametrize(("limit", "header"), [(None, None), (7, "7")])
def test_a_hundred_calls_a_minute(world: Build, limit: int | None, header: str | None) -> None:
    w = world(retry_after=limit)
    assert {post(w, item(w)).status_code for _ in range(100)} == {201}
    refused = post(w, item(w))
    assert (refused.status_code, refused.json()["code"]) == (429, 20429)
    assert refused.headers.get("retry-after") == header
    w.clock.advance(60.001)
    assert post(w, item(w)).status_code == 201


@pytest.mark.parametrize(
    ("options", "status"),
    [({}, 400), ({"consent_blocks_sends": False}, 201), ({"sender_level_blocks": False}, 400)],
)
def test_whether_a_written_consent_blocks_sends_is_switchable(
    world: Build, options: dict[str, Any], status: int
) -> None:
    w = world(**options)
    (number,) = w.sandbox.senders.numbers
    w.write(ANN)
    assert send(w, number).status_code == status


def test_whether_a_block_of_a_number_counts_inside_its_service_is_switchable(world: Build) -> None:
    for counts, status in ((True, 400), (False, 201)):
        w = world(sender_level_blocks=counts)
        (number,) = w.sandbox.senders.numbers
        assert post(w, item(w, sender_id=number)).json()["items"][0]["error_code"] == 0
        assert send(w, number).status_code == status


def test_a_toll_free_block_is_the_networks(world: Build) -> None:
    w = world(services=0, toll_free=1)
    (number,) = w.sandbox.senders.numbers
    w.sandbox.opt_out(ANN)
    assert post(w, item(w, status="opt-in")).json()["items"][0]["error_code"] == 0
    assert send(w, number).status_code == 400, "the API said yes, and the network still blocks"
    w.sandbox.undo(ANN)
    assert send(w, number).status_code == 201


def send(w: World, sender: str) -> httpx.Response:
    with httpx.Client(transport=w.sandbox.transport()) as client:
        return client.post(
            f"https://api.twilio.com/2010-04-01/Accounts/{w.sandbox.account_sid}/Messages.json",
            data={"To": ANN, "Body": "sale!", "From": sender},
            auth=(w.sandbox.account_sid, w.sandbox.auth_token),
        )


def test_an_option_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no option webhok"):
        TwilioSandbox(webhok=True)


def test_the_same_seed_gives_the_same_world_and_another_another(world: Build) -> None:
    worlds = [world(contacts=300, opted_out_share=0.3, numbers=1) for _ in range(2)]
    first, second = ([w.sandbox.truth(n) for n in w.sandbox.numbers(300)] for w in worlds)
    assert first == second
    assert sum(any(t.flag == "set" for t in truth) for truth in first) == pytest.approx(90, abs=30)
    assert worlds[0].sandbox.opt_out(ANN) == worlds[1].sandbox.opt_out(ANN)
    assert TwilioSandbox(seed=4).auth_token != worlds[0].sandbox.auth_token


def test_a_million_people_in_a_few_hundred_megabytes() -> None:
    program = (
        "from dncsync_twilio.sandbox import TwilioSandbox\n"
        "box = TwilioSandbox(seed=1, contacts=1_000_000)\n"
        f"assert box.truth({seeded_number(1, 999_999)!r})\n"
        # Not ru_maxrss, which a child inherits from whoever forked it.
        "status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "print(box.store.consents(), int(status['VmHWM'].split()[0]) // 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    consents, megabytes = map(int, done.stdout.split())
    assert consents == pytest.approx(20_000, rel=0.05)
    assert megabytes < 300
